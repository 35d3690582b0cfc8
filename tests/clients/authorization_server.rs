//! The official conformance suite tests the gateway as an MCP authorization server.

use serde_json::{Value, json};
use testbed::{OfficialSdk, Port, conformance_checks_of_login};

use crate::support::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_finds_no_fault_with_the_login() {
    let scene = Scene::builder(OfficialSdk::TypeScriptV1)
        .login_through_gateway(json!({}))
        // Without such a host, the suite warns that client metadata documents are not supported.
        .configure(|configuration| {
            configuration["login"]["client_metadata"] = json!({"client.example": "mcp_server"});
        })
        .start()
        .await;
    let (resource, callback) = (scene.url(), Port::free());
    let issuer = resource.strip_suffix("/mcp").unwrap();
    let redirect_uri = format!("http://127.0.0.1:{}/callback", callback.number());
    let registration = scene.stack.client().post(format!("{issuer}/oauth/register"));
    let registration = registration.json(&json!({"redirect_uris": [redirect_uri]}));
    let registered = scene.stack.send(registration).await;
    let client_id =
        registered.body["client_id"].as_str().unwrap_or_else(|| panic!("{registered:?}"));
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let checks =
            conformance_checks_of_login(issuer, revision, client_id, &callback, &resource).await;
        let found: Vec<Value> =
            checks.iter().map(|check| json!([check.scenario, check.status])).collect();
        let passed = |scenario: &str| json!([scenario, "SUCCESS"]);
        for scenario in ["authorization-server-metadata-endpoint", "authorization-code-grant"] {
            assert!(found.contains(&passed(scenario)), "{revision}: {checks:#?}");
        }
        assert!(checks.iter().all(|check| check.status == "SUCCESS"), "{revision}: {checks:#?}");
    }
}
