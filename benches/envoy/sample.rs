//! The cost of one load at one listener.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::Envoy;

use crate::client::Client;
use crate::processor_time::ProcessorTime;
use crate::requests::Requests;

/// One round of one load at one listener.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Envoy's processor time for a request, in microseconds.
    pub processor: f64,
    pub per_second: f64,
    /// The median response time, in microseconds.
    pub median: f64,
    /// The 99th percentile of response times, in microseconds.
    pub slow: f64,
}

impl Sample {
    /// Sends all requests; each must get this status.
    pub async fn take(
        envoy: &Envoy,
        client: &mut Client,
        requests: &Arc<Requests>,
        expected_status: u16,
    ) -> Self {
        let before = ProcessorTime::read(envoy.pid());
        let responses = client.send(requests).await;
        let used = ProcessorTime::read(envoy.pid()).since(&before);
        assert_eq!(responses.statuses, [expected_status], "{}", envoy.log());
        let count = responses.latencies.len();
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        let at = |percent: usize| micros(responses.latencies[count * percent / 100]);
        Self {
            processor: micros(used) / count as f64,
            per_second: count as f64 / responses.elapsed.as_secs_f64(),
            median: at(50),
            slow: at(99),
        }
    }
}

/// The samples of one load at one listener, by round.
pub type Samples = Vec<Sample>;

/// One value of each round.
pub fn values(samples: &[Sample], value: fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(value).collect()
}

pub fn to_json(samples: &[Sample]) -> Value {
    json!({
        "processor_microseconds_per_request": values(samples, |sample| sample.processor),
        "requests_per_second": values(samples, |sample| sample.per_second),
        "latency_p50_microseconds": values(samples, |sample| sample.median),
        "latency_p99_microseconds": values(samples, |sample| sample.slow),
    })
}
