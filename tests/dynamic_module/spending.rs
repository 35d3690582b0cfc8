//! Single-use tokens whose store is called by the main thread for the workers.

use serde_json::json;
use testkit::{claims, random_id};

use crate::envoy::{Callout, Envoy};
use crate::provider::{Provider, assert_identity, open, start_with};

const SPENT_NOW: &[u8] = br#"{"SET":[true,"OK"]}"#;

fn start(provider: &Provider) -> (Envoy, usize) {
    let mut configuration = provider.configuration();
    configuration["providers"][0]["jti"] = json!("single_use");
    configuration["replay_store"] = json!({"redis": {"cluster": "webdis"}});
    start_with(provider, &configuration)
}

/// A token that was not sent before.
fn token(provider: &Provider) -> String {
    let mut claims = claims(&provider.issuer, "mcp");
    claims["jti"] = json!(random_id());
    provider.key.token(&claims)
}

/// The next callout of the main thread to the store.
fn next_callout(envoy: &Envoy) -> Callout {
    envoy.run_main();
    envoy.callouts().pop().unwrap()
}

fn respond_to_next(envoy: &Envoy) {
    let callout = next_callout(envoy);
    assert_eq!(callout.cluster, "webdis");
    envoy.respond(&callout, Some(("200", SPENT_NOW)));
}

#[test]
fn a_request_is_forwarded_once_its_token_is_spent() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let stream = open(&envoy, config, &token(&provider), true);
    assert_eq!(envoy.status(stream), 4);
    respond_to_next(&envoy);
    envoy.run();
    assert!(envoy.is_resumed(stream));
    assert_identity(&envoy, stream);
}

#[test]
fn a_response_that_arrives_before_a_stream_has_a_scheduler_wakes_it() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    envoy.before_next_scheduler(respond_to_next);
    let stream = open(&envoy, config, &token(&provider), true);
    assert_eq!(envoy.status(stream), 4);
    // It is woken by the response and not by the timer.
    envoy.run();
    assert!(envoy.is_resumed(stream));
    assert_identity(&envoy, stream);
}

#[test]
fn a_request_that_is_decided_while_its_callback_resumes_another_is_forwarded() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let first = open(&envoy, config, &token(&provider), true);
    respond_to_next(&envoy);
    // The second request's callback resumes the first. Meanwhile the second one's response arrives,
    // and Envoy runs the callback of a third, which handles that response.
    envoy.at_next_resumption(move |envoy| {
        respond_to_next(envoy);
        let third = open(envoy, config, "no-token", true);
        assert_eq!(envoy.response(third).unwrap().status, 401);
    });
    let second = open(&envoy, config, &token(&provider), true);
    assert_eq!(envoy.status(second), 0);
    assert!(envoy.is_resumed(first));
    for stream in [first, second] {
        assert_identity(&envoy, stream);
    }
}
