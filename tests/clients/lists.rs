//! Official clients list and call tools through a gateway that filters lists and binds sessions,
//! with servers of both revisions: MCP 2025-11-25, which has sessions, and 2026-07-28, which has
//! none.

use serde_json::{Value, json};
use testbed::{ClientReport, OfficialSdk, log_in_by_rust_sdk};

use crate::support::Scene;

/// The tools of the servers that any user may call.
const OPEN: [&str; 4] = ["announce", "count", "seen", "whoami"];

/// The names of the tools that a client lists, sorted.
fn listed(report: &ClientReport) -> Vec<&str> {
    let step = report.step("list");
    assert_eq!(step["event"], "done", "{report:?}");
    let names = step["result"].as_array().unwrap_or_else(|| panic!("{report:?}"));
    let mut names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names
}

/// The revision of MCP that a client and the server agreed on.
fn protocol(report: &ClientReport) -> &str {
    report.step("connect")["result"]["protocol"].as_str().unwrap_or_default()
}

/// Asserts that each client sees the tools that its user may call, and calls them. Returns the
/// revisions that the clients used.
async fn revisions_that_work(server: OfficialSdk, protocol_option: &str) -> Vec<String> {
    let scene = Scene::builder(server).bind_sessions().start().await;
    let steps = json!([{"list": true}, {"tool": "whoami"}]);
    let options = json!({"protocol": protocol_option, "steps": steps});
    let mut revisions = Vec::new();
    for (client, report) in scene.run_every_client(options).await {
        assert_eq!(listed(&report), OPEN, "{client:?}: {report:?}");
        assert_eq!(report.identity()["x-mcp-user"], "ada", "{client:?}: {report:?}");
        let lost = report.exchanges().into_iter().find(|line| line.ends_with("/mcp 404"));
        assert_eq!(lost, None, "{client:?}: {report:?}");
        revisions.push(protocol(&report).to_owned());
    }
    revisions
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_lists_and_calls_at_a_typescript_server_with_sessions() {
    let revisions = revisions_that_work(OfficialSdk::TypeScriptV1, "legacy").await;
    assert!(revisions.iter().all(|revision| revision.as_str() < "2026"), "{revisions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_lists_and_calls_at_a_typescript_server_without_sessions() {
    let revisions = revisions_that_work(OfficialSdk::TypeScriptV2, "auto").await;
    assert!(revisions.iter().any(|revision| revision == "2026-07-28"), "{revisions:?}");
    assert!(revisions.iter().any(|revision| revision.as_str() < "2026"), "{revisions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_lists_and_calls_at_a_python_server_with_sessions() {
    let revisions = revisions_that_work(OfficialSdk::PythonV1, "legacy").await;
    assert!(revisions.iter().all(|revision| revision.as_str() < "2026"), "{revisions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_lists_and_calls_at_a_python_server_without_sessions() {
    let revisions = revisions_that_work(OfficialSdk::PythonV2, "auto").await;
    assert!(revisions.iter().any(|revision| revision == "2026-07-28"), "{revisions:?}");
    assert!(revisions.iter().any(|revision| revision.as_str() < "2026"), "{revisions:?}");
}

/// The SDK for Rust with the servers of all other SDKs: with MCP 2025-11-25, and with 2026-07-28
/// where the server supports it.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_for_rust_lists_and_calls_at_every_server() {
    for server in OfficialSdk::ALL {
        let scene = Scene::builder(server).bind_sessions().start().await;
        let token = log_in_by_rust_sdk(&scene.url(), "ada").await;
        let mut sessions = vec![scene.stack.session(&token).await.unwrap()];
        if matches!(server, OfficialSdk::TypeScriptV2 | OfficialSdk::PythonV2) {
            sessions.push(scene.stack.stateless_session(&token).await.unwrap());
        }
        for session in sessions {
            let mut names = session.tools().await.unwrap();
            names.sort_unstable();
            assert_eq!(names, OPEN, "{server:?}");
            let result = session.call("whoami", json!({})).await.unwrap();
            let result: Value = serde_json::from_str(result.as_str().unwrap()).unwrap();
            assert_eq!(result["identity"]["x-mcp-user"], "ada", "{server:?}: {result}");
            assert!(session.call("create_incident", json!({})).await.is_err(), "{server:?}");
            session.close().await;
        }
    }
}

/// Items that lack only scopes are shown where clients can request more.
#[tokio::test(flavor = "multi_thread")]
async fn every_client_sees_tools_whose_scopes_it_can_request() {
    let scene = Scene::builder(OfficialSdk::TypeScriptV2)
        .configure(|configuration| {
            configuration["access"]["mcp"] = json!({"show_if_scopes_missing": true});
        })
        .start()
        .await;
    let options = json!({"protocol": "auto", "steps": [{"list": true}]});
    for (client, report) in scene.run_every_client(options).await {
        assert!(listed(&report).contains(&"create_incident"), "{client:?}: {report:?}");
    }
}
