//! From the URL alone to a tool call, at a provider that registers no clients and refuses
//! `resource`: through the gateway, which is its only client.

use serde_json::{Value, json};
use testbed::{OfficialSdk, log_in_by_rust_sdk, refresh_by_rust_sdk};

use crate::support::{Scene, WRITE};

/// The requests of each client before the first one that passes. All of them are at the gateway.
const DANCE: [&str; 5] = [
    "POST /mcp 401",
    "GET /.well-known/oauth-protected-resource/mcp 200",
    "GET /.well-known/oauth-authorization-server 200",
    "POST /oauth/register 201",
    "authorization_code /oauth/token 200",
];

async fn scene(options: Value) -> Scene {
    Scene::builder(OfficialSdk::TypeScriptV1).login_through_gateway(options).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_gets_from_the_url_to_a_tool() {
    let mut scene = scene(json!({})).await;
    scene.assert_every_client_gets_to_a_tool(&DANCE).await;
    // The clients request the resource, but the gateway does not forward the parameter.
    for event in scene.providers[0].events() {
        assert_eq!((&event["event"], &event["resource"]), (&json!("token"), &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_refreshes_without_a_login() {
    let scene = Scene::builder(OfficialSdk::PythonV2)
        .login_through_gateway(json!({"access_token_seconds": 5}))
        .configure(|configuration| configuration["providers"][0]["clock_skew"] = json!("0s"))
        .start()
        .await;
    let steps = json!([{"until_expired": true}, {"tool": "whoami"}]);
    for (client, report) in scene.run_every_client(json!({"steps": steps})).await {
        assert_eq!(report.identity()["x-mcp-user"], "ada", "{client:?}: {report:?}");
        assert_eq!(report.authorizations().len(), 1, "{client:?}: {report:?}");
        let refresh = "refresh_token /oauth/token 200".to_owned();
        assert!(report.after("until_expired").exchanges().contains(&refresh), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_steps_up_to_a_scope_that_a_tool_needs() {
    // With a refresh token, the client of TypeScript v1 does not request more scopes; see
    // `step_up`.
    let scene = scene(json!({"refresh_tokens": "never"})).await;
    let steps = json!([{"tool": "whoami"}, {"tool": "create_incident"}]);
    for (client, report) in scene.run_every_client(json!({"steps": steps})).await {
        assert_eq!(report.result("create_incident"), "created", "{client:?}: {report:?}");
        let asked = report.authorizations();
        assert_eq!(asked.len(), 2, "{client:?}: {report:?}");
        assert!(asked[1].contains(WRITE), "{client:?}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_gets_from_the_url_to_a_tool() {
    let scene = scene(json!({})).await;
    let token = log_in_by_rust_sdk(&scene.url(), "ada").await;
    let session = scene.stack.session(&token).await.unwrap();
    let result = session.call("whoami", json!({})).await.unwrap();
    let result: Value = serde_json::from_str(result.as_str().unwrap()).unwrap();
    assert_eq!(result["identity"]["x-mcp-user"], "ada", "{result}");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_refreshes_without_a_login() {
    let scene = scene(json!({})).await;
    let [first, second] = refresh_by_rust_sdk(&scene.url(), "ada").await;
    assert_ne!(first, second);
    for token in [first, second] {
        let session = scene.stack.session(&token).await.unwrap();
        session.close().await;
    }
}
