//! One gateway with two providers at which users log in.

use serde_json::json;
use testbed::OfficialSdk;

use crate::support::{Scene, service};

/// Users of the SDKs for TypeScript can choose another authorization server than the first; those
/// for Python let only a service choose.
#[tokio::test(flavor = "multi_thread")]
async fn every_client_logs_in_at_the_first_provider_unless_another_is_chosen() {
    let scene = Scene::builder(OfficialSdk::TypeScriptV1)
        .provider("staff", json!({}))
        .provider("partners", json!({"algorithm": "ES256"}))
        .start()
        .await;
    let [staff, partners] = scene.providers.as_slice() else { unreachable!() };
    let steps = json!([{"tool": "whoami"}]);
    for (client, report) in scene.run_every_client(json!({"steps": steps})).await {
        let identity = report.identity();
        assert_eq!(identity["x-mcp-provider"], "staff", "{client:?}: {report:?}");
        assert_eq!(identity["x-mcp-issuer"], staff.issuer(), "{client:?}: {report:?}");
        assert_eq!(identity["x-mcp-user"], "ada", "{client:?}: {report:?}");
    }
    let choice = |client: OfficialSdk| match client.is_typescript() {
        true => json!({"authorization_server": partners.issuer(), "steps": steps}),
        false => json!({"service": service(partners), "steps": steps}),
    };
    for (client, report) in scene.run_every_client_with(choice).await {
        let identity = report.identity();
        let user = if client.is_typescript() { "ada" } else { "incident-robot" };
        assert_eq!(identity["x-mcp-provider"], "partners", "{client:?}: {report:?}");
        assert_eq!(identity["x-mcp-issuer"], partners.issuer(), "{client:?}: {report:?}");
        assert_eq!(identity["x-mcp-user"], user, "{client:?}: {report:?}");
    }
}
