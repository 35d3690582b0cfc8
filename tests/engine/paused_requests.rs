use std::time::Duration;

use serde_json::json;
use testkit::SigningKey;

use crate::host::SharedData;
use crate::provider::{
    AUDIENCE, ISSUER, NOW, assert_accepted, assert_forwarded, assert_paused, assert_refused,
    claims, configuration, fetch, key, key_set, request, respond_with_discovery,
    respond_with_key_set, start, token,
};

#[test]
fn a_request_waits_for_the_first_keys_and_continues_when_they_arrive() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    let (first, outcome) = request(&vm, &token(&key));
    assert_paused(&outcome);
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(1)));

    vm.tick();
    respond_with_discovery(&vm, &vm.call());
    let (second, outcome) = request(&vm, &token(&key));
    assert_paused(&outcome);
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    assert_forwarded(&vm.outcome(first));
    assert_forwarded(&vm.outcome(second));
}

#[test]
fn a_waiting_request_with_a_bad_token_is_refused_when_the_keys_arrive() {
    let vm = start(&configuration(), &SharedData::default());
    let (other, published) = (key("one"), key("one"));
    let (id, outcome) = request(&vm, &token(&other));
    assert_paused(&outcome);
    fetch(&vm, &[&published]);
    assert_refused(&vm.outcome(id), 401, "bad_signature");
}

#[test]
fn a_token_that_fails_without_a_key_neither_waits_nor_causes_a_callout() {
    let vm = start(&configuration(), &SharedData::default());
    fetch(&vm, &[&key("one")]);
    let mut claims = claims("https://elsewhere.example.com", "mcp");
    let (_, outcome) = request(&vm, &key("two").token(&claims));
    assert_refused(&outcome, 401, "unknown_issuer");
    claims["iss"] = json!(ISSUER);
    claims["exp"] = json!(NOW - 301);
    let (_, outcome) = request(&vm, &key("two").token(&claims));
    assert_refused(&outcome, 401, "expired");
    vm.tick();
    assert!(vm.calls().is_empty());
}

#[test]
fn a_request_waits_at_most_the_timeout_plus_two_seconds() {
    let vm = start(&configuration(), &SharedData::default());
    let (id, _) = request(&vm, &token(&key("one")));
    vm.tick();
    assert_eq!(vm.call().timeout, Duration::from_secs(5));
    vm.advance(Duration::from_millis(6_999));
    vm.tick();
    assert_paused(&vm.outcome(id));
    vm.advance(Duration::from_millis(1));
    vm.tick();
    assert_refused(&vm.outcome(id), 503, "keys_unavailable");
}

#[test]
fn a_flood_of_requests_that_wait_is_bounded() {
    for (max_token_size, max_waiting) in [("8KiB", 4096), ("1MiB", 32)] {
        let mut document = configuration();
        document["max_token_size"] = max_token_size.into();
        let vm = start(&document, &SharedData::default());
        let key = key("one");
        let token = token(&key);
        let waiting: Vec<u32> = (0..max_waiting)
            .map(|_| {
                let (id, outcome) = request(&vm, &token);
                assert_paused(&outcome);
                id
            })
            .collect();
        let (_, outcome) = request(&vm, &token);
        assert_refused(&outcome, 503, "keys_unavailable");
        fetch(&vm, &[&key]);
        // They are resumed in batches, so that new requests get their turn in between.
        for portion in waiting.chunks(64) {
            portion.iter().for_each(|id| assert_forwarded(&vm.outcome(*id)));
            vm.tick();
        }
        assert_eq!(vm.tick_period(), Some(Duration::from_secs(1)));
    }
}

#[test]
fn both_callouts_of_a_fetch_share_one_timeout() {
    let vm = start(&configuration(), &SharedData::default());
    vm.tick();
    vm.advance(Duration::from_secs(2));
    respond_with_discovery(&vm, &vm.call());
    assert_eq!(vm.call().timeout, Duration::from_secs(3));
}

#[test]
fn a_client_that_disconnects_while_it_waits_affects_no_other() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    let (gone, _) = request(&vm, &token(&key));
    let (stays, _) = request(&vm, &token(&key));
    vm.tick();
    vm.close(gone);
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    assert_forwarded(&vm.outcome(stays));
}

