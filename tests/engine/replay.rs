use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use log::Level;
use serde_json::{Value, json};
use testkit::{SigningKey, random_id};

use crate::host::{Outcome, SharedData, Vm, log_of};
use crate::provider::{
    AUDIENCE, ISSUER, NOW, assert_accepted, assert_forwarded, assert_paused, assert_refused,
    claims, configuration, fetch, key, request, start,
};

/// As long as the other issuer.
const OTHER: &str = "https://di.example.com";

/// Two providers with single-use tokens. Only one of them has its keys in the configuration.
pub fn single_use(key: &SigningKey) -> Value {
    let mut configuration = configuration();
    let provider = &mut configuration["providers"][0];
    provider["jti"] = json!("single_use");
    provider.as_object_mut().unwrap().retain(|name, _| name != "metadata_url" && name != "cluster");
    provider["jwks"] = json!({"keys": [key.public_jwk()]});
    let mut other = provider.clone();
    other["name"] = json!("other");
    other["issuer"] = json!(OTHER);
    configuration["providers"].as_array_mut().unwrap().push(other);
    configuration
}

/// A token with this `jti`.
pub fn token_with(key: &SigningKey, issuer: &str, token_id: &str) -> String {
    let mut claims = claims(issuer, AUDIENCE);
    claims["jti"] = json!(token_id);
    key.token(&claims)
}

#[track_caller]
fn assert_replayed(vm: &Vm, token: &str) {
    assert_refused(&request(vm, token).1, 401, "jti_replayed");
}

#[track_caller]
fn assert_unavailable(vm: &Vm, token: &str) {
    assert_refused(&request(vm, token).1, 503, "replay_store_unavailable");
}

/// The names of the shared values that hold spent tokens.
pub fn names(shared: &SharedData) -> Vec<String> {
    let names = shared.names();
    names.into_iter().filter(|name| name.contains("/spent-tokens/")).collect()
}

