//! `envoy/istio/waypoint.yaml`: resources that Kubernetes accepts, and that refer to each other.

use std::fs;

use serde_json::{Value, json};
use testbed::{faults_of_kubernetes_resources, repository_root, yaml_documents};

fn resources(file: &str) -> Vec<Value> {
    let path = repository_root().join("envoy/istio").join(file);
    yaml_documents(&fs::read_to_string(path).unwrap())
}

fn resource(kind: &str) -> Value {
    resources("waypoint.yaml").into_iter().find(|resource| resource["kind"] == kind).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resources_of_istio_and_the_gateway_api_fit_their_schemas() {
    let mut resources = resources("waypoint.yaml");
    resources.retain(|resource| resource["kind"] != "Service");
    assert_eq!(resources.len(), 4);
    assert_eq!(faults_of_kubernetes_resources(&resources).await, [""; 0]);
}

#[test]
fn plugin_and_filter_are_for_the_waypoint_and_the_service_uses_it() {
    let name = resource("Gateway")["metadata"]["name"].clone();
    let targets = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]);
    for kind in ["WasmPlugin", "EnvoyFilter"] {
        assert_eq!(resource(kind)["spec"]["targetRefs"], targets, "{kind}");
    }
    assert_eq!(resource("Service")["metadata"]["labels"]["istio.io/use-waypoint"], name);
    let principal = format!("cluster.local/ns/mcp/sa/{}", name.as_str().unwrap());
    let rule = &resource("AuthorizationPolicy")["spec"]["rules"][0];
    assert_eq!(rule["from"][0]["source"]["principals"], json!([principal]));
}

/// Without the annotation, a waypoint has no cluster for the host.
#[test]
fn each_host_that_the_plugin_calls_is_referenced_and_described() {
    let annotations = resource("EnvoyFilter")["metadata"]["annotations"].clone();
    let referenced = annotations["envoyfilter.istio.io/referenced-services"].as_str().unwrap();
    let mut referenced: Vec<&str> = referenced.split(',').collect();
    referenced.sort_unstable();
    let plugin = resource("WasmPlugin")["spec"]["pluginConfig"].clone();
    let mut called = Vec::new();
    for provider in plugin["providers"].as_array().unwrap() {
        for (host, cluster) in provider["clusters"].as_object().unwrap() {
            assert_eq!(cluster, &format!("outbound|443||{host}"));
            called.push(host.clone());
        }
    }
    called.sort_unstable();
    assert_eq!(referenced, called);
    let described = resources("identity-providers.yaml");
    for host in called {
        let is_for = |resource: &&Value| resource["spec"]["hosts"][0] == host.as_str();
        assert!(described.iter().any(|resource| is_for(&resource)), "{host}");
    }
}
