//! The least of all Wasm filters is only a measure if it really does what it seems to.

use serde_json::json;
use testbed::{Bootstrap, McpServer};

use super::Listener;
use crate::filters::LeastWasm;
use crate::listeners::Listeners;
use crate::requests::get;

/// Not one that Envoy answers itself.
const PATH: &str = "/seen-by-the-server";

const FIELDS: [(&str, &str); 12] = [
    ("x-mcp-user", "ada@example.com"),
    ("x-mcp-user-field", "user_name"),
    ("x-mcp-subject", "ada"),
    ("x-mcp-issuer", "http://127.0.0.1:30000"),
    ("x-mcp-provider", "demo"),
    ("x-mcp-client-id", "demo-agent"),
    ("x-mcp-client-type", "user"),
    ("x-mcp-scopes", "mcp.tools"),
    ("x-mcp-roles", "itil"),
    ("x-mcp-groups", "ops"),
    ("x-mcp-token-id", "AAECAwQFBgcICQoLDA0ODw"),
    ("x-mcp-token-expires", "1800000000"),
];

/// Lets the server see filter state too.
pub fn show_filter_state(bootstrap: &mut Bootstrap) {
    let host = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0];
    let shown = ["user", "provider"].map(|name| {
        json!({"header": {
            "key": format!("state-{name}"),
            "value": format!("%FILTER_STATE(wasm.mcp_auth.{name}:PLAIN)%"),
        }})
    });
    for route in host["routes"].as_array_mut().unwrap() {
        if route.get("route").is_some() {
            route["request_headers_to_add"] = json!(shown);
        }
    }
}

/// Sends one request through it.
///
/// # Panics
///
/// When the server sees something else than the filter is to send.
pub async fn check(listeners: &mut Listeners, server: &McpServer, kind: LeastWasm) {
    let client = &mut listeners.clients[Listener::LeastWasm.index()];
    client.send_one(&get(PATH, Some("a.b.c"))).await;
    let requests = server.requests();
    let seen = requests.iter().find(|request| request.path == PATH);
    let seen = seen.unwrap_or_else(|| panic!("not forwarded: {}", listeners.envoy.log()));
    for (name, value) in FIELDS {
        assert_eq!(seen.header(name), [value.as_bytes()], "{name}");
    }
    assert!(seen.header("authorization").is_empty());
    let is_set = kind == LeastWasm::WithFilterState;
    for (name, value) in [("state-user", "ada@example.com"), ("state-provider", "demo")] {
        let expected = if is_set { vec![value.as_bytes()] } else { vec![] };
        // Envoy writes a hyphen for what is not there.
        let found: Vec<_> = seen.header(name).into_iter().filter(|value| *value != b"-").collect();
        assert_eq!(found, expected, "{name}");
    }
    for counter in ["least_wasm_requests", "least_wasm_hits"] {
        let name = format!("wasmcustom.{counter}");
        assert_eq!(listeners.envoy.stat(&name).await, Some(1), "{name}");
    }
}
