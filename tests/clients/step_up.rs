//! A tool that needs a broader scope than the client has.

use serde_json::{Value, json};
use testbed::{ClientReport, OfficialSdk};

use crate::support::{READ, Scene, WRITE};

/// Every client connects, then calls the tool that needs a broader scope, then calls `whoami`.
async fn reports(provider: Value) -> Vec<(OfficialSdk, ClientReport)> {
    let scene = Scene::builder(OfficialSdk::TypeScriptV2).provider("login", provider).start().await;
    let steps = json!([{"tool": "create_incident"}, {"tool": "whoami"}]);
    scene.run_every_client(json!({"steps": steps})).await
}

/// The scopes of each authorization that a client asked the person for, without `offline_access`.
fn authorizations(report: &ClientReport) -> Vec<Vec<&str>> {
    report.authorizations().into_iter().map(|scope| sorted(scope)).collect()
}

fn sorted(scope: &str) -> Vec<&str> {
    let mut scopes: Vec<_> =
        scope.split(' ').filter(|candidate| *candidate != "offline_access").collect();
    scopes.sort_unstable();
    scopes
}

fn assert_stepped_up(client: OfficialSdk, report: &ClientReport) {
    assert_eq!(report.result("create_incident"), "created", "{client:?}");
    assert_eq!(authorizations(report), [vec![READ], vec![READ, WRITE]], "{client:?}: {report:?}");
    assert_eq!(refusals(report), 1, "{client:?}: {report:?}");
    let scopes = report.identity()["x-mcp-scopes"].clone();
    assert_eq!(sorted(scopes.as_str().unwrap()), [READ, WRITE], "{client:?}: {report:?}");
    // The SDKs for TypeScript leave it to the application to repeat the call once they have the
    // code; those for Python repeat the request themselves.
    let calls = if client.is_typescript() { 2 } else { 1 };
    assert_eq!(report.step("create_incident")["attempts"], calls, "{client:?}: {report:?}");
}

fn refusals(report: &ClientReport) -> usize {
    report.exchanges().iter().filter(|exchange| *exchange == "POST /mcp 403").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_requests_the_missing_scope_in_addition_and_succeeds() {
    for (client, report) in reports(json!({"registered_scopes": false})).await {
        assert_stepped_up(client, &report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_with_a_refresh_token_requests_scopes_except_typescript_v1() {
    let provider = json!({"registered_scopes": false, "refresh_tokens": "always"});
    for (client, report) in reports(provider).await {
        if client != OfficialSdk::TypeScriptV1 {
            assert_stepped_up(client, &report);
            continue;
        }
        // It uses the refresh token instead, and gets only the scopes that it already has.
        let step = report.step("create_incident");
        let expected = "Error: Streamable HTTP error: Server returned 403 after trying upscoping";
        assert_eq!(step["error"], expected, "{report:?}");
        assert_eq!(refusals(&report), 2, "{report:?}");
        assert_eq!(authorizations(&report), [vec![READ]], "{report:?}");
        let exchanges = report.exchanges();
        assert!(exchanges.contains(&"refresh_token /token 200".to_owned()), "{report:?}");
        assert_eq!(report.identity()["x-mcp-scopes"], READ, "{report:?}");
    }
}

/// RFC 7591, section 2, lets a provider limit clients to the scopes that they registered with. Each
/// client registers with those of the first challenge, and none registers again.
#[tokio::test(flavor = "multi_thread")]
async fn no_client_gets_scopes_beyond_its_registration() {
    for (client, report) in reports(json!({"registered_scopes": true})).await {
        let error = report.step("create_incident")["error"].as_str().unwrap_or_default();
        let expected = "invalid_scope: requested scope is not allowed";
        assert!(error.ends_with(expected), "{client:?}: {report:?}");
        assert_eq!(authorizations(&report), [vec![READ], vec![READ, WRITE]], "{client:?}");
        assert_eq!(refusals(&report), 1, "{client:?}: {report:?}");
        let registrations =
            report.exchanges().iter().filter(|exchange| *exchange == "POST /reg 201").count();
        assert_eq!(registrations, 1, "{client:?}: {report:?}");
    }
}
