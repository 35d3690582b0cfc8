//! Tokens without `kid`: up to eight keys are tried for each, so the cost is bounded.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey};

use crate::host::{SharedData, Vm};
use crate::provider::{
    AUDIENCE, ISSUER, assert_accepted, assert_forwarded, assert_paused, assert_refused, claims,
    configuration, fetch, request, respond_with_key_set, start, token,
};

/// How often a worker resumes waiting requests.
const TICK: Duration = Duration::from_millis(20);
/// The maximum of keys that are tried for a token.
const TRIED: usize = 8;
/// The maximum of verifications by Envoy in one callback, and what the last token may need in
/// addition.
const BATCH: usize = 64 + TRIED - 1;
/// An algorithm that is verified in the sandbox.
const SANDBOXED: Algorithm = Algorithm::Ps256;
/// The verifications in the sandbox that the budget has at the start, beyond one for each token.
const SAVED: usize = 64;

fn keys(algorithm: Algorithm, name: &str, count: usize) -> Vec<SigningKey> {
    (0..count).map(|index| SigningKey::generate(algorithm, format!("{name} {index}"))).collect()
}

fn nameless(key: &SigningKey) -> String {
    let mut header = key.header();
    header.as_object_mut().unwrap().remove("kid");
    key.sign(&header, &claims(ISSUER, AUDIENCE))
}

fn fetch_all(vm: &Vm, keys: &[SigningKey]) {
    fetch(vm, &keys.iter().collect::<Vec<_>>());
}

/// A provider whose keys are in the configuration.
fn with_keys(keys: &[SigningKey]) -> Value {
    let mut document = configuration();
    let provider = document["providers"][0].as_object_mut().unwrap();
    provider.retain(|name, _| name != "metadata_url" && name != "cluster");
    let set: Vec<Value> = keys.iter().map(SigningKey::public_jwk).collect();
    provider.insert("jwks".to_owned(), json!({ "keys": set }));
    document
}

/// Advances to the next tick.
fn tick(vm: &Vm) {
    vm.advance(TICK);
    vm.tick();
}

#[test]
fn no_token_is_verified_again_during_a_slow_fetch() {
    let vm = start(&configuration(), &SharedData::default());
    let (old, new) = (keys(Algorithm::Es256, "old", TRIED), keys(Algorithm::Es256, "new", 3));
    fetch_all(&vm, &old);
    let forger = SigningKey::generate(Algorithm::Es256, "forger");
    let before = vm.crypto_calls();
    let forged: Vec<u32> = (0..100).map(|_| request(&vm, &nameless(&forger)).0).collect();
    let (good, outcome) = request(&vm, &nameless(&new[2]));
    assert_paused(&outcome);
    assert_eq!(vm.crypto_calls() - before, 101 * TRIED);

    for _ in 0..100 {
        tick(&vm);
    }
    assert_eq!(vm.crypto_calls() - before, 101 * TRIED);
    forged.iter().for_each(|id| assert_paused(&vm.outcome(*id)));
    // Other tokens are verified meanwhile.
    assert_accepted(&vm, &token(&old[0]));

    let before = vm.crypto_calls();
    respond_with_key_set(&vm, &vm.call(), &new.iter().collect::<Vec<_>>());
    while vm.tick_period() == Some(Duration::from_millis(1)) {
        vm.tick();
    }
    assert_eq!(vm.crypto_calls() - before, 101 * new.len());
    forged.iter().for_each(|id| assert_refused(&vm.outcome(*id), 401, "bad_signature"));
    assert_forwarded(&vm.outcome(good));
}

#[test]
fn new_keys_are_tried_in_portions_however_many_tokens_wait() {
    let vm = start(&configuration(), &SharedData::default());
    fetch_all(&vm, &keys(Algorithm::Es256, "old", 1));
    let forger = SigningKey::generate(Algorithm::Es256, "forger");
    let forged: Vec<u32> = (0..100).map(|_| request(&vm, &nameless(&forger)).0).collect();
    vm.tick();
    let (call, new) = (vm.call(), keys(Algorithm::Es256, "new", TRIED));
    let mut before = vm.crypto_calls();
    respond_with_key_set(&vm, &call, &new.iter().collect::<Vec<_>>());
    let mut portions = 0;
    loop {
        let cost = vm.crypto_calls() - before;
        assert!(cost <= BATCH, "{cost} verifications in one callback");
        portions += 1;
        if vm.tick_period() != Some(Duration::from_millis(1)) {
            break;
        }
        before = vm.crypto_calls();
        vm.tick();
    }
    assert!(portions > 10, "{portions}");
    forged.iter().for_each(|id| assert_refused(&vm.outcome(*id), 401, "bad_signature"));
}

#[test]
fn a_fetch_that_fails_ends_the_wait_without_another_verification() {
    let vm = start(&configuration(), &SharedData::default());
    fetch_all(&vm, &keys(Algorithm::Es256, "old", 3));
    let forger = SigningKey::generate(Algorithm::Es256, "forger");
    let (id, outcome) = request(&vm, &nameless(&forger));
    assert_paused(&outcome);
    let before = vm.crypto_calls();
    vm.tick();
    vm.fail(&vm.call());
    assert_refused(&vm.outcome(id), 401, "bad_signature");
    assert_eq!(vm.crypto_calls(), before);
}

