//! The life of a key set: fetched once for all, renewed when it is time or when a token names a
//! key that is not in it, and used on while its source fails.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{
    Algorithm, Answer, Document, Fault, IdentityProvider, SigningKey, Stack, StackBuilder,
    random_id,
};

use crate::support::{
    SOON, add_providers, assert_none, assert_refusal, assert_tokens_accepted,
    assert_tokens_refused, await_active_requests, call_until, faults_of_refusal, with, without,
};

fn with_keys(keys: Value) -> StackBuilder {
    Stack::builder().workers(2).configure(move |configuration| configuration["keys"] = keys)
}

/// Sends all tokens at once.
async fn call_together(stack: &Stack, tokens: Vec<String>) -> Vec<Answer> {
    let calls: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            let request = stack.request().bearer_auth(token);
            tokio::spawn(async { Answer::read(request.send().await.expect("Envoy answers")).await })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.expect("the call ends"));
    }
    answers
}

fn counts(provider: &IdentityProvider) -> [usize; 2] {
    [Document::Discovery, Document::KeySet].map(|document| provider.count(document))
}

fn gaps_between_fetches(provider: &IdentityProvider) -> Vec<Duration> {
    let requests = provider.requests().into_iter();
    let times: Vec<Instant> = requests
        .filter(|request| request.document == Some(Document::KeySet))
        .map(|request| request.at)
        .collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// No two workers ever ask at the same time.
fn assert_one_at_a_time(provider: &IdentityProvider) {
    for document in [Document::Discovery, Document::KeySet] {
        assert!(provider.most_in_flight(document) <= 1, "{document:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_before_the_keys_wait_for_one_fetch() {
    const REQUESTS: usize = 40;
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Hang);
    provider.fail(Document::KeySet, Fault::Delay(Duration::from_millis(200)));
    let stack = Stack::builder().workers(2).provider(provider).start().await;
    let tokens: Vec<_> = (0..REQUESTS).map(|_| stack.token()).collect();
    let (answers, ()) = tokio::join!(call_together(&stack, tokens), async {
        await_active_requests(&stack, 40).await;
        let served = stack.envoy.connections_per_worker().await;
        assert!(served.iter().all(|&connections| connections > 0), "{served:?}");
        assert_eq!(stack.server.count(), 0);
        stack.provider.heal(Document::Discovery);
    });
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(stack.server.count(), REQUESTS);
    assert_eq!(counts(&stack.provider), [1, 1]);
    assert_one_at_a_time(&stack.provider);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_request_that_waited_arrives_whole() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Hang);
    let stack = Stack::builder().provider(provider).start().await;
    // Longer than what Envoy buffers of a request.
    let body: Vec<u8> = (0..750_000_u32).flat_map(u32::to_be_bytes).collect();
    let request = stack.client().post(stack.envoy.url("/upload")).bearer_auth(stack.token());
    let request = request.body(body.clone());
    let (answer, ()) = tokio::join!(stack.send(request), async {
        await_active_requests(&stack, 1).await;
        stack.provider.heal(Document::Discovery);
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    let request = stack.server.requests().pop().expect("it reached the server");
    assert!(request.body == body, "{} bytes arrived", request.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_there_are_not_fetched_again() {
    let stack = Stack::builder().workers(2).start().await;
    for _ in 0..5 {
        let answers = call_together(&stack, (0..10).map(|_| stack.token()).collect()).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    }
    assert_eq!(counts(&stack.provider), [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_fetched_once_when_the_first_token_names_it() {
    let stack = Stack::builder().workers(2).start().await;
    let old = stack.provider.key();
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    assert_eq!(counts(&stack.provider), [1, 1]);
    stack.provider.add_key(SigningKey::generate(Algorithm::Es256, "new"));
    let answers = call_together(&stack, (0..20).map(|_| stack.token()).collect()).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(counts(&stack.provider), [1, 2]);
    assert_one_at_a_time(&stack.provider);
    // The old key is still published, and good.
    assert_eq!(stack.call(&old.token(&stack.claims())).await.status, 200);
    assert_eq!(counts(&stack.provider), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_kids_costs_one_fetch_in_each_cooldown() {
    let cooldown = Duration::from_secs(2);
    let stack = with_keys(json!({"refresh_cooldown": "2s"})).start().await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    let key = stack.provider.key();
    let asked = Instant::now();
    let mut faults = Vec::new();
    let mut sent = 0;
    while stack.provider.count(Document::KeySet) < 4 {
        assert!(asked.elapsed() < SOON, "{:?}", counts(&stack.provider));
        let tokens: Vec<_> =
            (0..20).map(|_| key.with_kid(random_id()).token(&stack.claims())).collect();
        let before = stack.server.count();
        for answer in call_together(&stack, tokens).await {
            faults.extend(faults_of_refusal(&answer, "unknown_kid"));
            sent += 1;
        }
        assert_eq!(stack.server.count(), before);
        assert_eq!(stack.call(&stack.token()).await.status, 200);
    }
    assert_none(&faults);
    assert!(sent > 100, "only {sent} requests are no flood");
    // The first fetch was at the start, and the second for the first unknown kid.
    let gaps = gaps_between_fetches(&stack.provider);
    let least = cooldown - Duration::from_millis(100);
    assert!(gaps[1..].iter().all(|gap| *gap >= least), "{gaps:?}");
    assert_eq!(stack.provider.count(Document::Discovery), 1);
    assert_one_at_a_time(&stack.provider);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kid_is_no_fault_of_the_token_while_the_source_is_down() {
    let mut stack = with_keys(json!({"timeout": "1s"})).start().await;
    let known = stack.token();
    assert_eq!(stack.call(&known).await.status, 200);
    stack.provider.stop().await;
    let new = stack.provider.rotate(Algorithm::Es256);
    for _ in 0..3 {
        let asked = Instant::now();
        let answer = stack.call_refused(&new.token(&stack.claims())).await;
        assert_refusal(&answer, "keys_unavailable");
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        assert_eq!(stack.call(&known).await.status, 200);
    }
    stack.provider.start_again();
    let token = new.token(&stack.claims());
    call_until(&stack, &token, 200, SOON).await;
    let answer = call_until(&stack, &known, 401, SOON).await;
    assert_refusal(&answer, "unknown_kid");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_fail_without_a_key_cause_no_fetch() {
    let stack = with_keys(json!({"refresh_cooldown": "1s"})).start().await;
    assert_tokens_accepted(&stack, [("good", stack.token())]).await;
    assert_eq!(counts(&stack.provider), [1, 1]);
    let key = stack.provider.key().with_kid("unknown");
    let claims = stack.claims();
    let header = |name: &str, value: Value| key.sign(&with(&key.header(), name, value), &claims);
    let cases = [
        ("another issuer", key.token(&with(&claims, "iss", "https://x.example")), "unknown_issuer"),
        ("another audience", key.token(&with(&claims, "aud", "x")), "audience_mismatch"),
        ("expired", key.token(&with(&claims, "exp", 1)), "expired"),
        ("no exp", key.token(&without(&claims, "exp")), "expired"),
        ("too early", key.token(&with(&claims, "nbf", testbed::now() + 1000)), "not_yet_valid"),
        ("issued later", key.token(&with(&claims, "iat", testbed::now() + 1000)), "not_yet_valid"),
        ("another type", header("typ", json!("logout+jwt")), "wrong_token_type"),
        ("crit", header("crit", json!(["x"])), "unsupported_critical_header"),
        ("none", header("alg", json!("none")), "unsupported_algorithm"),
        ("HS256", header("alg", json!("HS256")), "unsupported_algorithm"),
        ("malformed", format!("{}x", key.token(&claims)), "malformed_token"),
        ("two segments", "a.b".to_owned(), "malformed_token"),
    ];
    for _ in 0..3 {
        assert_tokens_refused(&stack, cases.clone()).await;
    }
    assert_eq!(counts(&stack.provider), [1, 1]);
    // The same kid in a token that is good otherwise does cause one.
    assert_tokens_refused(&stack, [("good otherwise", key.token(&claims), "unknown_kid")]).await;
    assert_eq!(counts(&stack.provider), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_fetched_again_when_its_time_is_over() {
    let stack = with_keys(json!({"max_age": "2s"})).start().await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    // Nobody asks for it.
    stack.provider.await_count(Document::KeySet, 4, SOON).await;
    assert_eq!(stack.provider.count(Document::Discovery), 1);
    assert_one_at_a_time(&stack.provider);
    let gaps = gaps_between_fetches(&stack.provider);
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(900)), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_serve_at_once_while_a_fetch_hangs() {
    let stack = with_keys(json!({"max_age": "1s"})).start().await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    stack.provider.fail(Document::KeySet, Fault::Hang);
    let before = stack.provider.count(Document::KeySet);
    stack.provider.await_count(Document::KeySet, before + 1, SOON).await;
    let asked = Instant::now();
    for _ in 0..10 {
        assert_eq!(stack.call(&stack.token()).await.status, 200);
    }
    // The fetch may take five seconds.
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(stack.provider.count(Document::KeySet), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_published_no_longer_is_refused_when_the_time_of_its_set_is_over() {
    let stack = with_keys(json!({"max_age": "1s"})).start().await;
    let old = stack.token();
    assert_eq!(stack.call(&old).await.status, 200);
    let new = stack.provider.rotate(Algorithm::Rs256);
    let answer = call_until(&stack, &old, 401, SOON).await;
    assert_refusal(&answer, "unknown_kid");
    assert_eq!(stack.call(&new.token(&stack.claims())).await.status, 200);
    // On each worker, as soon as it has heard of the new set.
    let asked = Instant::now();
    while !call_together(&stack, vec![old.clone(); 10]).await.iter().all(|a| a.status == 401) {
        assert!(asked.elapsed() < SOON, "the old key still serves");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_under_the_old_kid_is_taken_over() {
    let stack = with_keys(json!({"max_age": "1s"})).start().await;
    let old = stack.provider.key();
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    stack.provider.set_keys([SigningKey::generate(Algorithm::Rs256, old.kid())]);
    call_until(&stack, &stack.token(), 200, SOON).await;
    let answer = call_until(&stack, &old.token(&stack.claims()), 401, SOON).await;
    assert_refusal(&answer, "bad_signature");
}

/// Starts with one provider more for each of these names, and all with these settings.
async fn start_with(names: &[&str], keys: Value) -> (Stack, Vec<IdentityProvider>) {
    let mut providers = Vec::new();
    let mut builder = with_keys(keys);
    for name in names {
        let provider = IdentityProvider::start().await;
        let configured = json!({
            "name": name, "issuer": provider.issuer(), "client_ids": [Stack::AUDIENCE],
            "metadata_url": provider.metadata_url(), "cluster": name,
        });
        builder = builder
            .cluster(name, provider.address())
            .configure(|configuration| add_providers(configuration, [configured]));
        providers.push(provider);
    }
    (builder.start().await, providers)
}

fn token_of(provider: &IdentityProvider) -> String {
    provider.token(&provider.claims(Stack::AUDIENCE))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_serves_on_while_its_source_fails_for_as_long_as_is_allowed() {
    let names = ["down", "status-500", "no-keys", "other-issuer"];
    let keys = json!({"max_age": "1s", "timeout": "1s", "max_stale": "4s"});
    let (stack, mut providers) = start_with(&names, keys).await;
    for provider in &providers {
        assert_eq!(stack.call(&token_of(provider)).await.status, 200);
    }
    let [down, status, no_keys, other_issuer] = providers.as_mut_slice() else { unreachable!() };
    down.stop().await;
    status.fail(Document::KeySet, Fault::Status(500));
    no_keys.fail(Document::KeySet, Fault::Body(b"{}".to_vec()));
    // Its metadata are asked for once the key set fails.
    other_issuer
        .edit(Document::Discovery, |document| document["issuer"] = json!("https://x.example"));
    other_issuer.fail(Document::KeySet, Fault::Status(404));

    // The last fetch was not long ago: its set serves for a second, and four more.
    let failed_at = Instant::now();
    while failed_at.elapsed() < Duration::from_millis(3500) {
        for (name, provider) in names.iter().zip(&providers) {
            let answer = stack.call(&token_of(provider)).await;
            assert_eq!(answer.status, 200, "{name} after {:?}: {answer:?}", failed_at.elapsed());
        }
    }
    for provider in &providers {
        let answer = call_until(&stack, &token_of(provider), 503, SOON).await;
        assert_refusal(&answer, "keys_unavailable");
    }
    assert!(failed_at.elapsed() < Duration::from_secs(8), "{:?}", failed_at.elapsed());
    let before = stack.server.count();
    for provider in &providers {
        assert_refusal(&stack.call(&token_of(provider)).await, "keys_unavailable");
    }
    assert_eq!(stack.server.count(), before);

    for provider in &mut providers {
        provider.heal(Document::KeySet);
        provider.undo_edits(Document::Discovery);
        provider.start_again();
    }
    for provider in &providers {
        call_until(&stack, &token_of(provider), 200, SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_tried_every_few_seconds_once_its_last_set_is_too_old_to_serve() {
    let stack = with_keys(json!({"max_age": "1s", "max_stale": "1s"})).start().await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    stack.provider.fail(Document::KeySet, Fault::Status(500));
    let answer = call_until(&stack, &stack.token(), 503, SOON).await;
    assert_refusal(&answer, "keys_unavailable");
    stack.provider.clear_log();
    // The delays have doubled up to five seconds by then, and stay there: no set is held.
    stack.provider.await_count(Document::KeySet, 3, Duration::from_secs(30)).await;
    let gaps = gaps_between_fetches(&stack.provider);
    assert!(gaps.iter().all(|gap| *gap < Duration::from_millis(5700)), "{gaps:?}");
    let answer = stack.call_refused(&stack.token()).await;
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=5).contains(&seconds), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_the_source_says_how_long_its_set_serves() {
    let (stack, providers) = start_with(&["an-hour", "nothing"], json!({"max_age": "1s"})).await;
    // Told before the first fetch is over, or by a second one.
    providers[0].set_cache_control("public, max-age=3600");
    for provider in &providers {
        assert_eq!(stack.call(&token_of(provider)).await.status, 200);
    }
    providers[1].await_count(Document::KeySet, 4, SOON).await;
    providers[0].clear_log();
    providers[1].clear_log();
    providers[1].await_count(Document::KeySet, 4, SOON).await;
    assert_eq!(providers[0].count(Document::KeySet), 0);
}
