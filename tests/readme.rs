//! What the README and the other pages show is true: their YAML is what Envoy and the plugin
//! accept, their links lead somewhere, and the README's commands are there.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testbed::{
    Bootstrap, Envoy, EnvoyBuilder, code_blocks, documented_reasons, module_path, raw_exchange,
    repository_root, yaml,
};

fn readme() -> String {
    fs::read_to_string(repository_root().join("README.md")).unwrap()
}

/// All pages: their paths in the repository, and their texts.
fn pages() -> BTreeMap<PathBuf, String> {
    fn add(folder: &Path, pages: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, pages);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.insert(path.strip_prefix(repository_root()).unwrap().to_owned(), text);
            }
        }
    }
    let mut pages = BTreeMap::new();
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "RELEASE.md", "SECURITY.md"] {
        let text = fs::read_to_string(repository_root().join(name)).unwrap();
        pages.insert(name.into(), text);
    }
    for folder in ["docs", "envoy"] {
        add(&repository_root().join(folder), &mut pages);
    }
    assert!(pages.len() > 15);
    pages
}

/// Envoy with the plugin's part and the clusters that a page shows; what it does not show is the
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

/// A value for each environment variable that a configuration names.
fn environment(configuration: &Value) -> BTreeMap<String, &'static str> {
    /// 32 bytes in base64, so that it can be `secret` too.
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
        assert!(wholes <= 1 && clusters <= 1, "{path:?}: only one of each would be judged");
        if wholes + clusters > 0 {
            envoy(&text).validate().await;
            judged.push(path);
        }
    }
    assert!(judged.len() >= 12, "{judged:?}");
}

/// A block of another kind would be one that no test reads.
#[test]
fn each_block_of_yaml_and_json_is_of_a_kind_that_tests_load() {
    let schema = mcp_federated_auth::config_schema();
    let fields = schema["properties"].as_object().unwrap();
    for (path, text) in pages() {
        for block in code_blocks(&text, "yaml") {
            let is_loaded = match yaml(&block) {
                // By the test of all pages in Envoy, above.
                Value::Array(elements) => {
                    elements.iter().all(|element| element.get("load_assignment").is_some())
                }
                // By the tests of the schema; Prometheus' by its own tests.
                Value::Object(members) => {
                    let is_prometheus = members.contains_key("scrape_configs");
                    let is_plugin = members.keys().all(|name| fields.contains_key(name));
                    // By the tests of withheld bodies, in Envoy.
                    let is_envoy =
                        ["config", "http_filters"].iter().any(|name| members.contains_key(*name));
                    is_plugin
                        || is_prometheus && path == Path::new("docs/operations.md")
                        || is_envoy && path == Path::new("docs/access.md")
                }
                _ => false,
            };
            assert!(is_loaded, "{path:?}: {block}");
        }
        // By webdis in the test bed, and by the two tests below.
        let count = match path.to_str().unwrap() {
            "docs/replay.md" => 1,
            "docs/editors.md" => 2,
            "docs/mcp-server.md" => 5,
            // By the test of Envoy's access log.
            "docs/operations.md" => 1,
            _ => 0,
        };
        assert_eq!(code_blocks(&text, "json").len(), count, "{path:?}");
    }
}

#[test]
fn each_block_is_fenced_so_that_tests_find_it() {
    for (path, text) in pages() {
        let is_fence = |line: &&str| ["```", "~~~"].iter().any(|fence| line.contains(fence));
        let fences: Vec<&str> = text.lines().filter(is_fence).collect();
        for pair in fences.chunks(2) {
            let [open, close] = pair else { panic!("{path:?}: {pair:?} is not closed") };
            let known = ["```sh", "```text", "```yaml", "```json"];
            assert!(known.contains(open) && *close == "```", "{path:?}: {pair:?}");
        }
    }
}

/// Words and idioms that the pages do without, and what they say instead.
const WORDS: [(&str, &str); 25] = [
    ("anew", "again"),
    ("as it comes", "unchanged"),
    ("at hand", "available"),
    ("at the most", "at most"),
    ("besides", "in addition to"),
    ("cure", "fix"),
    ("cured", "fixed"),
    ("cures", "fixes"),
    ("goes before", "overrides"),
    ("goes on", "is forwarded"),
    ("in hand", "current"),
    ("lest", "so that ... not"),
    ("nobody", "no one; or name who may"),
    ("of use", "usable"),
    ("serve once", "single-use"),
    ("serves once", "single-use"),
    ("shall", "must, may or should"),
    ("somebody", "a user"),
    ("stands", "is"),
    ("tell", "report"),
    ("tells", "reports"),
    ("to the letter", "exactly"),
    ("told", "reported"),
    ("what serves", "what is valid"),
    ("whoever", "anyone who"),
];

/// The numbered lines outside code blocks.
fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (index, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push((index + 1, line));
        }
    }
    lines
}

#[test]
fn prose_has_one_column_width() {
    for (path, text) in pages() {
        for (number, line) in prose(&text) {
            let may_be_long = line.starts_with('|') || line.contains("](https://");
            let width = line.chars().count();
            assert!(may_be_long || width <= 100, "{path:?}:{number} has {width} columns: {line}");
        }
    }
}

/// Code spans are left out: they quote what programs print.
#[test]
fn prose_has_the_words_of_the_field() {
    for (path, text) in pages() {
        for (number, line) in prose(&text) {
            let line: String = line.to_lowercase().split('`').step_by(2).collect();
            let words: Vec<&str> = line.split(|letter: char| !letter.is_alphanumeric()).collect();
            let spaced = format!(" {} ", words.join(" "));
            for (word, better) in WORDS {
                let is_there = spaced.contains(&format!(" {word} "));
                assert!(!is_there, "{path:?}:{number}: write {better:?} for {word:?}: {line}");
            }
        }
    }
}

#[test]
fn the_settings_of_editors_name_the_schema() {
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
fn the_links_of_the_pages_lead_somewhere() {
    let mut count = 0;
    for (path, text) in pages() {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("https://") {
                continue;
            }
            count += 1;
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => repository_root().join(&path),
                file => repository_root().join(&path).parent().unwrap().join(file),
            };
            assert!(target.exists(), "{path:?}: {link}");
            if !place.is_empty() {
                let places = places(&fs::read_to_string(target).unwrap());
                assert!(places.contains(place), "{path:?}: {link}");
            }
        }
    }
    assert!(count > 200, "{count}");
}

/// What a link can name within a page: headings as GitHub has them, and anchors.
fn places(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| {
        let heading = line.trim_start_matches('#').strip_prefix(' ')?;
        line.starts_with('#').then_some(heading)
    });
    let of_heading = |heading: &str| {
        let is_kept = |character: &char| character.is_alphanumeric() || "-_ ".contains(*character);
        heading.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-")
    };
    let anchors =
        page.split("<a id=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    headings.map(of_heading).chain(anchors).collect()
}

#[test]
fn each_template_has_a_page_whose_clusters_check_certificates() {
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
