//! Envoy Gateway's EnvoyExtensionPolicy is checked like Istio's WasmPlugin.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, claims, repository_root};

use crate::support::{configuration, file, key_set, mcp_auth};

fn policy(wasm: Value) -> Value {
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyExtensionPolicy",
        "metadata": {"name": "mcp-federated-auth"},
        "spec": {
            "targetRefs": [{
                "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "mcp",
            }],
            "wasm": wasm,
        },
    })
}

fn wasm(config: &Value) -> Value {
    json!({
        "name": "mcp-federated-auth", "config": config,
        "code": {"type": "Image", "image": {"url": "registry.example.com/mcp-federated-auth:0.1.0"}},
    })
}

fn check(document: &Value) -> Value {
    mcp_auth(&["check", &file(".yaml", &document.to_string()), "--json"], "").json()
}

fn remote() -> Value {
    configuration(json!([{
        "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"],
        "jwks_url": "https://id.example.com/jwks", "cluster": "identity-provider",
    }]))
}

#[test]
fn the_plugin_is_found_in_a_policy() {
    let other = json!({"name": "other", "config": {"header": "x"}});
    let report = check(&policy(json!([other, wasm(&remote())])));
    assert_eq!(report["verdict"], "good", "{report}");
    assert_eq!(report["plugins"].as_array().unwrap().len(), 1, "{report}");
    let plugin = &report["plugins"][0];
    assert_eq!(plugin["place"], "spec.wasm[1].config");
    assert_eq!(plugin["warnings"], json!([]));
    let notes = plugin["notes"].as_array().unwrap();
    assert_eq!(notes.len(), 2, "{report}");
    let says = |index: usize, text: &str| notes[index].as_str().unwrap().contains(text);
    assert!(says(0, "which this file does not show: identity-provider"), "{report}");
    assert!(says(1, "by a ClientTrafficPolicy"), "{report}");
}

#[test]
fn the_example_with_the_native_module_is_good() {
    let path = repository_root().join("envoy/gateway/extensionpolicy.yaml");
    let report = mcp_auth(&["check", path.to_str().unwrap(), "--json"], "").json();
    assert_eq!(report["verdict"], "good", "{report}");
    assert_eq!(report["plugins"][0]["place"], "spec.dynamicModule[0].config");
    assert_eq!(report["plugins"][0]["warnings"], json!([]));
}

#[test]
fn the_faults_of_a_policy_are_named() {
    let mut faulty = remote();
    faulty["providers"][0]["client_ids"] = json!([]);
    let report = check(&policy(json!([wasm(&faulty)])));
    assert_eq!(report["verdict"], "faulty");
    let faults = &report["plugins"][0]["faults"];
    assert_eq!(*faults, json!(["providers[0].client_ids: must hold at least one audience"]));
    // Envoy Gateway converts any value to JSON: from a string, a JSON string.
    let report = check(&policy(json!([wasm(&json!(remote().to_string()))])));
    assert_eq!(report["verdict"], "faulty", "{report}");
    // The status page is not among the plugins of the policy.
    let mut page = wasm(&json!({"hosts": ["status.internal"]}));
    page["rootID"] = json!("mcp_auth_status");
    let report = check(&policy(json!([wasm(&remote()), page])));
    assert_eq!(report["plugins"].as_array().unwrap().len(), 1, "{report}");
}

#[test]
fn a_token_is_judged_by_the_configuration_in_a_policy() {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let config = configuration(json!([{
        "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"],
        "jwks": key_set(&[&key]),
    }]));
    let path = file(".yaml", &policy(json!([wasm(&config)])).to_string());
    let token = key.token(&claims("https://id.example.com", "mcp"));
    assert_eq!(mcp_auth(&["explain", &path], &token).code, Some(0));
    assert_eq!(mcp_auth(&["explain", &path], &format!("{token}AAAA")).code, Some(1));
}
