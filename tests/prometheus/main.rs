//! The alerts and the dashboard query metrics that exist, and the alerts fire when they should.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod expression;
mod firing;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use expression::{Expression, shown_labels};
use serde_json::{Value, json};
use testbed::{
    Bootstrap, Envoy, code_blocks, documented_reasons, raw_exchange, repository_root, yaml,
};

/// Envoy's own metrics in the queries. `mcp_federated_auth` is the filter's `config.name`.
const OF_ENVOY: [&str; 3] = [
    "envoy_wasm_mcp_federated_auth_vm_reload_backoff",
    "envoy_wasm_mcp_federated_auth_vm_reload_failure",
    "envoy_wasm_mcp_federated_auth_vm_reload_success",
];

/// Labels that Prometheus adds to each metric of a target.
const OF_THE_TARGET: [&str; 2] = ["job", "instance"];

/// A metric as the README documents it.
struct Documented {
    labels: Vec<String>,
    /// The words of its description, including label values.
    words: Vec<String>,
}

fn file(path: &str) -> String {
    fs::read_to_string(repository_root().join(path)).unwrap()
}

/// The metrics of the README's table, and Envoy's own.
fn documented() -> HashMap<String, Documented> {
    let readme = file("README.md");
    let (_, section) = readme.split_once("\n## Metrics\n").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let of_plugin = rows.take_while(|row| row.starts_with("mcp_auth_")).map(|row| {
        let (name, sentence) = row.split_once('`').unwrap();
        let (name, labels) = name.trim_end_matches('}').split_once('{').unwrap();
        let labels = labels.split(", ").map(str::to_owned).collect();
        let words = sentence.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (name.to_owned(), Documented { labels, words })
    });
    let of_envoy = OF_ENVOY
        .map(|name| (name.to_owned(), Documented { labels: Vec::new(), words: Vec::new() }));
    of_plugin.chain(of_envoy).collect()
}

/// The rules: each alert with its expression and its annotations.
fn alerts() -> Vec<(String, String, Vec<String>)> {
    let rules = yaml(&file("envoy/prometheus/alerts.yaml"));
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    rules
        .iter()
        .map(|rule| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let annotations = rule["annotations"].as_object().unwrap().values().map(text).collect();
            (text(&rule["alert"]), text(&rule["expr"]), annotations)
        })
        .collect()
}

