//! What the source says of the lifetime of its set.

use std::time::Duration;

use serde_json::json;
use testbed::{Document, IdentityProvider, with_one_worker_and_with_four};

use crate::support::{clients, with_keys, with_provider};

/// A minute less the 30 seconds that the refresh is ahead of its end, with jitter of up to a
/// quarter of them.
const EARLIEST: Duration = Duration::from_secs(30);
const LATEST: Duration = Duration::from_millis(37_500);
const MARGIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_set_lives_for_a_minute_at_least_when_its_source_states_its_lifetime() {
    with_one_worker_and_with_four(|workers| async move {
        let stated = ["max-age=1", "max-age=0, must-revalidate", "public, max-age=60"];
        let mut providers = Vec::new();
        // Where nothing is stated this counts, and it is not bounded from below.
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
