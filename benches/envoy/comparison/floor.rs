//! The minimal filters are valid baselines only if they do what they claim.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use testbed::{Algorithm, Bootstrap, IdentityProvider, McpServer, RecordedRequest};

use super::Filter;
use super::loads::Load;
use crate::filters::LeastWasm;
use crate::listeners::Listeners;
use crate::requests::{get, token};

/// A path that Envoy does not respond to itself.
const PATH: &str = "/seen-by-the-server";

include!("../identity_fields.rs");

/// The filter's fixed actions for each request of such a load; it computes nothing.
///
/// A byte for whether it sets filter state, a byte for whether it refuses, and, if tokens of this
/// load cannot be cached, the arguments for the host's `verify_signature`: one token for all
/// requests.
pub fn configuration(load: Load, provider: &IdentityProvider, kind: LeastWasm) -> Vec<u8> {
    let sets_filter_state = kind == LeastWasm::WithFilterState;
    let refuses = load.expected_status() == 401;
    let question = if load.is_new_each_round() { question(provider) } else { vec![] };
    [vec![sets_filter_state.into(), refuses.into()], question].concat()
}

/// The plugin's call for a new token. The signature is valid: for a forged one, the filter changes
/// the message after the host has verified it.
fn question(provider: &IdentityProvider) -> Vec<u8> {
    let token = token(provider);
    let (text, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let signature = match provider.key().algorithm() {
        Algorithm::Es256 => {
            p256::ecdsa::Signature::from_slice(&signature).unwrap().to_der().as_bytes().to_vec()
        }
        _ => signature,
    };
    let key = provider.key().public_key_info();
    testbed::verify_signature_arguments("sha256", key, signature, text.into())
}

/// Makes filter state visible to the server and to clients.
pub fn show_filter_state(bootstrap: &mut Bootstrap) {
    let host = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0];
    let of_wasm = ["user", "provider", "reason"].map(|name| ("state", "wasm.", name));
    let of_native = ["user", "provider", "client"].map(|name| ("native-state", "", name));
    let shown = of_wasm.into_iter().chain(of_native).map(|(shown_as, prefix, name)| {
        json!({"header": {
            "key": format!("{shown_as}-{name}"),
            "value": format!("%FILTER_STATE({prefix}mcp_auth.{name}:PLAIN)%"),
        }})
    });
    let shown = Vec::from_iter(shown);
    for route in host["routes"].as_array_mut().unwrap() {
        if route.get("route").is_some() {
            route["request_headers_to_add"] = json!(shown);
            route["response_headers_to_add"] = json!(shown);
        }
    }
}

/// Sends one request of each load through the filter.
///
/// # Panics
///
/// If the server sees anything but what the filter should send, or the refusal differs from the
/// plugin's, or the filter of the same calls adds other fields or filter state than the module.
pub async fn check(
    listeners: &mut Listeners,
    provider: &IdentityProvider,
    server: &McpServer,
    kind: LeastWasm,
) {
    for load in Load::ALL {
        let token = load.token(provider);
        let request = get(PATH, token.as_deref());
        let before = counters(listeners).await;
        let response = listeners.clients[Filter::LeastWasm.place(load)].send_one(&request).await;
        let [requests, tokens] = before;
        let expected = [requests + 1, tokens + u64::from(token.is_some())];
        assert_eq!(counters(listeners).await, expected, "{load}");
        if load.expected_status() == 401 {
            let plugin = listeners.clients[Filter::Plugin.place(load)].send_one(&request).await;
            assert_refused(&response, &plugin, kind);
            assert_eq!(server.count(), 0, "forwarded: {load}");
        } else {
            let seen = server.requests().pop();
            let seen = seen.unwrap_or_else(|| panic!("{response}\n{}", listeners.envoy.log()));
            assert_forwarded(&seen, kind);
        }
        server.clear();
    }
    let token = Load::Hot.token(provider);
    let [minimal, same_calls, module] =
        [Filter::MinimalNative, Filter::SameCallsNative, Filter::Native];
    let mut added = Vec::new();
    for filter in [minimal, same_calls, module] {
        let client = &mut listeners.clients[filter.place(Load::Hot)];
        let response = client.send_one(&get(PATH, token.as_deref())).await;
        let seen = server.requests().pop().unwrap_or_else(|| panic!("{response}"));
        if filter != module {
            assert_fields(&seen);
        }
        added.push(names_of_added(&seen));
        server.clear();
    }
    assert_eq!(added[1], added[2]);
    let client = BTreeSet::from(["native-state-client".to_owned()]);
    assert_eq!(&added[1] - &added[0], client);
}

/// The identity headers, and the filter state of a native filter.
fn names_of_added(seen: &RecordedRequest) -> BTreeSet<String> {
    let is_added = |name: &str| name.starts_with("x-mcp-") || name.starts_with("native-state-");
    // Envoy writes a hyphen for a missing value.
    let added = seen.headers.iter().filter(|(name, value)| is_added(name) && value != b"-");
    added.map(|(name, _)| name.clone()).collect()
}

/// The counters of all requests, and of those with a token.
async fn counters(listeners: &Listeners) -> [u64; 2] {
    let count = async |name| {
        let name = format!("wasmcustom.least_wasm_{name}");
        listeners.envoy.stat(&name).await.unwrap_or_else(|| panic!("no {name}"))
    };
    [count("requests").await, count("tokens").await]
}

fn assert_fields(seen: &RecordedRequest) {
    for (name, value) in FIELDS {
        assert_eq!(seen.header(name), [value.as_bytes()], "{name}");
    }
    assert!(seen.header("authorization").is_empty());
}

fn assert_forwarded(seen: &RecordedRequest, kind: LeastWasm) {
    assert_fields(seen);
    let is_set = kind == LeastWasm::WithFilterState;
    for (name, value) in [("state-user", "ada@example.com"), ("state-provider", "demo")] {
        let expected = if is_set { vec![value.as_bytes()] } else { vec![] };
        // Envoy writes a hyphen for a missing value.
        let found: Vec<_> = seen.header(name).into_iter().filter(|value| *value != b"-").collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// The plugin's response shows its filter state too.
fn assert_refused(response: &str, plugin: &str, kind: LeastWasm) {
    let lines = |response: &str| {
        let is_compared = |line: &&str| {
            !line.starts_with("date: ")
                && (kind == LeastWasm::WithFilterState || !line.starts_with("state-"))
        };
        response.lines().filter(is_compared).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(plugin.starts_with("HTTP/1.1 401 ") && plugin.contains("state-reason: "), "{plugin}");
    assert_eq!(lines(response), lines(plugin));
}
