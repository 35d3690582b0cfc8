//! Bound sessions, filtered lists and outcomes in one response.

use serde_json::{Value, json};
use testbed::{Response, Stack};

use crate::audit::{EVENTS, JSON, OK, Setup, TOOL_ERROR, call, message};
use crate::login_support::SECRET;
use crate::session_support::ID;
use crate::support::with;

const LIST: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add"},{"name":"admin_a"}]}}"#;
const SHOWN: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add"}]}}"#;

/// `envoy/audit.yaml`, whose rules name tools, with bound sessions.
async fn setup() -> Setup {
    Setup::start_in(
        |configuration| {
            configuration["secret"] = json!({"env": "SECRET"});
            configuration["sessions"] = json!({"bind": true});
        },
        |bootstrap| {
            bootstrap.plugin()["vm_config"]["environment_variables"] =
                json!({"key_values": {"SECRET": SECRET}});
        },
    )
    .await
}

fn respond(setup: &Setup, fields: &str, body: &str) {
    setup.respond("200 OK", &format!("{fields}mcp-session-id: {ID}\r\n"), body);
}

/// The response, its log line, and the session ids that the server got.
async fn send(
    setup: &Setup,
    token: &str,
    session: &str,
    message: &Value,
) -> (Response, Value, Vec<String>) {
    let path = setup.path();
    let request = setup.stack.client().post(setup.stack.envoy.url(&path)).json(message);
    let mut request = request.bearer_auth(token);
    if !session.is_empty() {
        request = request.header("mcp-session-id", session);
    }
    setup.server.take_requests();
    let response = setup.stack.send(request).await;
    let line = setup.line(&path).await;
    let requests = setup.server.take_requests();
    let received = requests.iter().map(|request| request.header("mcp-session-id").join(", "));
    (response, line, received.collect())
}

fn token_of(stack: &Stack, name: &str, value: Value) -> String {
    stack.provider.token(&with(&stack.claims(), name, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_response_has_a_sealed_session_a_filtered_list_and_an_outcome() {
    let setup = setup().await;
    let ada = setup.stack.token();
    respond(&setup, JSON, OK);
    let (begun, ..) = send(&setup, &ada, "", &message("initialize", json!({}))).await;
    let session = begun.header("mcp-session-id").to_owned();
    assert!(session.ends_with(&format!(".{ID}")) && session != ID, "{session}");
    let list = message("tools/list", json!({}));
    let event = |data: &str| format!(": hi\n\ndata: {data}\n\n");
    for (fields, body, expected, sent, outcome) in [
        (JSON, LIST.to_owned(), SHOWN.to_owned(), &list, "ok"),
        (EVENTS, event(LIST), event(SHOWN), &list, "ok"),
        ("", event(LIST), event(SHOWN), &list, "unknown"),
        (JSON, OK.to_owned(), OK.to_owned(), &call("add"), "ok"),
        (JSON, TOOL_ERROR.to_owned(), TOOL_ERROR.to_owned(), &call("add"), "tool_error"),
        (EVENTS, event(TOOL_ERROR), event(TOOL_ERROR), &call("add"), "tool_error"),
    ] {
        respond(&setup, fields, &body);
        let (response, line, received) = send(&setup, &ada, &session, sent).await;
        assert_eq!((response.status, &response.text), (200, &expected), "{fields} {body}");
        // The client's own session id, sealed again.
        assert_eq!(response.header("mcp-session-id"), session);
        assert_eq!(received, [ID]);
        assert_eq!(line["mcp_auth.outcome"], outcome, "{fields} {body}: {line}");
        assert_eq!(line["mcp.method.name"], sent["method"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_has_neither_a_session_nor_an_outcome() {
    let setup = setup().await;
    let ada = setup.stack.token();
    let list = message("tools/list", json!({}));
    respond(&setup, JSON, "no list");
    let (response, line, _) = send(&setup, &ada, "", &list).await;
    assert_eq!((response.status, response.reason()), (502, "mcp_list_invalid"));
    assert_eq!(response.header("mcp-session-id"), "");
    assert_eq!(line["mcp_auth.reason"], "mcp_list_invalid");
    assert_eq!(line["mcp_auth.outcome"], Value::Null);
    respond(&setup, JSON, LIST);
    let (response, ..) = send(&setup, &ada, "", &list).await;
    let session = response.header("mcp-session-id").to_owned();
    let bob = token_of(&setup.stack, "sub", json!("bob"));
    let (response, line, received) = send(&setup, &bob, &session, &call("add")).await;
    assert_eq!((response.status, response.reason()), (404, "session_mismatch"));
    assert_eq!(line["mcp_auth.reason"], "session_mismatch");
    assert_eq!(line["mcp_auth.outcome"], Value::Null);
    assert_eq!(received.len(), 0);
    let (response, line, received) = send(&setup, &ada, &session, &call("admin_reset")).await;
    assert_eq!((response.status, response.reason()), (403, "access_denied"));
    assert_eq!(line["gen_ai.tool.name"], "admin_reset");
    assert_eq!(received.len(), 0);
}
