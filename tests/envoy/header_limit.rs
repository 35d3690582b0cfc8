//! Envoy's own limit on header fields: a longer token never reaches the plugin, whatever
//! `max_token_size` is.

use serde_json::json;
use testbed::{Bootstrap, Stack};

/// Envoy's default for `max_request_headers_kb`, in bytes.
const LIMIT: usize = 60 * 1024;

async fn start(edit: impl FnOnce(&mut Bootstrap) + Send + 'static) -> Stack {
    Stack::builder()
        .alone()
        .configure(|configuration| configuration["max_token_size"] = json!("1MiB"))
        .edit(edit)
        .start()
        .await
}

/// A valid token with which `Authorization` alone has this many bytes, or up to three fewer.
fn token(stack: &Stack, bytes: usize) -> String {
    let of = |length: usize| {
        let mut claims = stack.claims();
        claims["x"] = json!("x".repeat(length));
        stack.provider.token(&claims)
    };
    let bytes = bytes - "authorizationBearer ".len();
    // Base64url turns three bytes into four.
    of((bytes - of(0).len()) * 3 / 4)
}

/// The number of requests that the plugin has decided on.
async fn decisions(stack: &Stack) -> u64 {
    let stats = stack.envoy.stats().await;
    let counters = stats.iter().filter(|(name, _)| name.contains("mcp_auth_requests"));
    counters.map(|(_, count)| count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_token_gets_431_from_envoy_and_never_reaches_the_plugin() {
    let stack = start(|_| ()).await;
    assert_eq!(stack.call(&token(&stack, LIMIT - 2048)).await.status, 200);
    let before = decisions(&stack).await;
    assert_eq!(before, 1);
    let response = stack.call_refused(&token(&stack, LIMIT + 4)).await;
    assert_eq!((response.status, response.body["reason"].as_str()), (431, None), "{response:?}");
    assert!(response.header("www-authenticate").is_empty(), "{response:?}");
    assert_eq!(decisions(&stack).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_token_passes_where_the_limit_is_raised() {
    let stack =
        start(|bootstrap| bootstrap.connection_manager()["max_request_headers_kb"] = json!(96))
            .await;
    assert_eq!(stack.call(&token(&stack, LIMIT + 4)).await.status, 200);
    assert_eq!(decisions(&stack).await, 1);
    assert_eq!(stack.call_refused(&token(&stack, 96 * 1024 + 4)).await.status, 431);
    assert_eq!(decisions(&stack).await, 1);
}
