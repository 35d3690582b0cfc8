//! All that is shown, gathered from the board, with a sentence for each thing that is wrong.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use super::heartbeat::{KeySummary, ProviderSummary};
use super::words::{clock, distance, plural, rfc3339, span};
use super::{Board, Counter, Heartbeat, RefusalHistory, RefusalRecord};
use crate::keys::{Discovery, FetchFailures, FetchFaultCode, KeyAccount, KeyPhase, KeyStatus};
use crate::refusal::{Check, Party, Reason, Row};
use crate::time::UnixTime;

/// All that is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    /// Which plugin tells this.
    pub plugin: &'static str,
    /// When.
    pub at: String,
    /// How it stands.
    pub level: Level,
    /// The same in a sentence.
    pub summary: String,
    /// The configurations that are in use.
    pub configurations: Vec<ConfigurationStatus>,
    /// Refusals by reason, the latest first.
    pub refusals: Vec<ReasonStatus>,
    /// All requests, since Envoy was started.
    pub requests: Vec<RequestCount>,
}

/// How well something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// Well.
    Good,
    /// It works, and will not for ever.
    Warning,
    /// Requests are refused because of it.
    Bad,
}

/// A configuration.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ConfigurationStatus {
    /// Its digest.
    pub digest: String,
    /// The URL of the MCP server that is protected.
    pub resource: String,
    /// Its name.
    pub name: Option<String>,
    /// `enforce` or `report`.
    pub mode: &'static str,
    /// When a worker last said that it uses it.
    pub seen: String,
    /// Its providers.
    pub providers: Vec<ProviderStatus>,
    /// How many others there are, which are not shown.
    pub more_providers: usize,
}

/// A provider.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProviderStatus {
    /// Its name.
    pub name: String,
    /// How its keys stand.
    pub level: Level,
    /// A word for that.
    pub state: &'static str,
    /// The same in a sentence or two.
    pub summary: String,
    /// What to do, if there is something.
    pub advice: Option<&'static str>,
    /// Values of `iss` in its tokens.
    pub issuers: Vec<String>,
    /// Accepted values of `aud`.
    pub audiences: Vec<String>,
    /// What its keys are fetched from; none when they stand in the configuration.
    pub source: Option<SourceStatus>,
    /// The key set that was fetched last.
    pub key_set: Option<KeySetReport>,
    /// When it is fetched next.
    pub next_fetch: Option<String>,
    /// Whether it is being fetched.
    pub is_fetching: bool,
    /// The fetches that failed since the last that did not.
    pub failure: Option<FailureReport>,
    /// The first of its keys.
    pub keys: Vec<KeyAccount>,
    /// How many there are.
    pub key_count: usize,
}

/// What keys are fetched from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SourceStatus {
    /// `metadata_url` or `jwks_url`.
    pub kind: &'static str,
    /// What is called first.
    pub url: String,
    /// What discovery found.
    pub discovered: Option<DiscoveryReport>,
}

/// What discovery found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DiscoveryReport {
    /// The key set's URL.
    pub jwks_uri: String,
    /// When.
    pub at: String,
    /// Whether it will be looked up again with the next fetch.
    pub is_doubtful: bool,
}

/// A key set that was fetched.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeySetReport {
    /// Grows with each publication.
    pub version: u64,
    /// When it was fetched.
    pub fetched: String,
    /// How long ago that is.
    pub age_seconds: u64,
    /// When it expires.
    pub expires: String,
    /// Until when it serves if no newer one can be fetched.
    pub serves_until: String,
}

/// Fetches that failed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailureReport {
    /// Since when.
    pub since: String,
    /// How many in a row.
    pub attempts: u32,
    /// When the last of them failed.
    pub last: String,
    /// When the next attempt may be.
    pub next_attempt: String,
    /// The kind of the last fault.
    pub code: FetchFaultCode,
    /// Why the last of them failed.
    pub cause: String,
}

