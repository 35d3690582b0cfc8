//! What all workers of a process know together of one provider's keys.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::KeySettings;
use crate::time::UnixTime;

/// The state of a provider's keys, as it stands in shared data.
///
/// Every transition returns the state that should replace this one. A worker acts on it only after
/// it has replaced the state that it started from by compare-and-swap: so at most one worker
/// fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyState {
    lease: Option<Lease>,
    /// Fetches that failed since the last that did not.
    failures: u32,
    /// No fetch before this time; set by failures.
    retry_at: UnixTime,
    /// When a fetch was last started because of an unknown kid.
    unknown_kid_fetch_at: Option<UnixTime>,
    discovered: Option<Discovered>,
    published: Option<Published>,
}

/// The right to fetch. It expires, so that a worker that died does not block the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lease {
    holder: u64,
    expires: UnixTime,
}

/// What discovery found, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Discovered {
    key_set_url: String,
    at: UnixTime,
}

/// The set that was published last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Published {
    /// Grows with each publication.
    pub version: u64,
    /// From then on the set is fetched anew.
    pub refresh_at: UnixTime,
    /// From then on the set is stale.
    pub expires: UnixTime,
}

/// Why keys should be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It is time: there is no set yet, or it is about to expire, or fetching failed before.
    Due,
    /// A token names a key that the set of this version does not hold.
    UnknownKid {
        /// Version of the set that was searched.
        searched: u64,
    },
}

impl Published {
    /// How long the set serves while no newer one can be fetched.
    pub(super) fn serves_until(&self, settings: &KeySettings) -> UnixTime {
        self.expires + settings.max_stale
    }
}

impl KeyState {
    /// How long a discovery document is trusted to name the right key set.
    const DISCOVERY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
    /// How long a lease outlives the time-out of the fetch.
    const LEASE_MARGIN: Duration = Duration::from_secs(2);
    const FIRST_RETRY: Duration = Duration::from_secs(1);
    const LONGEST_RETRY_WITHOUT_KEYS: Duration = Duration::from_secs(5);
    const LONGEST_RETRY_WITH_KEYS: Duration = Duration::from_secs(60);

    /// The state in which `holder` fetches because of `demand`, if there should be a fetch.
    #[must_use]
    pub(crate) fn claimed(
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
        next.lease = Some(Lease { holder, expires: now + settings.timeout + Self::LEASE_MARGIN });
        if let Demand::UnknownKid { .. } = demand {
            next.unknown_kid_fetch_at = Some(now);
        }
        Some(next)
    }

    /// The state after `holder` fetched a set that lives for `lifetime`; none when the lease is no
    /// longer its own, and so the answer too old to publish. `jitter` is any number.
    #[must_use]
    pub(crate) fn succeeded(
        &self,
        holder: u64,
        discovered: Option<String>,
        lifetime: Duration,
        settings: &KeySettings,
        jitter: u64,
        now: UnixTime,
    ) -> Option<(Self, Published)> {
        self.is_leased_to(holder).then_some(())?;
        // A set that lives for seconds only is not refreshed before half of its life has passed.
        let ahead = settings.refresh_ahead.min(lifetime / 2);
        let published = Published {
            version: now.as_millis().max(self.version().saturating_add(1)),
            refresh_at: now + (lifetime - ahead + fraction(ahead / 4, jitter)),
            expires: now + lifetime,
        };
        let next = Self {
            lease: None,
            failures: 0,
            retry_at: UnixTime::default(),
            unknown_kid_fetch_at: self.unknown_kid_fetch_at,
            discovered: discovered
                .map(|key_set_url| Discovered { key_set_url, at: now })
                .or_else(|| self.discovered.clone()),
            published: Some(published),
        };
        Some((next, published))
    }

