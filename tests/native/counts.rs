//! What is counted and logged of each request, in every supported Envoy.

use std::time::Instant;

use testbed::{Bootstrap, Stack, repository_root};

use crate::support::{SOON, envoys, stack};

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_load_is_counted() {
    /// More than Envoy is told of at once.
    const REQUESTS: usize = 200;
    for (version, envoy) in envoys() {
        let stack = stack().binary(envoy).start().await;
        let token = stack.token();
        for _ in 0..REQUESTS {
            assert_eq!(stack.call(&token).await.status, 200, "{version}");
        }
        let name = "mcp_auth_requests{provider=\"demo\",outcome=\"allowed\",reason=\"none\"}";
        await_count(&stack, version, name, REQUESTS).await;
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
        await_count(&stack, version, name, 1).await;
    }
}

/// Waits until the counter has this value, which it must not exceed.
async fn await_count(stack: &Stack, version: &str, name: &str, expected: usize) {
    let asked = Instant::now();
    loop {
        let text = stack.envoy.admin("/stats/prometheus").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let count: usize = value.map_or(0, |value| value.trim().parse().unwrap());
        if count == expected {
            return;
        }
        let is_in_time = count < expected && asked.elapsed() < SOON;
        assert!(is_in_time, "{version}: {name} is {count} and not {expected}");
        tokio::task::yield_now().await;
    }
}
