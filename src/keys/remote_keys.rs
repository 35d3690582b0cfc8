//! One worker's side of the life of fetched keys: events and time in, effects out.
//!
//! The worker reads the state that all workers share, takes the lease when a fetch is due, runs the
//! [`Fetch`], and publishes the result. Between any two effects other workers may do the same; a
//! worker that was overtaken finds that its compare-and-swap failed, and stops.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::fetch::{Fetch, Fetched, Progress};
use super::shared::{SharedNames, decode_key_set, decode_state, encode_key_set, encode_state};
use super::state::{Demand, KeyState, Published};
use super::{
    FetchFailure, FetchFault, KeyLookup, KeySet, KeySetLookup, KeysUnavailable, NoKeys,
    RemoteSource,
};
use crate::callout::{CalloutResponse, Endpoint};
use crate::jose::{Algorithm, ProtectedHeader};
use crate::time::{UnixTime, seconds_to_wait};

/// The keys of one source in one worker: its copy of the published set, the shared state as last
/// seen, and the current task.
#[derive(Debug)]
pub(crate) struct RemoteKeys {
    source: RemoteSource,
    names: SharedNames,
    /// Identifies this worker's leases.
    worker: u64,
    jitter: Jitter,
    state: KeyState,
    /// The CAS value of `state`; `None` if there was no state, or if this worker has written one
    /// since.
    state_number: Option<u32>,
    held: Option<Held>,
    task: Task,
    /// The demand of a waiting request.
    wanted: Option<Demand>,
    /// Whether a fetch may start once the state has been read.
    may_act: bool,
    effects: VecDeque<Effect>,
    fault: Option<FetchFault>,
}

/// A key set and its publication.
#[derive(Debug)]
struct Held {
    set: KeySet,
    published: Published,
}

/// The current task.
#[derive(Debug)]
enum Task {
    Idle,
    /// Take the lease by writing this state.
    Claim(KeyState),
    /// A callout to this endpoint is in progress.
    Fetch(Fetch, Endpoint),
    /// Publish the fetched key set.
    Publish(Publication),
    /// Report to the other workers that a fetch failed.
    GiveUp(GivenUp),
}

#[derive(Debug)]
struct Publication {
    fetched: Box<Fetched>,
    url: String,
    /// The CAS value of the previous shared key set.
    key_set_number: Option<u32>,
    /// The new state, the CAS value of the one it replaces, and the published key set.
    next: Option<(KeyState, Option<u32>, Published)>,
}

#[derive(Debug)]
struct GivenUp {
    fault: FetchFault,
    /// The URL of the last callout.
    url: String,
    /// The new state.
    next: Option<KeyState>,
}

/// An input.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A request is about to look up keys.
    Request,
    /// Time has passed, and callouts are possible.
    Tick,
    /// The requested shared state and its CAS value.
    StateRead(Option<Vec<u8>>, Option<u32>),
    /// Whether the shared state was replaced.
    StateReplaced(bool),
    /// The requested shared key set and its CAS value.
    KeySetRead(Option<Vec<u8>>, Option<u32>),
    /// Whether the shared key set was replaced.
    KeySetReplaced(bool),
    /// Whether the callout was started. If not, there will be no response.
    CalloutStarted(bool),
    /// The response to the callout; `None` if there was none.
    CalloutEnded(Option<CalloutResponse>),
}

/// An output. Each except a report is followed by the event of the same name.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Read the shared state.
    ReadState,
    /// Replace the shared state if its CAS value is still this one, or if there is none for `None`.
    ReplaceState(Vec<u8>, Option<u32>),
    /// Read the shared key set.
    ReadKeySet,
    /// Replace the shared key set if its CAS value is still this one, or if there is none for
    /// `None`.
    ReplaceKeySet(Vec<u8>, Option<u32>),
    /// Call this endpoint, and wait for the response until then.
    Callout(Endpoint, UnixTime),
    /// Report to the operator.
    Report(FetchReport),
}

