//! The heartbeat of a configuration: what its workers report about it in shared data.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::VERSION;
use super::words::{clipped, clipped_url};
use crate::config::Config;
use crate::keys::{KeyAccount, KeySource, WatchedSource};
use crate::provider::{Provider, ProviderId};
use crate::resource::{Mode, ProtectedResource};
use crate::time::UnixTime;

/// A configuration in use. Holds nothing that a client sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heartbeat {
    /// When a worker last wrote it.
    pub seen: UnixTime,
    /// SHA-256 of the configuration, in hexadecimal.
    pub configuration: String,
    /// The version of the filter that runs it.
    pub version: String,
    /// The first resources.
    pub resources: Vec<ResourceSummary>,
    /// The number of resources that are left out.
    pub more_resources: usize,
    /// The first providers.
    pub providers: Vec<ProviderSummary>,
    /// The number of providers that are left out.
    pub more_providers: usize,
    /// The issuer of the login; `None` if there is no login.
    pub login_issuer: Option<String>,
    /// The request counters that its workers have incremented.
    pub counters: BTreeSet<Counter>,
}

/// A resource of the configuration. Strings are clipped and lists cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceSummary {
    /// Its `id`; `None` for a `resource`.
    pub id: Option<String>,
    /// The URL of the MCP server.
    pub url: String,
    /// Its `name`.
    pub name: Option<String>,
    /// Whether the mode is `report`.
    pub is_report: bool,
    /// The names of the providers whose tokens it accepts.
    pub providers: Vec<String>,
}

/// A provider of the configuration. Strings are clipped and lists cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderSummary {
    /// The provider's `name`.
    pub name: String,
    /// Accepted values of `iss`.
    pub issuers: Vec<String>,
    /// Accepted values of `aud`, at any resource.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: KeySummary,
    /// The redirect URI of the login there, if there is one.
    pub redirect_uri: Option<String>,
}

/// Where the keys of a provider are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum KeySummary {
    /// They are part of the configuration.
    Configured {
        /// The number of all keys.
        count: usize,
        /// The first keys.
        first: Vec<KeyAccount>,
    },
    /// They are fetched, and their state is in shared data.
    Fetched(WatchedSource),
}

/// The labels of a request counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counter {
    /// `resource`: an id, or `none`; absent if the metrics have no such label.
    pub resource: Option<String>,
    /// `provider`: a name, or `none`.
    pub provider: String,
    /// `outcome`.
    pub outcome: String,
    /// `reason`: a reason code, or `none`.
    pub reason: String,
}

impl Heartbeat {
    /// The number of configurations that can have a heartbeat at the same time.
    pub(crate) const PLACES: usize = 16;
    /// The time between two heartbeats of a configuration.
    pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
    /// A heartbeat older than this is dead.
    const LIFETIME: Duration = Duration::from_secs(20);
    const MAX_BYTES: usize = 128 * 1024;
    const MAX_PROVIDERS: usize = 50;
    const MAX_RESOURCES: usize = 50;
    const MAX_VALUES: usize = 10;
    const MAX_KEYS: usize = 20;
    const MAX_COUNTERS: usize = 500;

    /// The heartbeat of a configuration, without time and counters.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        let providers = config.providers.entries().take(Self::MAX_PROVIDERS);
        let resources = config.resources.iter().take(Self::MAX_RESOURCES);
        Self {
            seen: UnixTime::default(),
            configuration: config.digest.clone(),
            version: VERSION.to_owned(),
            resources: resources.map(|resource| ResourceSummary::new(resource, config)).collect(),
            more_resources: config.resources.iter().skip(Self::MAX_RESOURCES).count(),
            providers: providers
                .map(|(id, provider)| ProviderSummary::new(id, provider, config))
                .collect(),
            more_providers: config.providers.iter().skip(Self::MAX_PROVIDERS).count(),
            login_issuer: config.login.as_ref().map(|login| clipped_url(login.issuer.origin())),
            counters: BTreeSet::new(),
        }
    }

    /// The key of a place in shared data.
    #[must_use]
    pub(crate) fn name_of_place(place: usize) -> String {
        format!("mcp-federated-auth/1/status/configuration/{place}")
    }

    /// The heartbeat to write over `present`; `None` while that is recent and has all the counters.
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

    /// Whether both are of the same configuration, run by the same version of the filter.
    #[must_use]
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.configuration == other.configuration && self.version == other.version
    }

    /// Whether a worker still uses the configuration.
    #[must_use]
    pub(crate) fn is_alive(&self, now: UnixTime) -> bool {
        now.since(self.seen) < Self::LIFETIME && self.seen.since(now) < Self::LIFETIME
    }

    /// Encodes it; drops the last resources and providers until it fits [`Self::MAX_BYTES`].
    #[must_use]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut heartbeat = self.clone();
        loop {
            // Nothing here can fail to serialise.
            let bytes = serde_json::to_vec(&heartbeat).unwrap_or_default();
            if bytes.len() <= Self::MAX_BYTES {
                return bytes;
            }
            if heartbeat.resources.len() > 1 && heartbeat.resources.pop().is_some() {
                heartbeat.more_resources = heartbeat.more_resources.saturating_add(1);
            } else if heartbeat.providers.pop().is_some() {
                heartbeat.more_providers = heartbeat.more_providers.saturating_add(1);
            } else {
                return bytes;
            }
        }
    }

    /// `None` if the bytes are not a heartbeat or exceed a bound.
    #[must_use]
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::MAX_BYTES {
            return None;
        }
        let heartbeat: Self = serde_json::from_slice(bytes).ok()?;
        let is_bounded = heartbeat.configuration.bytes().all(|byte| byte.is_ascii_hexdigit())
            && is_version(&heartbeat.version)
            && heartbeat.counters.len() <= Self::MAX_COUNTERS
            && heartbeat.counters.iter().all(Counter::is_plain);
        is_bounded.then_some(heartbeat)
    }
}

impl ResourceSummary {
    fn new(resource: &ProtectedResource, config: &Config) -> Self {
        let providers = resource.providers.ids().take(Heartbeat::MAX_VALUES);
        Self {
            id: resource.label.as_ref().map(|label| clipped(label.id())),
            url: clipped(resource.url.as_str()),
            name: resource.name.as_deref().map(clipped),
            is_report: resource.mode == Mode::Report,
            providers: providers.map(|id| clipped(&config.providers[id].name)).collect(),
        }
    }
}

impl ProviderSummary {
    fn new(id: ProviderId, provider: &Provider, config: &Config) -> Self {
        let first = |values: &[String]| {
            values.iter().take(Heartbeat::MAX_VALUES).map(|value| clipped(value)).collect()
        };
        Self {
            name: clipped(&provider.name),
            redirect_uri: config.login.as_ref().and_then(|login| {
                let provider = login.providers[id].as_ref()?;
                Some(clipped_url(&login.redirect_uri(provider)))
            }),
            issuers: first(&provider.issuers),
            audiences: first(&config.audiences(None, id)),
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
    /// Whether every label has only characters that a metric name can have.
    fn is_plain(&self) -> bool {
        let is_plain = |label: &String| {
            let allowed = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte)
            };
            (1..=200).contains(&label.len()) && label.bytes().all(allowed)
        };
        let Self { resource, provider, outcome, reason } = self;
        [provider, outcome, reason].into_iter().chain(resource).all(is_plain)
    }
}

/// Whether this can be a version: digits, letters, `.`, `-` and `+`, at most 40.
fn is_version(version: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    (1..=40).contains(&version.len()) && version.bytes().all(is_plain)
}
