//! The official conformance suite gives the same result for a server with and without the plugin:
//! the plugin changes nothing that the suite checks.
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::{Value, json};
use testbed::{
    ConformanceCheck, ConformanceServer, IdentityProvider, Stack, conformance_checks,
    conformance_checks_of,
};

/// A rule about messages, so that all of them are held and read, and judged by body or header
/// fields.
fn reading(inspect: &str) -> Value {
    json!({"access": {
        "default": "allow",
        "rules": [{
            "match": {"mcp_methods": ["tools/call"], "mcp_names": ["forbidden"]},
            "require": {"roles": ["missing"]},
        }],
        "mcp": {"inspect": inspect, "upstream_validates_headers": true},
    }})
}

/// Binds sessions, with the secret in this environment variable.
fn bound() -> Value {
    json!({"sessions": {"bind": true}, "secret": {"env": "MCP_AUTH_SECRET"}})
}

/// Reads the outcome of every message. No rule names tools, so no list is read.
fn audited() -> Value {
    json!({
        "audit": {"outcomes": true},
        "access": {"default": "allow", "rules": [{"name": "all", "match": {"mcp_methods": ["*"]}}]},
    })
}

/// All three: lists are filtered, sessions are bound and outcomes are read.
fn all_at_once() -> Value {
    let mut all = bound();
    all["audit"] = json!({"outcomes": true});
    all["access"] = reading("body")["access"].take();
    all
}

/// Envoy with the plugin in front of this server, with these members in its configuration. The
/// suite sends no tokens, so a filter before the plugin adds one.
async fn stack_before(server: &ConformanceServer, members: &Value) -> Stack {
    let provider = IdentityProvider::start().await;
    let token = provider.token(&provider.claims(Stack::AUDIENCE));
    let members = members.as_object().cloned().unwrap_or_default();
    Stack::builder().alone()
        .provider(provider)
        .cluster("mcp_server", server.address())
        .configure(move |configuration| {
            for (name, value) in members {
                configuration[name] = value;
            }
        })
        .edit(move |bootstrap| {
            bootstrap.plugin()["vm_config"]["environment_variables"] = json!({"key_values": {
                "MCP_AUTH_SECRET": testbed::random_id() + &testbed::random_id(),
            }});
            let filter = json!({
                "name": "envoy.filters.http.header_mutation",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
                    "mutations": {"request_mutations": [{"append": {
                        "header": {"key": "authorization", "value": format!("Bearer {token}")},
                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                    }}]},
                },
            });
            bootstrap.http_filters().insert(0, filter);
        })
        .start()
        .await
}

/// A counter by the name and labels that Prometheus sees, which plugin and native module share.
async fn counter(stack: &Stack, name: &str) -> Option<u64> {
    let metrics = stack.envoy.admin("/stats/prometheus").await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok()
}

/// The suite's checks through Envoy with the plugin.
async fn checks_through_envoy(
    server: &ConformanceServer,
    members: &Value,
    revision: &str,
) -> Vec<ConformanceCheck> {
    let stack = stack_before(server, members).await;
    let checks = conformance_checks(&stack.url(), revision).await;
    let allowed = r#"mcp_auth_requests{provider="demo",outcome="allowed",reason="none"}"#;
    let allowed = counter(&stack, allowed).await;
    assert!(allowed.is_some_and(|allowed| allowed > 50), "{allowed:?} requests passed the plugin");
    if members.get("audit").is_some() {
        let read = r#"mcp_auth_calls{method="tools/call",outcome="ok"}"#;
        let read = counter(&stack, read).await;
        assert!(read.is_some_and(|read| read > 5), "{read:?} calls had a known outcome");
    }
    checks
}

/// The names of the checks that have another result through Envoy.
async fn differing(
    server: &ConformanceServer,
    members: Value,
    revision: &str,
    directly: &[ConformanceCheck],
) -> Vec<String> {
    let through = checks_through_envoy(server, &members, revision).await;
    assert_eq!(through.len(), directly.len(), "{members}");
    let lost = directly.iter().filter(|check| !through.contains(check));
    for new in through.iter().filter(|check| !directly.contains(check)) {
        println!("{members}: {new:?}");
    }
    lost.map(|check| check.check.clone()).collect()
}

/// The suite's checks of the server itself, none of which may fail.
async fn checks_of(server: &ConformanceServer, revision: &str) -> Vec<ConformanceCheck> {
    let checks = conformance_checks(&format!("http://{}/mcp", server.address()), revision).await;
    let is_good = |check: &&ConformanceCheck| ["SUCCESS", "INFO"].contains(&check.status.as_str());
    let bad: Vec<_> = checks.iter().filter(|check| !is_good(check)).collect();
    assert!(bad.is_empty(), "the server itself: {bad:#?}");
    checks
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_of_2025_11_25_gives_the_same_result() {
    const REVISION: &str = "2025-11-25";
    let server = ConformanceServer::start().await;
    let directly = checks_of(&server, REVISION).await;
    assert!(directly.len() >= 84, "only {} checks", directly.len());
    for members in [json!({}), reading("body"), bound(), audited(), all_at_once()] {
        assert_eq!(differing(&server, members, REVISION, &directly).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_of_2026_07_28_gives_the_same_result() {
    const REVISION: &str = "2026-07-28";
    /// With rules by header fields, the plugin refuses unknown versions itself; it does not read
    /// the body, so its error has no `id`.
    const BY_HEADERS: [&str; 2] =
        ["sep-2575-server-unsupported-version-error", "sep-2575-http-server-error-jsonrpc-id"];
    let server = ConformanceServer::start().await;
    let directly = checks_of(&server, REVISION).await;
    assert!(directly.len() >= 150, "only {} checks", directly.len());
    for members in [json!({}), reading("body"), bound(), audited(), all_at_once()] {
        assert_eq!(differing(&server, members, REVISION, &directly).await, [""; 0]);
    }
    assert_eq!(differing(&server, reading("headers"), REVISION, &directly).await, BY_HEADERS);
}

/// The server supports nothing of this scenario, but its requests with forged header fields reach
/// the plugin, whose errors must be valid by the schema.
#[tokio::test(flavor = "multi_thread")]
async fn errors_about_header_fields_are_valid_by_the_schema_of_2026_07_28() {
    let server = ConformanceServer::start().await;
    let stack = stack_before(&server, &reading("body")).await;
    let checks = conformance_checks_of(&stack.url(), "2026-07-28", "tasks-request-headers").await;
    for check in ["tasks-headers-reject-mismatched-method", "wire-schema-valid"] {
        let found: Vec<_> = checks.iter().filter(|found| found.check == check).collect();
        let is_good = |found: &&ConformanceCheck| found.status == "SUCCESS";
        assert!(!found.is_empty() && found.iter().all(is_good), "{checks:#?}");
    }
    let refused =
        r#"mcp_auth_requests{provider="demo",outcome="refused",reason="mcp_header_mismatch"}"#;
    assert!(counter(&stack, refused).await.is_some_and(|refused| refused > 0));
}
