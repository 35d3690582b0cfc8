//! A configuration in use, its providers, and the state of their keys.

use serde::{Serialize, Serializer};

use super::heartbeat::{KeySummary, ProviderSummary, ResourceSummary};
use super::login_status::LoginStatus;
use super::words::{clipped, clock, distance, plural, span};
use super::{Board, Heartbeat};
use crate::keys::{Discovery, FetchFailures, KeyAccount, KeyStatus, Phase, SetStatus};
use crate::resource::Mode;
use crate::time::{UnixTime, as_rfc3339};

/// A configuration that some worker uses.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ConfigurationStatus {
    /// SHA-256 of the configuration, in hexadecimal.
    pub digest: String,
    /// The version of the filter that runs it.
    pub version: String,
    /// The URL of the protected MCP server; `None` if there are `resources`.
    pub resource: Option<String>,
    /// The resource's `name`.
    pub name: Option<String>,
    /// Whether refusals are enforced; `None` if resources differ.
    pub mode: Option<Mode>,
    /// The first of several resources, as many as the heartbeat holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceStatus>,
    /// The number of resources that are left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_resources: usize,
    /// When a worker last reported that it uses this configuration.
    #[serde(serialize_with = "as_rfc3339")]
    pub seen: UnixTime,
    /// The first providers, as many as the heartbeat holds.
    pub providers: Vec<ProviderStatus>,
    /// The number of providers that are left out.
    pub more_providers: usize,
    /// The login, if it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginStatus>,
}

/// One of several resources.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ResourceStatus {
    /// Its `id`.
    pub id: String,
    /// The URL of the MCP server.
    pub url: String,
    /// Its `name`.
    pub name: Option<String>,
    /// Whether refusals are enforced there.
    pub mode: Mode,
    /// The names of the first providers whose tokens it accepts.
    pub providers: Vec<String>,
}

/// A provider and the state of its keys.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProviderStatus {
    /// The provider's `name`.
    pub name: String,
    /// Whether tokens of this provider can be verified.
    pub level: Level,
    /// The state of the keys in one or two words.
    pub state: KeyState,
    /// The state of the keys in one to three sentences.
    pub summary: String,
    /// How to fix the last failure.
    pub advice: Option<&'static str>,
    /// Accepted values of `iss`.
    pub issuers: Vec<String>,
    /// Accepted values of `aud`.
    pub audiences: Vec<String>,
    /// `None`, like the next two, if the keys are part of the configuration.
    pub source: Option<SourceStatus>,
    /// The key set that was fetched last.
    pub key_set: Option<SetStatus>,
    /// When the next fetch is due.
    #[serde(serialize_with = "as_rfc3339")]
    pub next_fetch: Option<UnixTime>,
    /// Whether a fetch is in progress.
    pub is_fetching: bool,
    /// Failures since the last successful fetch.
    pub failure: Option<FetchFailures>,
    /// The first keys, at most [`Self::MAX_KEYS`].
    pub keys: Vec<KeyAccount>,
    /// The number of all keys.
    pub key_count: usize,
}

/// The state of a provider's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// They are part of the configuration.
    Configured,
    /// They are fresh, but fetching newer ones fails.
    Failing,
    /// They are fresh.
    Fresh,
    /// Fetching them has failed since the start.
    NoKeys,
    /// They have expired and are still used.
    Stale,
    /// They have expired and are no longer used.
    TooOld,
    /// The first fetch is in progress.
    Waiting,
}

/// Where a provider's keys are fetched from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SourceStatus {
    /// The field of the configuration: `metadata_url` or `jwks_url`.
    pub kind: &'static str,
    /// The value of that field.
    pub url: String,
    /// `None` for a `jwks_url`, and before the first discovery.
    pub discovered: Option<Discovery>,
}

/// Whether a provider's tokens can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// They can.
    Good,
    /// They can, but some may be refused soon unless an operator acts.
    Warning,
    /// They are refused.
    Bad,
}

impl ConfigurationStatus {
    pub(super) fn new(heartbeat: Heartbeat, board: &dyn Board, now: UnixTime) -> Self {
        let login = LoginStatus::new(&heartbeat, board);
        let providers = heartbeat.providers.into_iter();
        let (several, only): (Vec<_>, Vec<_>) =
            heartbeat.resources.into_iter().partition(|resource| resource.id.is_some());
        let mut modes = several.iter().chain(&only).map(|resource| resource.is_report);
        let first = modes.next().unwrap_or_default();
        let mode = modes.all(|other| other == first).then(|| mode(first));
        let (resource, name) = match only.into_iter().next() {
            Some(only) => (Some(only.url), only.name),
            None => (None, None),
        };
        Self {
            digest: heartbeat.configuration,
            version: heartbeat.version,
            resource,
            name,
            mode,
            resources: several.into_iter().map(ResourceStatus::from).collect(),
            more_resources: heartbeat.more_resources,
            seen: heartbeat.seen,
            providers: providers
                .map(|provider| ProviderStatus::new(provider, board, now))
                .collect(),
            more_providers: heartbeat.more_providers,
            login,
        }
    }
}

impl From<ResourceSummary> for ResourceStatus {
    fn from(summary: ResourceSummary) -> Self {
        let ResourceSummary { id, url, name, is_report, providers } = summary;
        Self { id: id.unwrap_or_default(), url, name, mode: mode(is_report), providers }
    }
}

