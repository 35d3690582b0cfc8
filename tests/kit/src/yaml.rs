use serde_json::Value;

/// Parses a YAML document.
///
/// # Panics
///
/// If it is not YAML.
pub fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("not YAML: {error}\n{text}"))
}

/// Parses all documents of a YAML file.
///
/// # Panics
///
/// If it is not YAML.
pub fn yaml_documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("not YAML: {error}\n{text}"))
}

/// The configurations of the plugin in a document for Envoy or Istio.
pub fn plugin_configurations(document: &Value) -> Vec<Value> {
    let inner: Vec<&Value> = match document {
        Value::Object(members) => members.values().collect(),
        Value::Array(elements) => elements.iter().collect(),
        _ => Vec::new(),
    };
    match document.get("resource") {
        Some(_) if document.get("providers").is_some() => vec![document.clone()],
        _ => inner.into_iter().flat_map(plugin_configurations).collect(),
    }
}
