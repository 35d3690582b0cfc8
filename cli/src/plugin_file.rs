//! Files in which the plugin or the native module is configured: its own configuration, Envoy's,
//! Istio's, or that of Envoy Gateway. Envoy's may be in a ConfigMap of Kubernetes.

use std::fs;
use std::path::Path;

use mcp_federated_auth::explain::{Setup, is_utf16, without_byte_order_mark};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::arguments::Source;
use crate::clusters::EnvoyClusters;
use crate::document::Document;
use crate::normalisation::Normalisation;
use crate::surroundings::{Location, Surroundings};

/// A file in which the plugin is configured.
pub(crate) struct PluginFile {
    /// Each configuration of the plugin in it, at least one.
    pub(crate) plugins: Vec<FoundPlugin>,
    /// The clusters, if it is an Envoy file.
    pub(crate) clusters: Option<EnvoyClusters>,
}

/// A configuration of the plugin.
pub(crate) struct FoundPlugin {
    /// Its path in the file; empty if it is the whole file.
    pub(crate) place: String,
    /// The configuration as the plugin gets it.
    pub(crate) json: Vec<u8>,
    /// Duplicate fields, which the parser of the host does not report.
    pub(crate) duplicates: Vec<String>,
    /// How it is run.
    pub(crate) surroundings: Surroundings,
}

/// The selected configuration of the plugin.
pub(crate) struct ChosenPlugin {
    pub(crate) setup: Setup,
    /// How Envoy changes requests before the plugin sees them; none if the file does not show it.
    pub(crate) normalisation: Option<Normalisation>,
    /// The clusters of Envoy's file; none when it is another one.
    pub(crate) clusters: Option<EnvoyClusters>,
}

impl PluginFile {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = text(path).map_err(|why| format!("{shown}: {why}"))?;
        let documents =
            documents(&text).and_then(with_config_maps).map_err(|why| format!("{shown}: {why}"))?;
        let mut plugins: Vec<FoundPlugin> = Vec::new();
        let mut elsewhere = Vec::new();
        let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
        let values: Vec<&Value> = documents.iter().map(|document| &document.value).collect();
        for Document { value, duplicates } in &documents {
            let first = plugins.len();
            if is_configuration(value) {
                // Unchanged: the plugin's own reader finds duplicates.
                let json = if is_json { text.clone() } else { value.to_string() };
                plugins.push(FoundPlugin::new(String::new(), json.into_bytes()));
                if is_json {
                    continue;
                }
            } else {
                find(value, "", Location::default(), &values, &mut plugins);
            }
            let added = plugins.get_mut(first..).unwrap_or_default();
            elsewhere.extend(assign_duplicates(duplicates, added));
        }
        let Some(first) = plugins.first_mut() else {
            return Err(format!(
                "{shown}: holds no configuration of the plugin: neither `resource` and `providers`, \
                 nor a Wasm filter or dynamic module of Envoy, a WasmPlugin of Istio or an \
                 EnvoyExtensionPolicy of Envoy Gateway with them"
            ));
        };
        first.duplicates.extend(elsewhere);
        let clusters =
            values.into_iter().filter_map(EnvoyClusters::parse).reduce(EnvoyClusters::merge);
        Ok(Self { plugins, clusters })
    }

    /// Reads the selected configuration.
    pub(crate) fn setup(source: &Source) -> Result<ChosenPlugin, String> {
        let Self { plugins, clusters } = Self::read(&source.config)?;
        let shown = source.config.display();
        let plugin = match (plugins.as_slice(), source.plugin) {
            ([only], None) => only,
            (all, None) => {
                let count = all.len();
                return Err(format!(
                    "{shown}: configures the plugin {count} times; select one with --plugin 1 to \
                     {count}"
                ));
            }
            (all, Some(number)) => number
                .checked_sub(1)
                .and_then(|index| all.get(index))
                .ok_or_else(|| format!("{shown}: has no plugin {number}"))?,
        };
        let refused = |faults: String| format!("{shown}: configuration refused:\n{faults}");
        if !plugin.duplicates.is_empty() {
            return Err(refused(plugin.duplicates.join("\n")));
        }
        let setup = Setup::new(&plugin.json).map_err(|faults| refused(faults.to_string()))?;
        Ok(ChosenPlugin {
            setup: setup.with_header_limit(plugin.surroundings.header_limit()),
            normalisation: plugin.surroundings.normalisation(),
            clusters,
        })
    }
}

impl FoundPlugin {
    fn new(place: String, json: Vec<u8>) -> Self {
        Self { place, json, duplicates: Vec::new(), surroundings: Surroundings::default() }
    }
}

