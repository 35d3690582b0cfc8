use serde_json::{Value, json};

use crate::program::Program;
use crate::{repository_root, yaml_documents};

/// The faults of Kubernetes resources according to the schemas of Kubernetes itself, of Istio 1.29, of
/// the Gateway API and of Envoy Gateway.
pub async fn faults_of_kubernetes_resources(resources: &[Value]) -> Vec<String> {
    let lines = Program::node("kubernetes_resources.mjs", &json!(resources)).lines().await;
    lines.iter().map(|line| line.as_str().expect("it is a sentence").to_owned()).collect()
}

/// The resources that Helm makes of the chart of this project with these values, as the release `mcp`
/// in the namespace `tools`, or why it makes none.
///
/// # Panics
///
/// If a resource is not YAML.
pub async fn rendered_chart(values: &Value) -> Result<Vec<Value>, String> {
    let chart = repository_root().join("charts/mcp-federated-auth");
    let options = json!({"chart": chart, "values": values, "name": "mcp", "namespace": "tools"});
    let rendered = Program::helm(&options).line().await;
    if let Some(fault) = rendered["fault"].as_str() {
        return Err(fault.to_owned());
    }
    let files = rendered["files"].as_object().expect("it has files").iter();
    let manifests = files.filter(|(name, _)| name.ends_with(".yaml"));
    let contents = manifests.map(|(_, content)| content.as_str().expect("it is a string"));
    Ok(contents.flat_map(yaml_documents).filter(|document| !document.is_null()).collect())
}