/// Refusals for one reason.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReasonStatus {
    /// The reason code.
    pub reason: Reason,
    /// How many requests were refused for it, or would have been.
    pub count: u64,
    /// Who causes it.
    pub party: Party,
    /// The checks that refuse for it.
    pub checks: &'static [Check],
    /// What it means.
    pub meaning: String,
    /// What to do.
    pub advice: &'static str,
    /// Where to read more.
    pub see: String,
    /// The last of them, the latest first.
    pub last: Vec<RefusalReport>,
    #[serde(skip)]
    at: UnixTime,
}

/// Requests that were refused alike.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RefusalReport {
    /// When the first of them came.
    pub first: String,
    /// When the last of them came.
    pub last: String,
    /// How long ago that is.
    #[serde(skip)]
    pub ago: String,
    /// At least so many.
    pub times: u64,
    /// Digest of the configuration.
    pub configuration: String,
    /// The provider, if the token picked one.
    pub provider: Option<String>,
    /// `refused`, or `reported` in report mode.
    pub outcome: &'static str,
    /// What was seen beside what is configured.
    pub details: Map<String, Value>,
    /// The names of the keys that the provider has by now, for a token of an unknown one.
    pub keys_now: Option<Vec<String>>,
    /// What there is to say of just this.
    pub hint: Option<String>,
}

/// Requests of one kind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RequestCount {
    /// The provider, if there was one.
    pub provider: Option<String>,
    /// What became of them.
    pub outcome: String,
    /// Why, if they were refused.
    pub reason: Option<String>,
    /// How many.
    pub count: u64,
}

impl Status {
    /// Looks at the board.
    #[must_use]
    pub(crate) fn gather(board: &dyn Board, now: UnixTime) -> Self {
        let heartbeats = heartbeats(board, now);
        let configurations: Vec<ConfigurationStatus> = heartbeats
            .iter()
            .map(|heartbeat| ConfigurationStatus::new(heartbeat, board, now))
            .collect();
        let counters: BTreeSet<&Counter> =
            heartbeats.iter().flat_map(|heartbeat| &heartbeat.counters).collect();
        let requests: Vec<RequestCount> =
            counters.into_iter().filter_map(|counter| RequestCount::new(counter, board)).collect();
        let mut refusals: Vec<ReasonStatus> = Reason::ALL
            .iter()
            .filter_map(|reason| ReasonStatus::new(*reason, board, &configurations, &requests, now))
            .collect();
        refusals.sort_by(|one, other| other.at.cmp(&one.at).then(one.reason.cmp(&other.reason)));
        let (level, summary) = verdict(&configurations);
        Self {
            plugin: concat!("mcp-federated-auth ", env!("CARGO_PKG_VERSION")),
            at: rfc3339(now),
            level,
            summary,
            configurations,
            refusals,
            requests,
        }
    }
}

fn heartbeats(board: &dyn Board, now: UnixTime) -> Vec<Heartbeat> {
    let mut all: Vec<Heartbeat> = (0..Heartbeat::PLACES)
        .filter_map(|place| board.read(&Heartbeat::name_of_place(place)).0)
        .filter_map(|bytes| Heartbeat::decode(&bytes))
        .filter(|heartbeat| heartbeat.is_alive(now))
        .collect();
    all.sort_by(|one, other| {
        let key = |own: &Heartbeat| (own.resource.clone(), own.configuration.clone());
        key(one).cmp(&key(other))
    });
    // Two that were announced at the same time may stand in two places.
    all.dedup_by(|one, other| one.configuration == other.configuration);
    all
}

