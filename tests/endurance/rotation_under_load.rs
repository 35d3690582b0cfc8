//! Keys change under thousands of requests per second, with tokens of old and new keys.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use testbed::{Algorithm, Load, LoadPlan, SigningKey, Stack};
use tokio::time::sleep;

use crate::support::{SOON, plan, with_keys};

/// Requests per second.
const RATE: u32 = 2000;
/// How long tokens of each kind are sent.
const PHASE: Duration = Duration::from_secs(2);

/// More tokens than the token cache holds.
const TOKENS: u64 = 1200;

fn mint(stack: &Stack, key: &SigningKey) -> Vec<Arc<str>> {
    (0..TOKENS).map(|_| key.sign(&key.header(), &stack.claims()).into()).collect()
}

/// The tokens that are sent in turn.
#[derive(Clone, Default)]
struct Tokens(Arc<Mutex<Vec<Arc<str>>>>);

impl Tokens {
    fn set<'a>(&self, tokens: impl IntoIterator<Item = &'a Arc<str>>) {
        *self.0.lock().unwrap() = tokens.into_iter().cloned().collect();
    }

    fn get(&self, number: u64) -> Arc<str> {
        let tokens = self.0.lock().unwrap();
        tokens[usize::try_from(number).unwrap() % tokens.len()].clone()
    }
}

/// Sends a key's tokens only while the provider publishes the key.
async fn rotate_twice(workers: usize) {
    let keys = json!({"max_age": "2s", "refresh_cooldown": "1s"});
    let stack = with_keys(workers, keys).start().await;
    let mut old = stack.provider.key();
    let mut old_tokens = mint(&stack, &old);
    assert_eq!(stack.call(&old_tokens[0]).await.status, 200);
    let successors = [Algorithm::Es256, Algorithm::Rs256].map(|algorithm| {
        let key = SigningKey::generate(algorithm, format!("{algorithm}-successor"));
        let tokens = mint(&stack, &key);
        (key, tokens)
    });

    let tokens = Tokens::default();
    tokens.set(&old_tokens);
    let plan = LoadPlan { rate: RATE, ..plan(&stack) };
    let load = Load::start(&plan, {
        let tokens = tokens.clone();
        move |number| tokens.get(number)
    });
    for (new, new_tokens) in successors {
        sleep(PHASE).await;
        stack.provider.add_key(new.clone());
        tokens.set(old_tokens.iter().zip(&new_tokens).flat_map(|(old, new)| [old, new]));
        sleep(PHASE).await;
        tokens.set(&new_tokens);
        load.settle(SOON).await;
        stack.provider.remove_key(old.kid());
        (old, old_tokens) = (new, new_tokens);
    }
    sleep(PHASE).await;
    let report = load.stop().await;
    println!("{workers} workers: {report:?}");
    assert_eq!(report.failed(), 0, "with {workers} workers: {report:?}");
    // At whatever rate the machine reached: each token in each of the five phases, on average.
    assert!(report.responses() >= 5 * TOKENS, "with {workers} workers: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_token_is_refused_before_during_and_after_a_rotation() {
    // One after the other: each needs the whole machine.
    for workers in [1, 4] {
        rotate_twice(workers).await;
    }
}
