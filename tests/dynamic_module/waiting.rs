use std::time::{Duration, Instant};

use crate::envoy::{Envoy, schedulers};
use crate::provider::{Provider, assert_identity, open, start};

fn start_without_keys(provider: &Provider) -> (Envoy, usize) {
    let envoy = Envoy::start();
    let configuration = provider.configuration().to_string();
    let config = envoy.configure("mcp-federated-auth", &configuration).unwrap();
    (envoy, config)
}

#[test]
fn requests_wait_for_keys_and_are_woken_when_they_arrive() {
    let provider = Provider::new();
    let (envoy, config) = start_without_keys(&provider);
    let streams: Vec<usize> =
        (0..3).map(|_| open(&envoy, config, &provider.token(), true)).collect();
    for stream in &streams {
        assert_eq!(envoy.status(*stream), 4);
    }
    assert_eq!(schedulers(), 4);
    provider.serve_keys(&envoy);
    envoy.run_until("all are forwarded", |envoy| {
        streams.iter().all(|stream| envoy.is_resumed(*stream))
    });
    for stream in streams {
        assert_identity(&envoy, stream);
    }
    assert_eq!(schedulers(), 1, "only the configuration's");
    assert!(envoy.callouts().is_empty());
}

#[test]
fn keys_that_arrive_before_a_stream_has_a_scheduler_wake_it() {
    let provider = Provider::new();
    let (envoy, config) = start_without_keys(&provider);
    let (fetch, key_set) = (envoy.await_callout("/jwks"), provider.key_set());
    envoy.before_next_scheduler(move |envoy| {
        envoy.respond(&fetch, Some(("200", key_set.as_bytes())));
    });
    let stream = open(&envoy, config, &provider.token(), true);
    assert_eq!(envoy.status(stream), 4);
    // It is woken by the keys and not by the timer.
    envoy.run();
    assert!(envoy.is_resumed(stream));
    assert_identity(&envoy, stream);
}

#[test]
fn waiting_streams_are_judged_when_woken_and_rarely_ticked_before() {
    let provider = Provider::new();
    let (envoy, config) = start_without_keys(&provider);
    let fetch = envoy.await_callout("/jwks");
    let opened = Instant::now();
    let streams: Vec<usize> =
        (0..3).map(|_| open(&envoy, config, &provider.token(), true)).collect();
    // The timer wakes a stream after a second at the earliest, to request the keys again.
    envoy.run_until("the timer wakes one", |envoy| envoy.scheduled() > 0);
    assert!(opened.elapsed() >= Duration::from_secs(1), "{:?}", opened.elapsed());
    envoy.respond(&fetch, Some(("200", provider.key_set().as_bytes())));
    envoy.run();
    assert!(streams.iter().all(|stream| envoy.is_resumed(*stream)));
    assert_eq!(envoy.scheduled(), 2);
}

#[test]
fn if_a_woken_stream_has_ended_the_next_one_is_woken() {
    let provider = Provider::new();
    let (envoy, config) = start_without_keys(&provider);
    let [first, second] = [(); 2].map(|()| open(&envoy, config, &provider.token(), true));
    // Wakes the first stream.
    provider.serve_keys(&envoy);
    envoy.close(first);
    envoy.run_until("the second is forwarded", |envoy| envoy.is_resumed(second));
}

#[test]
fn a_request_with_an_unknown_key_waits_for_its_fetch() {
    let mut provider = Provider::new();
    let (envoy, config) = start(&provider);
    open(&envoy, config, &provider.token(), true);
    provider.key = testkit::SigningKey::generate(testkit::Algorithm::Es256, "two");
    let stream = open(&envoy, config, &provider.token(), true);
    assert_eq!(envoy.status(stream), 4);
    provider.serve_keys(&envoy);
    envoy.run_until("the request is forwarded", |envoy| envoy.is_resumed(stream));
    assert_identity(&envoy, stream);
}

#[test]
fn a_failed_fetch_refuses_the_waiting_requests() {
    let provider = Provider::new();
    let (envoy, config) = start_without_keys(&provider);
    let stream = open(&envoy, config, &provider.token(), true);
    envoy.end_with_response(stream);
    let callout = envoy.await_callout("/jwks");
    envoy.respond(&callout, None);
    envoy.run_until("the fetch has failed", |_| schedulers() == 1);
    let refused = open(&envoy, config, &provider.token(), true);
    let response = envoy.response(refused).unwrap();
    assert_eq!((response.status, response.reason().as_str()), (503, "keys_unavailable"));
}

#[test]
fn a_configuration_can_be_removed_while_requests_and_callouts_are_active() {
    let provider = Provider::new();
    let (envoy, config) = start_without_keys(&provider);
    let stream = open(&envoy, config, &provider.token(), true);
    let callout = envoy.await_callout("/jwks");
    envoy.close(stream);
    envoy.remove(config);
    assert_eq!(schedulers(), 0);
    envoy.respond(&callout, Some(("200", b"{}")));
    envoy.run();
    // The next fetch may take over the lease.
    let next = envoy.configure("mcp-federated-auth", &provider.configuration().to_string());
    assert!(next.is_some());
}

#[test]
fn a_stream_that_ends_while_another_is_resumed_is_not_used_again() {
    let provider = Provider::new();
    let (envoy, config) = start_without_keys(&provider);
    let [first, second] = [(); 2].map(|()| open(&envoy, config, &provider.token(), true));
    envoy.at_next_resumption(move |envoy| envoy.close(second));
    provider.serve_keys(&envoy);
    envoy.run_until("the first is forwarded", |envoy| envoy.is_resumed(first));
    assert!(!envoy.is_there(second));
}