/// An event for the operator.
#[derive(Clone, Debug)]
pub(crate) enum FetchReport {
    /// Keys were fetched.
    Fetched {
        /// The `kid` values of the first 20 keys.
        kids: Vec<String>,
        /// The URL of the last callout.
        url: String,
        /// How long they may be used.
        lifetime: Duration,
        /// How many elements of the document were not JWKs.
        dropped: usize,
    },
    /// A fetch failed.
    Failed {
        fault: FetchFault,
        /// The URL of the last callout.
        url: String,
        /// Time until the next attempt.
        retry_after: Duration,
    },
    /// The metadata could not be read, so the key set was fetched from the last known URL.
    MetadataFailed(FetchFault),
}

impl RemoteKeys {
    /// Media types of the documents that are fetched.
    pub(crate) const ACCEPT: &'static str = "application/json, application/jwk-set+json";

    /// No keys yet. `seed` must differ between workers.
    #[must_use]
    pub(crate) fn new(source: RemoteSource, seed: u64) -> Self {
        Self {
            names: SharedNames::new(&source),
            source,
            worker: seed,
            jitter: Jitter(seed),
            state: KeyState::default(),
            state_number: None,
            held: None,
            task: Task::Idle,
            wanted: None,
            may_act: false,
            effects: VecDeque::new(),
            fault: None,
        }
    }

    /// Takes an event. Afterwards there may be effects.
    pub(crate) fn handle(&mut self, event: Event, now: UnixTime) {
        match event {
            Event::Request => {
                self.may_act = false;
                self.effects.push_back(Effect::ReadState);
            }
            Event::Tick => {
                self.may_act = true;
                self.effects.push_back(Effect::ReadState);
            }
            Event::StateRead(bytes, number) => self.on_state(bytes.as_deref(), number, now),
            Event::StateReplaced(is_done) => self.on_state_replaced(is_done, now),
            Event::KeySetRead(bytes, number) => self.on_key_set(bytes.as_deref(), number, now),
            Event::KeySetReplaced(is_done) => self.on_key_set_replaced(is_done),
            Event::CalloutStarted(is_done) => self.on_callout_started(is_done, now),
            Event::CalloutEnded(response) => self.on_response(response, now),
        }
    }

    /// The next output, if any.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Records that a request waits for this.
    pub(crate) fn want(&mut self, demand: Demand) {
        self.wanted = Some(demand);
    }

    /// When the next [`Event::Tick`] is needed, unless something else happens before.
    #[must_use]
    pub(crate) fn next_tick(&self, now: UnixTime) -> UnixTime {
        let wanted = self.wanted.filter(|demand| self.may_fetch(*demand, now));
        wanted.map_or_else(|| self.state.next_due(&self.source.settings, now), |_| now)
    }

    /// Why this worker's last fetch failed, if it did.
    #[must_use]
    pub(crate) fn fault(&self) -> Option<&FetchFault> {
        self.fault.as_ref()
    }

    /// The current set and its age.
    #[must_use]
    pub(crate) fn held(&self, now: UnixTime) -> Option<(&KeySet, Duration)> {
        self.held.as_ref().map(|held| (&held.set, held.published.age(now)))
    }

    /// The names of the shared values in the effects.
    #[must_use]
    pub(crate) fn names(&self) -> &SharedNames {
        &self.names
    }

    /// Where the keys come from.
    #[must_use]
    pub(crate) fn source(&self) -> &RemoteSource {
        &self.source
    }

