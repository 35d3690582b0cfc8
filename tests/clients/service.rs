//! Clients that log in for themselves, by client credentials.

use serde_json::{Value, json};
use testbed::{OfficialSdk, OpenIdProvider};

use crate::support::{READ, Scene, WRITE, service};

fn options(scene: &Scene, scope: Option<&str>) -> Value {
    let mut service = service(&scene.providers[0]);
    service["scope"] = json!(scope);
    json!({"service": service, "steps": [{"tool": "whoami"}, {"tool": "create_incident"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_can_be_a_service_and_the_server_is_told_so() {
    let scene = Scene::before(OfficialSdk::PythonV2).await;
    let [robot, _] = OpenIdProvider::SERVICE;
    let scope = format!("{READ} {WRITE}");
    for (client, report) in scene.run_every_client(options(&scene, Some(&scope))).await {
        let identity = report.identity();
        assert_eq!(identity["x-mcp-client-type"], "service", "{client:?}: {report:?}");
        assert_eq!(identity["x-mcp-user"], robot, "{client:?}: {report:?}");
        assert_eq!(identity["x-mcp-client-id"], robot, "{client:?}: {report:?}");
        assert_eq!(report.answer("create_incident"), "created", "{client:?}");
        assert!(report.authorizations().is_empty(), "{client:?}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_take_the_scopes_of_the_challenge_but_for_typescript_v1() {
    let scene = Scene::before(OfficialSdk::TypeScriptV2).await;
    for (client, report) in scene.run_every_client(options(&scene, None)).await {
        if client == OfficialSdk::TypeScriptV1 {
            // It asks for no scope at all, whatever the challenge says.
            let expected =
                "Error: Streamable HTTP error: Server returned 403 after trying upscoping";
            assert_eq!(report.step("connect")["error"], expected, "{report:?}");
        } else {
            assert_eq!(report.identity()["x-mcp-scopes"], READ, "{client:?}: {report:?}");
            assert_eq!(report.answer("create_incident"), "created", "{client:?}");
        }
    }
}
