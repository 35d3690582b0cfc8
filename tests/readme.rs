//! The README and the other pages are correct: Envoy and the plugin accept their YAML.
//! tests/pages.rs checks their form.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use testbed::{
    Bootstrap, Envoy, EnvoyBuilder, code_blocks, documented_reasons, module_path, pages,
    raw_exchange, repository_root, yaml,
};

fn readme() -> String {
    fs::read_to_string(repository_root().join("README.md")).unwrap()
}

/// Envoy with the plugin's configuration and the clusters of a page; everything else is the
/// README's.
fn envoy(page: &str) -> EnvoyBuilder {
    let blocks: Vec<Value> = [page, &readme()]
        .iter()
        .flat_map(|text| code_blocks(text, "yaml"))
        .map(|block| yaml(&block))
        .collect();
    let plugin = blocks.iter().find(|block| block.get("resource").is_some()).unwrap().clone();
    let clusters = blocks.iter().find(|block| block.is_array()).unwrap().clone();
    let variables = environment(&plugin);
    Envoy::builder().edit(move |bootstrap: &mut Bootstrap| {
        bootstrap.set_module(&module_path());
        *bootstrap.plugin_configuration() = plugin;
        bootstrap.plugin()["vm_config"]["environment_variables"] = json!({"key_values": variables});
        let all = bootstrap.tree()["static_resources"]["clusters"].as_array_mut().unwrap();
        all.extend(clusters.as_array().unwrap().iter().cloned());
    })
}

/// A value for each environment variable in a configuration.
fn environment(configuration: &Value) -> BTreeMap<String, &'static str> {
    /// 32 bytes in base64, which `secret` accepts too.
    const VALUE: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
    match configuration {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str().filter(|_| name.ends_with("env")) {
                Some(variable) => BTreeMap::from([(variable.to_owned(), VALUE)]),
                None => environment(value),
            })
            .collect(),
        Value::Array(elements) => elements.iter().flat_map(environment).collect(),
        _ => BTreeMap::new(),
    }
}

#[tokio::test]
async fn envoy_accepts_the_yaml_of_each_page() {
    let mut judged = Vec::new();
    for (path, text) in pages() {
        let blocks: Vec<Value> =
            code_blocks(&text, "yaml").iter().map(|block| yaml(block)).collect();
        let wholes = blocks.iter().filter(|block| block.get("resource").is_some()).count();
        let clusters = blocks.iter().filter(|block| block.is_array()).count();
        assert!(wholes <= 1 && clusters <= 1, "{path:?}: only one of each would be tested");
        if wholes + clusters > 0 {
            envoy(&text).validate().await;
            judged.push(path);
        }
    }
    assert!(judged.len() >= 12, "{judged:?}");
}

#[test]
fn the_editor_settings_name_the_schema() {
    let page = fs::read_to_string(repository_root().join("docs/editors.md")).unwrap();
    let [yaml_settings, json_settings] = &code_blocks(&page, "json")[..] else { panic!() };
    let yaml_settings: Value = serde_json::from_str(yaml_settings).unwrap();
    let json_settings: Value = serde_json::from_str(json_settings).unwrap();
    let schemas = yaml_settings["yaml.schemas"].as_object().unwrap().keys();
    let schema = json_settings["json.schemas"][0]["url"].as_str().unwrap();
    for path in schemas.map(String::as_str).chain([schema]) {
        assert!(repository_root().join(path).is_file(), "{path}");
    }
}

