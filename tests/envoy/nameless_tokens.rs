//! Tokens without `kid`. Up to eight keys are tried for each, which is expensive with some
//! algorithms: a flood of them must not keep a worker from other requests.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{
    Algorithm, Document, Fault, IdentityProvider, Load, LoadPlan, Response, SigningKey, Stack,
    random_id,
};
use tokio::task::JoinHandle;

use crate::support::{
    DIRECT, SOON, add_providers, assert_none, assert_refusal, await_active_requests, claims_of,
    faults_of_refusal, static_provider, with, with_direct_responses, with_keys, without,
};

/// The maximum of keys that are tried for a token.
const TRIED: usize = 8;
/// An algorithm that Envoy does not verify.
const ALGORITHM: Algorithm = Algorithm::Ps512;

fn keys() -> Vec<SigningKey> {
    (0..TRIED).map(|index| SigningKey::generate(ALGORITHM, format!("key {index}"))).collect()
}

fn nameless(key: &SigningKey, claims: &Value) -> String {
    key.sign(&without(&key.header(), "kid"), claims)
}

/// Sends a request with each of these tokens, all at once.
fn begin(stack: &Stack, tokens: Vec<String>) -> Vec<JoinHandle<Response>> {
    let begin = |token| {
        let request = stack.request().bearer_auth(token);
        tokio::spawn(async { Response::read(request.send().await.expect("Envoy responds")).await })
    };
    tokens.into_iter().map(begin).collect()
}

async fn end(calls: Vec<JoinHandle<Response>>) -> Vec<Response> {
    let mut responses = Vec::new();
    for call in calls {
        responses.push(call.await.expect("the call ends"));
    }
    responses
}

/// The processor time that Envoy's threads have used.
fn processor_time(stack: &Stack) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", stack.envoy.pid())).expect("it runs");
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_wait_for_a_slow_provider_are_verified_once_for_each_version_of_its_keys() {
    const FLOOD: usize = 100;
    /// How long the provider's response takes.
    const SLOW: Duration = Duration::from_secs(3);
    let provider = IdentityProvider::start().await;
    let old = keys();
    provider.set_keys(old.clone());
    let stack = with_keys(1, json!({"timeout": "20s"})).provider(provider).alone().start().await;
    let claims = stack.claims();
    let known = old[0].token(&claims);
    assert_eq!(stack.call(&known).await.status, 200);

    // The cost of one verification, including the rest of the request.
    let forger = SigningKey::generate(ALGORITHM, old[0].kid());
    let before = processor_time(&stack);
    for _ in 0..20 {
        let forged = forger.token(&with(&claims, "n", random_id()));
        assert_refusal(&stack.call_refused(&forged).await, "bad_signature");
    }
    let one = (processor_time(&stack) - before) / 20;

    stack.provider.fail(Document::KeySet, Fault::Hang);
    let new = SigningKey::generate(ALGORITHM, "new");
    let before = processor_time(&stack);
    let forged = (0..FLOOD).map(|_| nameless(&forger, &with(&claims, "n", random_id())));
    let calls = begin(&stack, forged.collect());
    await_active_requests(&stack, 100).await;
    let good = begin(&stack, vec![nameless(&new, &claims)]);
    await_active_requests(&stack, 101).await;
    // Tokens that name an existing key are verified meanwhile.
    assert_eq!(stack.call(&known).await.status, 200);
    // The test needs time to pass, and with it ticks: there is no condition to wait for.
    tokio::time::sleep(SLOW).await;
    let spent = processor_time(&stack) - before;
    println!("{spent:?} for {FLOOD} tokens that wait, {one:?} for one verification");
    assert!(spent < one * 1200, "{spent:?} for {FLOOD} tokens and {TRIED} keys, {one:?} for one");

    let published = old.into_iter().skip(1).chain([new]);
    stack.provider.set_keys(published);
    stack.provider.heal(Document::KeySet);
    let responses = end(calls).await;
    let faults = responses.iter().flat_map(|response| faults_of_refusal(response, "bad_signature"));
    assert_none(&faults.collect::<Vec<_>>());
    let good = end(good).await;
    assert_eq!(good[0].status, 200, "{good:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_tokens_without_kid_waits_while_other_requests_proceed() {
    let keys = keys();
    let provider = static_provider("keyed", &keys.iter().collect::<Vec<_>>(), json!({}));
    let builder = Stack::builder()
        .alone()
        .configure(|configuration| add_providers(configuration, [provider]));
    let stack = with_direct_responses(builder).start().await;
    let claims = claims_of("keyed");
    let forger = SigningKey::generate(ALGORITHM, keys[0].kid());
    let forged = nameless(&forger, &claims);
    // A character in the middle of the signature may have any value.
    let (start, end) =
        (forged[..forged.len() - 100].to_owned(), forged[forged.len() - 92..].to_owned());
    let plan = LoadPlan {
        address: stack.envoy.address(),
        path: DIRECT.to_owned(),
        connections: 50,
        rate: 200,
        reconnects: false,
    };
    // Each token is different, so none is in the token cache.
    let flood = Load::start(&plan, move |number| format!("{start}{number:08}{end}").into());
    let asked = Instant::now();
    let active = async || stack.envoy.stat("http.mcp.downstream_rq_active").await.unwrap_or(0);
    while active().await < 40 {
        assert!(asked.elapsed() < SOON, "no request waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Tokens that name their key are verified, forged or not, and so are those of the first key.
    for key in &keys {
        assert_eq!(stack.call(&key.token(&claims)).await.status, 200);
    }
    assert_eq!(stack.call(&nameless(&keys[0], &claims)).await.status, 200);
    assert_refusal(&stack.call_refused(&forger.token(&claims)).await, "bad_signature");
    assert!(active().await > 0, "they still wait");
    // A valid token gets its turn, whichever its key.
    assert_eq!(stack.call(&nameless(&keys[TRIED - 1], &claims)).await.status, 200);
    let report = flood.stop().await;
    assert_eq!(report.statuses.keys().collect::<Vec<_>>(), [&401], "{report:?}");
}
