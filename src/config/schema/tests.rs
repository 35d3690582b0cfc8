//! The schema in the repository is the generated one, and agrees with the plugin.

mod examples;
mod faults;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::{
    SigningKey, code_blocks, plugin_configurations, repository_root, yaml, yaml_documents,
    yaml_files,
};

use self::examples::{EXAMPLES, FULL, OTHERS, SEVERAL, TEXTS};
use super::*;
use crate::Config;

static SCHEMA: LazyLock<Value> = LazyLock::new(config_schema);

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).unwrap());

/// The full configuration that has this field.
pub(in crate::config) fn full(path: &str) -> &'static Value {
    if path.starts_with("resources") { &SEVERAL } else { &FULL }
}

#[test]
fn the_file_in_the_repository_is_the_generated_one() {
    let file = fs::read_to_string(repository_root().join("docs/configuration.schema.json"));
    let is_current = file.is_ok_and(|file| file == format!("{:#}\n", *SCHEMA));
    assert!(is_current, "docs/configuration.schema.json is not current: run `make schema`");
}

#[test]
fn the_schema_is_valid() {
    jsonschema::meta::validate(&SCHEMA).unwrap();
}

#[test]
fn every_configuration_of_the_repository_fits() {
    let mut whole = vec![FULL.clone(), SEVERAL.clone()];
    for file in yaml_files("envoy") {
        let documents = yaml_documents(&fs::read_to_string(file).unwrap());
        whole.extend(documents.iter().flat_map(plugin_configurations));
    }
    assert!(whole.len() >= 8, "{}", whole.len());
    let mut parts = Vec::new();
    for page in pages() {
        for block in code_blocks(&page, "yaml") {
            // Lists and these files configure Envoy, and Prometheus has a file of its own.
            const OTHERS: [&str; 3] = ["config", "http_filters", "scrape_configs"];
            let document = yaml(&block);
            if ["resource", "resources"].iter().any(|member| document.get(member).is_some())
                && document.get("providers").is_some()
            {
                whole.push(document);
            } else if document.is_object()
                && OTHERS.iter().all(|member| document.get(member).is_none())
            {
                parts.push(document);
            }
        }
    }
    assert!(whole.len() >= 17 && parts.len() >= 2, "{} and {}", whole.len(), parts.len());
    for document in whole.into_iter().chain(parts.iter().map(completed)) {
        assert_eq!(faults(&document), "", "{document:#}");
        assert_eq!(schema_faults(&document), "", "{document:#}");
    }
}

/// The README and all pages under docs/.
fn pages() -> Vec<String> {
    let root = repository_root();
    let mut pages = vec![fs::read_to_string(root.join("README.md")).unwrap()];
    add_pages(&root.join("docs"), &mut pages);
    pages
}

fn add_pages(folder: &Path, pages: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_pages(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(fs::read_to_string(path).unwrap());
        }
    }
}

fn small() -> Value {
    json!({
        "resource": {"url": "https://mcp.example.com/mcp"},
        "providers": [{
            "name": "id",
            "issuer": "https://id.example.com",
            "client_ids": ["mcp"],
            "jwks_url": "https://id.example.com/keys",
            "cluster": "id",
        }],
    })
}

/// The smallest configuration with this part of another one.
fn completed(part: &Value) -> Value {
    let mut document = small();
    for (name, value) in part.as_object().unwrap() {
        if name == "providers" {
            let given = value[0].as_object().unwrap().clone();
            document["providers"][0].as_object_mut().unwrap().extend(given);
        } else {
            document[name] = value.clone();
        }
    }
    // Pages mention records of several providers without repeating the providers.
    let named = document.pointer("/users/records").and_then(Value::as_array).cloned();
    let names = named.into_iter().flatten().flat_map(|record| match &record["provider"] {
        Value::Array(names) => names.clone(),
        name => vec![name.clone()],
    });
    let resources = document.get("resources").and_then(Value::as_array).cloned();
    let accepted: Vec<Value> = resources
        .iter()
        .flatten()
        .flat_map(|resource| resource["providers"].as_array().cloned().unwrap_or_default())
        .collect();
    if resources.is_some() {
        document.as_object_mut().unwrap().remove("resource");
    }
    let mut added: Vec<Value> = Vec::new();
    for name in names.chain(accepted).filter(Value::is_string) {
        if added.contains(&name) {
            continue;
        }
        added.push(name.clone());
        let mut provider = document["providers"][0].clone();
        provider["issuer"] = json!(format!("https://{}.example.com", name.as_str().unwrap()));
        provider["name"] = name;
        document["providers"].as_array_mut().unwrap().push(provider);
    }
    document
}

