//! Counters and gauges. Their names end in pairs of a label and its value, which the `stats_tags`
//! of `envoy/envoy.yaml` convert to labels.

use std::collections::{BTreeMap, HashMap};

use super::host::{Host, Metric, MetricFamily, MetricId, SharedValue};
use crate::identity::LookupReport;
use crate::provider::{Provider, ProviderId, ProviderMap, Providers};
use crate::resource::{ResourceId, ResourceLabel, ResourceMap, Resources};
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
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Exempt => "exempt",
            Self::Metadata => "metadata",
            Self::Refused => "refused",
            Self::Reported => "reported",
        }
    }
}

/// The labels of a counter of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLabels {
    /// `None` for requests that belong to no resource.
    pub resource: Option<ResourceId>,
    /// `None` for requests that select no provider.
    pub provider: Option<ProviderId>,
    pub outcome: Outcome,
    /// The reason of a refusal.
    pub reason: Option<&'static str>,
}

impl RequestLabels {
    /// Labels of a request without a provider that is not refused.
    pub(super) fn new(resource: Option<ResourceId>, outcome: Outcome) -> Self {
        Self { resource, provider: None, outcome, reason: None }
    }
}

/// The metrics used so far, with the host's ids. Their number is bounded: providers and resources come
/// from the configuration, and all other label values from this crate.
#[derive(Debug)]
pub(super) struct Metrics {
    provider_names: ProviderMap<String>,
    gauges: ProviderMap<KeyGauges>,
    resources: ResourceMap<ResourceMetrics>,
    /// Requests that belong to no resource.
    outside: ResourceMetrics,
    /// By resource, method and outcome.
    calls: BTreeMap<(Option<ResourceId>, &'static str, &'static str), MetricId>,
    others: HashMap<String, MetricId>,
    token_cache_hits: Option<MetricId>,
    token_cache_misses: Option<MetricId>,
}

/// The gauges of one provider's keys.
#[derive(Clone, Copy, Debug)]
struct KeyGauges {
    keys: MetricId,
    dropped: MetricId,
    /// `None` until there are fetched keys.
    age: Option<MetricId>,
}

/// The counters of requests of one resource.
#[derive(Debug)]
struct ResourceMetrics {
    /// The value of the label `resource`; `None` if there is no such label.
    label: Option<String>,
    /// Requests forwarded with an identity.
    allowed: ProviderMap<Option<MetricId>>,
    /// All other requests. A linear search: they are few, and comparing costs less than hashing.
    others: Vec<Requests>,
}

/// The counter of requests with the same result.
#[derive(Debug)]
struct Requests {
    outcome: Outcome,
    reason: &'static str,
    provider: Option<ProviderId>,
    id: MetricId,
}

impl Metrics {
    /// The metrics for these providers and resources.
    pub(super) fn new(providers: &Providers, resources: &Resources, host: &impl Host) -> Self {
        let resource_metrics = |label: Option<&str>| ResourceMetrics {
            label: label.map(str::to_owned),
            allowed: providers.map(|_| None),
            others: Vec::new(),
        };
        let gauges = |provider: &Provider| {
            let labels = [("provider", provider.name.as_str())];
            let gauge = |family: MetricFamily| {
                let gauge = host.gauge(Metric { name: family.name, labels: &labels });
                host.set_gauge(gauge, 0);
                gauge
            };
            KeyGauges { keys: gauge(KEYS), dropped: gauge(KEYS_DROPPED), age: None }
        };
        Self {
            provider_names: providers.map(|provider| provider.name.clone()),
            gauges: providers.map(gauges),
            resources: resources
                .map(|resource| resource_metrics(resource.label.as_ref().map(ResourceLabel::id))),
            outside: resource_metrics(Some("none")),
            calls: BTreeMap::new(),
            others: HashMap::new(),
            token_cache_hits: None,
            token_cache_misses: None,
        }
    }

