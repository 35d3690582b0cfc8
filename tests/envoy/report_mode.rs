//! `mode: report`: every request passes, and the log says which would have been refused.

use std::time::Duration;

use serde_json::json;
use testbed::{Document, Fault, IdentityProvider, Stack};

use crate::support::{SOON, with};

async fn start(provider: IdentityProvider) -> Stack {
    Stack::builder()
        .alone()
        .provider(provider)
        .configure(|configuration| {
            configuration["mode"] = json!("report");
            configuration["keys"] = json!({"timeout": "1s"});
            configuration["allowed_origins"] = json!(["https://app.example.com"]);
            configuration["access"] =
                json!({"rules": [{"name": "all", "require": {"scopes": ["mcp.tools"]}}]});
        })
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_would_be_refused_passes_without_identity_and_token() {
    let stack = start(IdentityProvider::start().await).await;
    let claims = stack.claims();
    let token = |name: &str, value: &str| stack.provider.token(&with(&claims, name, value));
    let call = |token: &str| stack.request().bearer_auth(token).header("x-mcp-user", "root");
    let cases = [
        ("missing_token", stack.request().header("x-mcp-user", "root")),
        ("malformed_authorization", stack.request().header("authorization", "Basic YTpi")),
        ("malformed_token", call("a.b")),
        ("unknown_issuer", call(&token("iss", "https://x.example"))),
        ("audience_mismatch", call(&token("aud", "x"))),
        ("unknown_kid", call(&stack.provider.key().with_kid("x").token(&claims))),
        ("insufficient_scope", call(&token("scope", "x"))),
        ("origin_denied", call(&stack.token()).header("origin", "https://evil.example")),
    ];
    for (reason, request) in cases {
        stack.server.clear();
        let response = stack.send(request).await;
        assert_eq!(response.status, 200, "{reason}: {response:?}");
        let requests = stack.server.requests();
        assert_eq!(requests.len(), 1, "{reason}");
        assert!(requests[0].identity().is_empty(), "{reason}: {requests:?}");
        assert!(requests[0].header("authorization").is_empty(), "{reason}");
        let line = format!("allowed (report mode), would be refused: reason={reason} ");
        stack.envoy.await_log(&line, SOON).await;
    }
    // A valid token passes as in the other mode.
    stack.server.clear();
    assert_eq!(stack.send(call(&stack.token())).await.status, 200);
    let request = &stack.server.requests()[0];
    assert_eq!(request.identity()["x-mcp-user"], "ada@example.com");
    assert!(request.header("authorization").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_delays_requests_but_stops_none() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Hang);
    let stack = start(provider).await;
    let asked = std::time::Instant::now();
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert!(stack.server.requests()[0].identity().is_empty());
    let line = "allowed (report mode), would be refused: reason=keys_unavailable ";
    stack.envoy.await_log(line, SOON).await;
}
