//! A provider that hangs takes no places from requests that wait for another.

use serde_json::json;
use testbed::{Document, Fault, IdentityProvider, Stack};

use crate::support::{SOON, add_providers, assert_refusal, await_active_requests, token_of};

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_for_a_provider_that_hangs_leave_places_for_another() {
    let (hanging, other) = (IdentityProvider::start().await, IdentityProvider::start().await);
    for provider in [&hanging, &other] {
        provider.fail(Document::Discovery, Fault::Hang);
    }
    let fields = json!({
        "name": "other",
        "issuer": other.issuer(),
        "client_ids": [Stack::AUDIENCE],
        "metadata_url": other.metadata_url(),
        "cluster": "other",
    });
    let stack = Stack::builder()
        .alone()
        .provider(hanging)
        .cluster("other", other.address())
        .configure(move |configuration| {
            add_providers(configuration, [fields]);
            // There is room for 32 waiting requests in all.
            configuration["max_token_size"] = json!("1MiB");
            configuration["keys"] = json!({"timeout": "60s"});
        })
        .start()
        .await;
    let call = |token: &str| {
        let request = stack.request().bearer_auth(token);
        tokio::spawn(async { request.send().await.expect("Envoy responds").status().as_u16() })
    };
    let flood: Vec<_> = (0..40).map(|_| call(&stack.token())).collect();
    // Requests that find no place are refused at once; the others wait.
    stack.envoy.await_log("reason=keys_unavailable provider=demo", SOON).await;
    let response = stack.call(&stack.token()).await;
    assert_refusal(&response, "keys_unavailable");
    let waiting = flood.iter().filter(|call| !call.is_finished()).count();
    assert!((1..32).contains(&waiting), "{waiting}");
    let served = call(&token_of(&other));
    await_active_requests(&stack, u64::try_from(waiting + 1).unwrap()).await;
    other.heal(Document::Discovery);
    assert_eq!(served.await.unwrap(), 200);
    stack.provider.heal(Document::Discovery);
    let mut statuses = Vec::new();
    for call in flood {
        statuses.push(call.await.unwrap());
    }
    let count = |status| statuses.iter().filter(|candidate| **candidate == status).count();
    assert_eq!((count(200), count(503)), (waiting, 40 - waiting), "{statuses:?}");
}
