//! The form of all pages, for `make lint`: width, words, links, and code blocks that tests can find
//! and read. tests/readme.rs runs the blocks.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use mcp_federated_auth::{Config, config_schema};
use serde_json::Value;
use testbed::{code_blocks, pages, prose, repository_root, yaml};

fn text(path: &str) -> String {
    let file = repository_root().join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The targets of the Makefile that are commands.
fn targets() -> BTreeSet<String> {
    let makefile = text("Makefile");
    let phony = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: "));
    phony.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// The target after `make ` in a text; `None` if it is prose.
fn made(text: &str) -> Vec<String> {
    let is_target = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let words = text.split("make ").skip(1).filter_map(|rest| {
        rest.split(|letter: char| letter.is_whitespace() || "`;".contains(letter)).next()
    });
    words.filter(|word| is_target(word)).map(str::to_owned).collect()
}

/// Words and idioms that the pages must not use, with their replacements.
const WORDS: [(&str, &str); 28] = [
    ("anew", "again"),
    ("answered", "responded"),
    ("answers", "responds"),
    ("as it comes", "unchanged"),
    ("at hand", "available"),
    ("at the most", "at most"),
    ("besides", "in addition to"),
    ("cure", "fix"),
    ("cured", "fixed"),
    ("cures", "fixes"),
    ("goes before", "overrides"),
    ("goes on", "is forwarded"),
    ("hangs up", "disconnects"),
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

/// Code spans are not checked: they quote what programs print.
#[test]
fn prose_has_no_forbidden_words() {
    for (path, text) in pages() {
        for (number, line) in prose(&text) {
            assert_words(&path, number, line);
        }
    }
}

#[test]
fn the_comments_of_examples_have_the_width_and_words_of_the_pages() {
    let mut folders = vec![repository_root().join("envoy")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let example = fs::read_to_string(&path).unwrap();
                for (index, line) in example.lines().enumerate() {
                    if let Some(comment) = line.trim_start().strip_prefix('#') {
                        assert!(line.chars().count() <= 100, "{path:?}:{}: {line}", index + 1);
                        assert_words(&path, index + 1, comment);
                        count += 1;
                    }
                }
            }
        }
    }
    assert!(count > 200, "{count}");
}

fn assert_words(path: &Path, number: usize, line: &str) {
    let line: String = line.to_lowercase().split('`').step_by(2).collect();
    let words: Vec<&str> = line.split(|letter: char| !letter.is_alphanumeric()).collect();
    let spaced = format!(" {} ", words.join(" "));
    for (word, better) in WORDS {
        let is_there = spaced.contains(&format!(" {word} "));
        assert!(!is_there, "{path:?}:{number}: write {better:?} for {word:?}: {line}");
    }
}

#[test]
fn each_code_block_has_a_fence_that_tests_find() {
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

/// No test would read a block of another kind.
#[test]
fn each_block_of_yaml_and_json_is_of_a_kind_that_tests_load() {
    let schema = config_schema();
    let fields = schema["properties"].as_object().unwrap();
    for (path, text) in pages() {
        for block in code_blocks(&text, "yaml") {
            let is_loaded = match yaml(&block) {
                // The test of all pages loads these in Envoy.
                Value::Array(elements) => {
                    elements.iter().all(|element| element.get("load_assignment").is_some())
                }
                // The tests of the schema load these; those of Prometheus load its own.
                Value::Object(members) => {
                    let is_prometheus = members.contains_key("scrape_configs");
                    let is_plugin = members.keys().all(|name| fields.contains_key(name));
                    // The tests of withheld bodies load these in Envoy.
                    let is_envoy =
                        ["config", "http_filters"].iter().any(|name| members.contains_key(*name));
                    is_plugin
                        || is_prometheus && path == Path::new("docs/operations.md")
                        || is_envoy && path == Path::new("docs/access.md")
                }
                _ => false,
            };
            assert!(is_loaded, "{path:?}: {block}");
            let block = yaml(&block);
            if block.get("resource").is_some() && block.get("providers").is_some() {
                let read = Config::without_secrets(block.to_string().as_bytes());
                assert!(read.is_ok(), "{path:?}: {}", read.unwrap_err());
            }
        }
        // webdis in the test bed loads these, and tests of the pages about editors and servers.
        let count = match path.to_str().unwrap() {
            "docs/replay.md" => 1,
            "docs/editors.md" => 2,
            "docs/mcp-server.md" => 5,
            // The tests of Envoy's access log load these.
            "docs/audit.md" | "docs/operations.md" => 1,
            _ => 0,
        };
        assert_eq!(code_blocks(&text, "json").len(), count, "{path:?}");
    }
}

#[test]
fn each_shell_block_of_the_pages_is_a_shell_script() {
    let mut count = 0;
    for (path, page) in pages() {
        for block in code_blocks(&page, "sh") {
            let output = Command::new("bash").args(["-n", "-c", &block]).output().unwrap();
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {block}\n{complaint}", path.display());
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn the_commands_of_the_pages_exist() {
    let targets = targets();
    let manifests = ["Cargo.toml", "tests/Cargo.toml", "cli/Cargo.toml"].map(text).concat();
    let workspace_tests: BTreeSet<&str> =
        manifests.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    let mut count = 0;
    for (path, page) in pages() {
        let blocks = code_blocks(&page, "sh").concat();
        let spans: String = page
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .collect::<Vec<_>>()
            .join("\n");
        for target in made(&blocks).into_iter().chain(made(&spans)) {
            assert!(targets.contains(&target), "{}: make {target}", path.display());
            count += 1;
        }
        for test in
            blocks.split("--test ").skip(1).map(|rest| rest.split_whitespace().next().unwrap())
        {
            let name = format!("\"{test}\"");
            assert!(workspace_tests.contains(name.as_str()), "{}: --test {test}", path.display());
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn the_links_of_the_pages_have_targets() {
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

/// The targets of links within a page: headings with GitHub's anchors, and explicit anchors.
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
