//! Configurations are added and removed under load.

use std::sync::Arc;

use serde_json::json;
use testbed::{Document, Fault, IdentityProvider, Load, LoadPlan};

use crate::support::{stack, timers};

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_reloads_under_load_neither_fail_a_request_nor_leak() {
    const DIRECT: &str = "/direct";
    let mut stack = stack()
        .workers(2)
        .updatable()
        .edit(|bootstrap| bootstrap.respond_directly(DIRECT))
        .start()
        .await;
    let token: Arc<str> = stack.token().into();
    let plan = LoadPlan {
        address: stack.envoy.address(),
        path: DIRECT.to_owned(),
        connections: 8,
        rate: 100,
        reconnects: true,
    };
    let load = Load::start(&plan, move |_| token.clone());
    let mut memory = 0;
    for number in 0..200 {
        stack
            .reconfigure(|configuration| {
                // Some reuse the keys of the previous configuration, and some must fetch them
                // again.
                configuration["resource"]["name"] = json!(format!("number {number}"));
                configuration["providers"][0]["keys"] =
                    json!({"max_body": format!("{}KiB", 64 + number / 10)});
            })
            .await;
        if number == 99 {
            memory = stack.envoy.memory();
        }
    }
    let report = load.stop().await;
    assert!(report.responses() > 100, "{report:?}");
    assert_eq!(report.failed(), 0, "{report:?}");
    assert_eq!(timers(stack.envoy.pid()), 1);
    let grown = stack.envoy.memory().saturating_sub(memory);
    assert!(grown < 16 << 20, "{grown} bytes for 100 reloads");
    assert_eq!(stack.call(&stack.token()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_keys_outlives_ten_reloads() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Hang);
    let mut stack = stack().updatable().provider(provider).start().await;
    let request = stack.request().bearer_auth(stack.token());
    let waiting = tokio::spawn(async move { request.send().await.unwrap().status() });
    while stack.envoy.active_requests().await != Some(1) {
        tokio::task::yield_now().await;
    }
    for number in 0..10 {
        stack
            .reconfigure(|configuration| {
                configuration["resource"]["name"] = json!(format!("number {number}"));
            })
            .await;
    }
    assert!(!waiting.is_finished());
    stack.provider.heal(Document::Discovery);
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(timers(stack.envoy.pid()), 1);
}
