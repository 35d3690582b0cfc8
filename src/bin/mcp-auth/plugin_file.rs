//! Files in which the plugin is configured: its own configuration, Envoy's, or Istio's.

use std::fs;
use std::path::Path;

use mcp_federated_auth::explain::Setup;
use serde_json::Value;

use crate::arguments::Source;
use crate::clusters::EnvoyClusters;

/// A file in which the plugin is configured.
pub(crate) struct PluginFile {
    /// Each configuration of the plugin in it, at least one.
    pub(crate) plugins: Vec<FoundPlugin>,
    /// The clusters of Envoy's file; none when it is another one.
    pub(crate) clusters: Option<EnvoyClusters>,
}

/// A configuration of the plugin.
pub(crate) struct FoundPlugin {
    /// Where it stands in the file; empty when it is the whole file.
    pub(crate) place: String,
    /// What the plugin is handed.
    pub(crate) json: Vec<u8>,
}

impl PluginFile {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|why| format!("{shown}: {why}"))?;
        let documents = documents(&text).map_err(|why| format!("{shown}: {why}"))?;
        let mut plugins = Vec::new();
        for document in &documents {
            if is_configuration(document) {
                // As it is, for a field that is given twice is gone once it was read.
                let is_json = text.trim_start().starts_with('{');
                let json = if is_json { text.clone() } else { document.to_string() };
                plugins.push(FoundPlugin { place: String::new(), json: json.into_bytes() });
            } else {
                find(document, "", &mut plugins);
            }
        }
        if plugins.is_empty() {
            return Err(format!(
                "{shown}: holds no configuration of the plugin: neither `resource` and `providers`, \
                 nor a Wasm filter of Envoy or a WasmPlugin of Istio with them"
            ));
        }
        let clusters = documents.iter().find_map(EnvoyClusters::of);
        Ok(Self { plugins, clusters })
    }

    /// Reads the one configuration that is meant.
    pub(crate) fn setup(source: &Source) -> Result<(Setup, Option<EnvoyClusters>), String> {
        let Self { plugins, clusters } = Self::read(&source.config)?;
        let shown = source.config.display();
        let plugin = match (plugins.as_slice(), source.plugin) {
            ([only], None) => only,
            (all, None) => {
                let count = all.len();
                return Err(format!(
                    "{shown}: configures the plugin {count} times; choose by --plugin 1 to {count}"
                ));
            }
            (all, Some(number)) => number
                .checked_sub(1)
                .and_then(|index| all.get(index))
                .ok_or_else(|| format!("{shown}: has no plugin {number}"))?,
        };
        let setup = Setup::new(&plugin.json)
            .map_err(|refused| format!("{shown}: configuration refused:\n{refused}"))?;
        Ok((setup, clusters))
    }
}

fn documents(text: &str) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with('{')
        && let Ok(document) = serde_json::from_str(text)
    {
        return Ok(vec![document]);
    }
    serde_saphyr::from_multiple(text).map_err(|why| format!("is no YAML: {why}"))
}

/// Looks for configurations of the plugin in whatever Envoy or Istio write around them.
fn find(value: &Value, place: &str, found: &mut Vec<FoundPlugin>) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                let json = match name.as_str() {
                    "configuration" | "pluginConfig" | "plugin_config" => {
                        handed_over(inner, is_ours(value))
                    }
                    _ => None,
                };
                match json {
                    Some(json) => found.push(FoundPlugin { place, json }),
                    None => find(inner, &place, found),
                }
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter().enumerate() {
                find(inner, &format!("{place}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// What the plugin is handed, if this is a configuration of it.
fn handed_over(configuration: &Value, is_named: bool) -> Option<Vec<u8>> {
    let inner = configuration.get("value").unwrap_or(configuration);
    match inner {
        Value::String(text) => {
            let is_ours =
                is_named || serde_json::from_str(text).is_ok_and(|value| is_configuration(&value));
            is_ours.then(|| text.clone().into_bytes())
        }
        inner => (is_configuration(inner) || (is_named && inner.is_object()))
            .then(|| inner.to_string().into_bytes()),
    }
}

/// Whether the plugin that is configured here is named after this one, and is not its status page.
fn is_ours(plugin: &Value) -> bool {
    let says = |member: &str, value| plugin.get(member).and_then(Value::as_str) == Some(value);
    says("name", "mcp-federated-auth") && !says("root_id", "mcp_auth_status")
}

fn is_configuration(value: &Value) -> bool {
    let is_there = |name: &str| value.get(name).is_some_and(|own| !own.is_null());
    is_there("providers") || (is_there("resource") && value.get("kind").is_none())
}
