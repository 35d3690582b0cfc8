//! One worker's side of the life of fetched keys: events and the time in, effects out.
//!
//! The worker reads the state that all workers share, takes the lease when a fetch is due, walks
//! through the [`Fetch`], and publishes what it brought. Between any two effects other workers may
//! do the same; whoever was overtaken finds that its compare-and-swap failed, and gives way.

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

/// The keys of one source as one worker holds them: its copy of the published set, the state that
/// the workers share as it last saw it, and what it is doing about them.
#[derive(Debug)]
pub(crate) struct RemoteKeys {
    source: RemoteSource,
    names: SharedNames,
    /// Tells this worker's leases from those of others.
    worker: u64,
    jitter: Jitter,
    state: KeyState,
    /// The number under which `state` was read; none when there was no state, or when this worker
    /// has written one since.
    state_number: Option<u32>,
    held: Option<Held>,
    task: Task,
    /// What a request waits for.
    wanted: Option<Demand>,
    /// Whether a fetch may be started once the state has been read.
    may_act: bool,
    effects: VecDeque<Effect>,
    fault: Option<FetchFault>,
}

/// A set with what is known of its publication.
#[derive(Debug)]
struct Held {
    set: KeySet,
    published: Published,
}

/// What the worker is in the middle of.
#[derive(Debug)]
enum Task {
    Idle,
    /// To become the one who fetches, by this state.
    Claim(KeyState),
    /// A call is under way, to this endpoint.
    Fetch(Fetch, Endpoint),
    /// To publish what was fetched.
    Publish(Publication),
    /// To let the others know that a fetch failed.
    GiveUp(GivenUp),
}

#[derive(Debug)]
struct Publication {
    fetched: Box<Fetched>,
    url: String,
    /// The number of the shared key set before.
    key_set_number: Option<u32>,
    /// The state that will say so, the number of the one that it replaces, and what it publishes.
    next: Option<(KeyState, Option<u32>, Published)>,
}

#[derive(Debug)]
struct GivenUp {
    fault: FetchFault,
    /// What was called last.
    url: String,
    /// The state that will say so.
    next: Option<KeyState>,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A request is about to ask for keys.
    Request,
    /// Time has passed, and calls can be made.
    Tick,
    /// The shared state's value and its number, as they were asked for.
    StateRead(Option<Vec<u8>>, Option<u32>),
    /// Whether the shared state was replaced.
    StateReplaced(bool),
    /// The shared key set's value and its number, as they were asked for.
    KeySetRead(Option<Vec<u8>>, Option<u32>),
    /// Whether the shared key set was replaced.
    KeySetReplaced(bool),
    /// Whether the call was made. If it was not, there will be no answer.
    CalloutStarted(bool),
    /// The answer to the call that was made; none when there was no answer.
    CalloutEnded(Option<CalloutResponse>),
}

/// What is to be done. Each but a report is answered by the event of its name.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Read the shared state.
    ReadState,
    /// Replace the shared state, if its number is still this one; with no number, if there is none.
    ReplaceState(Vec<u8>, Option<u32>),
    /// Read the shared key set.
    ReadKeySet,
    /// Replace the shared key set, if its number is still this one; with no number, if there is
    /// none.
    ReplaceKeySet(Vec<u8>, Option<u32>),
    /// Call this endpoint, and wait for the answer until then.
    Callout(Endpoint, UnixTime),
    /// Tell the operator.
    Report(FetchReport),
}

/// What an operator may want to know.
#[derive(Clone, Debug)]
pub(crate) enum FetchReport {
    /// Keys were fetched.
    Fetched {
        /// Names of the first of them.
        kids: Vec<String>,
        /// From where.
        url: String,
        /// How long they may be used.
        lifetime: Duration,
        /// How many elements of the document were no JWK.
        dropped: usize,
    },
    /// A fetch failed.
    Failed {
        fault: FetchFault,
        /// What was called last.
        url: String,
        /// How long until the next attempt.
        retry_after: Duration,
    },
    /// The metadata could not be read, and the key set was fetched from where it was before.
    MetadataFailed(FetchFault),
}

impl RemoteKeys {
    /// Media types of the documents that are fetched.
    pub(crate) const ACCEPT: &'static str = "application/json, application/jwk-set+json";

    /// Nothing yet. `seed` must differ between workers.
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

    /// Takes in what happened. Afterwards there may be effects.
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

    /// What is to be done next.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// A request waits for this.
    pub(crate) fn want(&mut self, demand: Demand) {
        self.wanted = Some(demand);
    }

    /// When the next [`Event::Tick`] will be of use, if nothing happens before.
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