#[test]
fn a_new_kid_causes_one_fetch_in_a_cooldown_and_the_request_waits_for_it() {
    let vm = start(&configuration(), &SharedData::default());
    let (old, new) = (key("old"), key("new"));
    fetch(&vm, &[&old]);

    let (id, outcome) = request(&vm, &token(&new));
    assert_paused(&outcome);
    vm.tick();
    // The discovered URL is still used.
    respond_with_key_set(&vm, &vm.call(), &[&old, &new]);
    assert_forwarded(&vm.outcome(id));

    let (_, outcome) = request(&vm, &token(&key("unpublished")));
    assert_refused(&outcome, 401, "unknown_kid");
    vm.tick();
    assert!(vm.calls().is_empty());

    vm.advance(Duration::from_secs(30));
    let (_, outcome) = request(&vm, &token(&key("unpublished")));
    assert_paused(&outcome);
    vm.tick();
    assert_eq!(vm.calls().len(), 1);
}

#[test]
fn a_token_without_kid_that_no_key_verifies_causes_one_fetch_in_a_cooldown() {
    let vm = start(&configuration(), &SharedData::default());
    let (old, new) = (key("old"), key("new"));
    let nameless = |key: &SigningKey| {
        let mut header = key.header();
        header.as_object_mut().unwrap().remove("kid");
        key.sign(&header, &claims(ISSUER, AUDIENCE))
    };
    fetch(&vm, &[&old]);
    assert_accepted(&vm, &nameless(&old));

    let (id, outcome) = request(&vm, &nameless(&new));
    assert_paused(&outcome);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&new]);
    assert_forwarded(&vm.outcome(id));

    let (_, outcome) = request(&vm, &nameless(&old));
    assert_refused(&outcome, 401, "bad_signature");
    // A token with a `kid` is verified only by the key of that name.
    vm.advance(Duration::from_secs(30));
    let forged = key("new");
    let (_, outcome) = request(&vm, &token(&forged));
    assert_refused(&outcome, 401, "bad_signature");
    vm.tick();
    assert!(vm.calls().is_empty());
}

#[test]
fn keys_are_fetched_again_before_they_expire_without_any_request() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    vm.tick();
    respond_with_discovery(&vm, &vm.call());
    let body = key_set(&[&key]);
    vm.respond(&vm.call(), "200", &[("cache-control", "max-age=120")], body.as_bytes());

    vm.advance(Duration::from_secs(89));
    vm.tick();
    assert!(vm.calls().is_empty());
    vm.advance(Duration::from_secs(9));
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&key]);
}

#[test]
fn stale_keys_are_used_while_the_source_fails_and_no_longer_than_allowed() {
    let mut document = configuration();
    document["keys"] = json!({"max_age": "60s", "max_stale": "60s"});
    let vm = start(&document, &SharedData::default());
    let key = key("one");
    fetch(&vm, &[&key]);

    vm.advance(Duration::from_secs(60 + 59));
    vm.tick();
    vm.fail(&vm.call());
    assert_accepted(&vm, &token(&key));
    vm.advance(Duration::from_secs(1));
    let (id, outcome) = request(&vm, &token(&key));
    // A last attempt is active or due.
    assert_paused(&outcome);
    vm.tick();
    // Neither the metadata document nor the known key set can be fetched.
    vm.fail(&vm.call());
    vm.fail(&vm.call());
    assert_refused(&vm.outcome(id), 503, "keys_unavailable");
}

#[test]
fn a_token_that_expires_while_it_waits_for_keys_does_not_pass() {
    let mut document = configuration();
    document["providers"][0]["clock_skew"] = json!("0s");
    let vm = start(&document, &SharedData::default());
    let key = key("one");
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["exp"] = json!(NOW + 1);
    let (id, outcome) = request(&vm, &key.token(&claims));
    assert_paused(&outcome);
    vm.tick();
    vm.advance(Duration::from_secs(2));
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    assert_refused(&vm.outcome(id), 401, "expired");
}