    /// The state after the fetch of `holder` failed; none when the lease is no longer its own.
    /// `jitter` is any number.
    #[must_use]
    pub(crate) fn failed(
        &self,
        holder: u64,
        settings: &KeySettings,
        jitter: u64,
        now: UnixTime,
    ) -> Option<Self> {
        self.is_leased_to(holder).then_some(())?;
        let delay = Self::FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures));
        let retry_in = |longest: Duration| {
            let delay = delay.min(longest);
            delay - fraction(delay / 4, jitter)
        };
        let without_keys = retry_in(Self::LONGEST_RETRY_WITHOUT_KEYS);
        let retry_at = match self.published.map(|published| published.serves_until(settings)) {
            // From when on nothing serves any more, the shorter pauses count.
            Some(end) if now < end => {
                (now + retry_in(Self::LONGEST_RETRY_WITH_KEYS)).min(end + without_keys)
            }
            _ => now + without_keys,
        };
        Some(Self {
            lease: None,
            failures: self.failures.saturating_add(1),
            retry_at,
            // The key set may have moved.
            discovered: None,
            ..self.clone()
        })
    }

    /// True when a fetch for `demand` may start now.
    #[must_use]
    pub(crate) fn may_fetch(&self, demand: Demand, settings: &KeySettings, now: UnixTime) -> bool {
        if self.is_fetching(now) || now < self.retry_at {
            return false;
        }
        match demand {
            Demand::Due => {
                self.failures > 0
                    || self.published.is_none_or(|published| now >= published.refresh_at)
            }
            Demand::UnknownKid { searched } => {
                searched == self.version()
                    && self
                        .unknown_kid_fetch_at
                        .is_none_or(|at| now >= at + settings.refresh_cooldown)
            }
        }
    }

    /// True while some worker fetches.
    #[must_use]
    pub(crate) fn is_fetching(&self, now: UnixTime) -> bool {
        self.lease.as_ref().is_some_and(|lease| now < lease.expires)
    }

    /// True when the last fetch failed.
    #[must_use]
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// How long a refused client should wait before it tries again; at least a second.
    #[must_use]
    pub(crate) fn retry_after(&self, now: UnixTime) -> Duration {
        self.retry_at.since(now).max(Duration::from_secs(1))
    }

    /// The key set's URL, if discovery found one that is still believed.
    #[must_use]
    pub(crate) fn key_set_url(&self, now: UnixTime) -> Option<&str> {
        self.discovered
            .as_ref()
            .filter(|discovered| now < discovered.at + Self::DISCOVERY_LIFETIME)
            .map(|discovered| discovered.key_set_url.as_str())
    }

    /// The set that was published last.
    #[must_use]
    pub(crate) fn published(&self) -> Option<Published> {
        self.published
    }

    fn version(&self) -> u64 {
        self.published.map_or(0, |published| published.version)
    }

    fn is_leased_to(&self, holder: u64) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.holder == holder)
    }
}