    /// Counts a request that is forwarded with an identity from this provider.
    pub(super) fn count_allowed(
        &mut self,
        resource: ResourceId,
        provider: ProviderId,
        host: &impl Host,
    ) {
        let ResourceMetrics { label, allowed, .. } = &mut self.resources[resource];
        let name = &self.provider_names[provider];
        let id = allowed[provider].get_or_insert_with(|| {
            request_counter(label.as_deref(), name, Outcome::Allowed.as_str(), "none", host)
        });
        host.increment(*id);
    }

    /// Counts any other request.
    pub(super) fn count_request(&mut self, labels: RequestLabels, host: &impl Host) {
        let RequestLabels { resource, provider, outcome, reason } = labels;
        let reason = reason.unwrap_or("none");
        let ResourceMetrics { label, others, .. } = match resource {
            Some(resource) => &mut self.resources[resource],
            None => &mut self.outside,
        };
        let known = others.iter().find(|known| {
            known.outcome == outcome && known.reason == reason && known.provider == provider
        });
        let id = match known {
            Some(known) => known.id,
            None => {
                let label = label.as_deref();
                let name = provider_label(&self.provider_names, provider);
                let id = request_counter(label, name, outcome.as_str(), reason, host);
                others.push(Requests { outcome, reason, provider, id });
                id
            }
        };
        host.increment(id);
    }

    /// The number of request counters used so far.
    pub(super) fn request_counter_count(&self) -> usize {
        self.by_resource().map(ResourceMetrics::count).sum()
    }

    /// The request counters used so far.
    pub(super) fn request_counters(&self) -> impl Iterator<Item = Counter> {
        self.by_resource().flat_map(|resource| resource.counters(&self.provider_names))
    }

    fn by_resource(&self) -> impl Iterator<Item = &ResourceMetrics> {
        self.resources.values().chain([&self.outside])
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
            LookupReport::Completed(true) => "known",
            LookupReport::Completed(false) => "unknown",
            LookupReport::Created { .. } => "created",
            LookupReport::Failed(_) => "failure",
        };
        self.count(Metric { name: USER_LOOKUPS.name, labels: &[("result", result)] }, host);
    }

    /// Counts a call. `method` and `outcome` must be from a bounded set.
    pub(super) fn count_call(
        &mut self,
        resource: Option<ResourceId>,
        method: &'static str,
        outcome: &'static str,
        host: &impl Host,
    ) {
        let Self { resources, outside, calls, .. } = self;
        let label = match resource {
            Some(resource) => &resources[resource].label,
            None => &outside.label,
        };
        let id = calls.entry((resource, method, outcome)).or_insert_with(|| {
            let labels = [
                ("method", method),
                ("outcome", outcome),
                ("resource", label.as_deref().unwrap_or_default()),
            ];
            let (of_one, _) = labels.split_at(labels.len() - 1);
            let labels = if label.is_some() { &labels } else { of_one };
            host.counter(Metric { name: CALLS.name, labels })
        });
        host.increment(*id);
    }

    /// Counts a step of a login.
    pub(super) fn count_login(
        &mut self,
        provider: Option<&str>,
        step: &'static str,
        result: &'static str,
        host: &impl Host,
    ) {
        let provider = provider.unwrap_or("none");
        let labels = [("provider", provider), ("step", step), ("result", result)];
        self.count(Metric { name: LOGINS.name, labels: &labels }, host);
    }

    /// Sets the number of a provider's keys, and of elements of its key set that are not keys.
    pub(super) fn set_keys(
        &self,
        provider: ProviderId,
        keys: usize,
        dropped: usize,
        host: &impl Host,
    ) {
        let KeyGauges { keys: keys_gauge, dropped: dropped_gauge, .. } = self.gauges[provider];
        let value = |count| u64::try_from(count).unwrap_or(u64::MAX);
        host.set_gauge(keys_gauge, value(keys));
        host.set_gauge(dropped_gauge, value(dropped));
    }

    /// Sets the age of a provider's fetched keys in seconds.
    pub(super) fn set_age(&mut self, provider: ProviderId, seconds: u64, host: &impl Host) {
        let labels = [("provider", self.provider_names[provider].as_str())];
        let age = self.gauges[provider]
            .age
            .get_or_insert_with(|| host.gauge(Metric { name: KEYS_AGE.name, labels: &labels }));
        host.set_gauge(*age, seconds);
    }

    fn count(&mut self, metric: Metric<'_>, host: &impl Host) {
        let id = self.others.entry(metric.to_string()).or_insert_with(|| host.counter(metric));
        host.increment(*id);
    }
}

