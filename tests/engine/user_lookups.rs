//! Requests that wait for a look-up of their user.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::SigningKey;

use crate::host::{Call, Outcome, SharedData, Vm};
use crate::provider::{
    AUDIENCE, ISSUER, NOW, assert_accepted, assert_forwarded, assert_paused, assert_refused,
    claims, configuration, fetch, key, request, respond_with_discovery, respond_with_key_set,
    start, token,
};

/// The provider's keys are in the configuration, and users are looked up.
fn looking_up(key: &SigningKey) -> Value {
    let mut configuration = with_directory();
    let provider = configuration["providers"][0].as_object_mut().unwrap();
    provider.retain(|name, _| name != "metadata_url" && name != "cluster");
    provider.insert("jwks".to_owned(), json!({"keys": [key.public_jwk()]}));
    configuration
}

fn with_directory() -> Value {
    let mut configuration = configuration();
    let scim = json!({"url": "https://directory.example.com/scim/v2", "cluster": "directory"});
    configuration["users"] = json!({ "scim": scim });
    configuration
}

fn respond_with_ada(vm: &Vm, call: &Call) {
    assert_eq!(call.cluster, "directory");
    assert_eq!(call.path(), "/scim/v2/Users?filter=userName%20eq%20%22ada%22");
    let list = json!({"totalResults": 1, "Resources": [{"userName": "ada"}]});
    vm.respond(call, "200", &[], list.to_string().as_bytes());
}

/// A token of this user.
fn token_of(key: &SigningKey, user: &str) -> String {
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["sub"] = json!(user);
    key.token(&claims)
}

#[test]
fn requests_of_one_user_wait_for_one_callout_and_later_ones_for_none() {
    let key = key("one");
    let vm = start(&looking_up(&key), &SharedData::default());
    let waiting: Vec<(u32, Outcome)> = (0..10).map(|_| request(&vm, &token(&key))).collect();
    waiting.iter().for_each(|(_, outcome)| assert_paused(outcome));
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(1)));
    vm.tick();
    let call = vm.call();
    assert_eq!(call.timeout, Duration::from_secs(5));
    respond_with_ada(&vm, &call);
    waiting.iter().for_each(|(id, _)| assert_forwarded(&vm.outcome(*id)));
    assert_accepted(&vm, &token(&key));
    vm.tick();
    assert!(vm.calls().is_empty());
    assert_eq!(vm.tick_period(), Some(Duration::from_secs(1)));

    vm.advance(Duration::from_secs(300));
    let (_, outcome) = request(&vm, &token(&key));
    assert_paused(&outcome);
    vm.tick();
    respond_with_ada(&vm, &vm.call());
}

