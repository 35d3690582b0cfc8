//! Envoy's file is checked in a ConfigMap too, among other resources: as `helm template` prints it.

use std::fs;

use serde_json::{Value, json};
use testbed::{Bootstrap, rendered_chart, repository_root, yaml};

use crate::support::{file, mcp_auth};

/// A YAML stream with a Service, and a ConfigMap with these files.
fn resources(files: &Value) -> String {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mcp"}, "data": files,
    });
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: mcp}}\n---\n{map}\n")
}

fn check(resources: &str) -> Value {
    mcp_auth(&["check", "--offline", &file(".yaml", resources), "--json"], "").json()
}

#[test]
fn a_config_map_has_the_same_findings_as_envoys_file() {
    let mut bootstrap = Bootstrap::example();
    let good = bootstrap.tree().to_string();
    bootstrap.plugin_configuration()["providers"][0]["cluster"] = json!("missing");
    let faulty = bootstrap.tree().to_string();
    for (envoy, verdict) in [(good, "good"), (faulty, "faulty")] {
        let alone = check(&envoy);
        assert_eq!(alone["verdict"], verdict, "{alone}");
        let files = json!({"envoy.yaml": envoy, "company-ca.crt": "-----BEGIN CERTIFICATE-----"});
        assert_eq!(check(&resources(&files)), alone);
    }
}

#[test]
fn a_file_of_envoy_that_is_not_yaml_is_an_error_that_names_it() {
    let path = file(".yaml", &resources(&json!({"envoy.yaml": "static_resources: {"})));
    let run = mcp_auth(&["check", &path], "");
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("data.envoy.yaml: is not YAML"), "{run:?}");
}

#[test]
fn a_config_map_without_the_plugin_holds_no_configuration() {
    for files in [json!({"nginx.conf": "server {}"}), json!({"envoy.yaml": "static_resources: {}"})]
    {
        let run = mcp_auth(&["check", &file(".yaml", &resources(&files))], "");
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains("holds no configuration of the plugin"), "{run:?}");
    }
}

#[tokio::test]
async fn the_resources_of_the_chart_are_good_without_warnings() {
    let values = repository_root().join("charts/mcp-federated-auth/example.yaml");
    let values = yaml(&fs::read_to_string(values).unwrap());
    let resources = rendered_chart(&values).await.unwrap();
    let text: String = resources.iter().map(|resource| format!("---\n{resource}\n")).collect();
    let report = check(&text);
    assert_eq!(report["verdict"], "good", "{report}");
    let plugins = report["plugins"].as_array().unwrap();
    assert_eq!(plugins.len(), 1, "{report}");
    assert_eq!(plugins[0]["warnings"], json!([]));
}
