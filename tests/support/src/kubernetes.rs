use serde_json::{Value, json};

use crate::program::Program;

/// The faults of Kubernetes resources according to the schemas of Istio 1.29 and of the Gateway
/// API.
pub async fn faults_of_kubernetes_resources(resources: &[Value]) -> Vec<String> {
    let lines = Program::node("kubernetes_resources.mjs", &json!(resources)).lines().await;
    lines.iter().map(|line| line.as_str().expect("it is a sentence").to_owned()).collect()
}
