//! A day of steady state on a smaller scale: a key set that lives for two seconds instead of ten
//! minutes.

use std::time::Duration;

use serde_json::json;
use testbed::{Document, with_one_worker_and_with_four};

use crate::support::{clients, with_keys};

const LASTS: Duration = Duration::from_secs(20);
/// The lifetime minus the lead of the refresh: half of it, since the lifetime is short.
const EARLIEST: Duration = Duration::from_secs(1);
/// The jitter is up to a quarter of the lead.
const LATEST: Duration = Duration::from_millis(1250);
/// The delay that timers, the fetch and a busy machine may add to each pause.
const MARGIN: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_together_fetch_as_often_as_one_of_them_needs() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = with_keys(workers, json!({"max_age": "2s"})).start().await;
        assert_eq!(stack.call(&stack.token()).await.status, 200);
        let before = stack.provider.count(Document::KeySet);
        let load = clients(&stack, 40, &[&stack.provider]);
        tokio::time::sleep(LASTS).await;
        let report = load.stop().await;
        let fetches = stack.provider.count(Document::KeySet) - before;

        assert_eq!(report.failed(), 0, "{report:?}");
        let served = stack.envoy.connections_per_worker().await;
        assert!(served.iter().all(|connections| *connections > 20), "{served:?}");
        let gaps = stack.provider.gaps(Document::KeySet);
        let max = LASTS.as_millis() / EARLIEST.as_millis() + 1;
        let min = LASTS.as_millis() / (LATEST + MARGIN).as_millis() - 1;
        println!("{workers} workers: {fetches} fetches, {gaps:?}");
        let bounds = min.try_into().unwrap()..=max.try_into().unwrap();
        assert!(bounds.contains(&fetches), "{fetches} fetches are not {bounds:?}: {gaps:?}");
        let earliest = EARLIEST - Duration::from_millis(20);
        assert!(gaps.iter().all(|gap| *gap >= earliest), "{gaps:?}");
        assert_eq!(stack.provider.count(Document::Discovery), 1);
        assert_eq!(stack.provider.max_in_flight(Document::KeySet), 1);
    })
    .await;
}
