//! One gateway, and two providers that its users log in at.

use serde_json::json;
use testbed::OfficialSdk;

use crate::support::{Scene, service};

async fn scene() -> Scene {
    Scene::builder(OfficialSdk::TypeScriptV1)
        .provider("staff", json!({}))
        .provider("partners", json!({"algorithm": "ES256"}))
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_logs_in_at_the_first_provider_unless_told_otherwise() {
    let scene = scene().await;
    for (client, report) in scene.run_every_client(json!({"steps": [{"tool": "whoami"}]})).await {
        let identity = report.identity();
        assert_eq!(identity["x-mcp-provider"], "staff", "{client:?}: {report:?}");
        assert_eq!(identity["x-mcp-issuer"], scene.providers[0].issuer(), "{client:?}");
    }
}

/// Users of the SDKs for TypeScript may choose the authorization server; those for Python let only
/// a service choose.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_choose_the_second_provider_are_known_by_it() {
    let scene = scene().await;
    let [_, partners] = scene.providers.as_slice() else { unreachable!() };
    for client in OfficialSdk::ALL {
        let steps = json!([{"tool": "whoami"}]);
        let (options, user) = match client.is_typescript() {
            true => (json!({"authorization_server": partners.issuer(), "steps": steps}), "ada"),
            false => (json!({"service": service(partners), "steps": steps}), "incident-robot"),
        };
        let report = scene.run(client, &options).await;
        let identity = report.identity();
        assert_eq!(identity["x-mcp-provider"], "partners", "{client:?}: {report:?}");
        assert_eq!(identity["x-mcp-issuer"], partners.issuer(), "{client:?}: {report:?}");
        assert_eq!(identity["x-mcp-user"], user, "{client:?}: {report:?}");
    }
}