fn verdict(configurations: &[ConfigurationStatus]) -> (Level, String) {
    let providers = || configurations.iter().flat_map(|own| &own.providers);
    let Some(level) = providers().map(|provider| provider.level).max() else {
        let nobody = "No configuration is in use in this Envoy. A filter that authenticates is shown \
                      here if it has the same vm_id as this page.";
        return (Level::Warning, nobody.to_owned());
    };
    let mut named: Vec<&str> = providers()
        .filter(|provider| provider.level != Level::Good)
        .map(|provider| provider.name.as_str())
        .collect();
    named.sort_unstable();
    named.dedup();
    let total = providers().count();
    let summary = match level {
        Level::Good => match total {
            1 => "The provider has keys to judge tokens by.".to_owned(),
            total => format!("All {total} providers have keys to judge tokens by."),
        },
        Level::Warning => format!("Needs a look: {}.", named.join(", ")),
        Level::Bad => format!("Tokens are refused because keys are missing: {}.", named.join(", ")),
    };
    (level, summary)
}

impl ConfigurationStatus {
    fn new(heartbeat: &Heartbeat, board: &dyn Board, now: UnixTime) -> Self {
        let providers = heartbeat.providers.iter();
        Self {
            digest: heartbeat.configuration.clone(),
            resource: heartbeat.resource.clone(),
            name: heartbeat.name.clone(),
            mode: if heartbeat.is_report { "report" } else { "enforce" },
            seen: rfc3339(heartbeat.seen),
            providers: providers.map(|own| ProviderStatus::new(own, board, now)).collect(),
            more_providers: heartbeat.more_providers,
        }
    }
}

impl ProviderStatus {
    /// Most keys that are shown.
    const MAX_KEYS: usize = 50;

    fn new(provider: &ProviderSummary, board: &dyn Board, now: UnixTime) -> Self {
        let own = Self {
            name: provider.name.clone(),
            level: Level::Good,
            state: "configured",
            summary: String::new(),
            advice: None,
            issuers: provider.issuers.clone(),
            audiences: provider.audiences.clone(),
            source: None,
            key_set: None,
            next_fetch: None,
            is_fetching: false,
            failure: None,
            keys: Vec::new(),
            key_count: 0,
        };
        let source = match &provider.keys {
            KeySummary::Fetched(source) => source,
            KeySummary::Configured { count, first } => {
                return Self {
                    summary: format!("{} in the configuration.", stand(*count)),
                    keys: first.clone(),
                    key_count: *count,
                    ..own
                };
            }
        };
        let values = source.names().map(|names| [names.state, names.key_set]);
        let [state, key_set] =
            values.map(|names| names.map(|name| board.read(&name).0)).unwrap_or_default();
        let status = KeyStatus::read(source, state.as_deref(), key_set.as_deref(), now);
        let mut keys = status.set.as_ref().and_then(|set| set.keys.clone()).unwrap_or_default();
        let key_count = keys.len();
        keys.truncate(Self::MAX_KEYS);
        for key in &mut keys {
            key.kid = key.kid.as_deref().map(super::words::clipped);
        }
        let (level, state, summary) = describe(&status, key_count, now);
        Self {
            level,
            state,
            summary,
            advice: status.fetch_failures.as_ref().map(|own| own.why.code.fix()),
            source: Some(SourceStatus {
                kind: if source.is_discovery { "metadata_url" } else { "jwks_url" },
                url: source.url.clone(),
                discovered: status.discovery.map(DiscoveryReport::new),
            }),
            key_set: status.set.as_ref().map(|set| KeySetReport {
                version: set.version,
                fetched: rfc3339(set.fetched),
                age_seconds: now.since(set.fetched).as_secs(),
                expires: rfc3339(set.expires),
                serves_until: rfc3339(set.serves_until),
            }),
            next_fetch: Some(rfc3339(status.next_fetch)),
            is_fetching: status.is_fetching,
            failure: status.fetch_failures.map(FailureReport::new),
            keys,
            key_count,
            ..own
        }
    }

    /// Whether it has a key of this name.
    fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }
}

