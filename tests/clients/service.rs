//! Clients that log in as services, with client credentials.

use serde_json::{Value, json};
use testbed::{ClientReport, OfficialSdk, OpenIdProvider};

use crate::support::{READ, Scene, WRITE, service};

fn options(scene: &Scene, scope: Option<&str>) -> Value {
    let mut service = service(&scene.providers[0]);
    service["scope"] = json!(scope);
    json!({"service": service, "steps": [{"tool": "whoami"}, {"tool": "create_incident"}]})
}

fn assert_is_service(client: OfficialSdk, report: &ClientReport, scopes: &str) {
    let [robot, _] = OpenIdProvider::SERVICE;
    let identity = report.identity();
    assert_eq!(identity["x-mcp-client-type"], "service", "{client:?}: {report:?}");
    assert_eq!(identity["x-mcp-user"], robot, "{client:?}: {report:?}");
    assert_eq!(identity["x-mcp-client-id"], robot, "{client:?}: {report:?}");
    assert_eq!(identity["x-mcp-scopes"], scopes, "{client:?}: {report:?}");
    assert_eq!(report.result("create_incident"), "created", "{client:?}");
    assert!(report.authorizations().is_empty(), "{client:?}: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_can_be_a_service_and_all_except_typescript_v1_use_the_challenges_scopes() {
    let scene = Scene::before(OfficialSdk::PythonV2).await;
    for (client, report) in scene.run_every_client(options(&scene, None)).await {
        if client != OfficialSdk::TypeScriptV1 {
            assert_is_service(client, &report, READ);
            continue;
        }
        // It requests only the scopes that the application names, so without any it gets none.
        let error = &report.step("connect")["error"];
        let expected = "Error: Streamable HTTP error: Server returned 403 after trying upscoping";
        assert_eq!(error, expected, "{report:?}");
        let scopes = format!("{READ} {WRITE}");
        let report = scene.run(client, options(&scene, Some(&scopes))).await;
        assert_is_service(client, &report, &scopes);
    }
}
