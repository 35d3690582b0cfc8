//! Requests of web pages, with `envoy/browser.yaml`: Envoy's cors filter runs before the plugin.

use serde_json::json;
use testbed::{Bootstrap, McpServer, Response, Stack, StackBuilder, repository_root};

use crate::support::{assert_refusal, with};

/// An origin that the example allows.
const APP: &str = "https://chat.example.com";

const FOREIGN: [&str; 4] = [
    "https://evil.example",
    "http://chat.example.com",
    "https://chat.example.com.evil.org",
    "null",
];

/// Header fields that browsers send to other origins only if allowed: all those of MCP clients.
const SENT: &str = "authorization, content-type, last-event-id, mcp-method, mcp-name, \
                    mcp-param-region, mcp-protocol-version, mcp-session-id";

fn stack() -> StackBuilder {
    let example = repository_root().join("envoy/browser.yaml");
    Stack::builder().bootstrap(Bootstrap::from_file(&example))
}

/// The preflight that a browser sends before a request with this method.
async fn preflight(stack: &Stack, path: &str, method: &str, origin: &str) -> Response {
    let request = stack
        .client()
        .request("OPTIONS".parse().unwrap(), stack.envoy.url(path))
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", SENT);
    stack.send_refused(request).await
}

/// All values of a header field.
fn values(response: &Response, name: &str) -> Vec<String> {
    let values = response.headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// The items of a comma-separated list.
fn items(response: &Response, name: &str) -> Vec<String> {
    let lines = values(response, name);
    assert_eq!(lines.len(), 1, "{name}: {response:?}");
    lines[0].split(',').map(|item| item.trim().to_ascii_lowercase()).collect()
}

/// Asserts that a page of this origin can read the response and the header fields it needs.
fn assert_readable(response: &Response, origin: &str) {
    assert_eq!(values(response, "access-control-allow-origin"), [origin], "{response:?}");
    let exposed = items(response, "access-control-expose-headers");
    assert_eq!(exposed, ["www-authenticate", "mcp-session-id", "mcp-protocol-version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_need_no_token() {
    let stack = stack().start().await;
    for path in ["/mcp", "/.well-known/oauth-protected-resource/mcp"] {
        for method in ["GET", "POST", "DELETE"] {
            let response = preflight(&stack, path, method, APP).await;
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(values(&response, "access-control-allow-origin"), [APP]);
            let methods = items(&response, "access-control-allow-methods");
            assert!(methods.contains(&method.to_ascii_lowercase()), "{response:?}");
            let allowed = items(&response, "access-control-allow-headers");
            for name in SENT.split(", ") {
                // By the Fetch standard, `*` does not cover Authorization.
                let by_star = name != "authorization" && allowed.contains(&"*".to_owned());
                assert!(by_star || allowed.contains(&name.to_owned()), "{name}: {allowed:?}");
            }
            // `*` is a wildcard only in responses that do not allow credentials.
            assert!(!response.headers.contains_key("access-control-allow-credentials"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_can_read_why_they_are_refused() {
    let access = json!({"rules": [
        {"match": {"paths": ["/mcp"]}, "require": {"scopes": ["mcp.tools"]}},
        {"match": {"paths": ["/admin"]}, "require": {"roles": ["admin"]}},
    ]});
    let stack =
        stack().configure(move |configuration| configuration["access"] = access).start().await;
    let page = |path: &str| {
        Response::mcp_call(stack.client(), &stack.envoy.url(path)).header("origin", APP)
    };
    let narrow = stack.provider.token(&with(&stack.claims(), "scope", "other"));
    for (request, reason) in [
        (page("/mcp"), "missing_token"),
        (page("/mcp").bearer_auth("a.b.c"), "malformed_token"),
        (page("/mcp").bearer_auth(narrow), "insufficient_scope"),
        (page("/admin").bearer_auth(stack.token()), "access_denied"),
        (page("/mcp").header("authorization", "Basic YTpi"), "malformed_authorization"),
    ] {
        let response = stack.send_refused(request).await;
        assert_refusal(&response, reason);
        assert_readable(&response, APP);
    }
    let response = stack.send(page("/mcp").bearer_auth(stack.token())).await;
    assert_eq!(response.whoami()["x-mcp-user"], "ada@example.com");
    assert_readable(&response, APP);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_can_read_the_id_of_a_new_session() {
    let stack = stack().server(McpServer::start_with_sessions().await).start().await;
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "page", "version": "1"},
    }});
    let request = stack
        .client()
        .post(stack.url())
        .header("origin", APP)
        .header("accept", "application/json, text/event-stream")
        .bearer_auth(stack.token())
        .json(&initialize);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("mcp-session-id"));
    assert_eq!(response.headers()["access-control-allow-origin"], APP);
    let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.split(", ").any(|name| name == "Mcp-Session-Id"), "{exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_can_read_nothing() {
    let stack = stack().start().await;
    for origin in FOREIGN {
        let page = || stack.request().header("origin", origin);
        for request in [page(), page().bearer_auth(stack.token())] {
            let response = stack.send_refused(request).await;
            assert_refusal(&response, "origin_denied");
            assert_without_cors(&response);
        }
        for method in ["GET", "POST", "DELETE"] {
            let response = preflight(&stack, "/mcp", method, origin).await;
            assert_refusal(&response, "origin_denied");
            assert_without_cors(&response);
        }
    }
}

fn assert_without_cors(response: &Response) {
    let is_of_cors = |name: &&http::HeaderName| name.as_str().starts_with("access-control-");
    let found: Vec<_> = response.headers.keys().filter(is_of_cors).collect();
    assert!(found.is_empty(), "{response:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_origin_can_read_the_metadata() {
    let stack = stack().start().await;
    for path in
        ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"]
    {
        for origin in FOREIGN.into_iter().chain([APP]) {
            let request = stack.client().get(stack.envoy.url(path)).header("origin", origin);
            let response = stack.send_refused(request).await;
            assert_eq!(response.body["resource"], stack.url(), "{response:?}");
            let expected = if origin == APP { APP } else { "*" };
            assert_eq!(values(&response, "access-control-allow-origin"), [expected]);
            let response = preflight(&stack, path, "GET", origin).await;
            assert!(response.status < 300, "{response:?}");
            assert_eq!(values(&response, "access-control-allow-origin"), [expected]);
        }
    }
}