    /// Finds the keys for a token with this header.
    #[must_use]
    pub(super) fn find(
        &self,
        header: &ProtectedHeader,
        algorithm: Algorithm,
        now: UnixTime,
    ) -> KeyLookup<'_> {
        let Some(held) = self.serving(now) else {
            return self.without_keys(now);
        };
        match held.set.find(header, algorithm) {
            KeySetLookup::Candidates(candidates) => {
                KeyLookup::Candidates(candidates, held.published.into())
            }
            KeySetLookup::KeyMismatch(mismatch) => KeyLookup::KeyMismatch(mismatch),
            KeySetLookup::NotFound => match self.newer_keys(now) {
                Some(demand) => KeyLookup::Await(demand),
                None if self.state.is_failing() => KeyLookup::Unavailable(self.unavailability(now)),
                // The source was fetched successfully not long ago, so it has no such key.
                None => KeyLookup::Unknown(&held.set),
            },
        }
    }

    /// The version of the key set in use; `None` if there is none.
    #[must_use]
    pub(super) fn serving_version(&self, now: UnixTime) -> Option<Published> {
        self.serving(now).map(|held| held.published)
    }

    /// What to wait for when none of the current keys verifies a token: a fetch that is in progress
    /// or may start because of it.
    #[must_use]
    pub(super) fn newer_keys(&self, now: UnixTime) -> Option<Demand> {
        let searched = self.held.as_ref()?.published.version;
        self.awaitable(&[Demand::UnknownKey { searched }, Demand::Due], now)
    }

    /// The same for a token that the provider issued a moment ago.
    #[must_use]
    pub(super) fn issued_key(&self, now: UnixTime) -> Option<Demand> {
        let searched = self.held.as_ref()?.published.version;
        self.awaitable(&[Demand::IssuedKey { searched }], now)
    }

    /// `Some` if a newer key set, which was not fetched, may verify an issued token that no current
    /// key does. `sought`: what it has waited for already.
    #[must_use]
    pub(super) fn newer_keys_missed(
        &self,
        sought: Option<Demand>,
        now: UnixTime,
    ) -> Option<KeysUnavailable> {
        let is_unchanged =
            |searched| self.held.as_ref().is_some_and(|held| held.published.version == searched);
        let is_missed = match sought {
            Some(Demand::IssuedKey { searched }) => is_unchanged(searched),
            _ => self.state.is_failing() || self.issued_key(now).is_some(),
        };
        is_missed.then(|| self.unavailability(now))
    }

    /// Why no keys are available, if there are none and the last fetch failed.
    #[must_use]
    pub(super) fn outage(&self, now: UnixTime) -> Option<KeysUnavailable> {
        let is_down = self.serving(now).is_none() && self.state.is_failing();
        is_down.then(|| self.unavailability(now))
    }

    /// What a token that matches none of the keys can wait for, if there are any.
    #[must_use]
    pub(super) fn awaited(&self, now: UnixTime) -> Option<Demand> {
        match self.serving(now) {
            Some(_) => self.newer_keys(now),
            None => self.first_keys(now),
        }
    }

    /// Why no keys are available, if there are none that verify the token.
    #[must_use]
    pub(super) fn unavailability(&self, now: UnixTime) -> KeysUnavailable {
        let why = match (self.state.last_failure(), &self.held) {
            (Some(failure), _) => NoKeys::FetchFailed(failure.clone()),
            (None, Some(_)) => NoKeys::NewerNotFetched,
            (None, None) => NoKeys::NotFetchedYet,
        };
        KeysUnavailable { retry_after: self.state.retry_after(now), why }
    }

    /// The key set that may verify tokens: never one that was replaced, even if its replacement
    /// cannot be read.
    fn serving(&self, now: UnixTime) -> Option<&Held> {
        self.held.as_ref().filter(|held| {
            let is_current = |newest: Published| newest.version == held.published.version;
            held.published.serves(&self.source.settings, now)
                && self.state.published().is_none_or(is_current)
        })
    }

    fn without_keys(&self, now: UnixTime) -> KeyLookup<'_> {
        match self.first_keys(now) {
            Some(demand) => KeyLookup::Await(demand),
            None => KeyLookup::Unavailable(self.unavailability(now)),
        }
    }

    /// What to wait for when there are no keys.
    fn first_keys(&self, now: UnixTime) -> Option<Demand> {
        // A published set that could not be read is fetched again, after the cooldown.
        let demand = match self.state.published() {
            Some(unread) if unread.serves(&self.source.settings, now) => {
                Demand::UnknownKey { searched: unread.version }
            }
            _ => Demand::Due,
        };
        self.awaitable(&[demand], now)
    }

    /// The first of these demands for which a fetch may start; any of them while a fetch is
    /// running.
    fn awaitable(&self, demands: &[Demand], now: UnixTime) -> Option<Demand> {
        let is_fetching = self.state.is_fetching(&self.source.settings, now);
        demands.iter().copied().find(|demand| is_fetching || self.may_fetch(*demand, now))
    }

    fn may_fetch(&self, demand: Demand, now: UnixTime) -> bool {
        self.state.may_fetch(demand, &self.source.settings, now)
    }

    fn on_state(&mut self, bytes: Option<&[u8]>, number: Option<u32>, now: UnixTime) {
        if number.is_none() || number != self.state_number {
            self.state = bytes.and_then(decode_state).unwrap_or_default();
            self.state_number = number;
            let newest = self.state.published().map(|published| published.version);
            let held = self.held.as_ref().map(|held| held.published.version);
            if newest.is_some() && newest != held && !matches!(self.task, Task::Publish(_)) {
                self.effects.push_back(Effect::ReadKeySet);
                return;
            }
        }
        self.proceed(number, now);
    }

    fn on_key_set(&mut self, bytes: Option<&[u8]>, number: Option<u32>, now: UnixTime) {
        if let Task::Publish(publication) = &mut self.task {
            // The lease is checked after this: a worker that loses it later cannot overwrite what
            // its successor publishes.
            publication.key_set_number = number;
            self.effects.push_back(Effect::ReadState);
            return;
        }
        if let (Some(published), Some(bytes)) = (self.state.published(), bytes) {
            let set = decode_key_set(published.version, bytes, self.source.settings.max_body);
            self.held = set.map(|set| Held { set, published }).or_else(|| self.held.take());
        }
        self.proceed(self.state_number, now);
    }

    /// Continues the task with the state read under this CAS value.
    fn proceed(&mut self, number: Option<u32>, now: UnixTime) {
        let settings = &self.source.settings;
        match &mut self.task {
            Task::Publish(publication) => {
                let Fetched { discovered, stated_lifetime, document, .. } = &*publication.fetched;
                let (discovered, jitter) = (discovered.as_deref(), self.jitter.next());
                let next =
                    self.state.succeeded(self.worker, discovered, *stated_lifetime, jitter, now);
                if let Some((next, published)) = next {
                    // The set first: a worker that sees the state can read the set that it names.
                    let bytes = encode_key_set(published.version, document);
                    let key_set_number = publication.key_set_number;
                    publication.next = Some((next, number, published));
                    self.effects.push_back(Effect::ReplaceKeySet(bytes, key_set_number));
                } else {
                    self.yield_to_successor();
                }
            }
            Task::GiveUp(given_up) => {
                let jitter = self.jitter.next();
                let why = FetchFailure::new(&given_up.url, &given_up.fault);
                given_up.next = self.state.failed(self.worker, why, settings, jitter, now);
                if let Some(next) = &given_up.next {
                    self.effects.push_back(Effect::ReplaceState(encode_state(next), number));
                } else {
                    self.yield_to_successor();
                }
            }
            Task::Idle | Task::Claim(_) | Task::Fetch(..) => self.claim(number, now),
        }
    }

    /// Tries to take the lease, if a fetch is due or demanded.
    fn claim(&mut self, number: Option<u32>, now: UnixTime) {
        if !std::mem::take(&mut self.may_act) {
            return;
        }
        let demands = [Some(Demand::Due), self.wanted.take()];
        let claimed = demands
            .into_iter()
            .flatten()
            .find_map(|demand| self.state.claimed(demand, self.worker, &self.source.settings, now));
        if let Some(claimed) = claimed {
            self.effects.push_back(Effect::ReplaceState(encode_state(&claimed), number));
            // A fetch that was still in progress has lost its lease.
            self.task = Task::Claim(claimed);
        }
    }

    /// Another worker has taken over the lease: its response will be newer.
    fn yield_to_successor(&mut self) {
        self.task = Task::Idle;
        // Forces a read of the set that was published meanwhile.
        self.state_number = None;
    }

    fn on_key_set_replaced(&mut self, is_done: bool) {
        match &self.task {
            Task::Publish(Publication { next: Some((state, number, _)), .. }) if is_done => {
                self.effects.push_back(Effect::ReplaceState(encode_state(state), *number));
            }
            _ => self.yield_to_successor(),
        }
    }

    /// A failed compare-and-swap means that another worker was faster or took over the lease.
    fn on_state_replaced(&mut self, is_done: bool, now: UnixTime) {
        if !is_done {
            return self.yield_to_successor();
        }
        self.state_number = None;
        match std::mem::replace(&mut self.task, Task::Idle) {
            Task::Claim(claimed) => {
                self.state = claimed;
                let (fetch, progress) = Fetch::start(&self.source, &self.state, now);
                self.advance(fetch, progress);
            }
            Task::Publish(Publication {
                fetched, url, next: Some((next, _, published)), ..
            }) => {
                self.state = next;
                let Fetched { key_set, metadata_fault, .. } = *fetched;
                if let Some(fault) = metadata_fault {
                    self.report(FetchReport::MetadataFailed(fault));
                }
                self.report(FetchReport::Fetched {
                    kids: key_set.kids().take(20).map(str::to_owned).collect(),
                    url,
                    lifetime: published.lifetime(&self.source.settings),
                    dropped: key_set.dropped(),
                });
                self.held = Some(Held { set: key_set, published });
                self.fault = None;
            }
            Task::GiveUp(GivenUp { fault, url, next: Some(next) }) => {
                self.state = next;
                let retry_after = self.state.retry_after(now);
                self.fault = Some(fault.clone());
                self.report(FetchReport::Failed { fault, url, retry_after });
            }
            task => self.task = task,
        }
    }

    fn on_callout_started(&mut self, is_done: bool, now: UnixTime) {
        match std::mem::replace(&mut self.task, Task::Idle) {
            Task::Fetch(mut fetch, endpoint) if !is_done => {
                let progress = fetch.callout_refused(&endpoint, &self.source, now);
                self.advance(fetch, progress);
            }
            task => self.task = task,
        }
    }

    fn on_response(&mut self, response: Option<CalloutResponse>, now: UnixTime) {
        match std::mem::replace(&mut self.task, Task::Idle) {
            Task::Fetch(mut fetch, _) => {
                let progress = fetch.on_response(response, &self.source, now);
                self.advance(fetch, progress);
            }
            task => self.task = task,
        }
    }

    fn advance(&mut self, fetch: Fetch, progress: Progress) {
        let url = fetch.url().to_owned();
        match progress {
            Progress::Callout(endpoint, deadline) => {
                self.effects.push_back(Effect::Callout(endpoint.clone(), deadline));
                self.task = Task::Fetch(fetch, endpoint);
            }
            Progress::Done(fetched) => {
                let publication = Publication { fetched, url, key_set_number: None, next: None };
                self.task = Task::Publish(publication);
                self.effects.push_back(Effect::ReadKeySet);
            }
            Progress::Failed(fault) => {
                self.task = Task::GiveUp(GivenUp { fault, url, next: None });
                self.effects.push_back(Effect::ReadState);
            }
        }
    }

    fn report(&mut self, report: FetchReport) {
        self.effects.push_back(Effect::Report(report));
    }
}

impl FetchReport {
    /// Whether the fetch that ended returned keys; `None` if no fetch ended.
    #[must_use]
    pub(crate) fn fetch_succeeded(&self) -> Option<bool> {
        match self {
            Self::Fetched { .. } => Some(true),
            Self::Failed { .. } => Some(false),
            Self::MetadataFailed(_) => None,
        }
    }

    /// True if an operator should investigate it.
    #[must_use]
    pub(crate) fn is_fault(&self) -> bool {
        !matches!(self, Self::Fetched { .. })
    }
}

impl fmt::Display for FetchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetched { kids, url, lifetime, dropped } => write!(
                f,
                "fetched keys {kids:?} from {url}, valid for {} s ({dropped} dropped)",
                lifetime.as_secs(),
            ),
            Self::Failed { fault, url, retry_after } => write!(
                f,
                "fetching keys from {url} failed: {fault}; retrying in {} s",
                seconds_to_wait(*retry_after)
            ),
            Self::MetadataFailed(fault) => {
                write!(f, "discovery failed, using the last known jwks_uri: {fault}")
            }
        }
    }
}

/// Numbers that spread the work of many processes over time; not secret (SplitMix64).
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
