//! The page in the repository is the generated one, has every field, and is correct.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;
use testkit::{repository_root, yaml};

use super::super::schema::OF_EACH_RESOURCE;
use super::super::schema::tests::{changed, faults, fields, full, instance, validated};
use super::*;
use crate::jose::Algorithm;

#[test]
fn the_file_in_the_repository_is_the_generated_one() {
    let file = fs::read_to_string(repository_root().join("docs/configuration.md"));
    let is_current = file.is_ok_and(|file| file == config_reference());
    assert!(is_current, "docs/configuration.md is not current: run `make schema`");
}

#[test]
fn each_field_is_explained_once() {
    let mut explained = paths();
    let all = explained.len();
    explained.sort();
    explained.dedup();
    assert_eq!(explained.len(), all);
    assert_eq!(explained, all_fields().into_iter().collect::<Vec<_>>());
}

#[test]
fn the_example_has_each_field() {
    fn add(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let path = joined(path, name);
                    add(value, &path, found);
                    found.insert(path);
                }
            }
            Value::Array(elements) => {
                elements.iter().for_each(|element| add(element, &format!("{path}[]"), found));
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    add(&yaml(EXAMPLE), "", &mut found);
    add(&yaml(SEVERAL), "", &mut found);
    let missing: Vec<_> =
        all_fields().into_iter().filter(|path| !found.contains(&shown_path(path))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// All fields of the schema except those of a provider's keys and of a resource's overrides.
fn all_fields() -> BTreeSet<String> {
    let all = fields().into_iter().map(|(path, _)| path);
    all.filter(|path| !path.starts_with("providers[].keys."))
        .filter(|path| {
            let own =
                path.strip_prefix("resources[].").and_then(|path| path.split_once(['.', '[']));
            own.is_none_or(|(first, _)| !OF_EACH_RESOURCE.contains(&first))
        })
        .collect()
}

#[test]
fn each_field_is_required_or_has_a_default() {
    for row in rows(&config_reference()) {
        assert!(!row.default.is_empty(), "{row:?}");
        assert!(!row.kind.is_empty() && !row.meaning.is_empty(), "{row:?}");
    }
}

#[test]
fn missing_required_fields_are_refused() {
    let rows = rows(&config_reference());
    let required: Vec<_> = rows.iter().filter(|row| row.default == "required").collect();
    assert!(required.len() > 10);
    for row in &rows {
        let absent = changed(full(&row.path), &instance(&row.path), None).unwrap();
        let is_missed = faults(&absent).contains(": is required");
        let by_template = ["issuer", "tenant", "domain", "host", "realm"]
            .map(|input| format!("providers[].{input}"))
            .contains(&row.path);
        // These are not required with several resources.
        let is_of_one = ["resource", "resources", "providers[].client_ids"].contains(&&*row.path);
        // Required because a provider has `login`.
        if is_of_one || row.path == "login" {
            continue;
        }
        let is_required = row.default == "required" && row.path != "providers[].jwks.keys";
        assert_eq!(is_missed && !by_template, is_required, "{row:?}: {}", faults(&absent));
    }
}

#[test]
fn a_missing_field_has_the_default_on_the_page() {
    let mut compared = 0;
    for row in rows(&config_reference()) {
        let Some(default) = row.value() else { continue };
        let at = instance(&row.path);
        let absent = changed(full(&row.path), &at, None).unwrap();
        let given = changed(&absent, &at, Some(&default)).unwrap();
        assert_eq!(faults(&given), faults(&absent), "{row:?}");
        if faults(&given).is_empty() {
            compared += 1;
            assert_eq!(validated(&given), validated(&absent), "{row:?}");
        }
    }
    assert!(compared >= 70, "{compared}");
}

/// A row of a table of the page.
#[derive(Debug)]
struct Row {
    path: String,
    kind: String,
    default: String,
    meaning: String,
}

impl Row {
    /// The default as a configuration would have it, if it can be written there.
    fn value(&self) -> Option<Value> {
        if self.default == "all of them" {
            return Some(json!(Algorithm::ALL.map(Algorithm::name)));
        }
        let in_code = self.default.strip_prefix('`').and_then(|default| default.split_once('`'));
        match in_code {
            Some((value, "" | ", or the template's")) => Some(yaml(value)),
            Some(_) => None,
            None if self.kind.contains("at least") || self.default.starts_with("what ") => None,
            None if self.kind.starts_with("list") => Some(json!([])),
            None if self.path == "providers[].login.scopes" => None,
            None if self.kind.starts_with("map") && self.path != "providers[].clusters" => {
                Some(json!({}))
            }
            None if self.default == "the defaults of its fields" => Some(json!({})),
            None => None,
        }
    }
}

fn rows(page: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut section = "";
    let (_, fields) = page.split_once("\n## Fields\n").unwrap();
    for line in fields.lines() {
        if let Some(heading) = line.strip_prefix("## ").or(line.strip_prefix("### ")) {
            let path = heading.trim_matches('`');
            // Other headings divide a section.
            section = if heading.starts_with('`') { path } else { section };
        }
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        if let [name, kind, default, meaning] = cells[..]
            && name.contains('`')
        {
            let name = name.split('`').nth(1).unwrap();
            let path = joined(section, name).replace("replay_store.", "replay_store<1>.");
            let [kind, default, meaning] = [kind, default, meaning].map(str::to_owned);
            rows.push(Row { path, kind, default, meaning });
        }
    }
    assert!(rows.len() > 100, "{}", rows.len());
    rows
}
