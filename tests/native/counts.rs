//! What is counted and logged of each request, in every supported Envoy.

use std::time::Instant;

use testbed::{Bootstrap, Document, Fault, IdentityProvider, Stack, repository_root};
use tokio::task::JoinSet;

use crate::support::{SOON, envoys, stack};

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_load_is_counted() {
    /// At the same time, so that the module does not pass each count to Envoy at once.
    const REQUESTS: u32 = 100;
    for (version, envoy) in envoys() {
        let provider = IdentityProvider::start().await;
        provider.fail(Document::KeySet, Fault::Hang);
        let stack = stack().binary(envoy).provider(provider).start().await;
        let mut calls = JoinSet::new();
        for _ in 0..REQUESTS {
            let request = stack.request().bearer_auth(stack.token());
            calls.spawn(async { request.send().await.unwrap().status() });
        }
        while stack.envoy.active_requests().await != Some(u64::from(REQUESTS)) {
            tokio::task::yield_now().await;
        }
        stack.provider.heal(Document::KeySet);
        let statuses = calls.join_all().await;
        assert!(statuses.iter().all(|status| *status == 200), "{version}: {statuses:?}");
        let name = "mcp_auth_requests{provider=\"demo\",outcome=\"allowed\",reason=\"none\"}";
        assert_count(&stack, version, name, REQUESTS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcome_of_each_call_is_logged_and_counted() {
    for (version, envoy) in envoys() {
        let example = Bootstrap::from_file(&repository_root().join("envoy/audit.yaml"));
        let stack = stack().bootstrap(example).binary(envoy).start().await;
        let response = stack.call(&stack.token()).await;
        assert_eq!(response.status, 200, "{version}: {response:?}");
        stack.envoy.await_log("\"mcp_auth.outcome\":\"ok\"", SOON).await;
        let log = stack.envoy.log();
        assert!(!log.contains("\"mcp_auth.outcome\":\"unknown\""), "{version}: {log}");
        let name = "mcp_auth_calls{method=\"tools/call\",outcome=\"ok\"}";
        assert_count(&stack, version, name, 1).await;
    }
}

/// Asserts that the counter gets this value, and keeps it: also after a refused request, with which
/// the module may pass on what it has counted before.
async fn assert_count(stack: &Stack, version: &str, name: &str, expected: u32) {
    await_count(stack, version, name, expected).await;
    assert_eq!(stack.send_refused(stack.request()).await.reason(), "missing_token", "{version}");
    let refused =
        "mcp_auth_requests{provider=\"none\",outcome=\"refused\",reason=\"missing_token\"}";
    await_count(stack, version, refused, 1).await;
    await_count(stack, version, name, expected).await;
}

/// Waits until the counter has this value, which it must not exceed.
async fn await_count(stack: &Stack, version: &str, name: &str, expected: u32) {
    let asked = Instant::now();
    loop {
        let text = stack.envoy.admin("/stats/prometheus").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let count: u32 = value.map_or(0, |value| value.trim().parse().unwrap());
        if count == expected {
            return;
        }
        let is_in_time = count < expected && asked.elapsed() < SOON;
        assert!(is_in_time, "{version}: {name} is {count} and not {expected}");
        tokio::task::yield_now().await;
    }
}
