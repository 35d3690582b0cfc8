//! The requirements of MCP authorization and of OAuth agree with the tests: each requirement that
//! applies to a gateway names the tests that prove it, and each of these tests names the
//! requirement.
#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;
use sources::{TestFunction, test_functions};
use testkit::repository_root;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// The documents that the sentences are from.
    sources: BTreeMap<String, String>,
    requirements: Vec<Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    source: String,
    sentence: String,
    /// The names of tests, as in [`TestFunction::name`].
    #[serde(default)]
    tests: Vec<String>,
    /// The reason for having no test.
    not_ours: Option<String>,
}

/// Both lists as one.
fn document() -> Document {
    let [mut all, login] = ["mcp_authorization.yaml", "login.yaml"].map(|name| {
        let path = repository_root().join("tests/requirements").join(name);
        let text = fs::read_to_string(path).expect("the list is there");
        serde_json::from_value::<Document>(testkit::yaml(&text)).expect("the list has this form")
    });
    all.sources.extend(login.sources);
    all.requirements.extend(login.requirements);
    all
}

/// The pairs of requirement and test in the list.
fn listed(document: &Document) -> BTreeSet<(&str, &str)> {
    let pairs = document.requirements.iter().flat_map(|requirement| {
        requirement.tests.iter().map(|test| (requirement.id.as_str(), test.as_str()))
    });
    pairs.collect()
}

/// The pairs of requirement and test in the tests.
fn claimed(tests: &[TestFunction]) -> BTreeSet<(&str, &str)> {
    let pairs = tests
        .iter()
        .flat_map(|test| test.requirements.iter().map(|id| (id.as_str(), test.name.as_str())));
    pairs.collect()
}

#[test]
fn each_requirement_names_its_tests_and_each_test_names_its_requirements() {
    let (document, tests) = (document(), test_functions());
    let (listed, claimed) = (listed(&document), claimed(&tests));
    let only_listed: Vec<_> = listed.difference(&claimed).collect();
    assert!(only_listed.is_empty(), "in the list, but no such test says so: {only_listed:#?}");
    let only_claimed: Vec<_> = claimed.difference(&listed).collect();
    assert!(only_claimed.is_empty(), "in a test, but not in the list: {only_claimed:#?}");
}

#[test]
fn each_requirement_has_a_test_or_a_reason_why_not() {
    for Requirement { id, tests, not_ours, .. } in document().requirements {
        let has_reason = not_ours.is_some_and(|reason| !reason.is_empty());
        assert_ne!(has_reason, !tests.is_empty(), "{id}: either tests or not_ours");
    }
}

#[test]
fn each_requirement_is_a_sentence_of_a_known_source_with_a_unique_id() {
    const DEMANDS: [&str; 3] = ["MUST", "SHOULD", "REQUIRED"];
    let Document { sources, requirements } = document();
    let mut ids = BTreeSet::new();
    for Requirement { id, source, sentence, .. } in &requirements {
        assert!(ids.insert(id), "{id} is there twice");
        assert!(sources.contains_key(source), "{id}: {source}");
        let words = || sentence.split(|character: char| !character.is_alphabetic());
        assert!(words().any(|word| DEMANDS.contains(&word)), "{id} demands nothing: {sentence}");
    }
    for (source, url) in &sources {
        assert!(url.starts_with("https://"), "{source}: {url}");
        let is_cited = requirements.iter().any(|requirement| requirement.source == *source);
        assert!(is_cited, "nothing cites {source}");
    }
}

/// A test that does not run proves nothing.
#[test]
fn each_test_that_names_a_requirement_runs() {
    for test in test_functions() {
        if !test.requirements.is_empty() {
            assert!(test.runs, "{} is ignored, or part of no test target", test.name);
        }
    }
}