    /// The set that is held, and how long ago it was fetched.
    #[must_use]
    pub(crate) fn held(&self, now: UnixTime) -> Option<(&KeySet, Duration)> {
        self.held.as_ref().map(|held| (&held.set, held.published.age(now)))
    }

    /// The names of the shared values that the effects read and replace.
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
                // The source answered well not long ago: then there is no such key.
                None => KeyLookup::Unknown(&held.set),
            },
        }
    }

    /// The set by which tokens are judged now; none if there is none.
    #[must_use]
    pub(super) fn serving_version(&self, now: UnixTime) -> Option<Published> {
        self.serving(now).map(|held| held.published)
    }

    /// What to wait for when none of the keys that are held serves a token: a fetch that is under
    /// way, or that may be started because of it.
    #[must_use]
    pub(super) fn newer_keys(&self, now: UnixTime) -> Option<Demand> {
        let searched = self.held.as_ref()?.published.version;
        self.awaitable(&[Demand::UnknownKey { searched }, Demand::Due], now)
    }

    /// What a token can wait for that none of the keys serves, if there are any.
    #[must_use]
    pub(super) fn awaited(&self, now: UnixTime) -> Option<Demand> {
        match self.serving(now) {
            Some(_) => self.newer_keys(now),
            None => self.first_keys(now),
        }
    }

    /// Why there are no keys, if there are none.
    #[must_use]
    pub(super) fn unavailability(&self, now: UnixTime) -> KeysUnavailable {
        let failure = self.state.last_failure().cloned();
        let why = failure.map_or(NoKeys::NotFetchedYet, NoKeys::FetchFailed);
        KeysUnavailable { retry_after: self.state.retry_after(now), why }
    }

    /// The set by which tokens are judged: never one that was replaced, even if its replacement
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
        // A published set that could not be read is fetched anew, within the cool-down.
        let demand = match self.state.published() {
            Some(unread) if unread.serves(&self.source.settings, now) => {
                Demand::UnknownKey { searched: unread.version }
            }
            _ => Demand::Due,
        };
        self.awaitable(&[demand], now)
    }

    /// The first of these demands for which a fetch may start; any while one is under way.
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
            // The lease is looked at after this: who loses it later cannot overwrite what its
            // successor publishes.
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

    /// Goes on, now that the state is known that stands under this number.
    fn proceed(&mut self, number: Option<u32>, now: UnixTime) {
        let settings = &self.source.settings;
        match &mut self.task {
            Task::Publish(publication) => {
                let Fetched { discovered, stated_lifetime, document, .. } = &*publication.fetched;
                let (discovered, jitter) = (discovered.as_deref(), self.jitter.next());
                let next =
                    self.state.succeeded(self.worker, discovered, *stated_lifetime, jitter, now);
                if let Some((next, published)) = next {
                    // The set first: who sees the state can read the set that it names.
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

    /// Tries to become the one who fetches, if there should be a fetch.
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
            // A fetch that was still under way has lost its lease by now.
            self.task = Task::Claim(claimed);
        }
    }

    /// Another worker has taken the lease over: its answer will be the newer one.
    fn yield_to_successor(&mut self) {
        self.task = Task::Idle;
        // So that the set that was published meanwhile is read.
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

    /// A compare-and-swap that fails means that another worker was faster, or took the lease over.
    fn on_state_replaced(&mut self, is_done: bool, now: UnixTime) {
        if !is_done {
            return self.yield_to_successor();
        }
        self.state_number = None;
        match std::mem::replace(&mut self.task, Task::Idle) {
            Task::Claim(claimed) => {
                self.state = claimed;
                let (fetch, progress) = Fetch::start(&self.source, &self.state, now);
                self.go_on(fetch, progress);
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
                self.go_on(fetch, progress);
            }
            task => self.task = task,
        }
    }

    fn on_response(&mut self, response: Option<CalloutResponse>, now: UnixTime) {
        match std::mem::replace(&mut self.task, Task::Idle) {
            Task::Fetch(mut fetch, _) => {
                let progress = fetch.on_response(response, &self.source, now);
                self.go_on(fetch, progress);
            }
            task => self.task = task,
        }
    }

    fn go_on(&mut self, fetch: Fetch, progress: Progress) {
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
    /// Whether the fetch that is over brought keys; none when none is over.
    #[must_use]
    pub(crate) fn fetch_succeeded(&self) -> Option<bool> {
        match self {
            Self::Fetched { .. } => Some(true),
            Self::Failed { .. } => Some(false),
            Self::MetadataFailed(_) => None,
        }
    }

    /// True when somebody should look after it.
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

/// Numbers that spread what many processes do; anything but secret (SplitMix64).
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