#[test]
fn values_that_are_never_accepted_are_not_offered() {
    for ((path, value), fault) in NOT_ACCEPTED
        .into_iter()
        .zip(["access.rules[0].require.client_types[0]: must be user or service"])
    {
        let document = changed(&FULL, &instance(path), Some(&json!(value))).unwrap();
        assert_eq!(faults(&document), fault);
        assert_ne!(schema_faults(&document), "", "{path}");
    }
}

#[test]
fn the_offered_fields_are_those_that_are_read() {
    let files = fs::read_dir(repository_root().join("src/config")).unwrap();
    let files = files.map(|file| file.unwrap().path()).filter(|path| path.is_file());
    // The status page has a configuration of its own.
    let files = files.filter(|path| !path.ends_with("status.rs"));
    let source = files.map(|path| fs::read_to_string(path).unwrap()).collect::<String>();
    let lines = source.lines().map(str::trim);
    let read = lines
        .filter_map(|line| line.strip_prefix("pub(super) ")?.split_once(": Field<"))
        .map(|(name, _)| if name == "condition" { "match" } else { name })
        .filter(|name| !name.starts_with("fn "));
    // This type is read as a form of `replay_store`.
    let read = read.chain(["redis"]);
    let offered = fields();
    let offered: BTreeSet<&str> = offered.iter().map(|(path, _)| split(path).1).collect();
    assert_eq!(offered, read.collect());
    for (path, _) in fields() {
        let document = changed(full(&path), &instance(&path), Some(&json!(null))).unwrap();
        assert!(!faults(&document).contains("unknown field"), "{path}");
    }
}

#[test]
fn each_field_is_described() {
    for (path, schema) in fields() {
        let description = schema["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.') && !description.contains('\n'), "{path}: {description}");
    }
}

#[test]
fn constraints_of_the_schema_apply_to_existing_fields() {
    let paths = REQUIRED
        .into_iter()
        .chain(constraints().into_iter().map(|(path, _)| path))
        .chain(defaults().into_iter().map(|(path, _)| path))
        .chain(NOT_ACCEPTED.map(|(path, _)| path));
    for path in paths {
        assert!(SCHEMA.pointer(&pointer(path)).is_some_and(Value::is_object), "{path}");
    }
}

#[test]
fn a_missing_field_has_its_default() {
    for (path, default) in defaults() {
        let at = instance(path);
        let absent = changed(&FULL, &at, None).unwrap();
        let given = changed(&absent, &at, Some(&default)).unwrap();
        assert_eq!(schema_faults(&given), "", "{path}");
        assert_eq!(validated(&given), validated(&absent), "{path}");
    }
}

/// The words of the validated form's debug output, sorted because sets have no order.
pub(in crate::config) fn validated(document: &Value) -> Vec<String> {
    let mut config =
        Config::with_environment(document.to_string().as_bytes(), &environment).unwrap();
    // The digest is that of the document as written.
    config.digest.clear();
    let text = format!("{config:?}");
    let mut words: Vec<String> = text.split([' ', ',', '{', '}']).map(str::to_owned).collect();
    words.sort();
    words
}

#[test]
fn the_schema_refuses_nothing_that_the_plugin_accepts() {
    let mut accepted = 0;
    for (at, document) in substituted_places() {
        let is_text = document.pointer(&at).is_some_and(Value::is_string);
        let texts = TEXTS.iter().filter(|_| is_text);
        let values = OTHERS.iter().chain(texts).map(Some).chain([None]);
        for document in values.filter_map(|value| changed(&document, &at, value)) {
            if faults(&document).is_empty() {
                accepted += 1;
                assert_eq!(schema_faults(&document), "", "{at}: {:?}", document.pointer(&at));
            }
        }
    }
    assert!(accepted > 1000, "{accepted}");
}

/// Each place of the examples, with a small document that has it. What two examples have at the
/// same place is there once.
fn substituted_places() -> Vec<(String, Value)> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for whole in &*EXAMPLES {
        assert_eq!(faults(whole), "");
        all.extend(["", "/added"].map(|at| (at.to_owned(), whole.clone())));
        let names: Vec<&str> = whole.as_object().unwrap().keys().map(String::as_str).collect();
        for name in &names {
            let others: Vec<&str> = names.iter().filter(|other| *other != name).copied().collect();
            let part = reduced(whole.clone(), &others);
            let member = places(&part).into_iter().filter(|at| at.split('/').nth(1) == Some(name));
            let new = member
                .filter(|at| seen.insert((at.clone(), part.pointer(at).map(Value::to_string))));
            all.extend(new.map(|at| (at, part.clone())));
        }
    }
    all
}