#[test]
fn each_template_has_a_page_whose_clusters_validate_certificates() {
    let folder = repository_root().join("docs/providers");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    for template in ["entra_id", "okta", "auth0", "google", "adfs", "keycloak", "generic"] {
        let page = fs::read_to_string(folder.join(format!("{template}.md"))).unwrap();
        assert!(index.contains(&format!("({template}.md)")), "{template}");
        // The page of the default template has no clusters.
        let named = page.contains(&format!("\n  template: {template}\n"));
        assert!(named || template == "generic", "{template}");
        // Each host that the plugin may call has a cluster that validates the host's certificate.
        let blocks = code_blocks(&page, "yaml");
        let hosts = yaml(&blocks[0])["providers"][0]["clusters"].as_object().unwrap().clone();
        let clusters = yaml(&blocks[1]);
        for (host, name) in hosts {
            let clusters = clusters.as_array().unwrap();
            let cluster = clusters.iter().find(|cluster| cluster["name"] == name).unwrap();
            let tls = &cluster["transport_socket"]["typed_config"];
            assert_eq!(tls["sni"], host.as_str(), "{template}");
            let names =
                &tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"];
            assert_eq!(names[0]["matcher"]["exact"], host.as_str(), "{template}");
        }
    }
}

#[tokio::test]
async fn the_page_of_an_mcp_server_shows_the_challenge_that_clients_get() {
    let page = fs::read_to_string(repository_root().join("docs/mcp-server.md")).unwrap();
    let envoy = envoy(&page).start().await;
    let request = b"GET /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nconnection: close\r\n\r\n";
    let challenges = raw_exchange(envoy.address(), request).await.header("www-authenticate");
    let shown = code_blocks(&page, "text");
    let (_, shown) = shown[0].split_once("\nwww-authenticate: ").unwrap();
    assert_eq!(challenges, [shown.trim_end()]);
}

#[test]
fn the_configurations_of_clients_name_the_resource_exactly() {
    let page = fs::read_to_string(repository_root().join("docs/mcp-server.md")).unwrap();
    let plugin = yaml(&code_blocks(&page, "yaml")[0]);
    let url = plugin["resource"]["url"].as_str().unwrap();
    let blocks = code_blocks(&page, "json");
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let client: Value = serde_json::from_str(&block).unwrap();
        let servers = client.get("mcpServers").or(client.get("servers")).unwrap();
        assert_eq!(servers["incidents"]["url"], url, "{block}");
    }
    let command = format!("claude mcp add --transport http incidents {url}\n");
    assert!(code_blocks(&page, "sh").iter().any(|block| **block == *command));
}

#[test]
fn the_yaml_of_access_rules_is_accepted() {
    let page = fs::read_to_string(repository_root().join("docs/access.md")).unwrap();
    let mut plugin = yaml(&code_blocks(&readme(), "yaml")[0]);
    let blocks = code_blocks(&page, "yaml");
    let blocks: Vec<Value> = blocks.iter().map(|block| yaml(block)["access"].clone()).collect();
    let blocks: Vec<Value> = blocks.into_iter().filter(|access| !access.is_null()).collect();
    assert!(blocks.len() > 3);
    for block in blocks {
        plugin["access"] = block.clone();
        let read = mcp_federated_auth::Config::without_secrets(plugin.to_string().as_bytes());
        assert!(read.is_ok(), "{block}\n{read:?}");
    }
}

#[test]
fn each_reason_has_one_section_on_the_troubleshooting_page() {
    let page = fs::read_to_string(repository_root().join("docs/troubleshooting.md")).unwrap();
    let sections: Vec<(u16, String)> = page
        .split("\n### ")
        .skip(1)
        .map(|section| {
            let (heading, text) = section.split_once("\n\n").unwrap();
            for part in ["\n**Details** ", "\n| usual cause", "\n**mcp-auth** "] {
                assert!(text.contains(part), "{heading} has no {part:?}");
            }
            let reason = heading.trim_matches('`');
            assert!(page.contains(&format!("[{heading}](#{reason})")), "{heading} is in no list");
            (text[..3].parse().unwrap(), reason.to_owned())
        })
        .collect();
    assert_eq!(sections, documented_reasons());
}

#[test]
fn the_troubleshooting_page_names_options_that_the_explainer_has() {
    let [page, explainer] = ["troubleshooting", "explainer"]
        .map(|name| fs::read_to_string(repository_root().join(format!("docs/{name}.md"))).unwrap());
    let words = page.split([' ', '`', '\n']);
    for option in words.filter(|word| word.starts_with("--") && !word.starts_with("---")) {
        assert!(explainer.contains(&format!("`{option}")), "{option}");
    }
}
