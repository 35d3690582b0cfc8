//! The native module in place of the plugin, in the same Envoy configuration.

use std::path::Path;

use serde_json::{Value, json};

/// Replaces each Wasm filter by a dynamic module with the same configuration. Returns the environment
/// variables of the plugin, which the module has from its process.
pub(crate) fn replace_plugin(tree: &mut Value, module: &Path) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    replace_filters(tree, module, &mut environment);
    // Envoy prefixes only the filter state of plugins with `wasm.`.
    replace_text(tree, "FILTER_STATE(wasm.mcp_auth", "FILTER_STATE(mcp_auth");
    replace_text(tree, "filter_state['wasm.mcp_auth", "filter_state['mcp_auth");
    // Its metrics have labels; with this their names are those of the plugin.
    if let Some(bootstrap) = tree.as_object_mut() {
        bootstrap.remove("stats_config");
        let layer =
            json!({"envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix": true});
        bootstrap.insert(
            "layered_runtime".to_owned(),
            json!({"layers": [{"name": "static", "static_layer": layer}]}),
        );
    }
    environment
}

fn replace_filters(tree: &mut Value, module: &Path, environment: &mut Vec<(String, String)>) {
    match tree {
        Value::Object(filter) if filter.get("name") == Some(&json!("envoy.filters.http.wasm")) => {
            let plugin = filter["typed_config"]["config"].take();
            let variables = &plugin["vm_config"]["environment_variables"]["key_values"];
            for (name, value) in variables.as_object().into_iter().flatten() {
                environment.push((name.clone(), value.as_str().unwrap_or_default().to_owned()));
            }
            let name = plugin["root_id"].as_str().unwrap_or("mcp-federated-auth");
            let mut config = json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.\
                          DynamicModuleFilter",
                "dynamic_module_config": {"module": {"local": {"filename": module}}},
                "filter_name": name,
            });
            if !plugin["configuration"].is_null() {
                config["filter_config"] = plugin["configuration"].clone();
            }
            filter["name"] = json!("mcp-federated-auth");
            filter["typed_config"] = config;
        }
        Value::Object(members) => {
            members.values_mut().for_each(|value| replace_filters(value, module, environment));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| replace_filters(item, module, environment));
        }
        _ => {}
    }
}

fn replace_text(tree: &mut Value, from: &str, to: &str) {
    match tree {
        Value::String(text) => *text = text.replace(from, to),
        Value::Object(members) => {
            members.values_mut().for_each(|value| replace_text(value, from, to));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_text(item, from, to)),
        _ => {}
    }
}
