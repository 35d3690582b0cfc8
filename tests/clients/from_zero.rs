//! From nothing but the URL to a tool call.

use serde_json::json;
use testbed::{ClientReport, OfficialSdk};

use crate::support::{READ, Scene};

/// Runs a client that asks who it is, and asserts who it is.
async fn ask_who_i_am(client: OfficialSdk, server: OfficialSdk) -> (Scene, ClientReport) {
    let scene = Scene::before(server).await;
    let options = json!({"url": scene.url(), "person": "ada", "steps": [{"tool": "whoami"}]});
    let report = client.run_client(options).await;
    let identity = report.identity();
    assert_eq!(identity["x-mcp-user"], "ada", "{report:?}");
    assert_eq!(identity["x-mcp-subject"], "ada", "{report:?}");
    assert_eq!(identity["x-mcp-provider"], "login", "{report:?}");
    assert_eq!(identity["x-mcp-issuer"], scene.providers[0].issuer(), "{report:?}");
    assert_eq!(identity["x-mcp-client-type"], "user", "{report:?}");
    assert_eq!(identity["x-mcp-scopes"], READ, "{report:?}");
    (scene, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v1_comes_from_zero_to_a_tool_call() {
    let (_scene, report) = ask_who_i_am(OfficialSdk::TypeScriptV1, OfficialSdk::TypeScriptV1).await;
    assert_eq!(
        report.exchanges()[..6],
        [
            "POST /mcp 401",
            "GET /.well-known/oauth-protected-resource/mcp 200",
            "GET /.well-known/oauth-authorization-server 200",
            "POST /reg 201",
            "authorization_code /token 200",
            "POST /mcp 200",
        ],
        "{report:?}"
    );
}
