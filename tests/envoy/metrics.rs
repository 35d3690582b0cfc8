//! What Prometheus sees.

use serde_json::json;
use testbed::{SigningKey, Stack};

use crate::support::{add_providers, static_provider, with};

/// The lines of the plugin's metrics, without those that say 0, sorted.
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