/// The document with as few of these members as the plugin accepts: the fewer, the faster the test.
fn reduced(document: Value, members: &[&str]) -> Value {
    let mut less = document.clone();
    less.as_object_mut().unwrap().retain(|name, _| !members.contains(&name.as_str()));
    if faults(&less).is_empty() {
        return less;
    }
    let (first, second) = members.split_at(members.len() / 2);
    if first.is_empty() {
        return document;
    }
    reduced(reduced(document, first), second)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    })]

    #[test]
    fn the_schema_refuses_no_combination_that_the_plugin_accepts(
        mut document in prop::sample::select(EXAMPLES.clone()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 2..4),
    ) {
        for (at, value) in changes {
            let places = places(&document);
            let place: &String = at.get(&places);
            document = changed(&document, place, value.as_ref()).unwrap_or(document);
        }
        if faults(&document).is_empty() {
            prop_assert_eq!(schema_faults(&document), "");
        }
    }
}

fn value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        1 => Just(None),
        2 => prop::sample::select(TEXTS.clone()).prop_map(Some),
        1 => prop::sample::select(OTHERS.clone()).prop_map(Some),
        1 => "\\PC{0,8}".prop_map(|text| Some(json!(text))),
        1 => "/[!-~]{0,6}".prop_map(|text| Some(json!(text))),
        1 => "[0-9]{1,5}(ms|s|m|h|B|KiB|MiB)".prop_map(|text| Some(json!(text))),
        1 => "https?://[!-~]{1,8}".prop_map(|text| Some(json!(text))),
        1 => "[!-~]{1,8}".prop_map(|text| Some(json!(text))),
    ]
}

/// JSON pointers to every value in a document, to the document itself and to members that could be
/// added.
fn places(document: &Value) -> Vec<String> {
    let within = |(name, value): (String, &Value)| {
        let name = name.replace('~', "~0").replace('/', "~1");
        places(value).into_iter().map(move |place| format!("/{name}{place}")).collect::<Vec<_>>()
    };
    let inner: Vec<String> = match document {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .chain([("added".to_owned(), &Value::Null)])
            .flat_map(within)
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .flat_map(within)
            .collect(),
        _ => vec![],
    };
    [String::new()].into_iter().chain(inner).collect()
}

/// The document with this value at this place, or without one. `None` if the place does not exist.
pub(in crate::config) fn changed(
    document: &Value,
    at: &str,
    value: Option<&Value>,
) -> Option<Value> {
    let mut document = document.clone();
    let Some((parent, name)) = at.rsplit_once('/') else { return value.cloned() };
    let name = name.replace("~1", "/").replace("~0", "~");
    match (document.pointer_mut(parent)?, value) {
        (Value::Object(members), Some(value)) => {
            members.insert(name, value.clone());
        }
        (Value::Object(members), None) => {
            members.remove(&name);
        }
        (Value::Array(elements), value) => {
            let index: usize = name.parse().ok()?;
            elements.get(index)?;
            match value {
                Some(value) => elements[index] = value.clone(),
                None => {
                    elements.remove(index);
                }
            }
        }
        _ => return None,
    }
    Some(document)
}

/// The path of each field that the schema offers, and its schema.
pub(in crate::config) fn fields() -> Vec<(String, Value)> {
    fn add(schema: &Value, path: &str, fields: &mut Vec<(String, Value)>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            fields.push((path.clone(), field.clone()));
            add(field, &path, fields);
            add(&field["items"], &format!("{path}[]"), fields);
            add(&field["oneOf"][1], &format!("{path}<1>"), fields);
        }
    }
    let mut fields = Vec::new();
    add(&SCHEMA, "", &mut fields);
    fields
}

/// The JSON pointer to a field in the full configuration.
pub(in crate::config) fn instance(path: &str) -> String {
    let first = format!("/{}", path.replace("<1>", "").replace("[]", ".0").replace('.', "/"));
    let each_provider = (0..FULL["providers"].as_array().unwrap().len())
        .map(|index| first.replacen("/providers/0", &format!("/providers/{index}"), 1));
    let mut there = each_provider.filter(|at| full(path).pointer(at).is_some());
    there.next().unwrap_or_else(|| panic!("the full configuration lacks {path}"))
}

/// Every variable holds a secret.
fn environment(_: &str) -> Option<String> {
    Some("s3cret".repeat(8))
}

pub(in crate::config) fn faults(document: &Value) -> String {
    match Config::with_environment(document.to_string().as_bytes(), &environment) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn schema_faults(document: &Value) -> String {
    let faults = VALIDATOR.iter_errors(document);
    faults.map(|fault| format!("{}: {fault}\n", fault.instance_path())).collect()
}
