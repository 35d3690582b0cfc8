//! The lifetime of a key set as stated by its source.

use std::time::Duration;

use serde_json::json;
use testbed::{Document, IdentityProvider, with_one_worker_and_with_four};

use crate::support::{clients, with_keys, with_provider};

/// A minute, minus the 30 seconds by which a refresh precedes the expiry, and up to a quarter of
/// those as jitter.
const EARLIEST: Duration = Duration::from_secs(30);
const LATEST: Duration = Duration::from_millis(37_500);
const MARGIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_lives_for_at_least_a_minute_if_its_source_states_a_lifetime() {
    with_one_worker_and_with_four(|workers| async move {
        let stated = ["max-age=1", "max-age=0, must-revalidate", "public, max-age=60"];
        let mut providers = Vec::new();
        // If the source states no lifetime, `max_age` applies without a minimum.
        let mut builder = with_keys(workers, json!({"max_age": "1s"}));
        for (number, stated) in stated.iter().enumerate() {
            let provider = IdentityProvider::start().await;
            provider.set_cache_control(*stated);
            builder = with_provider(builder, &format!("provider-{number}"), &provider);
            providers.push(provider);
        }
        let stack = builder.start().await;
        let providers: Vec<_> = providers.iter().collect();
        let load = clients(&stack, 10, &providers);
        for provider in &providers {
            provider.await_count(Document::KeySet, 2, LATEST + MARGIN).await;
        }
        let report = load.stop().await;
        assert_eq!(report.failed(), 0, "{report:?}");
        for (stated, provider) in stated.iter().zip(&providers) {
            let gap = provider.gaps(Document::KeySet)[0];
            println!("{workers} workers, {stated}: {gap:?}");
            assert!((EARLIEST..=LATEST + MARGIN).contains(&gap), "{stated}: {gap:?}");
            assert_eq!(provider.count(Document::Discovery), 1);
        }
        assert!(stack.provider.count(Document::KeySet) > 10);
    })
    .await;
}
