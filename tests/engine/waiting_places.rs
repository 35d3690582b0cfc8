//! Places for waiting requests: a slow service takes none from requests that wait for something
//! else.

use serde_json::{Value, json};
use testkit::{SigningKey, random_id};

use crate::host::{Call, SharedData, Vm};
use crate::provider::{
    AUDIENCE, assert_forwarded, assert_paused, assert_refused, claims, configuration, key, key_set,
    request, start,
};

/// A provider whose keys are fetched, from a cluster of the same name.
fn fetched(name: &str) -> Value {
    json!({
        "name": name,
        "issuer": issuer(name),
        "client_ids": [AUDIENCE],
        "jwks_url": format!("{}/jwks", issuer(name)),
        "cluster": name,
    })
}

fn issuer(name: &str) -> String {
    format!("https://{name}.example.com")
}

/// These providers, and 32 places for all waiting requests.
fn with_providers<const N: usize>(providers: [Value; N]) -> Value {
    let mut configuration = configuration();
    configuration["providers"] = providers.into_iter().collect();
    configuration["max_token_size"] = json!("1MiB");
    configuration
}

fn token_of(name: &str, key: &SigningKey) -> String {
    let mut claims = claims(&issuer(name), AUDIENCE);
    claims["jti"] = json!(random_id());
    key.token(&claims)
}

/// The callout to this cluster.
fn call_on(vm: &Vm, cluster: &str) -> Call {
    vm.calls().into_iter().find(|call| call.cluster == cluster).unwrap()
}

/// Sends requests until one is refused for this reason. Returns how many wait.
#[track_caller]
fn fill(vm: &Vm, token: impl Fn() -> String, reason: &str) -> usize {
    for waiting in 0..100 {
        let (_, outcome) = request(vm, &token());
        if !matches!(outcome, crate::host::Outcome::Paused) {
            assert_refused(&outcome, 503, reason);
            return waiting;
        }
    }
    panic!("no request should be refused");
}

#[test]
fn a_provider_that_hangs_takes_no_place_from_another() {
    let vm = start(&with_providers([fetched("slow"), fetched("quick")]), &SharedData::default());
    let key = key("one");
    assert_eq!(fill(&vm, || token_of("slow", &key), "keys_unavailable"), 24);
    let (waiting, outcome) = request(&vm, &token_of("quick", &key));
    assert_paused(&outcome);
    vm.tick();
    vm.respond(&call_on(&vm, "quick"), "200", &[], key_set(&[&key]).as_bytes());
    assert_forwarded(&vm.outcome(waiting));
    // A request whose keys are held needs no place, and the other provider still has none free.
    assert_forwarded(&request(&vm, &token_of("quick", &key)).1);
    assert_refused(&request(&vm, &token_of("slow", &key)).1, 503, "keys_unavailable");
}

#[test]
fn a_provider_that_hangs_takes_no_place_from_user_lookups_or_spending() {
    let key = key("one");
    let mut quick = fetched("quick");
    quick.as_object_mut().unwrap().retain(|name, _| name != "jwks_url" && name != "cluster");
    quick["jwks"] = json!({"keys": [key.public_jwk()]});
    quick["jti"] = json!("single_use");
    let mut configuration = with_providers([fetched("slow"), quick]);
    let scim = json!({"url": "https://directory.example.com/scim/v2", "cluster": "directory"});
    configuration["users"] = json!({ "scim": scim });
    configuration["replay_store"] = json!({"redis": {"cluster": "webdis"}});
    let vm = start(&configuration, &SharedData::default());
    // Each of three services has five places of its own, and they share the other 17.
    assert_eq!(fill(&vm, || token_of("slow", &key), "keys_unavailable"), 22);

    let (id, outcome) = request(&vm, &token_of("quick", &key));
    assert_paused(&outcome);
    vm.tick();
    let ada = json!({"totalResults": 1, "Resources": [{"userName": "ada"}]}).to_string();
    vm.respond(&call_on(&vm, "directory"), "200", &[], ada.as_bytes());
    assert_paused(&vm.outcome(id));
    vm.respond(&call_on(&vm, "webdis"), "200", &[], br#"{"SET":[true,"OK"]}"#);
    assert_forwarded(&vm.outcome(id));
}

#[test]
fn a_store_that_hangs_takes_no_place_from_requests_that_wait_for_keys() {
    let key = key("one");
    let mut single = fetched("single");
    single.as_object_mut().unwrap().retain(|name, _| name != "jwks_url" && name != "cluster");
    single["jwks"] = json!({"keys": [key.public_jwk()]});
    single["jti"] = json!("single_use");
    let mut configuration = with_providers([single, fetched("quick")]);
    configuration["replay_store"] = json!({"redis": {"cluster": "webdis"}});
    let vm = start(&configuration, &SharedData::default());
    let waiting = fill(&vm, || token_of("single", &key), "replay_store_unavailable");
    assert_eq!(waiting, 24);

    let (id, outcome) = request(&vm, &token_of("quick", &key));
    assert_paused(&outcome);
    vm.tick();
    vm.respond(&call_on(&vm, "quick"), "200", &[], key_set(&[&key]).as_bytes());
    assert_forwarded(&vm.outcome(id));
}

#[test]
fn a_directory_that_hangs_takes_no_place_from_requests_that_wait_for_keys() {
    let key = key("one");
    let mut known = fetched("known");
    known.as_object_mut().unwrap().retain(|name, _| name != "jwks_url" && name != "cluster");
    known["jwks"] = json!({"keys": [key.public_jwk()]});
    let mut configuration = with_providers([known, fetched("quick")]);
    let scim = json!({"url": "https://directory.example.com/scim/v2", "cluster": "directory"});
    configuration["users"] = json!({ "scim": scim });
    let vm = start(&configuration, &SharedData::default());
    let waiting = fill(&vm, || token_of("known", &key), "directory_unavailable");
    assert_eq!(waiting, 24);

    let (id, outcome) = request(&vm, &token_of("quick", &key));
    assert_paused(&outcome);
    vm.tick();
    vm.respond(&call_on(&vm, "quick"), "200", &[], key_set(&[&key]).as_bytes());
    // The keys are held, and now no place is left to wait for the user.
    assert_refused(&vm.outcome(id), 503, "directory_unavailable");
}
