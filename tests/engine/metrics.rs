use std::time::Duration;

use serde_json::json;

use crate::host::{SharedData, Vm};
use crate::provider::{
    assert_accepted, configuration, fetch, key, request, respond_with_key_set, start, token,
};

/// Metrics whose value is not 0.
fn metrics(vm: &Vm) -> Vec<(String, u64)> {
    let all = vm.metrics().into_iter();
    all.map(|(name, value)| (name.trim_start_matches("mcp_auth_").to_owned(), value))
        .filter(|(_, value)| *value > 0)
        .collect()
}

fn expected(metrics: &[(&str, u64)]) -> Vec<(String, u64)> {
    metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[test]
fn requests_are_counted_by_provider_outcome_and_reason() {
    let mut document = configuration();
    document["exempt"] = json!([{"path": "/healthz"}]);
    let vm = start(&document, &SharedData::default());
    let key = key("one");
    fetch(&vm, &[&key]);
    let before = metrics(&vm);
    for _ in 0..3 {
        assert_accepted(&vm, &token(&key));
    }
    request(&vm, "a.b");
    request(&vm, &format!("{}x", token(&key)));
    vm.request(&[(":method", b"GET"), (":path", b"/healthz")]);
    vm.request(&[(":method", b"GET"), (":path", b"/.well-known/oauth-protected-resource")]);
    let after: Vec<_> =
        metrics(&vm).into_iter().filter(|metric| !before.contains(metric)).collect();
    assert_eq!(
        after,
        expected(&[
            ("requests.provider.example.outcome.allowed.reason.none", 3),
            ("requests.provider.none.outcome.exempt.reason.none", 1),
            ("requests.provider.none.outcome.metadata.reason.none", 1),
            ("requests.provider.none.outcome.refused.reason.malformed_token", 2),
            // The token cache was asked for three valid tokens, each new, and two others.
            ("token_cache.result.miss", 5),
        ])
    );
}

#[test]
fn fetches_and_keys_are_counted_by_provider() {
    let vm = start(&configuration(), &SharedData::default());
    assert_eq!(vm.metrics()["mcp_auth_keys.provider.example"], 0);
    vm.tick();
    vm.fail(&vm.call());
    vm.advance(Duration::from_secs(1));
    fetch(&vm, &[&key("one"), &key("two")]);
    vm.advance(Duration::from_secs(7));
    vm.tick();
    assert_eq!(
        metrics(&vm),
        expected(&[
            ("key_fetches.provider.example.result.failure", 1),
            ("key_fetches.provider.example.result.success", 1),
            ("keys.provider.example", 2),
            ("keys_age_seconds.provider.example", 7),
        ])
    );
}

#[test]
fn elements_of_a_key_set_that_are_not_keys_are_counted() {
    let vm = start(&configuration(), &SharedData::default());
    fetch(&vm, &[&key("old")]);
    vm.advance(Duration::from_secs(580));
    vm.tick();
    let keys = json!({"keys": [1, {}, key("new").public_jwk()]}).to_string();
    vm.respond(&vm.call(), "200", &[], keys.as_bytes());
    assert_eq!(vm.metrics()["mcp_auth_keys.provider.example"], 1);
    assert_eq!(vm.metrics()["mcp_auth_keys_dropped.provider.example"], 2);
    // Such elements cause no further fetch, and a fetch of a good key set resets the count.
    vm.advance(Duration::from_secs(580));
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&key("newer")]);
    assert_eq!(vm.metrics()["mcp_auth_keys_dropped.provider.example"], 0);
}
