//! The log line of the filter's start.

use serde_json::Value;
use testbed::{Bootstrap, Port, Stack};

use crate::support::SOON;

const STARTED: &str = " started, configuration ";

#[tokio::test(flavor = "multi_thread")]
async fn one_of_four_workers_logs_the_version_and_the_digest_that_the_status_page_shows() {
    let port = Port::free();
    let number = port.number();
    let stack = Stack::builder()
        .alone()
        .workers(4)
        .bootstrap(Bootstrap::status_example())
        .edit(move |bootstrap| bootstrap.set_status_port(number))
        .start()
        .await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    stack.envoy.await_log(STARTED, SOON).await;
    let url = format!("http://{}/status.json", port.address());
    let status: Value = stack.client().get(url).send().await.unwrap().json().await.unwrap();
    let [configuration] = &status["configurations"].as_array().unwrap()[..] else {
        panic!("{status}")
    };
    let log = stack.envoy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(STARTED)).collect();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let [version, digest] =
        ["version", "digest"].map(|member| configuration[member].as_str().unwrap());
    let expected = format!("mcp-federated-auth {version}{STARTED}{digest}");
    assert!(line.ends_with(&expected), "{line} without {expected}");
}
