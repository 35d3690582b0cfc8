//! Tokens that come again cost no second verification, and everything else that may have changed is
//! checked again.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey};

use crate::host::{Outcome, SharedData, Vm};
use crate::provider::{
    AUDIENCE, ISSUER, NOW, assert_accepted, assert_forwarded, assert_paused, assert_refused,
    claims, configuration, fetch, request, respond_with_key_set, start, token,
};

/// A key whose signatures the host verifies, so that the verifications can be counted.
fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::Rs256, kid)
}

/// A VM that has fetched this key.
fn with_key(configuration: &Value, key: &SigningKey) -> Vm {
    let vm = start(configuration, &SharedData::default());
    fetch(&vm, &[key]);
    vm
}

/// How many signatures this verifies.
fn verifications(vm: &Vm, deed: impl FnOnce()) -> usize {
    let before = vm.crypto_calls();
    deed();
    vm.crypto_calls() - before
}

fn count(vm: &Vm, result: &str) -> u64 {
    vm.metrics().get(&format!("mcp_auth_token_cache.result.{result}")).copied().unwrap_or(0)
}

#[test]
fn a_repeated_token_is_verified_once_and_each_token_separately() {
    let key = key("one");
    let vm = with_key(&configuration(), &key);
    let (first, second) = (token(&key), token(&key));
    let ten_times = || (0..10).for_each(|_| assert_accepted(&vm, &first));
    assert_eq!(verifications(&vm, ten_times), 1);
    assert_eq!((count(&vm, "hit"), count(&vm, "miss")), (9, 1));
    assert_eq!(verifications(&vm, || assert_accepted(&vm, &second)), 1);
    // Every byte counts: the same signature over another payload is another token.
    let (payload, signature) = first.rsplit_once('.').unwrap();
    let (other, _) = second.rsplit_once('.').unwrap();
    for forged in [format!("{other}.{signature}"), format!("{payload}.{}", "A".repeat(342))] {
        let (_, outcome) = request(&vm, &forged);
        assert_refused(&outcome, 401, "bad_signature");
    }
    assert_accepted(&vm, &first);
}

#[test]
fn a_token_is_verified_once_for_all_requests_that_waited_with_it() {
    let (published, forger) = (key("one"), key("one"));
    for is_forged in [false, true] {
        let vm = start(&configuration(), &SharedData::default());
        let token = token(if is_forged { &forger } else { &published });
        let assert_judged = |outcome: &Outcome| match is_forged {
            false => assert_forwarded(outcome),
            true => assert_refused(outcome, 401, "bad_signature"),
        };
        let waiting: Vec<u32> = (0..3).map(|_| request(&vm, &token).0).collect();
        let serve = || {
            fetch(&vm, &[&published]);
            waiting.iter().for_each(|id| assert_judged(&vm.outcome(*id)));
            assert_judged(&request(&vm, &token).1);
        };
        assert_eq!(verifications(&vm, serve), 1, "{is_forged}");
        assert_eq!((count(&vm, "hit"), count(&vm, "miss")), (1, 3));
    }
}

#[test]
fn a_token_that_waited_for_keys_expires_like_any_other() {
    let key = key("one");
    let vm = start(&configuration(), &SharedData::default());
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["exp"] = json!(NOW + 10);
    let token = key.token(&claims);
    let (id, _) = request(&vm, &token);
    fetch(&vm, &[&key]);
    assert_forwarded(&vm.outcome(id));
    vm.advance(Duration::from_secs(309));
    assert_accepted(&vm, &token);
    assert_eq!(count(&vm, "hit"), 1);
    vm.advance(Duration::from_secs(2));
    assert_refused(&request(&vm, &token).1, 401, "expired");
}