impl ProviderStatus {
    const MAX_KEYS: usize = 50;

    fn new(provider: ProviderSummary, board: &dyn Board, now: UnixTime) -> Self {
        let ProviderSummary { name, issuers, audiences, keys, redirect_uri: _ } = provider;
        let source = match keys {
            KeySummary::Fetched(source) => source,
            KeySummary::Configured { count, first } => {
                return Self {
                    name,
                    level: KeyState::Configured.level(),
                    state: KeyState::Configured,
                    summary: match count {
                        1 => "1 key is in the configuration.".to_owned(),
                        count => format!("{count} keys are in the configuration."),
                    },
                    advice: None,
                    issuers,
                    audiences,
                    source: None,
                    key_set: None,
                    next_fetch: None,
                    is_fetching: false,
                    failure: None,
                    keys: first,
                    key_count: count,
                };
            }
        };
        let values = source.names().map(|names| [names.state, names.key_set]);
        let [state, key_set] =
            values.map(|names| names.map(|name| board.read(&name).0)).unwrap_or_default();
        let status = KeyStatus::read(&source, state.as_deref(), key_set.as_deref(), now);
        let (state, summary) = describe(&status, now);
        let KeyStatus { is_fetching, discovery, set, mut keys, next_fetch, fetch_failures } =
            status;
        let key_count = keys.len();
        keys.truncate(Self::MAX_KEYS);
        for key in &mut keys {
            key.kid = key.kid.as_deref().map(clipped);
        }
        Self {
            name,
            level: state.level(),
            state,
            summary,
            advice: fetch_failures.as_ref().map(|failures| failures.code.fix()),
            issuers,
            audiences,
            source: Some(SourceStatus {
                kind: if source.is_discovery { "metadata_url" } else { "jwks_url" },
                url: source.url,
                discovered: discovery,
            }),
            key_set: set,
            next_fetch: Some(next_fetch),
            is_fetching,
            failure: fetch_failures,
            keys,
            key_count,
        }
    }

    /// Whether a key of this `kid` is shown.
    pub(super) fn has_key(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }
}

fn mode(is_report: bool) -> Mode {
    if is_report { Mode::Report } else { Mode::Enforce }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl KeyState {
    /// The word on the page and in `status.json`.
    #[must_use]
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Failing => "failing",
            Self::Fresh => "fresh",
            Self::NoKeys => "no keys",
            Self::Stale => "stale",
            Self::TooOld => "too old",
            Self::Waiting => "waiting",
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Configured | Self::Fresh => Level::Good,
            Self::Failing | Self::Stale | Self::Waiting => Level::Warning,
            Self::NoKeys | Self::TooOld => Level::Bad,
        }
    }
}

impl Serialize for KeyState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The state of fetched keys, and sentences for it.
fn describe(status: &KeyStatus, now: UnixTime) -> (KeyState, String) {
    let failing = status
        .fetch_failures
        .as_ref()
        .map(|failures| describe_failures(failures, status.is_fetching, now));
    let Some(set) = &status.set else {
        return match failing {
            Some(failing) => (
                KeyState::NoKeys,
                format!("{failing} There are no keys yet: tokens get 503 keys_unavailable."),
            ),
            None => (KeyState::Waiting, "The first fetch of keys is in progress.".to_owned()),
        };
    };
    let keys =
        format!("{}, fetched {}", plural(status.keys.len(), "key"), distance(set.fetched, now));
    let serve = format!(
        "usable until {} ({})",
        clock(set.serves_until, now),
        distance(set.serves_until, now)
    );
    let newer = "tokens signed with newer keys get 503 keys_unavailable.";
    match (set.phase, failing) {
        (Phase::Unavailable, failing) => {
            let failing = failing.map(|failing| failing + " ").unwrap_or_default();
            let refused = "too old to use: tokens get 503 keys_unavailable.";
            (KeyState::TooOld, format!("{failing}{keys}, {refused}"))
        }
        (Phase::Stale, Some(failing)) => {
            (KeyState::Stale, format!("{failing} {keys}, expired, {serve}; {newer}"))
        }
        (Phase::Fresh | Phase::Due, Some(failing)) => {
            (KeyState::Failing, format!("{failing} {keys}, {serve}; {newer}"))
        }
        (Phase::Stale, None) => {
            (KeyState::Stale, format!("{keys}, expired; the next fetch is due."))
        }
        (Phase::Fresh | Phase::Due, None) => {
            let next = match (status.is_fetching, status.next_fetch > now) {
                (true, _) => "a fetch is in progress".to_owned(),
                (false, true) => format!("next fetch {}", distance(status.next_fetch, now)),
                (false, false) => "the next fetch is due now".to_owned(),
            };
            (KeyState::Fresh, format!("{keys}; {next}."))
        }
    }
}

fn describe_failures(failures: &FetchFailures, is_fetching: bool, now: UnixTime) -> String {
    let FetchFailures { attempts, since, next_attempt, .. } = failures;
    let times = if *attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
    let next = match (is_fetching, *next_attempt > now) {
        (true, _) => "an attempt is in progress".to_owned(),
        (false, true) => {
            format!("next attempt {} ({})", distance(*next_attempt, now), clock(*next_attempt, now))
        }
        (false, false) => "the next attempt is due now".to_owned(),
    };
    let (start, long) = (clock(*since, now), span(now.since(*since)));
    format!("Fetching keys has failed {times} since {start} ({long}); {next}.")
}
