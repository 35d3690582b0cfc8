//! Thousands of single-use tokens each second.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use testbed::{Algorithm, Load, LoadPlan, SigningKey, Stack};
use tokio::time::sleep;

use crate::support::{plan, with_keys};

/// Requests per second.
const RATE: u32 = 2000;
/// The duration of the load: 20,000 tokens in all.
const LASTS: Duration = Duration::from_secs(10);
/// The tokens sent before memory is measured, so that buffers and connections exist.
const WARM_UP: Duration = Duration::from_secs(2);
/// The maximum size of a full store by the documentation.
const BOUND: u64 = 4 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_tokens_are_spent_within_the_bounds_of_memory() {
    // One after the other: each needs the whole machine.
    for workers in [1, 4] {
        spend_many(workers).await;
    }
}

async fn spend_many(workers: usize) {
    let stack = with_keys(workers, json!({}))
        .configure(|configuration| {
            configuration["providers"][0]["jti"] = json!("single_use");
        })
        .start()
        .await;
    let key = SigningKey::generate(Algorithm::Es256, "es256");
    stack.provider.add_key(key.clone());
    let count = |time: Duration| u64::from(RATE) * time.as_secs();
    let mint = |count: u64| -> Arc<[Arc<str>]> {
        (0..count + 1000).map(|_| key.token(&stack.claims()).into()).collect()
    };
    let [before, tokens] = [WARM_UP, LASTS].map(|time| mint(count(time)));
    assert_eq!(stack.call(&stack.provider.token(&stack.claims())).await.status, 200);
    send(&stack, &before, WARM_UP).await;

    let memory = stack.envoy.memory();
    let spent = send(&stack, &tokens, LASTS).await;
    let growth = stack.envoy.memory().saturating_sub(memory);
    println!("{workers} workers: {spent} tokens, {} KiB more memory", growth >> 10);
    assert!(spent >= count(LASTS), "{spent}");
    assert!(growth <= BOUND, "{workers} workers: {growth} bytes for {spent} tokens");

    // No token was forgotten.
    let sample = tokens.iter().take(usize::try_from(spent).unwrap()).step_by(97);
    for token in sample.chain(before.iter().take(1000).step_by(97)) {
        assert_eq!(stack.call(token).await.reason(), "jti_replayed");
    }
}

/// Sends each token once at a steady rate, and returns how many there were. All must pass.
async fn send(stack: &Stack, tokens: &Arc<[Arc<str>]>, lasts: Duration) -> u64 {
    let plan = LoadPlan { rate: RATE, ..plan(stack) };
    let load = Load::start(&plan, {
        let tokens = tokens.clone();
        move |number| tokens[usize::try_from(number).unwrap()].clone()
    });
    sleep(lasts).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
    assert_eq!(report.responses(), report.planned, "{report:?}");
    report.responses()
}