#[test]
fn a_cached_token_gives_the_same_identity() {
    let key = key("one");
    let vm = with_key(&configuration(), &key);
    let token = token(&key);
    let fields = |(_, outcome)| match outcome {
        Outcome::Forwarded(fields) => fields,
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(fields(request(&vm, &token)), fields(request(&vm, &token)));
}

#[test]
fn a_cached_token_is_refused_once_it_expires() {
    let key = key("one");
    let vm = with_key(&configuration(), &key);
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["exp"] = json!(NOW + 10);
    let token = key.token(&claims);
    assert_accepted(&vm, &token);
    vm.advance(Duration::from_secs(309));
    assert_accepted(&vm, &token);
    vm.advance(Duration::from_secs(2));
    let (_, outcome) = request(&vm, &token);
    assert_refused(&outcome, 401, "expired");
}

#[test]
fn a_cached_token_is_refused_once_it_is_too_old() {
    let key = key("one");
    let mut configuration = configuration();
    configuration["providers"][0]["max_token_age"] = json!("60s");
    let vm = with_key(&configuration, &key);
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["exp"] = json!(NOW + 10_000);
    let token = key.token(&claims);
    assert_accepted(&vm, &token);
    vm.advance(Duration::from_secs(358));
    assert_accepted(&vm, &token);
    vm.advance(Duration::from_secs(4));
    let (_, outcome) = request(&vm, &token);
    assert_refused(&outcome, 401, "token_too_old");
}

#[test]
fn a_token_of_a_withdrawn_key_is_refused_immediately_in_all_workers() {
    let (old, new) = (key("old"), key("new"));
    let shared = SharedData::default();
    let vm = start(&configuration(), &shared);
    fetch(&vm, &[&old, &new]);
    let token = token(&old);
    assert_accepted(&vm, &token);
    // Another worker publishes a key set without the key.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = start(&configuration(), &shared);
            other.advance(Duration::from_secs(580));
            other.tick();
            respond_with_key_set(&other, &other.call(), &[&new]);
        });
    });
    vm.advance(Duration::from_secs(580));
    let (id, outcome) = request(&vm, &token);
    assert_paused(&outcome);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&new]);
    assert_refused(&vm.outcome(id), 401, "unknown_kid");
}

#[test]
fn a_cached_token_is_refused_once_its_keys_are_too_stale() {
    let key = key("one");
    let mut configuration = configuration();
    configuration["keys"] = json!({"max_age": "60s", "max_stale": "60s"});
    let vm = with_key(&configuration, &key);
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["exp"] = json!(NOW + 10_000);
    let token = key.token(&claims);
    assert_accepted(&vm, &token);
    vm.advance(Duration::from_secs(121));
    let (_, outcome) = request(&vm, &token);
    assert_paused(&outcome);
}

#[test]
fn a_repeated_forged_token_is_verified_once_for_each_key_set() {
    let (published, forger) = (key("one"), key("one"));
    let vm = with_key(&configuration(), &published);
    let token = token(&forger);
    let ten_times = || {
        for _ in 0..10 {
            let (_, outcome) = request(&vm, &token);
            assert_refused(&outcome, 401, "bad_signature");
        }
    };
    assert_eq!(verifications(&vm, ten_times), 1);
    // The verdict is dropped with the key set.
    vm.advance(Duration::from_secs(580));
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&forger]);
    assert_accepted(&vm, &token);
}

#[test]
fn a_flood_of_forged_tokens_evicts_no_valid_one() {
    let (published, forger) = (key("one"), key("one"));
    let mut configuration = configuration();
    configuration["token_cache"] = json!({"entries": 10});
    let vm = with_key(&configuration, &published);
    let good: Vec<String> = (0..10).map(|_| token(&published)).collect();
    good.iter().for_each(|token| assert_accepted(&vm, token));
    for _ in 0..100 {
        let (_, outcome) = request(&vm, &token(&forger));
        assert_refused(&outcome, 401, "bad_signature");
    }
    let again = || good.iter().for_each(|token| assert_accepted(&vm, token));
    assert_eq!(verifications(&vm, again), 0);
}

#[test]
fn the_configured_number_of_tokens_is_cached() {
    let key = key("one");
    for (entries, again) in [(0, 20), (5, 15), (20, 0)] {
        let mut configuration = configuration();
        configuration["token_cache"] = json!({ "entries": entries });
        let vm = with_key(&configuration, &key);
        let tokens: Vec<String> = (0..20).map(|_| token(&key)).collect();
        let all = || tokens.iter().for_each(|token| assert_accepted(&vm, token));
        assert_eq!(verifications(&vm, all), 20);
        // The newest tokens are in the cache.
        let all = || tokens.iter().rev().for_each(|token| assert_accepted(&vm, token));
        assert_eq!(verifications(&vm, all), again, "{entries}");
    }
}