#[test]
fn each_user_is_looked_up_separately() {
    let key = key("one");
    let vm = start(&looking_up(&key), &SharedData::default());
    let (ada, _) = request(&vm, &token(&key));
    let (bob, _) = request(&vm, &token_of(&key, "bob"));
    vm.tick();
    let calls = vm.calls();
    assert_eq!(calls.len(), 2);
    vm.respond(&calls[1], "200", &[], br#"{"totalResults": 0, "Resources": []}"#);
    assert_refused(&vm.outcome(bob), 403, "user_unknown");
    assert_paused(&vm.outcome(ada));
    respond_with_ada(&vm, &calls[0]);
    assert_forwarded(&vm.outcome(ada));
}

#[test]
fn a_request_waits_for_a_user_at_most_the_timeout_plus_two_seconds() {
    let key = key("one");
    let vm = start(&looking_up(&key), &SharedData::default());
    let (id, _) = request(&vm, &token(&key));
    vm.tick();
    vm.advance(Duration::from_millis(6_999));
    vm.tick();
    assert_paused(&vm.outcome(id));
    vm.advance(Duration::from_millis(1));
    vm.tick();
    assert_refused(&vm.outcome(id), 503, "directory_unavailable");
}

#[test]
fn a_request_that_waited_for_keys_may_wait_as_long_for_a_user() {
    let vm = start(&with_directory(), &SharedData::default());
    let key = key("one");
    let (id, _) = request(&vm, &token(&key));
    vm.tick();
    vm.advance(Duration::from_secs(4));
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    assert_paused(&vm.outcome(id));
    vm.tick();
    vm.advance(Duration::from_secs(4));
    vm.tick();
    assert_paused(&vm.outcome(id));
    respond_with_ada(&vm, &vm.call());
    assert_forwarded(&vm.outcome(id));
}

#[test]
fn a_token_that_expires_while_its_user_is_looked_up_does_not_pass() {
    let key = key("one");
    let mut configuration = looking_up(&key);
    configuration["providers"][0]["clock_skew"] = json!("0s");
    let vm = start(&configuration, &SharedData::default());
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["exp"] = json!(NOW + 4);
    let (id, outcome) = request(&vm, &key.token(&claims));
    assert_paused(&outcome);
    vm.tick();
    vm.advance(Duration::from_secs(5));
    respond_with_ada(&vm, &vm.call());
    assert_refused(&vm.outcome(id), 401, "expired");
}

#[test]
fn a_key_that_is_withdrawn_during_a_lookup_no_longer_verifies() {
    let vm = start(&with_directory(), &SharedData::default());
    let (old, new) = (key("old"), key("new"));
    fetch(&vm, &[&old]);
    let (id, outcome) = request(&vm, &token(&old));
    assert_paused(&outcome);
    vm.tick();
    let lookup = vm.call();
    let (_, outcome) = request(&vm, &token(&new));
    assert_paused(&outcome);
    vm.tick();
    let key_set = vm.calls().into_iter().find(|call| call.cluster == "provider").unwrap();
    respond_with_key_set(&vm, &key_set, &[&new]);
    respond_with_ada(&vm, &lookup);
    assert_refused(&vm.outcome(id), 401, "unknown_kid");
}

#[test]
fn a_client_that_disconnects_during_a_look_up_affects_no_other() {
    let key = key("one");
    let vm = start(&looking_up(&key), &SharedData::default());
    let (gone, _) = request(&vm, &token(&key));
    let (stays, _) = request(&vm, &token(&key));
    vm.tick();
    vm.close(gone);
    respond_with_ada(&vm, &vm.call());
    assert_forwarded(&vm.outcome(stays));
}

#[test]
fn a_directory_that_cannot_be_called_is_not_called_again_for_a_second() {
    let key = key("one");
    let vm = start(&looking_up(&key), &SharedData::default());
    vm.refuse_calls(true);
    let (id, outcome) = request(&vm, &token(&key));
    assert_paused(&outcome);
    vm.tick();
    assert_refused(&vm.outcome(id), 503, "directory_unavailable");
    vm.refuse_calls(false);
    let (_, outcome) = request(&vm, &token(&key));
    assert_refused(&outcome, 503, "directory_unavailable");
    vm.advance(Duration::from_secs(1));
    let (id, outcome) = request(&vm, &token(&key));
    assert_paused(&outcome);
    vm.tick();
    respond_with_ada(&vm, &vm.call());
    assert_forwarded(&vm.outcome(id));
}

#[test]
fn a_failed_callout_is_not_a_result() {
    let key = key("one");
    let vm = start(&looking_up(&key), &SharedData::default());
    let (id, _) = request(&vm, &token(&key));
    vm.tick();
    vm.fail(&vm.call());
    assert_refused(&vm.outcome(id), 503, "directory_unavailable");
}

#[test]
fn a_flood_of_requests_that_wait_for_users_is_bounded() {
    let key = key("one");
    let mut configuration = looking_up(&key);
    configuration["max_token_size"] = json!("1MiB");
    let vm = start(&configuration, &SharedData::default());
    let waiting: Vec<u32> = (0..32).map(|_| request(&vm, &token(&key)).0).collect();
    let (_, outcome) = request(&vm, &token(&key));
    assert_refused(&outcome, 503, "directory_unavailable");
    vm.tick();
    respond_with_ada(&vm, &vm.call());
    waiting.iter().for_each(|id| assert_forwarded(&vm.outcome(*id)));
}

#[test]
fn requests_that_wait_for_a_user_are_verified_once() {
    let key = SigningKey::generate(testkit::Algorithm::Rs256, "one");
    let vm = start(&looking_up(&key), &SharedData::default());
    let before = vm.crypto_calls();
    let (id, _) = request(&vm, &token(&key));
    for _ in 0..50 {
        vm.advance(Duration::from_millis(20));
        vm.tick();
    }
    assert_eq!(vm.crypto_calls() - before, 1);
    respond_with_ada(&vm, &vm.call());
    assert_forwarded(&vm.outcome(id));
    assert_eq!(vm.crypto_calls() - before, 1);
}
