//! Responses to clients that look for an authorization server on the MCP server's host.

use serde_json::json;
use testbed::{Port, Response, Stack};

use crate::support::{add_listener, assert_none, assert_refusal};

/// Where clients look for it; the MCP endpoint is `/mcp`.
const PATHS: [&str; 9] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/",
    "/.well-known/oauth-authorization-server?a=b",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/mcp",
    "/.well-known/openid-configuration/mcp/",
    "/mcp/.well-known/oauth-authorization-server",
    "/mcp/.well-known/openid-configuration",
];

async fn ask(stack: &Stack, method: &str, url: &str) -> Response {
    stack.send(stack.client().request(method.parse().unwrap(), url)).await
}

/// What is wrong with the 404 responses at this address.
async fn faults(stack: &Stack, origin: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for path in PATHS {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let response = ask(stack, method, &format!("{origin}{path}")).await;
            let is_open = response.header("access-control-allow-origin") == "*";
            let challenges = response.headers.contains_key("www-authenticate");
            if response.status != 404 || !is_open || challenges {
                faults.push(format!("{method} {path}: {response:?}"));
            }
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn authorization_server_metadata_is_not_found_without_a_token() {
    let (reporting, ruled) = (Port::free(), Port::free());
    let numbers = [reporting.number(), ruled.number()];
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["allowed_origins"] = json!(["https://app.example.com"]);
        })
        .edit(move |bootstrap| {
            add_listener(bootstrap, numbers[0], |configuration| {
                configuration["mode"] = json!("report")
            });
            add_listener(bootstrap, numbers[1], |configuration| {
                configuration["access"] = json!({"default": "deny", "rules": [
                    {"match": {"paths": ["/mcp"]}},
                    {"match": {"path_prefixes": ["/"]}, "require": {"roles": ["missing"]}},
                ]});
            });
        })
        .start()
        .await;
    for origin in [
        stack.envoy.url(""),
        format!("http://{}", reporting.address()),
        format!("http://{}", ruled.address()),
    ] {
        assert_none(&faults(&stack, &origin).await);
    }
    assert_eq!(stack.server.count(), 0);

    let found = ask(&stack, "GET", &stack.envoy.url(PATHS[0])).await;
    let description = found.body["error_description"].as_str().unwrap();
    assert!(description.ends_with("/.well-known/oauth-protected-resource/mcp"), "{description}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_of_any_origin_sees_the_404() {
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["allowed_origins"] = json!(["https://app.example.com"]);
        })
        .start()
        .await;
    let url = stack.envoy.url(PATHS[0]);
    let preflight = stack
        .client()
        .request("OPTIONS".parse().unwrap(), &url)
        .header("origin", "https://inspector.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "mcp-protocol-version");
    let response = stack.send_refused(preflight).await;
    assert_eq!(response.status, 204, "{response:?}");
    assert_eq!(response.header("access-control-allow-origin"), "*");
    assert_eq!(response.header("access-control-allow-headers"), "MCP-Protocol-Version");
    let request = stack.client().get(&url).header("origin", "https://inspector.example");
    assert_eq!(stack.send_refused(request).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_or_exempt_opens_the_metadata_of_a_server_that_has_it() {
    let (exempting, by_path, by_prefix) = (Port::free(), Port::free(), Port::free());
    let numbers = [exempting.number(), by_path.number(), by_prefix.number()];
    let stack = Stack::builder()
        .edit(move |bootstrap| {
            add_listener(bootstrap, numbers[0], |configuration| {
                configuration["exempt"] =
                    json!([{"path": "/.well-known/oauth-authorization-server"}]);
            });
            add_listener(bootstrap, numbers[1], |configuration| {
                configuration["access"] = json!({"rules": [
                    {"match": {"paths": ["/.well-known/openid-configuration"]}},
                ]});
            });
            add_listener(bootstrap, numbers[2], |configuration| {
                configuration["access"] =
                    json!({"rules": [{"match": {"path_prefixes": ["/.well-known"]}}]});
            });
        })
        .start()
        .await;
    let url = |port: &Port, path: &str| format!("http://{}{path}", port.address());

    let served = ask(&stack, "GET", &url(&exempting, PATHS[0])).await;
    assert_eq!(served.status, 200, "{served:?}");
    assert_eq!(stack.server.requests().pop().unwrap().path, PATHS[0]);
    // Only this path is open.
    assert_eq!(ask(&stack, "GET", &url(&exempting, PATHS[3])).await.status, 404);
    assert_eq!(ask(&stack, "GET", &url(&exempting, PATHS[4])).await.status, 404);

    assert_refusal(&ask(&stack, "GET", &url(&by_path, PATHS[4])).await, "missing_token");
    assert_eq!(ask(&stack, "GET", &url(&by_path, PATHS[0])).await.status, 404);
    for path in [PATHS[0], PATHS[3], PATHS[4], PATHS[5]] {
        assert_refusal(&ask(&stack, "GET", &url(&by_prefix, path)).await, "missing_token");
    }
    let request = stack.client().get(url(&by_prefix, PATHS[0])).bearer_auth(stack.token());
    assert_eq!(stack.send(request).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_path_needs_a_token() {
    let stack = Stack::builder().start().await;
    for (method, path) in [
        ("POST", PATHS[0]),
        ("DELETE", PATHS[4]),
        ("GET", "/.well-known/oauth-authorization-servers"),
        ("GET", "/.well-known/openid"),
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/other/.well-known/openid-configuration"),
        ("GET", "/mcp/.well-known/openid-configuration/more"),
        ("GET", "/"),
    ] {
        assert_refusal(&ask(&stack, method, &stack.envoy.url(path)).await, "missing_token");
    }
    assert_eq!(stack.server.count(), 0);
}
