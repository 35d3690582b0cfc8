//! The life of a key set: fetched once for all workers, refreshed before it expires, and still used
//! while its source fails.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Document, Fault, IdentityProvider, Stack, with_one_worker_and_with_four};

use crate::support::{
    SOON, add_providers, assert_one_at_a_time, assert_refusal, await_active_requests,
    call_together, call_until, counts, token_of, with_keys,
};

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_arrive_before_the_keys_wait_for_one_fetch() {
    with_one_worker_and_with_four(|workers| async move {
        const REQUESTS: usize = 100;
        let provider = IdentityProvider::start().await;
        provider.fail(Document::Discovery, Fault::Hang);
        provider.fail(Document::KeySet, Fault::Delay(Duration::from_millis(200)));
        let builder = with_keys(workers, json!({"timeout": "30s"}));
        let stack = builder.provider(provider).start().await;
        let tokens: Vec<_> = (0..REQUESTS).map(|_| stack.token()).collect();
        let (responses, ()) = tokio::join!(call_together(&stack, tokens), async {
            await_active_requests(&stack, u64::try_from(REQUESTS).unwrap()).await;
            let served = stack.envoy.connections_per_worker().await;
            assert!(served.iter().all(|&connections| connections > 0), "{served:?}");
            assert_eq!(stack.server.count(), 0);
            stack.provider.heal(Document::Discovery);
        });
        for response in responses {
            assert_eq!(response.status, 200, "{response:?}");
        }
        assert_eq!(stack.server.count(), REQUESTS);
        assert_eq!(counts(&stack.provider), [1, 1]);
        assert_one_at_a_time(&stack.provider);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_request_that_waited_arrives_whole() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Hang);
    let stack = Stack::builder().alone().provider(provider).start().await;
    // Longer than Envoy's buffer for a request.
    let body: Vec<u8> = (0..750_000_u32).flat_map(u32::to_be_bytes).collect();
    let request = stack.client().post(stack.envoy.url("/upload")).bearer_auth(stack.token());
    let request = request.body(body.clone());
    let (response, ()) = tokio::join!(stack.send(request), async {
        await_active_requests(&stack, 1).await;
        stack.provider.heal(Document::Discovery);
    });
    assert_eq!(response.status, 200, "{response:?}");
    let request = stack.server.requests().pop().expect("it reached the server");
    assert!(request.body == body, "{} bytes arrived", request.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_is_fetched_again_before_it_expires() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = with_keys(workers, json!({"max_age": "2s"})).start().await;
        assert_eq!(stack.call(&stack.token()).await.status, 200);
        // This happens without any request.
        stack.provider.await_count(Document::KeySet, 6, SOON).await;
        assert_eq!(stack.provider.count(Document::Discovery), 1);
        assert_one_at_a_time(&stack.provider);
        // For a lifetime as short as this, the refresh comes at half of it.
        let gaps = stack.provider.gaps(Document::KeySet);
        assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(980)), "{gaps:?}");
        assert!(gaps.iter().all(|gap| *gap < Duration::from_secs(2)), "{gaps:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_are_used_without_waiting_while_a_fetch_hangs() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = with_keys(workers, json!({"max_age": "1s"})).start().await;
        assert_eq!(stack.call(&stack.token()).await.status, 200);
        stack.provider.fail(Document::KeySet, Fault::Hang);
        let before = stack.provider.count(Document::KeySet);
        stack.provider.await_count(Document::KeySet, before + 1, SOON).await;
        let asked = Instant::now();
        for _ in 0..10 {
            assert_eq!(stack.call(&stack.token()).await.status, 200);
        }
        // The fetch may take up to five seconds.
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        assert_eq!(stack.provider.count(Document::KeySet), before + 1);
    })
    .await;
}

/// Starts with an additional provider for each of these names, all with these settings.
async fn start_with(workers: usize, names: &[&str], keys: Value) -> (Stack, Vec<IdentityProvider>) {
    let mut providers = Vec::new();
    let mut builder = with_keys(workers, keys);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_stays_in_use_while_its_source_fails_for_as_long_as_allowed() {
    with_one_worker_and_with_four(|workers| async move {
        let names = ["down", "status-500", "no-keys", "other-issuer"];
        let keys = json!({"max_age": "1s", "timeout": "1s", "max_stale": "4s"});
        let (stack, mut providers) = start_with(workers, &names, keys).await;
        for provider in &providers {
            assert_eq!(stack.call(&token_of(provider)).await.status, 200);
        }
        let [down, status, no_keys, other_issuer] = providers.as_mut_slice() else {
            unreachable!()
        };
        down.stop().await;
        status.fail(Document::KeySet, Fault::Status(500));
        no_keys.fail(Document::KeySet, Fault::Body(b"{}".to_vec()));
        // The metadata document is fetched once the key set's URL fails.
        other_issuer
            .edit(Document::Discovery, |document| document["issuer"] = json!("https://x.example"));
        other_issuer.fail(Document::KeySet, Fault::Status(404));

        // The last fetch was just before: its set is fresh for a second, and stays usable for four
        // more.
        let failed_at = Instant::now();
        while failed_at.elapsed() < Duration::from_millis(3500) {
            for (name, provider) in names.iter().zip(&providers) {
                let response = stack.call(&token_of(provider)).await;
                assert_eq!(
                    response.status,
                    200,
                    "{name} after {:?}: {response:?}",
                    failed_at.elapsed()
                );
            }
        }
        for provider in &providers {
            let response = call_until(&stack, &token_of(provider), 503, SOON).await;
            assert_refusal(&response, "keys_unavailable");
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
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_tried_every_few_seconds_once_its_last_set_is_too_old() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = with_keys(workers, json!({"max_age": "1s", "max_stale": "1s"})).start().await;
        assert_eq!(stack.call(&stack.token()).await.status, 200);
        stack.provider.fail(Document::KeySet, Fault::Status(500));
        let response = call_until(&stack, &stack.token(), 503, SOON).await;
        assert_refusal(&response, "keys_unavailable");
        stack.provider.clear_log();
        // The pauses have grown to five seconds by then and stay there, since no set is held.
        stack.provider.await_count(Document::KeySet, 3, Duration::from_secs(30)).await;
        let gaps = stack.provider.gaps(Document::KeySet);
        assert!(gaps.iter().all(|gap| *gap < Duration::from_millis(5700)), "{gaps:?}");
        let response = stack.call_refused(&stack.token()).await;
        let seconds: u64 = response.header("retry-after").parse().unwrap();
        assert!((1..=5).contains(&seconds), "{response:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_response_of_the_source_sets_the_lifetime_of_its_keys() {
    with_one_worker_and_with_four(|workers| async move {
        let (stack, providers) =
            start_with(workers, &["an-hour", "nothing"], json!({"max_age": "1s"})).await;
        // It is read from the first fetch, if that has not ended yet, or from the second.
        providers[0].set_cache_control("public, max-age=3600");
        for provider in &providers {
            assert_eq!(stack.call(&token_of(provider)).await.status, 200);
        }
        providers[1].await_count(Document::KeySet, 4, SOON).await;
        providers[0].clear_log();
        providers[1].clear_log();
        providers[1].await_count(Document::KeySet, 4, SOON).await;
        assert_eq!(providers[0].count(Document::KeySet), 0);
    })
    .await;
}