/// The content of a file, without a byte order mark.
fn text(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|why| why.to_string())?;
    if is_utf16(&bytes) {
        return Err("is in UTF-16: save it as UTF-8".to_owned());
    }
    let text = std::str::from_utf8(without_byte_order_mark(&bytes));
    Ok(text.map_err(|_| "is not in UTF-8")?.to_owned())
}

fn documents(text: &str) -> Result<Vec<Document>, String> {
    if text.trim_start().starts_with('{')
        && let Ok(document) = serde_json::from_str(text)
    {
        return Ok(vec![document]);
    }
    // The reader's own message about duplicates does not say where they are.
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
    };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|why| format!("is not YAML: {why}"))
}

/// The documents, and those of Envoy in the ConfigMaps among them.
fn with_config_maps(mut all: Vec<Document>) -> Result<Vec<Document>, String> {
    let mut inner = Vec::new();
    for Document { value, .. } in &all {
        let is_map = value.get("kind").and_then(Value::as_str) == Some("ConfigMap");
        let data = is_map.then(|| value.get("data")?.as_object()).flatten();
        let files = data.into_iter().flatten();
        let files = files.filter_map(|(name, content)| Some((name, content.as_str()?)));
        for (name, content) in files.filter(|(_, content)| content.contains("static_resources")) {
            inner.extend(documents(content).map_err(|why| format!("data.{name}: {why}"))?);
        }
    }
    all.extend(inner);
    Ok(all)
}

/// Assigns duplicate fields to the plugins of a document, and returns the others.
fn assign_duplicates(paths: &[String], plugins: &mut [FoundPlugin]) -> Vec<String> {
    let mut elsewhere = Vec::new();
    for path in paths {
        let mut candidates = plugins.iter_mut();
        let enclosing =
            candidates.find_map(|plugin| Some((within(path, &plugin.place)?.to_owned(), plugin)));
        match enclosing {
            Some((path, plugin)) => plugin.duplicates.push(duplicated(&path)),
            None => elsewhere.push(duplicated(path)),
        }
    }
    elsewhere
}

fn duplicated(path: &str) -> String {
    format!("{path}: is duplicated")
}

/// The path within the plugin's configuration, if it leads there.
fn within<'a>(path: &'a str, place: &str) -> Option<&'a str> {
    if place.is_empty() {
        return Some(path);
    }
    let path = path.strip_prefix(place)?.strip_prefix('.')?;
    Some(path.strip_prefix("value.").unwrap_or(path))
}

/// Finds configurations of the plugin at any depth of an Envoy, Istio or Envoy Gateway document.
fn find<'a>(
    value: &'a Value,
    place: &str,
    location: Location<'a>,
    documents: &[&Value],
    found: &mut Vec<FoundPlugin>,
) {
    match value {
        Value::Object(members) => {
            let location = location.inside(value);
            for (name, inner) in members {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                let json = match name.as_str() {
                    "configuration" | "pluginConfig" | "plugin_config" | "filter_config"
                    | "filterConfig" => handed_over(inner, is_ours(value)),
                    "config" if location.is_in_extension_policy() => {
                        handed_over_as_json(inner, is_ours(value))
                    }
                    _ => None,
                };
                match json {
                    Some(json) => found.push(FoundPlugin {
                        surroundings: Surroundings::new(value, name, location, documents),
                        ..FoundPlugin::new(place, json)
                    }),
                    None => find(inner, &place, location, documents, found),
                }
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter().enumerate() {
                let location = location.element(value, index);
                find(inner, &format!("{place}[{index}]"), location, documents, found);
            }
        }
        _ => {}
    }
}

/// The configuration as the plugin gets it, if this is one of the plugin.
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

/// The configuration as Envoy Gateway passes it to the plugin: as JSON, whatever its type.
fn handed_over_as_json(configuration: &Value, is_named: bool) -> Option<Vec<u8>> {
    (is_named || is_configuration(configuration)).then(|| configuration.to_string().into_bytes())
}

/// Whether the plugin or module that is configured here is named after this one, and is not its
/// status page.
fn is_ours(plugin: &Value) -> bool {
    let says = |member: &str, value| plugin.get(member).and_then(Value::as_str) == Some(value);
    let any = |members: &[&str], value| members.iter().any(|member| says(member, value));
    let is_page = any(&["root_id", "rootID", "filter_name", "filterName"], "mcp_auth_status");
    any(&["name", "filter_name", "filterName"], "mcp-federated-auth") && !is_page
}

fn is_configuration(value: &Value) -> bool {
    let is_there = |name: &str| value.get(name).is_some_and(|member| !member.is_null());
    is_there("providers") || (is_there("resource") && value.get("kind").is_none())
}