/// A part of `whole` that `jitter` picks.
fn fraction(whole: Duration, jitter: u64) -> Duration {
    let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(jitter % millis.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: KeySettings = KeySettings {
        max_age: Duration::from_secs(600),
        refresh_ahead: Duration::from_secs(30),
        refresh_cooldown: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        max_stale: Duration::from_secs(60),
        max_body: 1024,
    };
    const ME: u64 = 1;
    const OTHER: u64 = 2;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(1_800_000_000 + seconds)
    }

    fn fetched(lifetime: u64, jitter: u64) -> KeyState {
        let claimed = KeyState::default().claimed(Demand::Due, ME, &SETTINGS, at(0)).unwrap();
        let lifetime = Duration::from_secs(lifetime);
        claimed.succeeded(ME, None, lifetime, &SETTINGS, jitter, at(0)).unwrap().0
    }

    fn unknown_kid(state: &KeyState) -> Demand {
        Demand::UnknownKid { searched: state.published().unwrap().version }
    }

    #[test]
    fn a_lease_keeps_others_out_until_it_expires() {
        let state = KeyState::default().claimed(Demand::Due, ME, &SETTINGS, at(0)).unwrap();
        let claim = |now| state.claimed(Demand::Due, OTHER, &SETTINGS, now);
        assert!(claim(at(6)).is_none());
        let taken = claim(at(7)).unwrap();
        assert!(taken.failed(ME, &SETTINGS, 0, at(8)).is_none());
        assert!(taken.succeeded(ME, None, SETTINGS.max_age, &SETTINGS, 0, at(8)).is_none());
        assert!(taken.failed(OTHER, &SETTINGS, 0, at(8)).is_some());
    }

    #[test]
    fn a_set_is_refreshed_ahead_of_its_expiry_whatever_the_jitter() {
        for jitter in [0, 1, 7_499, 7_500, u64::MAX] {
            let state = fetched(600, jitter);
            assert!(!state.may_fetch(Demand::Due, &SETTINGS, at(569)));
            assert!(state.may_fetch(Demand::Due, &SETTINGS, at(578)));
        }
    }

    #[test]
    fn a_set_of_a_short_life_lives_at_least_half_of_it() {
        let state = fetched(2, 0);
        assert!(!state.may_fetch(Demand::Due, &SETTINGS, at(0)));
        assert!(state.may_fetch(Demand::Due, &SETTINGS, at(1)));
    }

    #[test]
    fn unknown_kids_cause_one_fetch_in_a_cooldown() {
        let state = fetched(600, 0);
        let demand = unknown_kid(&state);
        let claimed = state.claimed(demand, ME, &SETTINGS, at(1)).unwrap();
        let lifetime = Duration::from_secs(600);
        let (state, published) =
            claimed.succeeded(ME, None, lifetime, &SETTINGS, 0, at(2)).unwrap();
        let demand = Demand::UnknownKid { searched: published.version };
        assert!(!state.may_fetch(demand, &SETTINGS, at(30)));
        assert!(state.may_fetch(demand, &SETTINGS, at(31)));
    }

    #[test]
    fn a_kid_that_was_searched_in_an_older_set_is_no_reason_to_fetch() {
        let state = fetched(600, 0);
        let searched = state.published().unwrap().version - 1;
        assert!(!state.may_fetch(Demand::UnknownKid { searched }, &SETTINGS, at(1)));
    }

    #[test]
    fn versions_grow_even_if_the_clock_goes_back() {
        let state = fetched(600, 0);
        let claimed = state.claimed(unknown_kid(&state), ME, &SETTINGS, at(0)).unwrap();
        let before = UnixTime::from_secs(1);
        let lifetime = Duration::from_secs(600);
        let (_, published) = claimed.succeeded(ME, None, lifetime, &SETTINGS, 0, before).unwrap();
        assert!(published.version > state.published().unwrap().version);
    }

    /// The pauses after failures one after the other, from this second on.
    fn pauses(mut state: KeyState, settings: &KeySettings, start: u64) -> Vec<u64> {
        let mut now = at(start);
        (0..9)
            .map(|_| {
                state = state.claimed(Demand::Due, ME, settings, now).unwrap();
                state = state.failed(ME, settings, 0, now).unwrap();
                let pause = state.retry_after(now);
                now = now + pause;
                pause.as_secs()
            })
            .collect()
    }

    #[test]
    fn pauses_after_failures_double_up_to_a_minute_while_an_old_set_serves() {
        let settings = KeySettings { max_stale: Duration::from_secs(86_400), ..SETTINGS };
        assert_eq!(pauses(fetched(600, 0), &settings, 570), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn pauses_after_failures_stay_short_while_no_set_serves() {
        assert_eq!(pauses(KeyState::default(), &SETTINGS, 0), [1, 2, 4, 5, 5, 5, 5, 5, 5]);
        // It serves until 660.
        assert_eq!(pauses(fetched(600, 0), &SETTINGS, 570), [1, 2, 4, 8, 16, 32, 32, 5, 5]);
    }

    #[test]
    fn what_discovery_found_is_believed_for_a_day() {
        let claimed = KeyState::default().claimed(Demand::Due, ME, &SETTINGS, at(0)).unwrap();
        let url = Some("https://id.example.com/jwks".to_owned());
        let (state, _) =
            claimed.succeeded(ME, url.clone(), SETTINGS.max_age, &SETTINGS, 0, at(0)).unwrap();
        assert_eq!(state.key_set_url(at(86_399)), url.as_deref());
        assert_eq!(state.key_set_url(at(86_400)), None);
    }
}
