//! The official SDK for Rust, a library for clients: the tests do what it leaves to the
//! application.

use testbed::{OfficialSdk, ReadChallenge, log_in_by_rust_sdk};

use crate::support::{READ, Scene, WRITE};

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_gets_from_the_url_to_a_tool_call() {
    let scene = Scene::before(OfficialSdk::TypeScriptV1).await;
    let token = log_in_by_rust_sdk(&scene.url(), "ada").await;
    let session = scene.stack.session(&token).await.unwrap();
    let result = session.call("whoami", serde_json::json!({})).await.unwrap();
    let result: serde_json::Value = serde_json::from_str(result.as_str().unwrap()).unwrap();
    assert_eq!(result["identity"]["x-mcp-user"], "ada", "{result}");
    assert_eq!(result["identity"]["x-mcp-scopes"], READ, "{result}");
    assert_eq!(result["authorization_header_arrived"], false, "{result}");
    session.close().await;
}

// Requirement: metadata-by-header
// Requirement: step-up-challenge
#[tokio::test(flavor = "multi_thread")]
async fn the_client_parses_each_challenge_as_intended() {
    let scene = Scene::before(OfficialSdk::TypeScriptV1).await;
    let (stack, url) = (&scene.stack, scene.url());
    let token = log_in_by_rust_sdk(&url, "ada").await;
    let create = serde_json::json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "create_incident", "arguments": {}},
    });
    // The required scopes, and those of the token that the server knows.
    let broader = format!("{WRITE} {READ}");
    for (request, scope, error) in [
        (stack.request(), READ, None),
        (stack.request().bearer_auth("a.b.c"), READ, Some("invalid_token")),
        (
            stack.client().post(&url).bearer_auth(token).json(&create),
            broader.as_str(),
            Some("insufficient_scope"),
        ),
    ] {
        let response = stack.send(request).await;
        let expected = ReadChallenge {
            resource_metadata: Some(stack.envoy.url("/.well-known/oauth-protected-resource/mcp")),
            scope: Some(scope.to_owned()),
            error: error.map(str::to_owned),
        };
        let challenge = response.header("www-authenticate");
        assert_eq!(ReadChallenge::new(challenge, &url), expected, "{challenge}");
    }
}
