//! Events arrive as soon as they are sent: progress of long calls, and messages on the server's own
//! stream.
//!
//! The servers send an event only once the client has reported, with a call through the gateway,
//! that it got the one before. An event that is held back anywhere stops all others, and the call
//! never ends.

use serde_json::{Value, json};
use testbed::{ClientReport, OfficialSdk};

use crate::support::Scene;

const EVENTS: usize = 3;

/// A client that opens the server's own stream, makes a call that takes several seconds, and one
/// during which the server uses its stream.
async fn report(sdk: OfficialSdk) -> ClientReport {
    let scene = Scene::before(sdk).await;
    let steps = json!([
        {"listen": true},
        {"tool": "count", "arguments": {"to": EVENTS}},
        {"tool": "announce", "arguments": {"to": EVENTS}},
    ]);
    let report = scene.run(sdk, json!({"protocol": "auto", "steps": steps})).await;
    assert_eq!(report.result("announce"), format!("announced {EVENTS}"));
    assert_eq!(report.result("count"), format!("counted to {EVENTS}"));
    let expected: Vec<Value> = (1..=EVENTS).map(|number| json!(number)).collect();
    for kind in ["announcement", "progress"] {
        let numbers: Vec<_> =
            report.events(kind).into_iter().map(|line| line["number"].clone()).collect();
        assert_eq!(numbers, expected, "{kind}: {report:?}");
    }
    report
}

/// Asserts that the server's stream (GET, up to MCP 2025-11-25) was opened once and never
/// interrupted.
fn assert_one_stream(report: &ClientReport) {
    let exchanges = report.exchanges();
    let opened = exchanges.iter().filter(|exchange| exchange.starts_with("GET /mcp")).count();
    assert_eq!(opened, 1, "{report:?}");
    assert!(exchanges.contains(&"GET /mcp 200".to_owned()), "{report:?}");
}

/// Asserts that the client listens as in MCP 2026-07-28: with a POST whose response is a stream.
fn assert_no_get(report: &ClientReport) {
    assert!(
        !report.exchanges().iter().any(|exchange| exchange.starts_with("GET /mcp")),
        "{report:?}"
    );
    assert_eq!(report.step("connect")["result"]["protocol"], "2026-07-28", "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_typescript_v1_as_they_are_sent() {
    assert_one_stream(&report(OfficialSdk::TypeScriptV1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_typescript_v2_as_they_are_sent() {
    assert_no_get(&report(OfficialSdk::TypeScriptV2).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_python_v1_as_they_are_sent() {
    assert_one_stream(&report(OfficialSdk::PythonV1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_python_v2_as_they_are_sent() {
    assert_no_get(&report(OfficialSdk::PythonV2).await);
}
