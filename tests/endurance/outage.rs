//! Sources that fail for dozens of lifetimes of a key set.

use std::time::Duration;

use serde_json::json;
use testbed::{Document, Fault, IdentityProvider, with_one_worker_and_with_four};

use crate::support::{SOON, clients, with_keys, with_provider};

/// Forty-four lifetimes of a key set.
const LASTS: Duration = Duration::from_secs(44);
/// The delay that a busy machine may add to a pause before the next attempt.
const MARGIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_stay_in_use_through_an_outage_while_retries_slow_down() {
    with_one_worker_and_with_four(|workers| async move {
        let refuses = IdentityProvider::start().await;
        let hangs = IdentityProvider::start().await;
        let builder = with_keys(workers, json!({"max_age": "1s"}));
        let builder = with_provider(builder, "refuses", &refuses);
        let mut stack = with_provider(builder, "hangs", &hangs).start().await;
        for provider in [&stack.provider, &refuses, &hangs] {
            provider.await_count(Document::KeySet, 2, SOON).await;
            provider.await_idle(Document::KeySet, SOON).await;
        }
        for document in [Document::Discovery, Document::KeySet] {
            refuses.fail(document, Fault::Status(500));
            hangs.fail(document, Fault::Hang);
        }
        stack.provider.stop().await;
        refuses.clear_log();

        let load = clients(&stack, 30, &[&stack.provider, &refuses, &hangs]);
        tokio::time::sleep(LASTS).await;
        let report = load.stop().await;
        assert_eq!(report.failed(), 0, "{report:?}");
        let served = stack.envoy.connections_per_worker().await;
        assert!(served.iter().all(|connections| *connections > 100), "{served:?}");

        let pauses = pauses_between_tries(&refuses);
        println!("{workers} workers: {pauses:?}");
        for (pause, seconds) in pauses.iter().zip([1, 2, 4, 8, 16]) {
            let whole = Duration::from_secs(seconds);
            // If an attempt arrives late, the pause before the next one is shorter.
            let min = whole * 3 / 4 - Duration::from_millis(200);
            let bounds = min..=whole + MARGIN;
            assert!(bounds.contains(pause), "not {seconds} s but {pause:?}: {pauses:?}");
        }
        // Five pauses last at most 31 s, plus the margins; six last at least 46 s.
        assert_eq!(pauses.len(), 5, "{pauses:?}");
    })
    .await;
}

/// The pauses between attempts. Each attempt begins with the key set, and may then fetch the
/// metadata document.
fn pauses_between_tries(provider: &IdentityProvider) -> Vec<Duration> {
    provider.gaps(Document::KeySet)
}