#[test]
fn trying_eight_keys_in_the_sandbox_uses_the_budget() {
    let keys = keys(SANDBOXED, "key", TRIED);
    let vm = start(&with_keys(&keys), &SharedData::default());
    let forger = SigningKey::generate(SANDBOXED, "forger");
    let at_once = SAVED / (TRIED - 1);
    for _ in 0..at_once {
        assert_refused(&request(&vm, &nameless(&forger)).1, 401, "bad_signature");
    }
    let waiting: Vec<u32> = (0..20).map(|_| request(&vm, &nameless(&forger)).0).collect();
    waiting.iter().for_each(|id| assert_paused(&vm.outcome(*id)));

    // A token with a `kid`, or one verified by the first key, needs no budget.
    keys.iter().for_each(|key| assert_accepted(&vm, &token(key)));
    assert_accepted(&vm, &nameless(&keys[0]));
    assert_refused(&request(&vm, &token(&forger.with_kid("key 0"))).1, 401, "bad_signature");
    // Any other token waits for its turn.
    let (good, outcome) = request(&vm, &nameless(&keys[TRIED - 1]));
    assert_paused(&outcome);

    // Each tick allows five more verifications.
    let mut ticks = 0;
    while matches!(vm.outcome(good), crate::host::Outcome::Paused) {
        tick(&vm);
        ticks += 1;
        assert!(ticks < 100);
    }
    assert_forwarded(&vm.outcome(good));
    waiting.iter().for_each(|id| assert_refused(&vm.outcome(*id), 401, "bad_signature"));
    let verifications = 21 * (TRIED - 1) - (SAVED - at_once * (TRIED - 1));
    assert_eq!(ticks, verifications.div_ceil(5));
    // No request waits any more.
    assert_eq!(vm.tick_period(), Some(Duration::from_secs(1)));
    assert_paused(&request(&vm, &nameless(&forger)).1);
    vm.advance(Duration::from_secs(1));
    vm.tick();
    assert_refused(&request(&vm, &nameless(&forger)).1, 401, "bad_signature");
}

#[test]
fn later_requests_do_not_overtake_those_that_wait_for_their_turn() {
    let keys = keys(SANDBOXED, "key", TRIED);
    let vm = start(&with_keys(&keys), &SharedData::default());
    let forger = SigningKey::generate(SANDBOXED, "forger");
    for _ in 0..SAVED / (TRIED - 1) {
        assert_refused(&request(&vm, &nameless(&forger)).1, 401, "bad_signature");
    }
    let (good, outcome) = request(&vm, &nameless(&keys[TRIED - 1]));
    assert_paused(&outcome);
    // Five keys in each tick; one key is left.
    tick(&vm);
    assert_paused(&vm.outcome(good));
    // By now the budget suffices for one request, and the one that waited must get it.
    vm.advance(TICK);
    assert_paused(&request(&vm, &nameless(&forger)).1);
    vm.tick();
    assert_forwarded(&vm.outcome(good));
}

#[test]
fn a_token_that_waited_for_its_turn_is_cached() {
    let keys = keys(SANDBOXED, "key", 2);
    let vm = start(&with_keys(&keys), &SharedData::default());
    let forger = SigningKey::generate(SANDBOXED, "forger");
    for _ in 0..SAVED {
        assert_refused(&request(&vm, &nameless(&forger)).1, 401, "bad_signature");
    }
    let tokens = [nameless(&keys[1]), nameless(&forger)];
    let waiting = tokens.each_ref().map(|token| request(&vm, token));
    waiting.iter().for_each(|(_, outcome)| assert_paused(outcome));
    tick(&vm);
    let hits = || vm.metrics().get("mcp_auth_token_cache.result.hit").copied();
    assert_eq!(hits(), None);
    for ((id, _), token) in waiting.iter().zip(&tokens) {
        let again = request(&vm, token).1;
        assert_eq!(format!("{again:?}"), format!("{:?}", vm.outcome(*id)));
    }
    assert_eq!(hits(), Some(2));
}

#[test]
fn a_request_that_misses_its_turn_gets_503_with_retry_after() {
    let keys = keys(SANDBOXED, "key", 2);
    let mut document = with_keys(&keys);
    // There is one place for requests that wait for their turn.
    document["max_token_size"] = json!("8MiB");
    let vm = start(&document, &SharedData::default());
    let forger = SigningKey::generate(SANDBOXED, "forger");
    for _ in 0..SAVED {
        assert_refused(&request(&vm, &nameless(&forger)).1, 401, "bad_signature");
    }
    let (waiting, outcome) = request(&vm, &nameless(&keys[1]));
    assert_paused(&outcome);
    let (_, outcome) = request(&vm, &nameless(&keys[1]));
    assert_refused(&outcome, 503, "keys_unavailable");
    assert_accepted(&vm, &token(&keys[1]));
    tick(&vm);
    assert_forwarded(&vm.outcome(waiting));
}

#[test]
fn a_client_that_disconnects_while_it_waits_for_its_turn_delays_no_other() {
    let keys = keys(SANDBOXED, "key", 2);
    let vm = start(&with_keys(&keys), &SharedData::default());
    let forger = SigningKey::generate(SANDBOXED, "forger");
    for _ in 0..SAVED {
        request(&vm, &nameless(&forger));
    }
    let (gone, outcome) = request(&vm, &nameless(&keys[1]));
    assert_paused(&outcome);
    vm.close(gone);
    tick(&vm);
    assert_eq!(vm.tick_period(), Some(Duration::from_secs(1)));
    assert_accepted(&vm, &nameless(&keys[1]));
}
