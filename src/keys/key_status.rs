//! The state of a source's keys for the status page, read from shared data alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::shared::{decode_state, key_set_document};
use super::state::{Discovery, FetchFailures, Phase};
use super::{KeyAccount, KeySettings, RemoteSource, SharedNames, Start};
use crate::time::{UnixTime, as_rfc3339};

/// The configuration of a source that reading its state requires. Durations in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchedSource {
    /// The URL of the metadata document or the key set.
    pub url: String,
    /// Whether `url` is that of a metadata document.
    pub is_discovery: bool,
    fingerprint: String,
    max_age: u64,
    max_age_cap: u64,
    refresh_ahead: u64,
    refresh_cooldown: u64,
    timeout: u64,
    max_stale: u64,
    /// In bytes.
    max_body: u64,
}

/// The state of a source's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyStatus {
    /// Whether a fetch is in progress.
    pub is_fetching: bool,
    /// The result of the last discovery.
    pub discovery: Option<Discovery>,
    /// The key set that was published last.
    pub set: Option<SetStatus>,
    /// One for each element of that set; empty while a worker is replacing it.
    pub keys: Vec<KeyAccount>,
    /// When the next fetch is due.
    pub next_fetch: UnixTime,
    /// Failures since the last successful fetch.
    pub fetch_failures: Option<FetchFailures>,
}

/// A published key set, as `status.json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SetStatus {
    /// Grows with each publication.
    pub version: u64,
    /// When it was fetched.
    #[serde(serialize_with = "as_rfc3339")]
    pub fetched: UnixTime,
    /// The time since then.
    pub age_seconds: u64,
    /// When it expires.
    #[serde(serialize_with = "as_rfc3339")]
    pub expires: UnixTime,
    /// Until when it is used if fetching fails.
    #[serde(serialize_with = "as_rfc3339")]
    pub serves_until: UnixTime,
    /// What its age means for its use.
    #[serde(skip)]
    pub phase: Phase,
}

impl WatchedSource {
    /// Takes the watched part of the configuration.
    #[must_use]
    pub(crate) fn new(source: &RemoteSource) -> Self {
        let KeySettings {
            max_age,
            max_age_cap,
            refresh_ahead,
            refresh_cooldown,
            timeout,
            max_stale,
            max_body,
        } = source.settings;
        let (endpoint, is_discovery) = match &source.start {
            Start::Metadata(endpoint) => (endpoint, true),
            Start::KeySet(endpoint) => (endpoint, false),
        };
        Self {
            url: endpoint.to_string(),
            is_discovery,
            fingerprint: source.fingerprint(),
            max_age: millis(max_age),
            max_age_cap: millis(max_age_cap),
            refresh_ahead: millis(refresh_ahead),
            refresh_cooldown: millis(refresh_cooldown),
            timeout: millis(timeout),
            max_stale: millis(max_stale),
            max_body: u64::try_from(max_body).unwrap_or(u64::MAX),
        }
    }

    /// The names of the shared values; `None` if the fingerprint is malformed, as only another
    /// program writes it.
    #[must_use]
    pub(crate) fn names(&self) -> Option<SharedNames> {
        let is_fingerprint = self.fingerprint.len() == 32
            && self.fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_fingerprint.then(|| SharedNames::from_fingerprint(&self.fingerprint))
    }

    fn settings(&self) -> KeySettings {
        /// An upper bound for durations read from shared data, so that no sum overflows.
        const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let duration = |millis| Duration::from_millis(millis).min(MAX_DURATION);
        KeySettings {
            max_age: duration(self.max_age),
            max_age_cap: duration(self.max_age_cap),
            refresh_ahead: duration(self.refresh_ahead),
            refresh_cooldown: duration(self.refresh_cooldown),
            timeout: duration(self.timeout),
            max_stale: duration(self.max_stale),
            max_body: usize::try_from(self.max_body).unwrap_or(usize::MAX),
        }
    }
}

