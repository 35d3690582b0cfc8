//! Counters and gauges of Envoy. Their names end in pairs of a label and its value, which the
//! `stats_tags` of `envoy/envoy.yaml` turn into labels.

use std::collections::HashMap;

use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use crate::identity::LookupReport;
use crate::provider::{ProviderId, ProviderMap, Providers};
use crate::status::Counter;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// It went to the upstream with an identity.
    Allowed,
    /// Its path needs no token.
    Exempt,
    /// It asked for the resource's metadata.
    Metadata,
    /// It was refused.
    Refused,
    /// It would have been refused, in report mode.
    Reported,
}

impl RequestOutcome {
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

/// The metrics that were used so far, by the numbers that the host gave them. Their number is
/// bounded: providers come from the configuration, and all other values from this crate.
#[derive(Debug)]
pub(super) struct Metrics {
    /// Requests that went to the upstream: the provider's name and the number of its counter.
    allowed: ProviderMap<(String, Option<u32>)>,
    /// All others. Searched one by one: they are few, and to compare costs less than to hash.
    requests: Vec<RequestCounter>,
    others: HashMap<String, u32>,
    /// Of the token cache.
    hits: Option<u32>,
    /// The same.
    misses: Option<u32>,
}

/// The counter of requests that ended in the same way.
#[derive(Debug)]
struct RequestCounter {
    outcome: RequestOutcome,
    reason: &'static str,
    provider: String,
    id: u32,
}

impl Metrics {
    /// Metrics of these providers.
    pub(super) fn new(providers: &Providers) -> Self {
        let mut metrics = Self {
            allowed: providers.map(|provider| (provider.name.clone(), None)),
            requests: Vec::new(),
            others: HashMap::new(),
            hits: None,
            misses: None,
        };
        for provider in providers.iter() {
            metrics.set_keys(&provider.name, 0, 0);
        }
        metrics
    }

    /// Counts a request that goes to the upstream with an identity of this provider.
    pub(super) fn count_allowed(&mut self, provider: ProviderId) {
        let (name, id) = &mut self.allowed[provider];
        increment(
            *id.get_or_insert_with(|| define_requests(name, RequestOutcome::Allowed, "none")),
        );
    }

    /// Counts another request. `reason` is that of its refusal.
    pub(super) fn count_request(
        &mut self,
        provider: Option<&str>,
        outcome: RequestOutcome,
        reason: Option<&'static str>,
    ) {
        let provider = provider.unwrap_or("none");
        let reason = reason.unwrap_or("none");
        let known = self.requests.iter().find(|counted| {
            counted.outcome == outcome && counted.reason == reason && counted.provider == provider
        });
        let id = match known {
            Some(known) => known.id,
            None => {
                let id = define_requests(provider, outcome, reason);
                self.requests.push(RequestCounter {
                    outcome,
                    reason,
                    provider: provider.to_owned(),
                    id,
                });
                id
            }
        };
        increment(id);
    }

    /// How many counters of requests were used so far.
    pub(super) fn request_counter_count(&self) -> usize {
        let allowed = self.allowed.values().filter(|(_, id)| id.is_some()).count();
        allowed + self.requests.len()
    }

    /// These counters.
    pub(super) fn request_counters(&self) -> impl Iterator<Item = Counter> {
        let counter = |provider: &str, outcome: RequestOutcome, reason: &str| {
            Counter(provider.to_owned(), outcome.as_str().to_owned(), reason.to_owned())
        };
        let allowed = self.allowed.values().filter(|(_, id)| id.is_some());
        let allowed = allowed.map(move |(name, _)| counter(name, RequestOutcome::Allowed, "none"));
        let others = self.requests.iter();
        allowed.chain(
            others.map(move |counted| counter(&counted.provider, counted.outcome, counted.reason)),
        )
    }

    /// What a counter says, whoever counts by it; defines it if nobody did.
    pub(super) fn value(Counter(provider, outcome, reason): &Counter) -> Option<u64> {
        let id = define(MetricType::Counter, &requests_name(provider, outcome, reason));
        hostcalls::get_metric(id).ok()
    }

    /// Counts a fetch of keys that is over.
    pub(super) fn count_fetch(&mut self, provider: &str, is_success: bool) {
        let result = if is_success { "success" } else { "failure" };
        self.count(format!("mcp_auth_key_fetches.provider.{provider}.result.{result}"));
    }

    /// Counts a token that was looked for in the cache of tokens.
    pub(super) fn count_token_cache(&mut self, is_hit: bool) {
        let (known, name) = if is_hit {
            (&mut self.hits, "mcp_auth_token_cache.result.hit")
        } else {
            (&mut self.misses, "mcp_auth_token_cache.result.miss")
        };
        increment(*known.get_or_insert_with(|| define(MetricType::Counter, name)));
    }

    /// Counts a look-up of a user that is over.
    pub(super) fn count_lookup(&mut self, report: &LookupReport) {
        let result = match report {
            LookupReport::Answered(true) => "known",
            LookupReport::Answered(false) => "unknown",
            LookupReport::Created { .. } => "created",
            LookupReport::Failed(_) => "failure",
        };
        self.count(format!("mcp_auth_user_lookups.result.{result}"));
    }

    /// Tells how many keys a provider has, and how many elements of its key set were no key.
    pub(super) fn set_keys(&mut self, provider: &str, keys: usize, dropped: usize) {
        self.set(format!("mcp_auth_keys.provider.{provider}"), keys);
        self.set(format!("mcp_auth_keys_dropped.provider.{provider}"), dropped);
    }

    /// Tells how long ago a provider's keys were fetched.
    pub(super) fn set_age(&mut self, provider: &str, seconds: u64) {
        let seconds = usize::try_from(seconds).unwrap_or(usize::MAX);
        self.set(format!("mcp_auth_keys_age_seconds.provider.{provider}"), seconds);
    }

    fn count(&mut self, name: String) {
        let id =
            self.others.entry(name).or_insert_with_key(|name| define(MetricType::Counter, name));
        increment(*id);
    }

    fn set(&mut self, name: String, value: usize) {
        let id = self.others.entry(name).or_insert_with_key(|name| define(MetricType::Gauge, name));
        let value = u64::try_from(value).unwrap_or(u64::MAX);
        // A host that takes no metrics is no reason to refuse requests.
        let _ = hostcalls::record_metric(*id, value);
    }
}

fn define_requests(provider: &str, outcome: RequestOutcome, reason: &str) -> u32 {
    define(MetricType::Counter, &requests_name(provider, outcome.as_str(), reason))
}

fn requests_name(provider: &str, outcome: &str, reason: &str) -> String {
    format!("mcp_auth_requests.provider.{provider}.outcome.{outcome}.reason.{reason}")
}

/// The SDK panics when the host refuses, which Envoy does only if the plugin's capabilities leave
/// this call out. That shows as soon as the plugin is configured, see [`Metrics::new`].
fn define(kind: MetricType, name: &str) -> u32 {
    hostcalls::define_metric(kind, name).unwrap_or_default()
}

fn increment(id: u32) {
    let _ = hostcalls::increment_metric(id, 1);
}
