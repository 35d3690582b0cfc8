//! What the project says of itself is so: versions, the commands of its pages, workflows, and forms.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use testbed::{code_blocks, repository_root, yaml};

fn text(path: &str) -> String {
    let file = repository_root().join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of a folder, and below it, that end so.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut folders = vec![repository_root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(end) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// All pages and their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let names = ["README.md", "CONTRIBUTING.md", "RELEASE.md", "SECURITY.md"];
    let mut all: Vec<PathBuf> = names.map(|name| repository_root().join(name)).into();
    all.extend(files("docs", ".md"));
    all.into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// The version of the workspace.
fn version() -> String {
    let manifest = text("Cargo.toml");
    let (_, package) = manifest.split_once("[workspace.package]").unwrap();
    value_of(package, "version")
}

/// The first string that is assigned to this name.
fn value_of(toml: &str, name: &str) -> String {
    let start = format!("{name} = \"");
    let line = toml.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("no {name}"));
    line[start.len()..].split('"').next().unwrap().to_owned()
}

/// The targets of the Makefile that are commands.
fn targets() -> BTreeSet<String> {
    let makefile = text("Makefile");
    let phony = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: "));
    phony.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// What follows `make ` in a text, if it is a target and not prose.
fn made(text: &str) -> Vec<String> {
    let is_target = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let words = text.split("make ").skip(1).filter_map(|rest| {
        rest.split(|letter: char| letter.is_whitespace() || "`;".contains(letter)).next()
    });
    words.filter(|word| is_target(word)).map(str::to_owned).collect()
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
fn the_commands_of_the_pages_are_there() {
    let targets = targets();
    let manifests = [text("Cargo.toml"), text("tests/Cargo.toml"), text("cli/Cargo.toml")].concat();
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
fn the_changelog_begins_with_the_version_and_has_four_kinds_of_changes() {
    let changelog = text("CHANGELOG.md");
    let headings: Vec<&str> =
        changelog.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let (released, date) = headings[0].split_once(" - ").expect("a version has a date");
    assert_eq!(released, version());
    let numbers: Vec<&str> = date.split('-').collect();
    assert_eq!(numbers.iter().map(|number| number.len()).collect::<Vec<_>>(), [4, 2, 2], "{date}");
    for section in changelog.split("\n## ").skip(1) {
        let kinds: Vec<&str> =
            section.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let known = ["Added", "Changed", "Fixed", "Security"];
        let mut expected = known.to_vec();
        expected.retain(|kind| kinds.contains(kind));
        assert_eq!(kinds, expected, "in this order: {known:?}");
    }
}

#[test]
fn examples_and_pages_name_this_version() {
    let version = version();
    let image = format!(":{version}");
    let file = format!("libmcp_federated_auth_{}.so", version.replace('.', "_"));
    let mut count = 0;
    for path in files("envoy", ".yaml").into_iter().chain(files("docs", ".md")) {
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("registry.example.com/mcp-federated-auth").skip(1) {
            let rest = rest.strip_prefix("-native").unwrap_or(rest);
            assert!(rest.starts_with(&image), "{}: {:.20}", path.display(), rest);
            count += 1;
        }
        for rest in text.split("libmcp_federated_auth_").skip(1) {
            let found = format!("libmcp_federated_auth_{rest}");
            assert!(found.starts_with(&file), "{}: {:.40}", path.display(), found);
            count += 1;
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn the_forms_for_issues_ask_for_what_helps_and_for_no_secret() {
    for path in files(".github/ISSUE_TEMPLATE", ".yml") {
        let form = yaml(&fs::read_to_string(&path).unwrap());
        if form.get("body").is_none() {
            continue;
        }
        let fields = form["body"].as_array().unwrap();
        let ids: Vec<&str> = fields.iter().filter_map(|field| field["id"].as_str()).collect();
        let distinct: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "{ids:?}");
        let text = Value::to_string(&form);
        assert!(text.contains("Never paste a token"), "{}", path.display());
    }
    let refused = text(".github/ISSUE_TEMPLATE/refused-token.yml");
    assert!(refused.contains("mcp-auth explain --json"));
}
