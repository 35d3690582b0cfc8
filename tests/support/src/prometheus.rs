use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::form_of;

use crate::child::{KilledChild, await_that};
use crate::port::Port;

/// A running Prometheus, killed when dropped. It scrapes and evaluates each second.
#[derive(Debug)]
pub struct Prometheus {
    _process: KilledChild,
    port: Port,
    client: Client,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it with these rules and jobs, each a name and the address of an Envoy's admin interface,
    /// and waits until it is ready.
    pub async fn start(rules: &str, jobs: &[(&str, String)]) -> Self {
        let directory = TempDir::with_prefix("mcp-federated-auth-prometheus-")
            .expect("the temporary directory is writable");
        let port = Port::free();
        let jobs = jobs.iter().map(|(name, target)| {
            json!({
                "job_name": name,
                "metrics_path": "/stats/prometheus",
                "static_configs": [{"targets": [target]}],
            })
        });
        let configuration = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": jobs.collect::<Value>(),
            "rule_files": ["rules.yaml"],
        });
        let write = |name: &str, content: &str| {
            let file = directory.path().join(name);
            fs::write(&file, content).expect("the directory is writable");
            file
        };
        write("rules.yaml", rules);
        let file = write("prometheus.yml", &configuration.to_string());
        let process = Self::process(&file, &directory.path().join("data"), &port);
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .expect("the client has nothing to object to");
        let prometheus = Self { _process: process, port, client, _directory: directory };
        let ready = prometheus.url("/-/ready");
        await_that("Prometheus is ready", || async {
            let response = prometheus.client.get(&ready).send().await;
            response.is_ok_and(|response| response.status().is_success())
        })
        .await;
        prometheus
    }

    /// The labels of the alerts that fire now.
    pub async fn firing(&self) -> Vec<Value> {
        let data = self.data(self.client.get(self.url("/api/v1/alerts"))).await;
        let alerts = data["alerts"].as_array().expect("there is a list").iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"].clone()).collect()
    }

    /// What an expression is now: each series with its labels and its value.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let query = self.client.post(self.url("/api/v1/query"));
        let query = query.header("content-type", "application/x-www-form-urlencoded");
        let data = self.data(query.body(form_of(&[("query", expression)]))).await;
        data["result"].as_array().expect("it is a vector").clone()
    }

    async fn data(&self, request: RequestBuilder) -> Value {
        let response = request.send().await.expect("Prometheus responds");
        let mut body: Value = response.json().await.expect("it is JSON");
        assert_eq!(body["status"], "success", "{body}");
        body["data"].take()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    fn process(configuration: &Path, data: &Path, port: &Port) -> KilledChild {
        KilledChild::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", configuration.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address={}", port.address())),
        )
    }
}
