//! Counters and gauges. Their names end in pairs of a label and its value, which the `stats_tags`
//! of `envoy/envoy.yaml` convert to labels.

use std::collections::HashMap;

use super::host::{Host, Metric, MetricFamily, MetricId, SharedValue};
use crate::identity::LookupReport;
use crate::provider::{ProviderId, ProviderMap, Providers};
use crate::status::{Board, Counter};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Forwarded with an identity.
    Allowed,
    /// Forwarded without a token, which its path does not require.
    Exempt,
    /// The response was the resource's metadata.
    Metadata,
    /// Refused.
    Refused,
    /// Forwarded in report mode, although it would be refused.
    Reported,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Exempt => "exempt",
            Self::Metadata => "metadata",
            Self::Refused => "refused",
            Self::Reported => "reported",
        }
    }
}

/// The metrics used so far, with the host's ids. Their number is bounded: providers come from the
/// configuration, and all other label values from this crate.
#[derive(Debug)]
pub(super) struct Metrics {
    /// Requests forwarded with an identity: the provider's name and its counter.
    allowed: ProviderMap<(String, Option<MetricId>)>,
    /// All other requests. A linear search: they are few, and comparing costs less than hashing.
    requests: Vec<Requests>,
    others: HashMap<String, MetricId>,
    token_cache_hits: Option<MetricId>,
    token_cache_misses: Option<MetricId>,
}

/// The counter of requests with the same result.
#[derive(Debug)]
struct Requests {
    outcome: Outcome,
    reason: &'static str,
    provider: String,
    id: MetricId,
}

impl Metrics {
    /// The metrics for these providers.
    pub(super) fn new(providers: &Providers, host: &impl Host) -> Self {
        let mut metrics = Self {
            allowed: providers.map(|provider| (provider.name.clone(), None)),
            requests: Vec::new(),
            others: HashMap::new(),
            token_cache_hits: None,
            token_cache_misses: None,
        };
        for provider in providers.iter() {
            metrics.set_keys(&provider.name, 0, 0, host);
        }
        metrics
    }

    /// Counts a request that is forwarded with an identity from this provider.
    pub(super) fn count_allowed(&mut self, provider: ProviderId, host: &impl Host) {
        let (name, id) = &mut self.allowed[provider];
        let id = id.get_or_insert_with(|| {
            host.counter(requests(&request_labels(name, Outcome::Allowed.as_str(), "none")))
        });
        host.increment(*id);
    }

    /// Counts any other request. `reason` is that of its refusal.
    pub(super) fn count_request(
        &mut self,
        provider: Option<&str>,
        outcome: Outcome,
        reason: Option<&'static str>,
        host: &impl Host,
    ) {
        let provider = provider.unwrap_or("none");
        let reason = reason.unwrap_or("none");
        let known = self.requests.iter().find(|known| {
            known.outcome == outcome && known.reason == reason && known.provider == provider
        });
        let id = match known {
            Some(known) => known.id,
            None => {
                let labels = request_labels(provider, outcome.as_str(), reason);
                let id = host.counter(requests(&labels));
                self.requests.push(Requests { outcome, reason, provider: provider.to_owned(), id });
                id
            }
        };
        host.increment(id);
    }

    /// The number of request counters used so far.
    pub(super) fn request_counter_count(&self) -> usize {
        let allowed = self.allowed.values().filter(|(_, id)| id.is_some()).count();
        allowed + self.requests.len()
    }

    /// The request counters used so far.
    pub(super) fn request_counters(&self) -> impl Iterator<Item = Counter> {
        let counter = |provider: &str, outcome: Outcome, reason: &str| {
            Counter(provider.to_owned(), outcome.as_str().to_owned(), reason.to_owned())
        };
        let allowed = self.allowed.values().filter(|(_, id)| id.is_some());
        let allowed = allowed.map(move |(name, _)| counter(name, Outcome::Allowed, "none"));
        let others = self.requests.iter();
        allowed
            .chain(others.map(move |value| counter(&value.provider, value.outcome, value.reason)))
    }

    /// Counts a completed fetch of keys.
    pub(super) fn count_fetch(&mut self, provider: &str, is_success: bool, host: &impl Host) {
        let result = if is_success { "success" } else { "failure" };
        let labels = [("provider", provider), ("result", result)];
        self.count(Metric { name: KEY_FETCHES.name, labels: &labels }, host);
    }

