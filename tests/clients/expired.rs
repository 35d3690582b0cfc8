//! Access tokens that expire while the client is connected.

use serde_json::json;
use testbed::{ClientReport, OfficialSdk};

use crate::support::Scene;

/// Every client connects, waits until its access token has expired, and calls `whoami`.
async fn reports(refresh_tokens: &str) -> Vec<(OfficialSdk, ClientReport)> {
    // Long enough to connect, even on a busy machine.
    let provider = json!({"access_token_seconds": 5, "refresh_tokens": refresh_tokens});
    let scene = Scene::builder(OfficialSdk::TypeScriptV1)
        .provider("login", provider)
        .configure(|configuration| configuration["providers"][0]["clock_skew"] = json!("0s"))
        .start()
        .await;
    let steps = json!([{"until_expired": true}, {"tool": "whoami"}]);
    scene.run_every_client(json!({"steps": steps})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_refreshes_an_expired_token_without_a_login() {
    for (client, report) in reports("always").await {
        assert_eq!(report.identity()["x-mcp-user"], "ada", "{client:?}: {report:?}");
        assert_eq!(report.authorizations().len(), 1, "{client:?}: {report:?}");
        let expected = match client.is_typescript() {
            true => vec!["POST /mcp 401", "refresh_token /token 200", "POST /mcp 200"],
            // These clients check the expiry themselves, and never send an expired token.
            false => vec!["refresh_token /token 200", "POST /mcp 200"],
        };
        let exchanges = report.after("until_expired").exchanges();
        let first: Vec<_> = exchanges.iter().take(expected.len()).collect();
        assert_eq!(first, expected, "{client:?}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_without_a_refresh_token_starts_a_new_login() {
    for (client, report) in reports("never").await {
        assert_eq!(report.identity()["x-mcp-user"], "ada", "{client:?}: {report:?}");
        let after = report.after("until_expired");
        assert_eq!(after.authorizations().len(), 1, "{client:?}: {report:?}");
        let exchanges = after.exchanges();
        assert_eq!(exchanges.first().unwrap(), "POST /mcp 401", "{client:?}: {report:?}");
        assert!(!exchanges.contains(&"POST /reg 201".to_owned()), "{client:?}: {report:?}");
    }
}
