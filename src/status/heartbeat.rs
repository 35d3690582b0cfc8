//! What a configuration tells of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::words::clipped;
use crate::config::Config;
use crate::keys::{KeyAccount, KeySource, WatchedSource};
use crate::provider::Provider;
use crate::resource::Mode;
use crate::time::UnixTime;

/// What a configuration tells of itself. Nothing in it is of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heartbeat {
    /// When one of its workers wrote this.
    pub seen: UnixTime,
    /// The configuration's digest.
    pub configuration: String,
    /// The URL of the MCP server that is protected.
    pub resource: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether refusals are only reported.
    pub is_report: bool,
    /// The first of its providers.
    pub providers: Vec<ProviderSummary>,
    /// How many others there are.
    pub more_providers: usize,
    /// The counters of requests that its workers have used.
    pub counters: BTreeSet<Counter>,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderSummary {
    /// Its name.
    pub name: String,
    /// Values of `iss` in its tokens.
    pub issuers: Vec<String>,
    /// Accepted values of `aud`.
    pub audiences: Vec<String>,
    /// Its keys.
    pub keys: KeySummary,
}

/// Where the keys of a provider are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum KeySummary {
    /// They stand in the configuration.
    Configured {
        /// How many there are.
        count: usize,
        /// The first of them.
        first: Vec<KeyAccount>,
    },
    /// They are fetched.
    Fetched(WatchedSource),
}

/// A counter of requests, by its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Counter(
    /// The provider's name, or `none`.
    pub String,
    /// What became of the requests.
    pub String,
    /// The reason of their refusal, or `none`.
    pub String,
);

impl Heartbeat {
    /// How many configurations can be announced at the same time.
    pub(crate) const PLACES: usize = 16;
    /// How often a configuration tells that it is there.
    pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
    /// From when on one that does not is gone.
    const LIFETIME: Duration = Duration::from_secs(20);
    /// Most bytes of one.
    const MAX_BYTES: usize = 128 * 1024;
    const MAX_PROVIDERS: usize = 50;
    const MAX_VALUES: usize = 10;
    const MAX_KEYS: usize = 20;
    const MAX_COUNTERS: usize = 500;

    /// What there is to tell of a configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        let providers = config.providers.iter().take(Self::MAX_PROVIDERS);
        Self {
            seen: UnixTime::default(),
            configuration: config.digest.clone(),
            resource: clipped(config.resource.url.as_str()),
            name: config.resource.name.as_deref().map(clipped),
            is_report: config.resource.mode == Mode::Report,
            providers: providers.map(ProviderSummary::new).collect(),
            more_providers: config.providers.iter().skip(Self::MAX_PROVIDERS).count(),
            counters: BTreeSet::new(),
        }
    }

    /// The shared name of a place.
    #[must_use]
    pub(crate) fn name_of_place(place: usize) -> String {
        format!("mcp-federated-auth/1/status/configuration/{place}")
    }

    /// What should replace the announcement that is there, if any does: it is old, or lacks counters.
    #[must_use]
    pub(super) fn renewed(
        &self,
        present: Option<&Self>,
        counters: impl IntoIterator<Item = Counter>,
        now: UnixTime,
    ) -> Option<Self> {
        let known = present.map(|present| present.counters.clone()).unwrap_or_default();
        let mut all = known.clone();
        for counter in counters {
            if all.len() < Self::MAX_COUNTERS {
                all.insert(counter);
            }
        }
        let is_recent = present.is_some_and(|present| {
            present.seen <= now && now < present.seen + Self::INTERVAL && all == known
        });
        (!is_recent).then(|| Self { seen: now, counters: all, ..self.clone() })
    }

    /// Whether the configuration is still there.
    #[must_use]
    pub(crate) fn is_alive(&self, now: UnixTime) -> bool {
        now.since(self.seen) < Self::LIFETIME && self.seen.since(now) < Self::LIFETIME
    }

    /// As bytes, of which there are not too many: then the last providers are left out.
    #[must_use]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut heartbeat = self.clone();
        loop {
            // Numbers and strings only: this cannot fail.
            let bytes = serde_json::to_vec(&heartbeat).unwrap_or_default();
            if bytes.len() <= Self::MAX_BYTES || heartbeat.providers.pop().is_none() {
                return bytes;
            }
            heartbeat.more_providers = heartbeat.more_providers.saturating_add(1);
        }
    }

    /// What stands in these bytes, if they are one.
    #[must_use]
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::MAX_BYTES {
            return None;
        }
        let heartbeat: Self = serde_json::from_slice(bytes).ok()?;
        let is_bounded = heartbeat.configuration.bytes().all(|byte| byte.is_ascii_hexdigit())
            && heartbeat.counters.len() <= Self::MAX_COUNTERS
            && heartbeat.counters.iter().all(Counter::is_plain);
        is_bounded.then_some(heartbeat)
    }
}

impl ProviderSummary {
    fn new(provider: &Provider) -> Self {
        let first = |values: &[String]| {
            values.iter().take(Heartbeat::MAX_VALUES).map(|value| clipped(value)).collect()
        };
        Self {
            name: clipped(&provider.name),
            issuers: first(&provider.issuers),
            audiences: first(&provider.claim_rules.audiences),
            keys: match &provider.key_source {
                KeySource::Remote(source) => KeySummary::Fetched(WatchedSource::new(source)),
                KeySource::Static(set) => KeySummary::Configured {
                    count: set.keys().len(),
                    first: set
                        .keys()
                        .iter()
                        .take(Heartbeat::MAX_KEYS)
                        .map(KeyAccount::from_jwk)
                        .collect(),
                },
            },
        }
    }
}

impl Counter {
    /// Whether it can be part of a metric's name.
    fn is_plain(&self) -> bool {
        let is_plain = |label: &String| {
            let allowed = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte)
            };
            (1..=200).contains(&label.len()) && label.bytes().all(allowed)
        };
        [&self.0, &self.1, &self.2].into_iter().all(is_plain)
    }
}