#[test]
fn a_cached_single_use_token_is_accepted_once() {
    let key = key("one");
    let mut configuration = configuration();
    configuration["providers"][0]["jti"] = json!("single_use");
    let vm = with_key(&configuration, &key);
    let token = token(&key);
    assert_accepted(&vm, &token);
    for _ in 0..3 {
        let (_, outcome) = request(&vm, &token);
        assert_refused(&outcome, 401, "jti_replayed");
    }
    assert_eq!(count(&vm, "hit"), 3);
}

#[test]
fn access_rules_are_evaluated_for_each_request_with_the_claims_they_name() {
    let key = key("one");
    let mut configuration = configuration();
    configuration["access"] = json!({"rules": [
        {"match": {"methods": ["DELETE"]}, "require": {"roles": ["admin"]}},
        {"match": {"methods": ["POST"]}, "require": {"claims": {"tid": "t"}}},
    ]});
    let vm = with_key(&configuration, &key);
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["tid"] = json!("t");
    let token = format!("Bearer {}", key.token(&claims));
    let send = |method: &[u8]| {
        let fields: [(&str, &[u8]); 3] =
            [(":method", method), (":path", b"/mcp"), ("authorization", token.as_bytes())];
        vm.request(&fields).1
    };
    for _ in 0..3 {
        assert_forwarded(&send(b"POST"));
        assert_refused(&send(b"DELETE"), 403, "access_denied");
    }
    assert_eq!(count(&vm, "miss"), 1);
}

#[test]
fn a_user_is_looked_up_again_when_the_result_has_expired() {
    let key = key("one");
    let mut configuration = configuration();
    let scim = json!({"url": "https://directory.example.com", "cluster": "directory"});
    configuration["users"] = json!({ "scim": scim });
    let vm = with_key(&configuration, &key);
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["exp"] = json!(NOW + 10_000);
    let token = key.token(&claims);
    let look_up = |active: bool| {
        let (id, outcome) = request(&vm, &token);
        assert_paused(&outcome);
        vm.tick();
        let call = vm.calls().into_iter().find(|call| call.cluster == "directory").unwrap();
        let list = json!({
            "totalResults": 1, "Resources": [{"userName": "ada", "active": active}],
        });
        vm.respond(&call, "200", &[], list.to_string().as_bytes());
        vm.outcome(id)
    };
    assert_forwarded(&look_up(true));
    let three_times = || (0..3).for_each(|_| assert_accepted(&vm, &token));
    assert_eq!(verifications(&vm, three_times), 0);
    assert_eq!(count(&vm, "hit"), 3);
    vm.advance(Duration::from_secs(300));
    assert_refused(&look_up(false), 403, "user_inactive");
    let (_, outcome) = request(&vm, &token);
    assert_refused(&outcome, 403, "user_inactive");
}

#[test]
fn a_token_without_kid_that_no_key_verified_may_have_keys_fetched_again_after_the_cooldown() {
    let (old, new) = (key("one"), key("two"));
    let vm = with_key(&configuration(), &old);
    let mut header = new.header();
    header.as_object_mut().unwrap().remove("kid");
    let token = new.sign(&header, &claims(ISSUER, AUDIENCE));
    // Its own key may be neither held nor published yet.
    let (id, outcome) = request(&vm, &token);
    assert_paused(&outcome);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&old]);
    assert_refused(&vm.outcome(id), 401, "bad_signature");
    for _ in 0..2 {
        let (_, outcome) = request(&vm, &token);
        assert_refused(&outcome, 401, "bad_signature");
    }
    vm.advance(Duration::from_secs(31));
    let (id, outcome) = request(&vm, &token);
    assert_paused(&outcome);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&old, &new]);
    assert_forwarded(&vm.outcome(id));
}
