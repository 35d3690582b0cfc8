//! Tokens whose `kid` is not in the key set, or that none of its keys verifies. They cause a fetch,
//! since the provider may have a new key, but at most one in each cool-down.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{
    Algorithm, Document, Fault, Load, LoadPlan, SigningKey, Stack, random_id,
    with_one_worker_and_with_four,
};

use crate::support::{
    DIRECT, SOON, assert_cooldown, assert_none, assert_one_at_a_time, assert_refusal,
    assert_tokens_accepted, assert_tokens_refused, await_active_requests, base64url, call_together,
    call_until, counts, faults_of_refusal, with, with_direct_responses, with_keys, without,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_fetched_once_and_all_tokens_that_name_it_wait_for_it() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = Stack::builder().alone().workers(workers).start().await;
        let old = stack.provider.key();
        // The key set was fetched just now.
        assert_eq!(stack.call(&stack.token()).await.status, 200);
        assert_eq!(counts(&stack.provider), [1, 1]);
        stack.provider.add_key(SigningKey::generate(Algorithm::Es256, "new"));
        stack.provider.fail(Document::KeySet, Fault::Hang);
        let tokens = (0..40).map(|_| stack.token()).collect();
        let (responses, ()) = tokio::join!(call_together(&stack, tokens), async {
            await_active_requests(&stack, 40).await;
            let served = stack.envoy.connections_per_worker().await;
            assert!(served.iter().all(|&connections| connections > 0), "{served:?}");
            stack.provider.await_count(Document::KeySet, 2, SOON).await;
            stack.provider.heal(Document::KeySet);
        });
        assert!(responses.iter().all(|response| response.status == 200), "{responses:?}");
        assert_eq!(counts(&stack.provider), [1, 2]);
        assert_one_at_a_time(&stack.provider);
        // The old key is still published and still verifies.
        assert_eq!(stack.call(&old.token(&stack.claims())).await.status, 200);
        assert_eq!(counts(&stack.provider), [1, 2]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_kids_costs_one_fetch_in_each_cooldown_and_no_memory() {
    with_one_worker_and_with_four(|workers| async move {
        const RATE: u32 = 500;
        /// The length of a `kid` in bytes: a cache of these names would show.
        const LENGTH: usize = 5000;
        let builder = with_keys(workers, json!({"refresh_cooldown": "2s"}));
        let stack = with_direct_responses(builder).alone().start().await;
        assert_eq!(stack.call(&stack.token()).await.status, 200);
        let key = stack.provider.key();
        let one = key.with_kid(random_id()).token(&stack.claims());
        let first_unknown = Instant::now();
        assert_refusal(&stack.call_refused(&one).await, "unknown_kid");

        // An unknown `kid` is refused before the signature is verified, so it may be that of
        // another header.
        let (_, rest) = one.split_once('.').expect("it has three parts");
        let rest = rest.to_owned();
        let plan = LoadPlan {
            address: stack.envoy.address(),
            path: DIRECT.to_owned(),
            connections: 20,
            rate: RATE,
            reconnects: false,
        };
        let flood = Load::start(&plan, move |_| {
            let name = format!("{}{}", random_id(), "x".repeat(LENGTH));
            let header = base64url(key.with_kid(name).header().to_string());
            format!("{header}.{rest}").into()
        });
        // By then, buffers and heaps have their final size.
        stack.provider.await_count(Document::KeySet, 3, SOON).await;
        let (before, began) = (stack.envoy.memory(), Instant::now());
        while stack.provider.count(Document::KeySet) < 6 {
            assert!(began.elapsed() < SOON, "{:?}", counts(&stack.provider));
            assert_eq!(stack.call(&stack.token()).await.status, 200);
        }
        let after = stack.envoy.memory();
        let report = flood.stop().await;
        assert_eq!(report.statuses.keys().collect::<Vec<_>>(), [&401], "{report:?}");
        let known = |fault: &String| fault.contains("unknown_kid");
        assert!(report.faults.values().all(known), "{report:?}");
        let kept = usize::try_from(after.saturating_sub(before)).unwrap();
        // Three of five cool-downs, at whatever rate the machine reached.
        let names = usize::try_from(report.responses() / 2).unwrap() * LENGTH;
        assert!(names > 2_000_000, "{report:?}");
        println!("{workers} workers: {kept} bytes more after {names} bytes of names");
        assert!(kept < names / 2, "{kept} bytes more after {names} bytes of names");

        // The first fetch was at the start.
        assert_cooldown(&stack.provider, 1, first_unknown, Duration::from_secs(2));
        assert_eq!(stack.provider.count(Document::Discovery), 1);
        assert_one_at_a_time(&stack.provider);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kid_gets_503_while_the_source_is_down() {
    with_one_worker_and_with_four(|workers| async move {
        let mut stack = with_keys(workers, json!({"timeout": "1s"})).start().await;
        let known = stack.token();
        assert_eq!(stack.call(&known).await.status, 200);
        stack.provider.stop().await;
        let new = stack.provider.rotate(Algorithm::Es256);
        for _ in 0..3 {
            let asked = Instant::now();
            let response = stack.call_refused(&new.token(&stack.claims())).await;
            assert_refusal(&response, "keys_unavailable");
            assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
            assert_eq!(stack.call(&known).await.status, 200);
        }
        stack.provider.start_again();
        let token = new.token(&stack.claims());
        call_until(&stack, &token, 200, SOON).await;
        let response = call_until(&stack, &known, 401, SOON).await;
        assert_refusal(&response, "unknown_kid");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_fail_without_a_key_cause_no_fetch() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = with_keys(workers, json!({"refresh_cooldown": "1s"})).start().await;
        assert_tokens_accepted(&stack, [("good", stack.token())]).await;
        assert_eq!(counts(&stack.provider), [1, 1]);
        let key = stack.provider.key().with_kid("unknown");
        let claims = stack.claims();
        let header =
            |name: &str, value: Value| key.sign(&with(&key.header(), name, value), &claims);
        let claim = |name: &str, value: Value| key.token(&with(&claims, name, value));
        let later = json!(testbed::now() + 1000);
        let cases = [
            ("another issuer", claim("iss", json!("https://x.example")), "unknown_issuer"),
            ("another audience", claim("aud", json!("x")), "audience_mismatch"),
            ("expired", claim("exp", json!(1)), "expired"),
            ("no exp", key.token(&without(&claims, "exp")), "expired"),
            ("too early", claim("nbf", later.clone()), "not_yet_valid"),
            ("issued later", claim("iat", later), "not_yet_valid"),
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
        // A wrong signature causes no fetch either, since the key is known.
        let stranger = SigningKey::generate(Algorithm::Rs256, stack.provider.key().kid());
        let stranger = ("a stranger", stranger.token(&claims), "bad_signature");
        assert_tokens_refused(&stack, [stranger]).await;
        assert_eq!(counts(&stack.provider), [1, 1]);
        // The same `kid` in an otherwise valid token does cause one.
        let good = ("good otherwise", key.token(&claims), "unknown_kid");
        assert_tokens_refused(&stack, [good]).await;
        assert_eq!(counts(&stack.provider), [1, 2]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_kid_that_no_key_verifies_causes_one_fetch_in_each_cooldown() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = with_keys(workers, json!({"refresh_cooldown": "3s"})).start().await;
        let nameless = |key: &SigningKey| key.sign(&without(&key.header(), "kid"), &stack.claims());
        let known = stack.provider.key();
        assert_eq!(stack.call(&nameless(&known)).await.status, 200);
        assert_eq!(counts(&stack.provider), [1, 1]);

        // There is a new key: the tokens wait for it.
        let new = SigningKey::generate(Algorithm::Rs256, "new");
        stack.provider.add_key(new.clone());
        let first_unknown = Instant::now();
        let responses = call_together(&stack, vec![nameless(&new); 10]).await;
        assert!(responses.iter().all(|response| response.status == 200), "{responses:?}");
        assert_eq!(counts(&stack.provider), [1, 2]);

        // A key that the provider does not publish: the tokens are refused, with one fetch in each
        // cool-down.
        let stranger = nameless(&SigningKey::generate(Algorithm::Rs256, "stranger"));
        let asked = Instant::now();
        while stack.provider.count(Document::KeySet) < 4 {
            assert!(asked.elapsed() < SOON, "{:?}", counts(&stack.provider));
            let faults: Vec<_> = call_together(&stack, vec![stranger.clone(); 10])
                .await
                .iter()
                .flat_map(|response| faults_of_refusal(response, "bad_signature"))
                .collect();
            assert_none(&faults);
            assert_eq!(stack.call(&nameless(&known)).await.status, 200);
        }
        // The first fetch was at the start.
        assert_cooldown(&stack.provider, 1, first_unknown, Duration::from_secs(3));
        assert_eq!(stack.provider.count(Document::Discovery), 1);
        assert_one_at_a_time(&stack.provider);
    })
    .await;
}
