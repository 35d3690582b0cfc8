//! Pages in browsers, by `envoy/browser.yaml`: Envoy's cors filter is before the plugin.

use serde_json::json;
use testbed::{Answer, Bootstrap, McpServer, Stack, StackBuilder, repository_root};

use crate::support::{assert_refusal, with};

/// An origin that the example allows.
const APP: &str = "https://chat.example.com";

const FOREIGN: [&str; 4] = [
    "https://evil.example",
    "http://chat.example.com",
    "https://chat.example.com.evil.org",
    "null",
];

/// Fields that browsers do not send to other origins unless they are allowed: all of MCP's clients.
const SENT: &str = "authorization, content-type, last-event-id, mcp-method, mcp-name, \
                    mcp-param-region, mcp-protocol-version, mcp-session-id";

fn stack() -> StackBuilder {
    let example = repository_root().join("envoy/browser.yaml");
    Stack::builder().bootstrap(Bootstrap::from_file(&example))
}

/// What a browser asks before it sends a request of this method.
async fn preflight(stack: &Stack, path: &str, method: &str, origin: &str) -> Answer {
    let request = stack
        .client()
        .request("OPTIONS".parse().unwrap(), stack.envoy.url(path))
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", SENT);
    stack.send_refused(request).await
}

/// All values of a field.
fn values(answer: &Answer, name: &str) -> Vec<String> {
    let values = answer.headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// The items of a list that comes in one line.
fn items(answer: &Answer, name: &str) -> Vec<String> {
    let lines = values(answer, name);
    assert_eq!(lines.len(), 1, "{name}: {answer:?}");
    lines[0].split(',').map(|item| item.trim().to_ascii_lowercase()).collect()
}

/// Asserts that a page of this origin can read the answer, and its fields that matter to it.
fn assert_readable(answer: &Answer, origin: &str) {
    assert_eq!(values(answer, "access-control-allow-origin"), [origin], "{answer:?}");
    let exposed = items(answer, "access-control-expose-headers");
    assert_eq!(exposed, ["www-authenticate", "mcp-session-id", "mcp-protocol-version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_need_no_token() {
    let stack = stack().start().await;
    for path in ["/mcp", "/.well-known/oauth-protected-resource/mcp"] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = preflight(&stack, path, method, APP).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(values(&answer, "access-control-allow-origin"), [APP]);
            let methods = items(&answer, "access-control-allow-methods");
            assert!(methods.contains(&method.to_ascii_lowercase()), "{answer:?}");
            let allowed = items(&answer, "access-control-allow-headers");
            for name in SENT.split(", ") {
                // By the Fetch standard, the star does not stand for Authorization.
                let by_star = name != "authorization" && allowed.contains(&"*".to_owned());
                assert!(by_star || allowed.contains(&name.to_owned()), "{name}: {allowed:?}");
            }
            // The star matches anything only in responses that allow no credentials.
            assert!(!answer.headers.contains_key("access-control-allow-credentials"));
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
    let page =
        |path: &str| Answer::mcp_call(stack.client(), &stack.envoy.url(path)).header("origin", APP);
    let narrow = stack.provider.token(&with(&stack.claims(), "scope", "other"));
    for (request, reason) in [
        (page("/mcp"), "missing_token"),
        (page("/mcp").bearer_auth("a.b.c"), "malformed_token"),
        (page("/mcp").bearer_auth(narrow), "insufficient_scope"),
        (page("/admin").bearer_auth(stack.token()), "access_denied"),
        (page("/mcp").header("authorization", "Basic YTpi"), "malformed_authorization"),
    ] {
        let answer = stack.send_refused(request).await;
        assert_refusal(&answer, reason);
        assert_readable(&answer, APP);
    }
    let answer = stack.send(page("/mcp").bearer_auth(stack.token())).await;
    assert_eq!(answer.whoami()["x-mcp-user"], "ada@example.com");
    assert_readable(&answer, APP);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_can_read_the_session_that_begins() {
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
async fn pages_of_foreign_origins_get_nothing() {
    let stack = stack().start().await;
    for origin in FOREIGN {
        let page = || stack.request().header("origin", origin);
        for request in [page(), page().bearer_auth(stack.token())] {
            let answer = stack.send_refused(request).await;
            assert_refusal(&answer, "origin_denied");
            assert_without_cors(&answer);
        }
        for method in ["GET", "POST", "DELETE"] {
            let answer = preflight(&stack, "/mcp", method, origin).await;
            assert_refusal(&answer, "origin_denied");
            assert_without_cors(&answer);
        }
    }
}

fn assert_without_cors(answer: &Answer) {
    let is_of_cors = |name: &&http::HeaderName| name.as_str().starts_with("access-control-");
    let found: Vec<_> = answer.headers.keys().filter(is_of_cors).collect();
    assert!(found.is_empty(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_origin_can_read_the_metadata() {
    let stack = stack().start().await;
    for path in
        ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"]
    {
        for origin in FOREIGN.into_iter().chain([APP]) {
            let request = stack.client().get(stack.envoy.url(path)).header("origin", origin);
            let answer = stack.send_refused(request).await;
            assert_eq!(answer.body["resource"], stack.url(), "{answer:?}");
            let expected = if origin == APP { APP } else { "*" };
            assert_eq!(values(&answer, "access-control-allow-origin"), [expected]);
            let answer = preflight(&stack, path, "GET", origin).await;
            assert!(answer.status < 300, "{answer:?}");
            assert_eq!(values(&answer, "access-control-allow-origin"), [expected]);
        }
    }
}
