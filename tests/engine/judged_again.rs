//! Requests held for their bodies while the keys, users or times they were judged by change.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::SigningKey;

use crate::bodies::{ALLOWED, FORBIDDEN, open, open_held, with_rules};
use crate::host::{SharedData, Vm};
use crate::provider::{
    AUDIENCE, ISSUER, NOW, assert_forwarded, assert_paused, assert_refused, claims, configuration,
    fetch, key, respond_with_key_set, start, token,
};
use crate::replay::single_use;

const CACHE_TTL: Duration = Duration::from_secs(300);

/// A VM whose users are looked up in a directory.
fn looking_up(key: &SigningKey) -> Vm {
    let mut configuration = with_rules(single_use(key));
    configuration["providers"][0]["jti"] = json!("ignore");
    let scim = json!({"url": "https://directory.example.com/scim/v2", "cluster": "directory"});
    configuration["users"] = json!({ "scim": scim });
    start(&configuration, &SharedData::default())
}

/// Responds to the directory's look-up of Ada with this user.
fn respond_with(vm: &Vm, user: &Value) {
    vm.tick();
    let list = json!({"totalResults": 1, "Resources": [user]});
    vm.respond(&vm.call(), "200", &[], list.to_string().as_bytes());
}

/// Holds a request of Ada, who is looked up for it.
fn hold(vm: &Vm, key: &SigningKey, user: &Value) -> u32 {
    let (id, outcome) = open(vm, "/mcp", &token(key));
    assert_paused(&outcome);
    respond_with(vm, user);
    id
}

#[test]
fn a_user_whose_cached_result_expires_while_the_body_arrives_is_looked_up_again() {
    let key = key("one");
    let active = json!({"userName": "ada"});
    let inactive = json!({"userName": "ada", "active": false});
    for (user, body, reason) in [
        (&active, ALLOWED, None),
        (&active, FORBIDDEN, Some("access_denied")),
        (&inactive, ALLOWED, Some("user_inactive")),
    ] {
        let vm = looking_up(&key);
        let id = hold(&vm, &key, &active);
        assert_paused(&vm.outcome(id));
        vm.advance(CACHE_TTL);
        assert_eq!(vm.send_body(id, body, true), b"");
        assert_paused(&vm.outcome(id));
        respond_with(&vm, user);
        match reason {
            None => {
                assert_eq!(vm.passed(id), body);
                assert_forwarded(&vm.outcome(id));
            }
            Some(reason) => assert_refused(&vm.outcome(id), 403, reason),
        }
    }
}

#[test]
fn a_user_whose_cached_result_is_still_valid_is_not_looked_up_again() {
    let key = key("one");
    let vm = looking_up(&key);
    let id = hold(&vm, &key, &json!({"userName": "ada"}));
    vm.advance(CACHE_TTL - Duration::from_secs(1));
    assert_eq!(vm.send_body(id, ALLOWED, true), ALLOWED);
    vm.tick();
    assert!(vm.calls().is_empty());
}

#[test]
fn a_request_ends_if_its_forwarded_identity_changes_before_the_body_arrives() {
    let key = key("one");
    let role = |role: &str| json!({"userName": "ada", "roles": [{"value": role}]});
    for (after, is_same) in [(role("admin"), true), (role("none"), false)] {
        let vm = looking_up(&key);
        vm.hand_over_late();
        let first = hold(&vm, &key, &role("admin"));
        vm.send_body(first, ALLOWED, true);
        vm.tick();
        assert_eq!(vm.passed(first), ALLOWED);
        let (id, outcome) = open(&vm, "/mcp", &token(&key));
        assert_forwarded(&outcome);
        vm.advance(CACHE_TTL);
        assert_eq!(vm.send_body(id, ALLOWED, true), b"");
        respond_with(&vm, &after);
        if is_same {
            assert_eq!(vm.passed(id), ALLOWED);
            assert_forwarded(&vm.outcome(id));
        } else {
            assert_eq!(vm.passed(id), b"");
            assert_refused(&vm.outcome(id), 503, "directory_unavailable");
        }
    }
}

#[test]
fn no_message_passes_if_its_key_is_withdrawn_while_the_body_arrives() {
    let vm = start(&with_rules(configuration()), &SharedData::default());
    let (old, new) = (key("old"), key("new"));
    fetch(&vm, &[&old]);
    let withdrawn = open_held(&vm, &token(&old));
    let stays = open_held(&vm, &token(&old));
    // An unknown `kid` causes the fetch.
    let (other, outcome) = open(&vm, "/mcp", &token(&new));
    assert_paused(&outcome);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&new]);
    assert_eq!(vm.send_body(withdrawn, ALLOWED, true), b"");
    assert_refused(&vm.outcome(withdrawn), 401, "unknown_kid");
    assert_eq!(vm.send_body(other, ALLOWED, true), ALLOWED);
    // A key set that has the key again verifies the token again.
    vm.advance(Duration::from_secs(30));
    assert_eq!(vm.send_body(stays, ALLOWED, true), b"");
    assert_paused(&vm.outcome(stays));
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&new, &old]);
    assert_eq!(vm.passed(stays), ALLOWED);
    assert_forwarded(&vm.outcome(stays));
}

#[test]
fn a_token_that_has_expired_when_the_body_is_judged_does_not_pass() {
    let key = key("one");
    let vm = start(&with_rules(configuration()), &SharedData::default());
    fetch(&vm, &[&key]);
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["exp"] = json!(NOW + 1);
    let [early, late] = [0, 1].map(|_| open_held(&vm, &key.token(&claims)));
    vm.advance(Duration::from_secs(300));
    assert_eq!(vm.send_body(early, ALLOWED, true), ALLOWED);
    vm.advance(Duration::from_secs(2));
    assert_eq!(vm.send_body(late, ALLOWED, true), b"");
    assert_refused(&vm.outcome(late), 401, "expired");
}