/// How keys that are fetched stand, in a word and in sentences.
fn describe(status: &KeyStatus, keys: usize, now: UnixTime) -> (Level, &'static str, String) {
    let failing = status.fetch_failures.as_ref().map(|fetch_failures| {
        let FetchFailures { count, since, next_attempt, .. } = fetch_failures;
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        let next = match (status.is_fetching, *next_attempt > now) {
            (true, _) => "an attempt is under way".to_owned(),
            (false, true) => {
                format!(
                    "next attempt {} ({})",
                    distance(*next_attempt, now),
                    clock(*next_attempt, now)
                )
            }
            (false, false) => "the next attempt is due now".to_owned(),
        };
        let long = span(now.since(*since));
        format!("Fetching keys has failed {times} since {} ({long}); {next}. ", clock(*since, now))
    });
    let is_failing = failing.is_some();
    let failing = failing.unwrap_or_default();
    let Some(set) = &status.set else {
        return match is_failing {
            true => (
                Level::Bad,
                "no keys",
                format!("{failing}There are no keys yet: tokens get 503 keys_unavailable."),
            ),
            false => {
                (Level::Warning, "waiting", "The first fetch of keys is under way.".to_owned())
            }
        };
    };
    let held = format!("{}, fetched {}", plural(keys, "key"), distance(set.fetched, now));
    let serves =
        format!("until {} ({})", clock(set.serves_until, now), distance(set.serves_until, now));
    let newer = "tokens by newer ones get 503 keys_unavailable.";
    match (status.phase, is_failing) {
        (KeyPhase::Unavailable, _) => (
            Level::Bad,
            "too old",
            format!("{failing}{held}, are too old to serve: tokens get 503 keys_unavailable."),
        ),
        (KeyPhase::Stale, true) => (
            Level::Warning,
            "stale",
            format!("{failing}{held}, have expired and serve {serves}; {newer}"),
        ),
        (_, true) => {
            (Level::Warning, "failing", format!("{failing}{held}, serve {serves}; {newer}"))
        }
        (KeyPhase::Stale, false) => (
            Level::Warning,
            "stale",
            format!("{held}, have expired. They are about to be fetched anew."),
        ),
        (KeyPhase::Fresh | KeyPhase::Due | KeyPhase::Empty, false) => {
            let next = match (status.is_fetching, status.next_fetch > now) {
                (true, _) => "being fetched anew now".to_owned(),
                (false, true) => format!("next fetch {}", distance(status.next_fetch, now)),
                (false, false) => "next fetch due now".to_owned(),
            };
            (Level::Good, "fresh", format!("{held}; {next}."))
        }
    }
}

fn stand(keys: usize) -> String {
    if keys == 1 { "1 key stands".to_owned() } else { format!("{keys} keys stand") }
}

impl DiscoveryReport {
    fn new(found: Discovery) -> Self {
        let Discovery { key_set_url, at, is_doubtful } = found;
        Self { jwks_uri: key_set_url, at: rfc3339(at), is_doubtful }
    }
}

impl FailureReport {
    fn new(fetch_failures: FetchFailures) -> Self {
        let FetchFailures { count, since, last, next_attempt, why } = fetch_failures;
        Self {
            since: rfc3339(since),
            attempts: count,
            last: rfc3339(last),
            next_attempt: rfc3339(next_attempt),
            code: why.code,
            cause: why.cause,
        }
    }
}

impl ReasonStatus {
    fn new(
        reason: Reason,
        board: &dyn Board,
        configurations: &[ConfigurationStatus],
        requests: &[RequestCount],
        now: UnixTime,
    ) -> Option<Self> {
        let Row { code, party, checks, fix, .. } = *reason.row();
        let (bytes, _) = board.read(&RefusalHistory::name(reason));
        let history = bytes.as_deref().and_then(RefusalHistory::decode).unwrap_or_default();
        let counts = requests.iter().filter(|own| own.reason.as_deref() == Some(code));
        let count = counts.map(|own| own.count).fold(0, u64::saturating_add);
        let records = history.records().iter().rev();
        let last: Vec<RefusalReport> =
            records.map(|record| RefusalReport::new(reason, record, configurations, now)).collect();
        (count > 0 || !last.is_empty()).then(|| Self {
            reason,
            count,
            party,
            checks,
            meaning: reason.sentence(),
            advice: fix,
            see: format!("docs/troubleshooting.md#{code}"),
            last,
            at: history.records().last().map(|record| record.last).unwrap_or_default(),
        })
    }
}

