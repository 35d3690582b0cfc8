//! What the access log says about a call that reached its server but got no response.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::audit::{JSON, OK, Setup, call};
use crate::support::SOON;

/// The server receives the call and may carry it out.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_client_disconnects_before_the_response_is_unknown() {
    let setup = Setup::start_in(|_| {}, |_| {}).await;
    // The server sends nothing until it is told to.
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{JSON}\r\n");
    setup.server.respond_with(&[b"", head.as_bytes(), OK.as_bytes()]);
    let path = setup.path();
    let request = setup.stack.client().post(setup.stack.envoy.url(&path)).json(&call("add"));
    let sent = tokio::spawn(request.bearer_auth(setup.stack.token()).send());
    let asked = Instant::now();
    while setup.server.take_requests().is_empty() {
        assert!(asked.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sent.abort();
    let line = setup.line(&path).await;
    assert_eq!(line["mcp_auth.outcome"], "unknown", "{line}");
    assert_eq!(line["gen_ai.tool.name"], "add", "{line}");
    assert_eq!(line["mcp_auth.rule"], "everything", "{line}");
    assert_eq!(line["error.type"], Value::Null, "{line}");
    // The twin: a client that waits for the response.
    setup.respond("200 OK", JSON, OK);
    let path = setup.path();
    let request = setup.stack.client().post(setup.stack.envoy.url(&path)).json(&call("add"));
    let response = setup.stack.send(request.bearer_auth(setup.stack.token())).await;
    assert_eq!(response.text, OK);
    assert_eq!(setup.line(&path).await["mcp_auth.outcome"], json!("ok"));
}
