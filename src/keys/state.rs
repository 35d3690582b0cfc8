//! The state of one source's keys, shared by all workers of a process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FetchFailure, FetchFaultCode, KeySettings};
use crate::time::{UnixTime, as_rfc3339};

/// The state of a source's keys in shared data. It records what happened; what follows from it
/// depends on the settings of the worker that reads it.
///
/// Every transition returns the state that should replace this one. A worker acts on it only after
/// it has replaced the state that it started from by compare-and-swap, so at most one worker
/// fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyState {
    lease: Option<Lease>,
    failure: Option<Failure>,
    /// When a fetch was last started because of an unknown key.
    unknown_key_fetch: Option<UnixTime>,
    discovered: Option<Discovered>,
    published: Option<Published>,
}

/// The right to fetch. It expires, so that a dead worker does not block the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lease {
    holder: u64,
    taken: UnixTime,
    /// How long the holder's fetch may take, in milliseconds.
    timeout: u64,
}

/// The failed fetches since the last successful one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    count: u32,
    /// When the first of them failed.
    since: UnixTime,
    /// When the last of them failed.
    at: UnixTime,
    /// No fetch before this time.
    retry_at: UnixTime,
    why: FetchFailure,
}

/// The result of discovery, and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Discovered {
    key_set_url: String,
    at: UnixTime,
    /// The key set has failed since, so it may have moved.
    is_doubtful: bool,
}

/// The key set that was published last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Published {
    /// Grows with each publication.
    pub(super) version: u64,
    at: UnixTime,
    /// The lifetime that the source stated, in seconds.
    stated_lifetime: Option<u32>,
    /// Spreads the refreshes of many processes over time.
    jitter: u64,
}

/// Why keys should be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// There is no set yet, it is about to expire, or the last fetch failed.
    Due,
    /// No key in the set of this version matches a token.
    UnknownKey {
        /// The version of the key set that was searched.
        searched: u64,
    },
    /// No key in the set of this version verifies a token that the provider issued a moment ago. No
    /// stranger can cause it, so it does not wait for the cooldown of unknown keys.
    IssuedKey {
        /// The version of the key set that was searched.
        searched: u64,
    },
}

/// The age of a published set in terms of its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In use.
    Fresh,
    /// In use, and should be refreshed.
    Due,
    /// Expired, and in use until a newer one is fetched.
    Stale,
    /// Too old to use.
    Unavailable,
}

impl Published {
    pub(super) fn phase(&self, settings: &KeySettings, now: UnixTime) -> Phase {
        // If the clock was set back by more than the tolerated age, the age of the set is unknown.
        if self.at.since(now) > settings.max_stale {
            return Phase::Unavailable;
        }
        let age = self.age(now);
        let lifetime = self.lifetime(settings);
        if age >= lifetime + settings.max_stale {
            Phase::Unavailable
        } else if age >= lifetime {
            Phase::Stale
        } else if age >= self.refresh_after(settings) || self.at > now + CLOCK_TOLERANCE {
            Phase::Due
        } else {
            Phase::Fresh
        }
    }

    /// How long ago the set was fetched.
    pub(super) fn age(&self, now: UnixTime) -> Duration {
        now.since(self.at)
    }

    /// When the set was fetched.
    pub(super) fn at(&self) -> UnixTime {
        self.at
    }

    /// True while tokens may be verified with the key set.
    pub(super) fn serves(&self, settings: &KeySettings, now: UnixTime) -> bool {
        self.phase(settings, now) != Phase::Unavailable
    }

    /// The age at which the key set is fetched again.
    fn refresh_after(&self, settings: &KeySettings) -> Duration {
        let lifetime = self.lifetime(settings);
        // A set that lives only for seconds is not refreshed before half of its lifetime has
        // passed.
        let ahead = settings.refresh_ahead.min(lifetime / 2);
        lifetime - ahead + fraction(ahead / 4, self.jitter)
    }

    /// How long the set may be used without asking its source.
    pub(super) fn lifetime(&self, settings: &KeySettings) -> Duration {
        self.stated_lifetime.map_or(settings.max_age, |seconds| {
            Duration::from_secs(u64::from(seconds)).min(settings.max_age_cap)
        })
    }
}

impl Lease {
    /// How long a lease outlives the timeout of the fetch.
    const MARGIN: Duration = Duration::from_secs(2);
    /// Upper bound for the timeout in a lease of another configuration, unless this configuration's
    /// timeout is longer. So a forged lease never blocks fetching for long.
    const MAX_TIMEOUT: Duration = Duration::from_secs(60);

    fn expires(&self, settings: &KeySettings) -> UnixTime {
        let max = settings.timeout.max(Self::MAX_TIMEOUT);
        self.taken + Duration::from_millis(self.timeout).min(max) + Self::MARGIN
    }
}

impl Failure {
    /// When the next fetch may start, at the latest after the longest pause, whatever the state
    /// says.
    fn retry_at(&self) -> UnixTime {
        self.retry_at.min(self.at + KeyState::MAX_RETRY_WITH_KEYS)
    }
}

