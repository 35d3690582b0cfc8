//! What the README and the pages in `docs` show is true: their YAML is what Envoy and the plugin
//! accept, and the README's commands are there.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fs;

use serde_json::Value;
use testbed::{
    Bootstrap, Envoy, EnvoyBuilder, code_blocks, documented_reasons, module_path, raw_exchange,
    repository_root, yaml,
};

fn readme() -> String {
    fs::read_to_string(repository_root().join("README.md")).unwrap()
}

/// Lets Envoy judge the two YAML blocks of a text.
async fn validate(text: &str) {
    envoy(text).validate().await;
}

/// Envoy with the two YAML blocks of a text: the plugin's part and the clusters.
fn envoy(text: &str) -> EnvoyBuilder {
    let blocks = code_blocks(text, "yaml");
    let [plugin, cluster] = blocks.as_slice() else { panic!("two blocks, not {}", blocks.len()) };
    Envoy::builder().edit(|bootstrap: &mut Bootstrap| {
        bootstrap.set_module(&module_path());
        *bootstrap.plugin_configuration() = yaml(plugin);
        let clusters = &mut bootstrap.tree()["static_resources"]["clusters"];
        let added = yaml(cluster).as_array().unwrap().clone();
        clusters.as_array_mut().unwrap().extend(added);
    })
}

#[tokio::test]
async fn the_yaml_of_a_provider_is_accepted() {
    validate(&readme()).await;
}

#[tokio::test]
async fn each_template_has_a_page_whose_yaml_is_accepted() {
    let folder = repository_root().join("docs/providers");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    for template in ["entra_id", "okta", "auth0", "google", "adfs", "keycloak", "generic"] {
        let page = fs::read_to_string(folder.join(format!("{template}.md"))).unwrap();
        assert!(index.contains(&format!("({template}.md)")), "{template}");
        // The page of the default does without it.
        let named = page.contains(&format!("\n  template: {template}\n"));
        assert!(named || template == "generic", "{template}");
        // Each host that the plugin may call has a cluster whose certificate is checked for it.
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
        validate(&page).await;
    }
}

#[tokio::test]
async fn the_yaml_of_a_fleet_is_accepted() {
    validate(&fs::read_to_string(repository_root().join("docs/replay.md")).unwrap()).await;
}

#[tokio::test]
async fn the_page_of_an_mcp_server_shows_what_clients_are_told() {
    let page = fs::read_to_string(repository_root().join("docs/mcp-server.md")).unwrap();
    let envoy = envoy(&page).start().await;
    let request = b"GET /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nconnection: close\r\n\r\n";
    let challenges = raw_exchange(envoy.address(), request).await.header("www-authenticate");
    let shown = code_blocks(&page, "text");
    let (_, shown) = shown[0].split_once("\nwww-authenticate: ").unwrap();
    assert_eq!(challenges, [shown.trim_end()]);
}

#[test]
fn the_configurations_of_clients_name_the_resource_to_the_letter() {
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
    assert!(blocks.len() > 3);
    for block in blocks {
        plugin["access"] = yaml(&block)["access"].clone();
        let read = mcp_federated_auth::Config::from_bytes(plugin.to_string().as_bytes());
        assert!(read.is_ok(), "{block}\n{read:?}");
    }
}

#[test]
fn each_reason_has_one_section_of_the_page_about_troubleshooting() {
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
fn the_page_about_troubleshooting_names_options_that_the_explainer_has() {
    let [page, explainer] = ["troubleshooting", "explainer"]
        .map(|name| fs::read_to_string(repository_root().join(format!("docs/{name}.md"))).unwrap());
    let words = page.split([' ', '`', '\n']);
    for option in words.filter(|word| word.starts_with("--") && !word.starts_with("---")) {
        assert!(explainer.contains(&format!("`{option}")), "{option}");
    }
}

#[test]
fn the_commands_are_targets_of_the_makefile() {
    let makefile = fs::read_to_string(repository_root().join("Makefile")).unwrap();
    let blocks = code_blocks(&readme(), "sh");
    let commands = blocks.iter().flat_map(|block| block.lines());
    let targets: Vec<&str> =
        commands.filter_map(|line| line.strip_prefix("make ")?.split_whitespace().next()).collect();
    assert!(targets.contains(&"demo") && targets.contains(&"test"), "{targets:?}");
    for target in targets {
        assert!(makefile.contains(&format!("\n{target}: ")), "make {target}");
    }
}
