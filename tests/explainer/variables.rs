//! `mcp-auth check`: the environment variables that the plugin gets, and whether its configuration
//! needs others.

use std::path::Path;

use serde_json::{Value, json};
use testbed::Bootstrap;

use crate::support::{file, mcp_auth};

const SECRET: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";

/// A configuration that names an environment variable wherever it can.
fn configuration() -> Value {
    let issuer = "https://id.example.com";
    json!({
        "resource": {"url": "https://mcp.example.com/mcp"},
        "secret": {"env": "NEW", "previous_env": "OLD"},
        "sessions": {"bind": true},
        "login": {},
        "users": {"scim": {
            "url": "https://directory.example.com/scim/v2", "cluster": "identity_provider",
            "bearer_token_env": "SCIM",
        }},
        "providers": [{
            "name": "own", "issuer": issuer, "client_ids": ["mcp"],
            "metadata_url": format!("{issuer}/metadata"), "cluster": "identity_provider",
            "login": {"client_id": "gateway", "client_secret_env": "CLIENT"},
        }],
    })
}

/// The faults of a file with this content.
fn faults(content: &Value) -> Vec<String> {
    let path = file(".json", &content.to_string());
    let report = mcp_auth(&["check", &path, "--json", "--offline"], "").json();
    let faults = report["plugins"][0]["faults"].as_array().unwrap_or_else(|| panic!("{report}"));
    faults.iter().map(|fault| fault.as_str().unwrap().to_owned()).collect()
}

/// The faults of an Envoy file that passes these variables to the plugin.
fn faults_with(variables: Value) -> Vec<String> {
    let mut bootstrap = Bootstrap::example();
    *bootstrap.plugin_configuration() = configuration();
    bootstrap.plugin()["vm_config"]["environment_variables"] = variables;
    faults(bootstrap.tree())
}

#[track_caller]
fn assert_missing(faults: &[String], expected: &[(&str, &str)]) {
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for (path, name) in expected {
        let fault = format!("{path}: the environment variable \"{name}\" is not set or not passed");
        assert!(faults.iter().any(|found| found.starts_with(&fault)), "{fault}: {faults:?}");
    }
    assert!(faults.iter().all(|fault| fault.contains("host_env_keys")), "{faults:?}");
}

#[test]
fn variables_that_envoys_file_does_not_pass_to_the_plugin_are_faults() {
    let all = [
        ("secret.env", "NEW"),
        ("secret.previous_env", "OLD"),
        ("users.scim.bearer_token_env", "SCIM"),
        ("providers[0].login.client_secret_env", "CLIENT"),
    ];
    assert_missing(&faults_with(Value::Null), &all);
    assert_missing(&faults_with(json!({"host_env_keys": ["NEW", "SCIM"]})), &[all[1], all[3]]);
    assert_missing(&faults_with(json!({"hostEnvKeys": ["NEW", "OLD", "SCIM"]})), &[all[3]]);
    let complete = json!({"host_env_keys": ["NEW", "OLD", "SCIM"], "key_values": {"CLIENT": "s"}});
    assert_eq!(faults_with(complete), [""; 0]);
}

#[test]
fn values_in_the_file_are_judged_and_not_shown() {
    let of = |secret: &str| {
        let values = json!({"NEW": secret, "OLD": SECRET, "SCIM": "token", "CLIENT": "c"});
        faults_with(json!({"key_values": values}))
    };
    assert_eq!(of(SECRET), [""; 0]);
    let found = of("c2hvcnQ=");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("secret.env: the value of \"NEW\""), "{found:?}");
    assert!(!found[0].contains("c2hvcnQ="), "{found:?}");
}

#[test]
fn a_file_that_does_not_show_the_variables_has_no_such_faults() {
    assert_eq!(faults(&configuration()), [""; 0]);
    // A dynamic module gets all of Envoy's.
    let mut bootstrap = Bootstrap::example();
    *bootstrap.plugin_configuration() = configuration();
    bootstrap.replace_plugin(Path::new("module.so"));
    assert_eq!(faults(bootstrap.tree()), [""; 0]);
}

#[test]
fn the_fix_for_istio_and_envoy_gateway_names_their_own_fields() {
    let istio = |env: Value| {
        faults(&json!({
            "kind": "WasmPlugin",
            "spec": {"vmConfig": {"env": env}, "pluginConfig": configuration()},
        }))
    };
    let gateway = |env: Value| {
        faults(&json!({
            "kind": "EnvoyExtensionPolicy",
            "spec": {"wasm": [
                {"name": "mcp-federated-auth", "env": env, "config": configuration()},
            ]},
        }))
    };
    let [new, old, scim, client] = ["NEW", "OLD", "SCIM", "CLIENT"];
    let from_host = |name: &str| json!({"name": name, "valueFrom": "HOST"});
    let inline = json!({"name": client, "value": "c"});
    let complete = json!([from_host(new), from_host(old), from_host(scim), inline]);
    assert_eq!(istio(complete), [""; 0]);
    assert_eq!(gateway(json!({"hostKeys": [new, old, scim, client]})), [""; 0]);
    let lacks_client = [("providers[0].login.client_secret_env", client)];
    let found = istio(json!([from_host(new), from_host(old), from_host(scim)]));
    assert_missing(&found, &lacks_client);
    assert!(found[0].contains("vmConfig.env"), "{found:?}");
    let found = gateway(json!({"hostKeys": [new, old, scim]}));
    assert_missing(&found, &lacks_client);
    assert!(found[0].contains("env.hostKeys"), "{found:?}");
}