impl KeyState {
    /// How long a metadata document is trusted to name the right key set.
    const DISCOVERY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
    const FIRST_RETRY: Duration = Duration::from_secs(1);
    const MAX_RETRY_WITHOUT_KEYS: Duration = Duration::from_secs(5);
    const MAX_RETRY_WITH_KEYS: Duration = Duration::from_secs(60);

    /// The state in which `holder` fetches because of `demand`, if a fetch may start.
    #[must_use]
    pub(super) fn claimed(
        &self,
        demand: Demand,
        holder: u64,
        settings: &KeySettings,
        now: UnixTime,
    ) -> Option<Self> {
        if !self.may_fetch(demand, settings, now) {
            return None;
        }
        let mut next = self.clone();
        let timeout = u64::try_from(settings.timeout.as_millis()).unwrap_or(u64::MAX);
        next.lease = Some(Lease { holder, taken: now, timeout });
        if let Demand::UnknownKey { .. } | Demand::IssuedKey { .. } = demand {
            next.unknown_key_fetch = Some(now);
        }
        Some(next)
    }

    /// The state after `holder` fetched a set; `None` if it has lost the lease, because its
    /// response is then too old to publish. `discovered` is the key set's URL if the fetch
    /// discovered it, and `jitter` any number.
    #[must_use]
    pub(super) fn succeeded(
        &self,
        holder: u64,
        discovered: Option<&str>,
        stated_lifetime: Option<Duration>,
        jitter: u64,
        now: UnixTime,
    ) -> Option<(Self, Published)> {
        self.lease_of(holder)?;
        let published = Published {
            // Any new number is correct; the time is informative.
            version: self.version().checked_add(1).unwrap_or(1).max(now.as_millis()),
            at: now,
            stated_lifetime: stated_lifetime
                .map(|lifetime| u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)),
            jitter,
        };
        let discovered = discovered.map(|url| Discovered {
            key_set_url: url.to_owned(),
            at: now,
            is_doubtful: false,
        });
        let next = Self {
            lease: None,
            failure: None,
            unknown_key_fetch: self.unknown_key_fetch,
            discovered: discovered.or_else(|| self.discovered.clone()),
            published: Some(published),
        };
        Some((next, published))
    }

    /// The state after the fetch of `holder` failed; `None` if it has lost the lease. `jitter` is
    /// any number.
    #[must_use]
    pub(super) fn failed(
        &self,
        holder: u64,
        why: FetchFailure,
        settings: &KeySettings,
        jitter: u64,
        now: UnixTime,
    ) -> Option<Self> {
        let taken = self.lease_of(holder)?.taken;
        let failures = self.failures();
        let delay = Self::FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures));
        // Counted from the start of the fetch, so that a source that hangs is not tried less often;
        // a minimum pause always remains.
        let retry_at = |max: Duration| {
            let shortened = |delay: Duration| delay - fraction(delay / 4, jitter);
            (taken + shortened(delay.min(max))).max(now + shortened(Self::FIRST_RETRY))
        };
        let without_keys = retry_at(Self::MAX_RETRY_WITHOUT_KEYS);
        let retry_at = match self.published.filter(|published| published.serves(settings, now)) {
            // Once no key set is usable any more, the shorter pauses apply.
            Some(published) => {
                let end = published.at + published.lifetime(settings) + settings.max_stale;
                retry_at(Self::MAX_RETRY_WITH_KEYS).min(end + without_keys.since(now))
            }
            None => without_keys,
        };
        Some(Self {
            lease: None,
            failure: Some(Failure {
                count: failures.saturating_add(1),
                since: self.failure.as_ref().map_or(now, |failure| failure.since),
                at: now,
                retry_at,
                why,
            }),
            discovered: self
                .discovered
                .clone()
                .map(|discovered| Discovered { is_doubtful: true, ..discovered }),
            ..self.clone()
        })
    }

    /// True when a fetch for `demand` may start now.
    #[must_use]
    pub(super) fn may_fetch(&self, demand: Demand, settings: &KeySettings, now: UnixTime) -> bool {
        if self.is_fetching(settings, now) || self.is_backing_off(now) {
            return false;
        }
        match demand {
            Demand::Due => {
                self.is_failing()
                    || self
                        .published
                        .is_none_or(|published| published.phase(settings, now) != Phase::Fresh)
            }
            Demand::IssuedKey { searched } => searched == self.version(),
            Demand::UnknownKey { searched } => {
                searched == self.version()
                    && !self
                        .unknown_key_fetch
                        .is_some_and(|at| is_within(at, at + settings.refresh_cooldown, now))
            }
        }
    }

    /// When the next due fetch is possible, unless something happens before.
    #[must_use]
    pub(super) fn next_due(&self, settings: &KeySettings, now: UnixTime) -> UnixTime {
        match (&self.lease, &self.failure, self.published) {
            (Some(lease), _, _) if self.is_fetching(settings, now) => lease.expires(settings),
            (_, Some(failure), _) => failure.retry_at(),
            (_, None, Some(published)) => published.at + published.refresh_after(settings),
            (_, None, None) => now,
        }
    }

    /// True while a worker is fetching.
    #[must_use]
    pub(super) fn is_fetching(&self, settings: &KeySettings, now: UnixTime) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| is_within(lease.taken, lease.expires(settings), now))
    }

    /// The deadline of the fetch in progress; `now` if there is none.
    #[must_use]
    pub(super) fn fetch_deadline(&self, settings: &KeySettings, now: UnixTime) -> UnixTime {
        self.lease.as_ref().map_or(now, |lease| lease.taken + settings.timeout)
    }

    /// True if the last fetch failed.
    #[must_use]
    pub(super) fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// Why the last fetch failed, if it did.
    #[must_use]
    pub(super) fn last_failure(&self) -> Option<&FetchFailure> {
        self.failure.as_ref().map(|failure| &failure.why)
    }

    /// The failures since the last successful fetch, if the last one failed.
    #[must_use]
    pub(super) fn fetch_failures(&self) -> Option<FetchFailures> {
        let failure = self.failure.as_ref()?;
        Some(FetchFailures {
            since: failure.since,
            attempts: failure.count,
            last: failure.at,
            next_attempt: failure.retry_at(),
            code: failure.why.code,
            cause: failure.why.cause.clone(),
        })
    }

    /// The result of discovery, if it ever succeeded.
    #[must_use]
    pub(super) fn discovery(&self) -> Option<Discovery> {
        let discovered = self.discovered.as_ref()?;
        Some(Discovery {
            jwks_uri: discovered.key_set_url.clone(),
            at: discovered.at,
            is_doubtful: discovered.is_doubtful,
        })
    }

    /// How long a refused client should wait before a retry; at least a second.
    #[must_use]
    pub(super) fn retry_after(&self, now: UnixTime) -> Duration {
        let retry_at = self.failure.as_ref().map(Failure::retry_at).unwrap_or_default();
        retry_at.since(now).max(Duration::from_secs(1))
    }

    /// The key set's URL, if it was ever discovered.
    #[must_use]
    pub(super) fn key_set_url(&self) -> Option<&str> {
        self.discovered.as_ref().map(|discovered| discovered.key_set_url.as_str())
    }

    /// True if the metadata should be read before the key set: the first time, after a day, or
    /// after the key set failed.
    #[must_use]
    pub(super) fn should_discover(&self, now: UnixTime) -> bool {
        self.discovered.as_ref().is_none_or(|discovered| {
            let end = discovered.at + Self::DISCOVERY_LIFETIME;
            discovered.is_doubtful || !is_within(discovered.at, end, now)
        })
    }

    /// The key set that was published last.
    #[must_use]
    pub(super) fn published(&self) -> Option<Published> {
        self.published
    }

    fn lease_of(&self, holder: u64) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| lease.holder == holder)
    }

    fn is_backing_off(&self, now: UnixTime) -> bool {
        self.failure.as_ref().is_some_and(|failure| is_within(failure.at, failure.retry_at(), now))
    }

    fn failures(&self) -> u32 {
        self.failure.as_ref().map_or(0, |failure| failure.count)
    }

    fn version(&self) -> u64 {
        self.published.map_or(0, |published| published.version)
    }
}

