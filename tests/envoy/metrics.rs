//! The metrics that Prometheus scrapes.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{KeptConnection, SigningKey, Stack};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{add_providers, call_on, static_provider, with, with_direct_responses};

/// The lines of the plugin's metrics, without those whose value is 0, sorted.
async fn scrape(stack: &Stack) -> Vec<String> {
    let text = stack.envoy.admin("/stats/prometheus").await;
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("mcp_auth_") && !line.ends_with(" 0"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_labels_by_the_tags_of_the_example() {
    let key = SigningKey::generate(testbed::Algorithm::Es256, "own");
    let inline = static_provider("own-keys_2", &[&key], json!({}));
    let stack = Stack::builder()
        .alone()
        .workers(2)
        .configure(move |configuration| add_providers(configuration, [inline]))
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(stack.call(&stack.token()).await.status, 200);
    }
    stack.call_refused("a.b").await;
    let expired = with(&stack.claims(), "exp", 1);
    stack.call_refused(&stack.provider.token(&expired)).await;
    let expected = [
        "mcp_auth_key_fetches{provider=\"demo\",result=\"success\"} 1",
        "mcp_auth_keys{provider=\"demo\"} 1",
        "mcp_auth_keys{provider=\"own-keys_2\"} 1",
        "mcp_auth_requests{provider=\"demo\",outcome=\"allowed\",reason=\"none\"} 3",
        "mcp_auth_requests{provider=\"demo\",outcome=\"refused\",reason=\"expired\"} 1",
        "mcp_auth_requests{provider=\"none\",outcome=\"refused\",reason=\"malformed_token\"} 1",
        "mcp_auth_token_cache{result=\"miss\"} 5",
    ];
    let found: Vec<String> = scrape(&stack)
        .await
        .into_iter()
        .filter(|line| !line.starts_with("mcp_auth_keys_age_seconds"))
        .collect();
    assert_eq!(found, expected);
}

/// The native module reports requests to Envoy in batches, with a short delay.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_a_load_is_lost_or_counted_twice() {
    const CONNECTIONS: usize = 4;
    const REQUESTS: usize = 500;
    let stack = with_direct_responses(Stack::builder().alone().workers(2)).start().await;
    let token = stack.token();
    assert_eq!(stack.call(&token).await.status, 200);
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (token, address) = (token.clone(), stack.envoy.address());
        clients.spawn(async move {
            let mut connection = KeptConnection::open(address).await.unwrap();
            for _ in 0..REQUESTS {
                assert_eq!(call_on(&mut connection, &token).await.status, 200);
            }
        });
    }
    clients.join_all().await;
    let ended = Instant::now();
    let expected = CONNECTIONS * REQUESTS + 1;
    while allowed(&stack).await < expected {
        assert!(ended.elapsed() < Duration::from_secs(5), "{}", allowed(&stack).await);
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stack.call(&token).await.status, 200);
    assert_eq!(allowed(&stack).await, expected + 1);
}

async fn allowed(stack: &Stack) -> usize {
    const NAME: &str = "mcp_auth_requests{provider=\"demo\",outcome=\"allowed\",reason=\"none\"} ";
    let lines = scrape(stack).await;
    let value = lines.iter().find_map(|line| line.strip_prefix(NAME));
    value.map_or(0, |value| value.parse().unwrap())
}
