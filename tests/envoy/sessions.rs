//! Sessions and other handles of state: knowing one proves no identity.

use serde_json::json;
use testbed::{McpServer, Stack};

use crate::support::{assert_none, await_request, faults_of_refusal, named, with};

// Requirement: token-in-every-request
// Requirement: verify-all-requests
// Requirement: session-no-credential
// Requirement: state-no-credential
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_a_credential_for_any_method() {
    let server = McpServer::start_with_sessions().await;
    let stack = Stack::builder().server(server).start().await;
    let session = stack.session(&stack.token()).await.unwrap();
    await_request(&stack, "GET").await;
    let requests = stack.server.requests();
    let ids = requests.iter().flat_map(|request| request.header("mcp-session-id"));
    let id = ids.last().expect("there is a session").to_vec();

    let expired = stack.provider.token(&with(&stack.claims(), "exp", 1));
    let resumed = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "whoami", "requestState": "handle"},
    });
    let mut faults = Vec::new();
    for method in ["GET", "POST", "DELETE", "PUT", "OPTIONS"] {
        for (token, reason) in [("", "missing_token"), (expired.as_str(), "expired")] {
            let mut request = stack
                .client()
                .request(method.parse().unwrap(), stack.url())
                .header("accept", "application/json, text/event-stream")
                .header("mcp-session-id", id.as_slice())
                .header("last-event-id", "0")
                .json(&resumed);
            if !token.is_empty() {
                request = request.bearer_auth(token);
            }
            let response = stack.send_refused(request).await;
            faults.extend(named(method, faults_of_refusal(&response, reason)));
        }
    }
    assert_none(&faults);
    // The session was neither ended nor taken over.
    assert_eq!(session.whoami().await.unwrap()["x-mcp-user"], "ada@example.com");
    session.close().await;
}