impl ResourceMetrics {
    fn count(&self) -> usize {
        self.allowed.values().flatten().count() + self.others.len()
    }

    fn counters(&self, names: &ProviderMap<String>) -> impl Iterator<Item = Counter> {
        let counter = |provider: &str, outcome: Outcome, reason: &str| Counter {
            resource: self.label.clone(),
            provider: provider.to_owned(),
            outcome: outcome.as_str().to_owned(),
            reason: reason.to_owned(),
        };
        let allowed = names.values().zip(self.allowed.values()).filter(|(_, id)| id.is_some());
        let allowed = allowed.map(move |(name, _)| counter(name, Outcome::Allowed, "none"));
        let others = self.others.iter();
        allowed.chain(others.map(move |requests| {
            let provider = provider_label(names, requests.provider);
            counter(provider, requests.outcome, requests.reason)
        }))
    }
}

/// The value of the label `provider`.
fn provider_label(names: &ProviderMap<String>, provider: Option<ProviderId>) -> &str {
    provider.map_or("none", |provider| &names[provider])
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

    fn count(&self, counter: &Counter) -> Option<u64> {
        let Counter { resource, provider, outcome, reason } = counter;
        let resource = resource.as_deref();
        self.0.metric_value(request_counter(resource, provider, outcome, reason, self.0))
    }
}

/// The counter with these labels. It has the label `resource` only if there are several resources.
fn request_counter(
    resource: Option<&str>,
    provider: &str,
    outcome: &str,
    reason: &str,
    host: &impl Host,
) -> MetricId {
    let labels = [
        ("provider", provider),
        ("outcome", outcome),
        ("reason", reason),
        ("resource", resource.unwrap_or_default()),
    ];
    let (of_one, _) = labels.split_at(labels.len() - 1);
    let labels = if resource.is_some() { &labels } else { of_one };
    host.counter(Metric { name: REQUESTS.name, labels })
}

/// All families of metrics that the engine counts or sets. Families of the same name
/// differ in their labels.
pub const METRIC_FAMILIES: [MetricFamily; 11] = [
    REQUESTS,
    REQUESTS_BY_RESOURCE,
    CALLS,
    CALLS_BY_RESOURCE,
    KEY_FETCHES,
    TOKEN_CACHE,
    USER_LOOKUPS,
    LOGINS,
    KEYS,
    KEYS_DROPPED,
    KEYS_AGE,
];

const REQUESTS: MetricFamily = counter("mcp_auth_requests", &["provider", "outcome", "reason"]);
const REQUESTS_BY_RESOURCE: MetricFamily =
    counter("mcp_auth_requests", &["provider", "outcome", "reason", "resource"]);
const CALLS: MetricFamily = counter("mcp_auth_calls", &["method", "outcome"]);
const CALLS_BY_RESOURCE: MetricFamily =
    counter("mcp_auth_calls", &["method", "outcome", "resource"]);
const KEY_FETCHES: MetricFamily = counter("mcp_auth_key_fetches", &["provider", "result"]);
const TOKEN_CACHE: MetricFamily = counter("mcp_auth_token_cache", &["result"]);
const USER_LOOKUPS: MetricFamily = counter("mcp_auth_user_lookups", &["result"]);
const LOGINS: MetricFamily = counter("mcp_auth_logins", &["provider", "step", "result"]);
const KEYS: MetricFamily = gauge("mcp_auth_keys", &["provider"]);
const KEYS_DROPPED: MetricFamily = gauge("mcp_auth_keys_dropped", &["provider"]);
const KEYS_AGE: MetricFamily = gauge("mcp_auth_keys_age_seconds", &["provider"]);

const fn counter(name: &'static str, labels: &'static [&'static str]) -> MetricFamily {
    MetricFamily { name, labels, is_counter: true }
}

const fn gauge(name: &'static str, labels: &'static [&'static str]) -> MetricFamily {
    MetricFamily { name, labels, is_counter: false }
}