#[test]
fn a_token_that_many_workers_spend_simultaneously_passes_in_exactly_one() {
    const WORKERS: usize = 8;
    let key = key("one");
    let configuration = single_use(&key);
    let shared = SharedData::default();
    let tokens: Vec<_> = (0..50).map(|_| token_with(&key, ISSUER, &random_id())).collect();
    let barrier = Arc::new(Barrier::new(WORKERS));
    let forwarded: Vec<Vec<usize>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                scope.spawn(|| {
                    let vm = start(&configuration, &shared);
                    let pass = |token| {
                        barrier.wait();
                        match request(&vm, token).1 {
                            Outcome::Forwarded(_) => 1,
                            refused => {
                                assert_refused(&refused, 401, "jti_replayed");
                                0
                            }
                        }
                    };
                    tokens.iter().map(|token| pass(token)).collect()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    for token in 0..tokens.len() {
        let passed: usize = forwarded.iter().map(|worker| worker[token]).sum();
        assert_eq!(passed, 1, "token {token}");
    }
}

#[test]
fn workers_that_spend_different_tokens_simultaneously_lose_none() {
    let key = key("one");
    let configuration = single_use(&key);
    let shared = SharedData::default();
    let mint = || (0..200).map(|_| token_with(&key, ISSUER, &random_id())).collect();
    let tokens: Vec<Vec<String>> = (0..4).map(|_| mint()).collect();
    thread::scope(|scope| {
        for tokens in &tokens {
            scope.spawn(|| {
                let vm = start(&configuration, &shared);
                tokens.iter().for_each(|token| assert_accepted(&vm, token));
            });
        }
    });
    let vm = start(&configuration, &shared);
    tokens.iter().flatten().for_each(|token| assert_replayed(&vm, token));
}

#[test]
fn a_later_worker_knows_the_spent_tokens_even_under_another_configuration() {
    let key = key("one");
    let shared = SharedData::default();
    let token = token_with(&key, ISSUER, "1");
    assert_accepted(&start(&single_use(&key), &shared), &token);
    assert_replayed(&start(&single_use(&key), &shared), &token);
    let mut changed = single_use(&key);
    changed["resource"]["url"] = json!("https://other.example.com/mcp");
    changed["providers"][0]["name"] = json!("renamed");
    changed["providers"][0]["clock_skew"] = json!("10s");
    assert_replayed(&start(&changed, &shared), &token);
    // Another process.
    assert_accepted(&start(&single_use(&key), &SharedData::default()), &token);
}

#[test]
fn the_same_id_of_another_issuer_is_another_token() {
    let key = key("one");
    let vm = start(&single_use(&key), &SharedData::default());
    for issuer in [ISSUER, OTHER] {
        assert_accepted(&vm, &token_with(&key, issuer, "1"));
        assert_replayed(&vm, &token_with(&key, issuer, "1"));
    }
}

#[test]
fn an_id_can_be_used_again_once_its_token_has_expired_by_more_than_the_clock_skew() {
    let key = key("one");
    let vm = start(&single_use(&key), &SharedData::default());
    let token = |expires: u64| {
        let mut claims = claims(ISSUER, AUDIENCE);
        claims["jti"] = json!("1");
        claims["exp"] = json!(expires);
        key.token(&claims)
    };
    assert_accepted(&vm, &token(NOW + 100));
    vm.advance(Duration::from_secs(395));
    assert_replayed(&vm, &token(NOW + 100));
    assert_replayed(&vm, &token(NOW + 1000));
    vm.advance(Duration::from_secs(10));
    assert_refused(&request(&vm, &token(NOW + 100)).1, 401, "expired");
    assert_accepted(&vm, &token(NOW + 1000));
    assert_replayed(&vm, &token(NOW + 1000));
}

#[test]
fn a_maximum_age_limits_how_long_a_token_is_remembered() {
    let key = key("one");
    let shared = SharedData::default();
    let mut configuration = single_use(&key);
    configuration["providers"][0]["max_token_age"] = json!("60s");
    let vm = start(&configuration, &shared);
    let token = |age: u64| {
        let mut claims = claims(ISSUER, AUDIENCE);
        claims["jti"] = json!("1");
        claims["iat"] = json!(NOW + age);
        claims["exp"] = json!(NOW + 1_000_000_000);
        key.token(&claims)
    };
    assert_accepted(&vm, &token(0));
    vm.advance(Duration::from_secs(350));
    assert_replayed(&vm, &token(350));
    vm.advance(Duration::from_secs(20));
    assert_refused(&request(&vm, &token(0)).1, 401, "token_too_old");
    assert_accepted(&vm, &token(370));
}

#[test]
fn a_token_that_is_refused_is_not_spent() {
    let (key, stranger) = (key("one"), key("one"));
    let vm = start(&single_use(&key), &SharedData::default());
    let good = token_with(&key, ISSUER, "1");
    assert_refused(&request(&vm, &token_with(&stranger, ISSUER, "1")).1, 401, "bad_signature");
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["jti"] = json!("1");
    claims.as_object_mut().unwrap().remove("sub");
    assert_refused(&request(&vm, &key.token(&claims)).1, 401, "missing_claim");
    assert_accepted(&vm, &good);
    assert_replayed(&vm, &good);
}

#[test]
fn a_token_that_waited_for_keys_is_spent_when_its_request_continues() {
    let shared = SharedData::default();
    let key = key("one");
    let mut configuration = configuration();
    configuration["providers"][0]["jti"] = json!("single_use");
    let vm = start(&configuration, &shared);
    let token = token_with(&key, ISSUER, "1");
    let waiting: Vec<_> = (0..3).map(|_| request(&vm, &token)).collect();
    waiting.iter().for_each(|(_, outcome)| assert_paused(outcome));
    assert_eq!(names(&shared), [""; 0]);
    // A request whose client has disconnected does not spend its token.
    vm.close(waiting[0].0);
    fetch(&vm, &[&key]);
    assert_forwarded(&vm.outcome(waiting[1].0));
    assert_refused(&vm.outcome(waiting[2].0), 401, "jti_replayed");
}

#[test]
fn a_full_store_refuses_new_tokens_and_forgets_none() {
    let key = key("one");
    let shared = SharedData::default();
    let vm = start(&single_use(&key), &shared);
    let token = token_with(&key, ISSUER, "1");
    assert_accepted(&vm, &token);
    let names = names(&shared);
    assert_eq!(names.len(), 1);
    // Fills the shard with copies of the token's entry.
    let (name, one) = (&names[0], shared.value(&names[0]));
    let (header, entry) = one.split_at(one.len() - 20);
    let full = [header, &entry.repeat(512)].concat();
    shared.overwrite(name, &full);
    let tokens = || (0..5000).map(|number| token_with(&key, ISSUER, &format!("other-{number}")));
    let outcomes = tokens().map(|token| (request(&vm, &token).1, token));
    let (outcome, refused) =
        outcomes.into_iter().find(|(outcome, _)| matches!(outcome, Outcome::Refused(_))).unwrap();
    assert_refused(&outcome, 503, "replay_store_unavailable");
    let log = log_of(Level::Warn).pop().unwrap();
    assert!(log.contains("provider=example") && log.contains("there is no room"), "{log}");
    assert_eq!(shared.value(name), full);
    assert_replayed(&vm, &token);
    // Tokens of other shards still pass, and they are all that was added.
    let too_long: Vec<_> =
        shared.names().into_iter().filter(|name| shared.value(name).len() > full.len()).collect();
    assert_eq!(too_long, [""; 0]);
    // The entries have expired, and so has the refused token. A new token with the `jti` passes.
    vm.advance(Duration::from_secs(700));
    assert_refused(&request(&vm, &refused).1, 401, "expired");
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["jti"] = json!("1");
    claims["exp"] = json!(NOW + 1000);
    assert_accepted(&vm, &key.token(&claims));
    assert_eq!(shared.value(name).len(), one.len());
}

#[test]
fn a_shard_with_foreign_bytes_refuses_every_token_and_is_kept() {
    let long = vec![1; 1 << 20];
    for bytes in [&b""[..], b"\0\0\0\0\0", b"{}", b"\x01\0\0\0\0x", &long] {
        let key = key("one");
        let shared = SharedData::default();
        let vm = start(&single_use(&key), &shared);
        let token = token_with(&key, ISSUER, "1");
        assert_accepted(&vm, &token);
        let names = names(&shared);
        assert_eq!(shared.overwrite(&names[0], bytes), 1);
        assert_unavailable(&vm, &token);
        vm.advance(Duration::from_secs(500));
        assert_unavailable(&vm, &token);
        assert_eq!(shared.value(&names[0]), bytes);
        let log = log_of(Level::Warn).pop().unwrap();
        assert!(log.contains("something else wrote"), "{log}");
        // One of 256 shards is affected, so most tokens still pass.
        let others = (0..50).map(|number| token_with(&key, ISSUER, &format!("other-{number}")));
        let passed = others.filter(|token| matches!(request(&vm, token).1, Outcome::Forwarded(_)));
        assert!(passed.count() > 40);
    }
}

#[test]
fn metadata_documents_and_exempt_paths_spend_no_token() {
    let key = key("one");
    let shared = SharedData::default();
    let mut configuration = single_use(&key);
    configuration["exempt"] = json!([{"path": "/healthz"}]);
    let vm = start(&configuration, &shared);
    let token = token_with(&key, ISSUER, "1");
    let authorization = format!("Bearer {token}");
    let get = |path: &str| {
        let (_, outcome) = vm.request(&[
            (":method", b"GET"),
            (":path", path.as_bytes()),
            (":authority", b"mcp.example.com"),
            ("authorization", authorization.as_bytes()),
        ]);
        outcome
    };
    let outcome = get("/.well-known/oauth-protected-resource/mcp");
    let Outcome::Refused(response) = outcome else { panic!("{outcome:?}") };
    assert_eq!(response.status, 200);
    assert!(matches!(get("/healthz"), Outcome::Forwarded(_)));
    assert_eq!(names(&shared), [""; 0]);
    assert_accepted(&vm, &token);
}

#[test]
fn nothing_is_stored_for_reusable_tokens() {
    let key = key("one");
    for rule in ["ignore", "require"] {
        let shared = SharedData::default();
        let mut configuration = single_use(&key);
        configuration["providers"][0]["jti"] = json!(rule);
        let vm = start(&configuration, &shared);
        let token = token_with(&key, ISSUER, "1");
        assert_accepted(&vm, &token);
        assert_accepted(&vm, &token);
        assert_eq!(names(&shared), [""; 0]);
    }
}