/// The dashboard: each expression with its panel's title and its legend.
fn targets() -> Vec<(String, String, Vec<String>)> {
    let dashboard: Value = serde_json::from_str(&file("envoy/prometheus/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of_panel = |panel: &Value| -> Vec<_> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let title = text(&panel["title"]);
        let targets = panel["targets"].as_array().unwrap().iter();
        targets
            .map(|target| {
                (title.clone(), text(&target["expr"]), vec![text(&target["legendFormat"])])
            })
            .collect()
    };
    panels.iter().flat_map(of_panel).collect()
}

/// Runs promtool, which must succeed.
fn promtool(command: [&str; 2], path: &Path) {
    let run = Command::new("promtool").args(command).arg(path).output();
    let run = run.expect("promtool is there: `make test` installs it");
    let [output, errors] =
        [run.stdout, run.stderr].map(|stream| String::from_utf8(stream).unwrap());
    assert!(run.status.success(), "promtool {command:?}: {output}{errors}");
}

#[test]
fn the_alerts_are_valid_and_pass_their_unit_tests() {
    promtool(["check", "rules"], &repository_root().join("envoy/prometheus/alerts.yaml"));
    promtool(["test", "rules"], &repository_root().join("tests/prometheus/alerts_test.yaml"));
}

#[test]
fn each_alert_is_tested_and_explained() {
    let tests = file("tests/prometheus/alerts_test.yaml");
    let page = file("docs/operations.md");
    for (alert, ..) in alerts() {
        assert!(tests.contains(&format!("alertname: {alert}\n    exp_alerts:")), "{alert}");
        assert!(tests.contains(&format!("alertname: {alert}, exp_alerts: []}}")), "{alert}");
        assert!(page.contains(&format!("\n| `{alert}` |")), "{alert}");
    }
    let explained = page.matches("\n| `McpAuth").count();
    assert_eq!(explained, alerts().len());
}

#[test]
fn the_configuration_on_the_page_is_valid_for_prometheus() {
    let blocks = code_blocks(&file("docs/operations.md"), "yaml");
    assert_eq!(blocks.len(), 1);
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::write(place("prometheus.yml"), &blocks[0]).unwrap();
    fs::write(place("alerts.yaml"), file("envoy/prometheus/alerts.yaml")).unwrap();
    promtool(["check", "config"], &place("prometheus.yml"));
}

#[test]
fn the_expressions_of_the_dashboard_are_valid_promql() {
    let rules: Vec<Value> = targets()
        .iter()
        .enumerate()
        .map(|(number, (_, expression, _))| {
            let expression = expression.replace("$__rate_interval", "5m");
            json!({"record": format!("target_{number}"), "expr": expression})
        })
        .collect();
    assert!(rules.len() > 8);
    let rules = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.yaml");
    fs::write(&path, rules.to_string()).unwrap();
    promtool(["check", "rules"], &path);
}

#[test]
fn alerts_and_dashboard_query_metrics_that_exist() {
    let documented = documented();
    assert!(documented.len() > OF_ENVOY.len() + 6);
    let reasons = documented_reasons();
    let is_value = |metric: &Documented, label: &str, value: &str| {
        // The operator chooses the names of providers and targets.
        ["provider", "instance"].contains(&label)
            || metric.words.iter().any(|word| word == value)
            || label == "reason" && reasons.iter().any(|(_, reason)| reason == value)
    };
    for (place, expression, texts) in alerts().into_iter().chain(targets()) {
        let read = Expression::read(&expression);
        assert!(!read.selectors.is_empty(), "{place}");
        let mut labels: Vec<&str> = OF_THE_TARGET.to_vec();
        for selector in &read.selectors {
            let metric = documented.get(&selector.metric);
            let metric = metric.unwrap_or_else(|| panic!("{place}: {}", selector.metric));
            labels.extend(metric.labels.iter().map(String::as_str));
            for (label, values) in &selector.matchers {
                let has = metric.labels.contains(label) || OF_THE_TARGET.contains(&label.as_str());
                assert!(has, "{place}: {} has no label {label}", selector.metric);
                for value in values.split('|') {
                    assert!(is_value(metric, label, value), "{place}: {label} is never {value}");
                }
            }
        }
        let shown = texts.iter().flat_map(|text| shown_labels(text));
        for label in read.groupings.iter().map(String::as_str).chain(shown) {
            assert!(labels.contains(&label), "{place}: no label {label}");
        }
    }
}

#[test]
fn the_dashboard_shows_every_metric() {
    let targets = targets();
    let shows = |metric: &str| {
        let read = targets.iter().flat_map(|(_, text, _)| Expression::read(text).selectors);
        read.into_iter().any(|selector| selector.metric == metric)
    };
    let missing: Vec<String> = documented().into_keys().filter(|metric| !shows(metric)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Envoy counts a restart after a crash as success, and a request that arrives too soon after the
/// next crash as backoff.
#[tokio::test]
async fn a_crash_of_the_plugin_is_counted_where_alerts_look() {
    const DEADLINE: Duration = Duration::from_secs(60);
    let directory = tempfile::tempdir().unwrap();
    let module = directory.path().join("crashes.wasm");
    fs::write(&module, wat::parse_str(include_str!("crashing_filter.wat")).unwrap()).unwrap();
    let envoy = Envoy::builder()
        .edit(|bootstrap: &mut Bootstrap| bootstrap.set_module(&module))
        .start()
        .await;
    let start = Instant::now();
    loop {
        let response = raw_exchange(
            envoy.address(),
            b"GET /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nconnection: close\r\n\r\n",
        );
        assert_eq!(response.await.status(), 503);
        let metrics = envoy.admin("/stats/prometheus").await;
        let value = |name: &str| -> u64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name}{{}} ")));
            line.unwrap_or_else(|| panic!("{name} does not exist")).parse().unwrap()
        };
        let [backoff, failure, success] = OF_ENVOY.map(value);
        assert_eq!(failure, 0);
        if backoff > 0 && success > 0 {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "{backoff} {success}");
    }
}
