//! A key that its provider no longer publishes. Requests go to each worker, over connections that
//! stay with it.

use std::time::Instant;

use serde_json::json;
use testbed::{Algorithm, SigningKey, Stack, with_one_worker_and_with_four};

use crate::support::{
    SOON, assert_refusal, call_on, connections_to_all_workers, counts, with_direct_responses,
    with_keys,
};

#[tokio::test(flavor = "multi_thread")]
async fn once_one_worker_refuses_a_withdrawn_key_no_worker_accepts_it() {
    with_one_worker_and_with_four(|workers| async move {
        let builder = with_direct_responses(with_keys(workers, json!({"max_age": "2s"})));
        let stack = builder.start().await;
        let mut connections = connections_to_all_workers(&stack, workers).await;
        for round in 0..3 {
            let withdrawn = stack.token();
            for connection in &mut connections {
                let response = call_on(connection, &withdrawn).await;
                assert_eq!(response.status, 200, "round {round}: {response:?}");
            }
            let new = stack.provider.rotate(Algorithm::Rs256).token(&stack.claims());
            let asked = Instant::now();
            // One request after the other, so that their order is known.
            let mut refused = 0;
            while refused < 3 * connections.len() {
                assert!(asked.elapsed() < SOON, "the withdrawn key still verifies");
                for (number, connection) in connections.iter_mut().enumerate() {
                    let response = call_on(connection, &withdrawn).await;
                    if response.status == 200 {
                        assert_eq!(refused, 0, "round {round}, connection {number}: passed again");
                    } else {
                        assert_refusal(&response, "unknown_kid");
                        refused += 1;
                    }
                }
            }
            for connection in &mut connections {
                assert_eq!(call_on(connection, &new).await.status, 200);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_one_worker_fetched_applies_in_all_immediately() {
    with_one_worker_and_with_four(|workers| async move {
        let builder = with_direct_responses(with_keys(workers, json!({"refresh_cooldown": "1s"})));
        let stack = builder.start().await;
        let mut connections = connections_to_all_workers(&stack, workers).await;
        for connection in &mut connections {
            assert_eq!(call_on(connection, &stack.token()).await.status, 200);
        }
        let withdrawn = stack.token();
        let kept = SigningKey::generate(Algorithm::Es256, "kept");
        stack.provider.set_keys([kept.clone()]);
        // This request's worker fetches the set and publishes it before it responds.
        let kept = kept.token(&stack.claims());
        assert_eq!(call_on(&mut connections[0], &kept).await.status, 200);
        for connection in &mut connections {
            let response = call_on(connection, &withdrawn).await;
            assert_refusal(&response, "unknown_kid");
            let response = call_on(connection, &kept).await;
            assert_eq!(response.status, 200, "{response:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_adopt_another_key_under_the_old_kid() {
    with_one_worker_and_with_four(|workers| async move {
        let builder = with_direct_responses(with_keys(workers, json!({"max_age": "1s"})));
        let stack = builder.start().await;
        let mut connections = connections_to_all_workers(&stack, workers).await;
        let old = stack.provider.key();
        let old_token = old.token(&stack.claims());
        for connection in &mut connections {
            assert_eq!(call_on(connection, &old_token).await.status, 200);
        }
        stack.provider.set_keys([SigningKey::generate(Algorithm::Rs256, old.kid())]);
        let new_token = stack.token();
        let asked = Instant::now();
        while call_on(&mut connections[0], &new_token).await.status != 200 {
            assert!(asked.elapsed() < SOON, "the new key is not adopted");
        }
        for connection in &mut connections {
            let response = call_on(connection, &old_token).await;
            assert_refusal(&response, "bad_signature");
            assert_eq!(call_on(connection, &new_token).await.status, 200);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_held_are_not_fetched_again() {
    with_one_worker_and_with_four(|workers| async move {
        let builder = with_direct_responses(Stack::builder().workers(workers));
        let stack = builder.start().await;
        let mut connections = connections_to_all_workers(&stack, workers).await;
        for _ in 0..5 {
            for connection in &mut connections {
                assert_eq!(call_on(connection, &stack.token()).await.status, 200);
            }
        }
        assert_eq!(counts(&stack.provider), [1, 1]);
    })
    .await;
}