impl KeyStatus {
    /// Reads the shared values of a source. An unreadable value counts as missing, as it does for
    /// the workers.
    #[must_use]
    pub(crate) fn read(
        source: &WatchedSource,
        state: Option<&[u8]>,
        key_set: Option<&[u8]>,
        now: UnixTime,
    ) -> Self {
        let settings = source.settings();
        let state = state.and_then(decode_state).unwrap_or_default();
        let published = state.published();
        let set = published.map(|published| {
            let expires = published.at() + published.lifetime(&settings);
            SetStatus {
                version: published.version,
                fetched: published.at(),
                age_seconds: now.since(published.at()).as_secs(),
                expires,
                serves_until: expires + settings.max_stale,
                phase: published.phase(&settings, now),
            }
        });
        let document = published.zip(key_set).and_then(|(published, bytes)| {
            key_set_document(published.version, bytes, settings.max_body)
        });
        Self {
            is_fetching: state.is_fetching(&settings, now),
            discovery: state.discovery(),
            set,
            keys: document.map(KeyAccount::from_document).unwrap_or_default(),
            next_fetch: state.next_due(&settings, now),
            fetch_failures: state.fetch_failures(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;
    use testkit::{Algorithm, SigningKey};

    use super::*;
    use crate::callout::{CalloutResponse, Clusters};
    use crate::keys::{Effect, Event, FetchFaultCode, RemoteKeys};

    fn source() -> RemoteSource {
        let clusters = Clusters::Any("provider".to_owned());
        RemoteSource {
            issuer: "https://id.example.com".to_owned(),
            start: Start::KeySet(clusters.endpoint("https://id.example.com/keys").unwrap()),
            clusters,
            settings: KeySettings {
                max_age: Duration::from_secs(600),
                max_age_cap: Duration::from_secs(86_400),
                refresh_ahead: Duration::from_secs(30),
                refresh_cooldown: Duration::from_secs(30),
                timeout: Duration::from_secs(5),
                max_stale: Duration::from_secs(3600),
                max_body: 64 * 1024,
            },
        }
    }

    /// Two shared values: after a worker fetched this document, and after another fetch without
    /// response, a second after the key set was due.
    fn shared(document: &[u8]) -> [Option<Vec<u8>>; 2] {
        let mut keys = RemoteKeys::new(source(), 1);
        let mut values = [None, None];
        let responses = [Some(document), None];
        for (response, now) in responses.into_iter().zip([at(0), at(600)]) {
            keys.handle(Event::Tick, now);
            while let Some(effect) = keys.next_effect() {
                let event = match effect {
                    Effect::ReadState => Event::StateRead(values[0].clone(), Some(1)),
                    Effect::ReadKeySet => Event::KeySetRead(values[1].clone(), Some(1)),
                    Effect::ReplaceState(bytes, _) => {
                        values[0] = Some(bytes);
                        Event::StateReplaced(true)
                    }
                    Effect::ReplaceKeySet(bytes, _) => {
                        values[1] = Some(bytes);
                        Event::KeySetReplaced(true)
                    }
                    Effect::Callout(..) => {
                        keys.handle(Event::CalloutStarted(true), now);
                        Event::CalloutEnded(response.map(|body| CalloutResponse {
                            status: Some(200),
                            body_length: body.len(),
                            body: body.to_vec(),
                            ..CalloutResponse::default()
                        }))
                    }
                    Effect::Report(_) => continue,
                };
                keys.handle(event, now);
            }
        }
        values
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(1_800_000_000 + seconds)
    }

    fn read(values: &[Option<Vec<u8>>; 2], now: UnixTime) -> KeyStatus {
        let [state, key_set] = values.each_ref().map(Option::as_deref);
        KeyStatus::read(&WatchedSource::new(&source()), state, key_set, now)
    }

    #[test]
    fn the_state_written_by_workers_is_shown_with_each_key() {
        let good = SigningKey::generate(Algorithm::Es256, "good").public_jwk();
        let mut for_encryption = SigningKey::generate(Algorithm::Es256, "enc").public_jwk();
        for_encryption["use"] = "enc".into();
        let document = json!({"keys": [good, for_encryption, {"kid": "odd"}]}).to_string();
        let status = read(&shared(document.as_bytes()), at(601));
        let set = status.set.unwrap();
        assert_eq!((set.phase, status.is_fetching), (Phase::Stale, false));
        assert_eq!((set.fetched, set.expires, set.serves_until), (at(0), at(600), at(4200)));
        let shown: Vec<_> = status
            .keys
            .into_iter()
            .map(|key| (key.kid.unwrap(), key.algorithms.join(" "), key.problem))
            .collect();
        let owned = |text: &str| text.to_owned();
        assert_eq!(
            shown,
            [
                (owned("good"), owned("ES256"), None),
                (owned("enc"), owned(""), Some(owned("its use is enc, not sig"))),
                (owned("odd"), owned(""), Some(owned("it has no kty"))),
            ]
        );
        let fetch_failures = status.fetch_failures.unwrap();
        assert_eq!(
            (fetch_failures.attempts, fetch_failures.since, fetch_failures.last),
            (1, at(600), at(600))
        );
        assert_eq!(fetch_failures.next_attempt, status.next_fetch);
        assert_eq!(fetch_failures.code, FetchFaultCode::NoResponse);
        let cause = "fetching keys from https://id.example.com/keys failed: no response (timeout, reset \
                     or no connection)";
        assert_eq!(fetch_failures.cause, cause);
    }

    #[test]
    fn an_unknown_source_has_no_keys_and_is_due() {
        let status = read(&[None, None], at(0));
        assert_eq!((status.set, status.fetch_failures), (None, None));
        assert_eq!((status.keys, status.next_fetch), (vec![], at(0)));
    }

    #[test]
    fn a_key_set_of_another_version_is_not_the_published_one() {
        let good = SigningKey::generate(Algorithm::Es256, "good").public_jwk();
        let [state, key_set] = shared(json!({"keys": [good]}).to_string().as_bytes());
        let mut other = key_set.unwrap();
        other[7] ^= 1;
        let status = read(&[state, Some(other)], at(1));
        assert!(status.set.is_some());
        assert_eq!(status.keys, []);
    }

    #[test]
    fn a_source_survives_its_encoding_and_leads_to_its_shared_values() {
        let watched = WatchedSource::new(&source());
        let decoded: WatchedSource =
            serde_json::from_slice(&serde_json::to_vec(&watched).unwrap()).unwrap();
        assert_eq!(decoded, watched);
        assert_eq!(decoded.names().unwrap().state, SharedNames::new(&source()).state);
        let foreign = WatchedSource { fingerprint: "../x".to_owned(), ..watched };
        assert!(foreign.names().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_shared_data_can_be_shown(
            numbers in vec(any::<u64>(), 10),
            state in any::<Vec<u8>>(),
            key_set in any::<Vec<u8>>(),
            now in any::<u64>(),
        ) {
            let [max_age, max_age_cap, refresh_ahead, refresh_cooldown, timeout, max_stale, max_body, at, version, jitter] =
                numbers.try_into().unwrap();
            let mut watched = WatchedSource::new(&source());
            watched = WatchedSource {
                max_age, max_age_cap, refresh_ahead, refresh_cooldown, timeout, max_stale, max_body,
                ..watched
            };
            let now = UnixTime::from_secs(now);
            drop(KeyStatus::read(&watched, Some(&state), Some(&key_set), now));
            let state = json!({
                "lease": {"holder": at, "taken": at, "timeout": timeout},
                "failure": {
                    "count": 4_294_967_295_u32, "since": at, "at": at, "retry_at": version,
                    "why": {"code": "no_response", "cause": ""},
                },
                "unknown_key_fetch": at,
                "discovered": null,
                "published": {
                    "version": version, "at": at, "stated_lifetime": null, "jitter": jitter,
                },
            });
            let status = KeyStatus::read(&watched, Some(state.to_string().as_bytes()), None, now);
            prop_assert!(status.set.is_some());
        }
    }
}
