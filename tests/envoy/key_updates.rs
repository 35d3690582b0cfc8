//! A control plane replaces the listener while clients keep sending requests: valid keys stay in
//! use without another fetch.

use std::sync::Arc;

use serde_json::{Value, json};
use testbed::{
    Algorithm, Bootstrap, IdentityProvider, Load, LoadPlan, SigningKey, Stack,
    with_one_worker_and_with_four,
};

use crate::support::{
    DIRECT, add_providers, assert_refusal, call_together, counts, static_provider, with,
    with_direct_responses,
};

async fn start(workers: usize) -> Stack {
    with_direct_responses(Stack::builder().workers(workers)).updatable().start().await
}

/// Clients that keep their connections, and clients that open one for each request.
fn clients(stack: &Stack) -> [Load; 2] {
    let token: Arc<str> = stack.token().into();
    [false, true].map(|reconnects| {
        let plan = LoadPlan {
            address: stack.envoy.address(),
            path: DIRECT.to_owned(),
            connections: 8,
            rate: 40,
            reconnects,
        };
        let token = token.clone();
        Load::start(&plan, move |_| token.clone())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_listener_or_configuration_keeps_keys_of_an_unchanged_source() {
    fn keys(configuration: &mut Value, keys: Value) {
        configuration["keys"] = keys;
    }
    type Update = (&'static str, fn(&mut Bootstrap));
    with_one_worker_and_with_four(|workers| async move {
        let updates: [Update; 5] = [
            ("a route more", |bootstrap| bootstrap.respond_directly("/more")),
            ("another audience more", |bootstrap| {
                let provider = &mut bootstrap.plugin_configuration()["providers"][0];
                provider["client_ids"] = json!([Stack::AUDIENCE, "more"]);
            }),
            ("another provider more", |bootstrap| {
                let key = SigningKey::generate(Algorithm::Es256, "own");
                let provider = static_provider("own", &[&key], json!({}));
                add_providers(bootstrap.plugin_configuration(), [provider]);
            }),
            ("other cache times", |bootstrap| {
                let times = json!({
                    "max_age": "20m", "refresh_ahead": "10s", "refresh_cooldown": "5s",
                    "timeout": "3s", "max_stale": "1h",
                });
                keys(bootstrap.plugin_configuration(), times);
            }),
            ("the first cache times", |bootstrap| {
                keys(bootstrap.plugin_configuration(), json!({}))
            }),
        ];
        let mut stack = start(workers).await;
        assert_eq!(stack.call(&stack.token()).await.status, 200);
        assert_eq!(counts(&stack.provider), [1, 1]);
        let clients = clients(&stack);
        for (name, update) in updates {
            stack.envoy.update(update).await;
            let responses = call_together(&stack, vec![stack.token(); 20]).await;
            let all_passed = responses.iter().all(|response| response.status == 200);
            assert!(all_passed, "{name}: {responses:?}");
            assert_eq!(counts(&stack.provider), [1, 1], "{name}");
        }
        for load in clients {
            let report = load.stop().await;
            assert_eq!(report.failed(), 0, "{report:?}");
        }
        // The new configuration decided on this request.
        let response =
            stack.call(&stack.provider.token(&with(&stack.claims(), "aud", "more"))).await;
        assert_eq!(response.status, 200, "{response:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_another_source_are_fetched_from_it() {
    with_one_worker_and_with_four(|workers| async move {
        let other = IdentityProvider::start().await;
        other.set_keys([SigningKey::generate(Algorithm::Rs256, "key-1")]);
        let builder = Stack::builder().workers(workers).cluster("other", other.address());
        let mut stack = builder.updatable().start().await;
        let before = stack.token();
        assert_eq!(stack.call(&before).await.status, 200);
        let url = other.jwks_url();
        stack
            .reconfigure(|configuration| {
                let provider = configuration["providers"][0].as_object_mut().unwrap();
                provider.remove("metadata_url");
                provider.insert("jwks_url".to_owned(), json!(url));
                provider.insert("cluster".to_owned(), json!("other"));
            })
            .await;
        let after = other.key().token(&stack.claims());
        for response in call_together(&stack, vec![after; 20]).await {
            assert_eq!(response.status, 200, "{response:?}");
        }
        for response in call_together(&stack, vec![before; 20]).await {
            assert_refusal(&response, "bad_signature");
        }
        assert_eq!(counts(&stack.provider), [1, 1]);
        assert_eq!(counts(&other), [0, 1]);
    })
    .await;
}
