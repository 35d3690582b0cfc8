//! HTTP/2 allows any method: one in lower case must not bypass a rule that protects a server which
//! ignores case.

use serde_json::{Value, json};
use testbed::{Stack, raw_http2_exchange};

use crate::support::{close_at_once, with};

const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Sends a request with this method; returns the methods with which it reached the server.
async fn reached(stack: &Stack, token: &str, method: &str) -> Vec<String> {
    stack.server.clear();
    let request = [method, "/mcp", &format!("Bearer {token}")];
    raw_http2_exchange(stack.envoy.address(), request, PING, &[("x-last", "1")]).await;
    stack.server.requests().into_iter().map(|request| request.method).collect()
}

async fn start(access: Value) -> Stack {
    let stack = Stack::builder().configure(|configuration| configuration["access"] = access);
    stack.edit(close_at_once).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_in_lower_case_passes_no_rules_that_name_methods_or_messages() {
    let by_method = json!({"default": "allow", "rules": [
        {"match": {"methods": ["DELETE"]}, "require": {"roles": ["admin"]}},
    ]});
    let by_message = json!({"default": "allow", "rules": [
        {"match": {"mcp_methods": ["ping"]}, "require": {"roles": ["admin"]}},
    ]});
    for (access, upper, lower) in [(by_method, "DELETE", "delete"), (by_message, "POST", "post")] {
        let stack = start(access).await;
        let user = stack.token();
        let admin = stack.provider.token(&with(&stack.claims(), "roles", json!(["admin"])));
        for method in [lower, upper] {
            assert_eq!(reached(&stack, &user, method).await, [""; 0], "{method}");
        }
        assert_eq!(reached(&stack, &admin, lower).await, [""; 0]);
        assert_eq!(reached(&stack, &admin, upper).await, [upper]);
    }
}

/// If no rule distinguishes methods, their case is left to the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_in_lower_case_passes_where_no_rule_names_any() {
    let stack = start(json!({"rules": [{"match": {"paths": ["/mcp"]}}]})).await;
    assert_eq!(reached(&stack, &stack.token(), "delete").await, ["delete"]);
}