/// Failed fetches in a row, as `status.json` has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FetchFailures {
    /// When the first one failed.
    #[serde(serialize_with = "as_rfc3339")]
    pub since: UnixTime,
    /// The number of failures.
    pub attempts: u32,
    /// When the last one failed.
    #[serde(serialize_with = "as_rfc3339")]
    pub last: UnixTime,
    /// No fetch starts before this time.
    #[serde(serialize_with = "as_rfc3339")]
    pub next_attempt: UnixTime,
    /// The kind of the last failure.
    pub code: FetchFaultCode,
    /// The last failure, in a sentence without its full stop.
    pub cause: String,
}

/// The result of discovery, as `status.json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Discovery {
    /// The key set's URL.
    pub jwks_uri: String,
    /// When the metadata document was fetched.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: UnixTime,
    /// Whether the key set has failed since; if so, the next fetch starts with discovery.
    pub is_doubtful: bool,
}

/// How far the clocks of two workers may differ.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// True from `start` until `end`. A start in the future means that the clock was set back; it
/// counts as expired, so that nothing waits for that time to come again.
fn is_within(start: UnixTime, end: UnixTime, now: UnixTime) -> bool {
    start <= now + CLOCK_TOLERANCE && now < end
}

/// A fraction of `whole` chosen by `jitter`.
fn fraction(whole: Duration, jitter: u64) -> Duration {
    let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(jitter % millis.saturating_add(1))
}

#[cfg(test)]
mod tests;