    /// Counts a lookup in the token cache.
    pub(super) fn count_token_cache(&mut self, is_hit: bool, host: &impl Host) {
        let (known, result) = if is_hit {
            (&mut self.token_cache_hits, "hit")
        } else {
            (&mut self.token_cache_misses, "miss")
        };
        host.increment(*known.get_or_insert_with(|| {
            host.counter(Metric { name: TOKEN_CACHE.name, labels: &[("result", result)] })
        }));
    }

    /// Counts a completed user look-up.
    pub(super) fn count_lookup(&mut self, report: &LookupReport, host: &impl Host) {
        let result = match report {
            LookupReport::Answered(true) => "known",
            LookupReport::Answered(false) => "unknown",
            LookupReport::Created { .. } => "created",
            LookupReport::Failed(_) => "failure",
        };
        self.count(Metric { name: USER_LOOKUPS.name, labels: &[("result", result)] }, host);
    }

    /// Sets the number of a provider's keys, and of elements of its key set that are not keys.
    pub(super) fn set_keys(
        &mut self,
        provider: &str,
        keys: usize,
        dropped: usize,
        host: &impl Host,
    ) {
        let gauge = |count| u64::try_from(count).unwrap_or(u64::MAX);
        let labels = [("provider", provider)];
        self.set(Metric { name: KEYS.name, labels: &labels }, gauge(keys), host);
        self.set(Metric { name: KEYS_DROPPED.name, labels: &labels }, gauge(dropped), host);
    }

    /// Sets the age of a provider's keys in seconds.
    pub(super) fn set_age(&mut self, provider: &str, seconds: u64, host: &impl Host) {
        let labels = [("provider", provider)];
        self.set(Metric { name: KEYS_AGE.name, labels: &labels }, seconds, host);
    }

    fn count(&mut self, metric: Metric<'_>, host: &impl Host) {
        let id = self.others.entry(metric.to_string()).or_insert_with(|| host.counter(metric));
        host.increment(*id);
    }

    fn set(&mut self, metric: Metric<'_>, value: u64, host: &impl Host) {
        let id = self.others.entry(metric.to_string()).or_insert_with(|| host.gauge(metric));
        host.set_gauge(*id, value);
    }
}

/// The shared data of the process, as the status page needs it.
pub(super) struct HostBoard<'a, H>(pub(super) &'a H);

impl<H: Host> Board for HostBoard<'_, H> {
    fn read(&self, name: &str) -> SharedValue {
        self.0.shared_value(name)
    }

    fn replace(&self, name: &str, bytes: &[u8], version: Option<u32>) -> bool {
        self.0.replace_shared_value(name, bytes, version)
    }

    fn count(&self, Counter(provider, outcome, reason): &Counter) -> Option<u64> {
        self.0.metric_value(self.0.counter(requests(&request_labels(provider, outcome, reason))))
    }
}

fn requests<'a>(labels: &'a [(&'static str, &'a str)]) -> Metric<'a> {
    Metric { name: REQUESTS.name, labels }
}

fn request_labels<'a>(
    provider: &'a str,
    outcome: &'a str,
    reason: &'a str,
) -> [(&'static str, &'a str); 3] {
    [("provider", provider), ("outcome", outcome), ("reason", reason)]
}

/// All families of metrics that the engine counts or sets.
pub const METRIC_FAMILIES: [MetricFamily; 7] =
    [REQUESTS, KEY_FETCHES, TOKEN_CACHE, USER_LOOKUPS, KEYS, KEYS_DROPPED, KEYS_AGE];

const REQUESTS: MetricFamily = counter("mcp_auth_requests", &["provider", "outcome", "reason"]);
const KEY_FETCHES: MetricFamily = counter("mcp_auth_key_fetches", &["provider", "result"]);
const TOKEN_CACHE: MetricFamily = counter("mcp_auth_token_cache", &["result"]);
const USER_LOOKUPS: MetricFamily = counter("mcp_auth_user_lookups", &["result"]);
const KEYS: MetricFamily = gauge("mcp_auth_keys", &["provider"]);
const KEYS_DROPPED: MetricFamily = gauge("mcp_auth_keys_dropped", &["provider"]);
const KEYS_AGE: MetricFamily = gauge("mcp_auth_keys_age_seconds", &["provider"]);

const fn counter(name: &'static str, labels: &'static [&'static str]) -> MetricFamily {
    MetricFamily { name, labels, is_counter: true }
}

const fn gauge(name: &'static str, labels: &'static [&'static str]) -> MetricFamily {
    MetricFamily { name, labels, is_counter: false }
}