impl RefusalReport {
    fn new(
        reason: Reason,
        record: &RefusalRecord,
        configurations: &[ConfigurationStatus],
        now: UnixTime,
    ) -> Self {
        let own = configurations.iter().find(|own| own.digest == record.configuration);
        let providers = own.map(|own| own.providers.as_slice()).unwrap_or_default();
        let provider = providers.iter().find(|own| Some(&own.name) == record.provider.as_ref());
        let keys_now = provider.filter(|_| reason == Reason::UnknownKid).map(|provider| {
            let kids = provider.keys.iter().take(10);
            kids.map(|key| key.kid.clone().unwrap_or_else(|| "(no kid)".to_owned())).collect()
        });
        Self {
            first: rfc3339(record.first),
            last: rfc3339(record.last),
            ago: distance(record.last, now),
            times: record.times,
            configuration: record.configuration.clone(),
            provider: record.provider.clone(),
            outcome: if record.is_report { "reported" } else { "refused" },
            details: record.details.clone(),
            keys_now,
            hint: hint(reason, record, provider, providers),
        }
    }
}

/// What there is to say of just this refusal.
fn hint(
    reason: Reason,
    record: &RefusalRecord,
    provider: Option<&ProviderStatus>,
    providers: &[ProviderStatus],
) -> Option<String> {
    let text = |name: &str| record.details.get(name).and_then(Value::as_str);
    let list = |name: &str| {
        let values = record.details.get(name).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str)
    };
    match reason {
        Reason::UnknownKid => {
            let kid = text("kid")?;
            if provider.is_some_and(|provider| provider.has(kid)) {
                return Some(
                    "The provider publishes this key by now: a new attempt should pass.".to_owned(),
                );
            }
            let other = providers.iter().find(|other| other.has(kid))?;
            Some(format!(
                "The provider {} publishes this key: its tokens were taken for those of another, so \
                 compare `issuer` and `client_ids` of the two.",
                other.name
            ))
        }
        Reason::UnknownIssuer => {
            let found = text("iss")?;
            let without_end = |issuer: &str| issuer.trim_end_matches('/').to_ascii_lowercase();
            let twin = list("configured").find(|own| without_end(own) == without_end(found));
            if let Some(twin) = twin {
                return Some(format!(
                    "{twin} differs only in a slash at the end or in capital letters; issuers are \
                     compared exactly."
                ));
            }
            let is_entra = |issuer: &str| issuer.starts_with("https://login.microsoftonline.com/");
            let is_first_version = found.starts_with("https://sts.windows.net/");
            (is_first_version && list("configured").any(is_entra)).then(|| {
                "This is a token of version 1 of Entra ID: set `requestedAccessTokenVersion` to 2 in \
                 the application's manifest, or add this issuer to `additional_issuers`."
                    .to_owned()
            })
        }
        Reason::AudienceMismatch => {
            let bare = |audience: &str| audience.trim_start_matches("api://").to_owned();
            let own: Vec<String> = list("configured").map(bare).collect();
            let twin = list("aud").find(|found| own.contains(&bare(found)))?;
            Some(format!(
                "{twin} is the same application: add it to `client_ids` in this form too."
            ))
        }
        _ => None,
    }
}

impl RequestCount {
    fn new(counter: &Counter, board: &dyn Board) -> Option<Self> {
        let Counter(provider, outcome, reason) = counter;
        let named = |label: &String| (label != "none").then(|| label.clone());
        let count = board.count(counter).filter(|count| *count > 0)?;
        let (provider, reason) = (named(provider), named(reason));
        Some(Self { provider, outcome: outcome.clone(), reason, count })
    }
}
