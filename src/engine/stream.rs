//! The streams that are undecided or have a body: one map with the state of each.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::host::{CalloutId, StreamId};
use super::login::{AwaitedByLogin, JudgedToken, WaitingLogin};
use super::places::{Awaited, Places};
use super::request_body::{Head, RequestBody};
use crate::engine::authenticator::{HeldRequest, PlausibleRequest, SpendingRequest};
use crate::identity::UserKey;
use crate::time::UnixTime;

/// A stream that is undecided, or whose body may not be forwarded.
#[derive(Debug)]
pub(super) struct Stream {
    state: State,
    /// `None` while nothing depends on the body, which is held back at the client.
    pub body: Option<RequestBody>,
}

/// The state of a stream.
#[derive(Debug)]
pub(super) enum State {
    /// Waits to be judged.
    Waiting(Box<Waiting>),
    /// Its single-use token is being spent or looked up in the shared store.
    SingleUse(Box<SingleUse>),
    /// Its message must be read.
    Held(Box<HeldRequest>),
    /// It is a login that waits.
    Login(Box<WaitingLogin>),
    /// Decided. No part of its body is forwarded automatically.
    Decided,
}

/// A request that cannot be judged yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub request: PlausibleRequest,
    /// The token to issue once it is judged, if this is a login.
    pub issued: Option<Box<JudgedToken>>,
    pub need: WaitsFor,
    /// The request is refused at this time.
    pub deadline: UnixTime,
}

/// What a request needs before it can be judged.
#[derive(Debug)]
pub(super) enum WaitsFor {
    /// Keys of its provider.
    Keys,
    /// The record of this user.
    User(UserKey),
    /// Its turn to be verified with more keys.
    Turn,
}

/// A request whose token is looked up or spent in the store of a fleet.
#[derive(Debug)]
pub(super) struct SingleUse {
    pub claimant: Claimant,
    pub callout: CalloutId,
    /// The request is refused at this time.
    pub deadline: UnixTime,
}

/// A request that waits for its single-use token.
#[derive(Debug)]
pub(super) enum Claimant {
    /// The token is only looked up; next, the head is forwarded and the body judged.
    Held(Box<HeldRequest>),
    /// The token is spent.
    Spending(Box<SpendingRequest>),
}

/// What a stream waits for, for hosts that explain it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Awaits<'a> {
    /// Keys of its provider, or its turn.
    Verification,
    /// The record of this user.
    User(&'a UserKey),
    /// The store of a fleet.
    SingleUse,
    /// Its message.
    Message,
}

/// All undecided streams.
#[derive(Debug)]
pub(super) struct Streams {
    by_id: BTreeMap<StreamId, Stream>,
    places: Places,
    /// The number of streams by what they wait for.
    taken: BTreeMap<Awaited, usize>,
    /// The number of streams by deadline.
    deadlines: BTreeMap<UnixTime, usize>,
    /// Total size of the tokens of held requests in bytes.
    held_bytes: usize,
    /// The number of logins that wait.
    logins: usize,
    /// Those of them that wait for their bodies, by deadline.
    bodies: BTreeSet<(UnixTime, StreamId)>,
}

impl Stream {
    /// The request that is held until its message is judged.
    pub(super) fn held(&self) -> Option<&HeldRequest> {
        match &self.state {
            State::Held(request) => Some(request),
            _ => None,
        }
    }

    /// Whether its head is held back only for its body.
    fn is_held_head(&self) -> bool {
        let head = self.body.as_ref().map(|body| &body.head);
        self.held().is_some() && matches!(head, Some(Head::Held { .. }))
    }

    /// Whether it waits for anything other than its body.
    pub(super) fn waits(&self) -> bool {
        self.state.awaited().is_some()
    }

    /// What it waits for; `None` once it is decided.
    pub(super) fn awaits(&self) -> Option<Awaits<'_>> {
        match &self.state {
            State::Waiting(waiting) => Some(match &waiting.need {
                WaitsFor::Keys | WaitsFor::Turn => Awaits::Verification,
                WaitsFor::User(user) => Awaits::User(user),
            }),
            State::SingleUse(_) => Some(Awaits::SingleUse),
            State::Held(_) => Some(Awaits::Message),
            State::Login(_) | State::Decided => None,
        }
    }

    /// Its request to the store of a fleet.
    pub(super) fn single_use(&self) -> Option<&SingleUse> {
        match &self.state {
            State::SingleUse(single_use) => Some(single_use),
            _ => None,
        }
    }

    /// What it waits for before it is judged.
    pub(super) fn waiting(&self) -> Option<&Waiting> {
        match &self.state {
            State::Waiting(waiting) => Some(waiting),
            _ => None,
        }
    }
}

impl State {
    fn awaited(&self) -> Option<Awaited> {
        match self {
            Self::Waiting(waiting) => Some(match waiting.need {
                WaitsFor::Keys => Awaited::Keys(waiting.request.provider()),
                WaitsFor::User(_) => Awaited::User,
                WaitsFor::Turn => Awaited::Turn,
            }),
            Self::SingleUse(_) => Some(Awaited::SingleUse),
            Self::Held(_) | Self::Login(_) | Self::Decided => None,
        }
    }

    fn deadline(&self) -> Option<UnixTime> {
        match self {
            Self::Waiting(waiting) => Some(waiting.deadline),
            Self::SingleUse(single_use) => Some(single_use.deadline),
            Self::Login(login) => Some(login.deadline),
            Self::Held(_) | Self::Decided => None,
        }
    }

    /// The deadline for the body of a login.
    fn body_deadline(&self) -> Option<UnixTime> {
        match self {
            Self::Login(login) if matches!(login.awaited, AwaitedByLogin::Body(_)) => {
                Some(login.deadline)
            }
            _ => None,
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::Held(request) => request.token_length(),
            _ => 0,
        }
    }
}

impl Streams {
    /// Limit in bytes on the tokens of requests that are held until their messages arrive.
    const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

    /// No streams. `places` limits how many may wait.
    pub(super) fn new(places: Places) -> Self {
        Self {
            by_id: BTreeMap::new(),
            places,
            taken: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            held_bytes: 0,
            logins: 0,
            bodies: BTreeSet::new(),
        }
    }

    /// The stream with this id.
    pub(super) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.by_id.get(&id)
    }

    /// The body of a stream, if something depends on it.
    pub(super) fn body_mut(&mut self, id: StreamId) -> Option<&mut RequestBody> {
        self.by_id.get_mut(&id)?.body.as_mut()
    }

    /// The body of a stream, created with `new` if it was not tracked before.
    pub(super) fn follow_body(
        &mut self,
        id: StreamId,
        new: impl FnOnce() -> RequestBody,
    ) -> &mut RequestBody {
        let stream = self.by_id.entry(id).or_insert(Stream { state: State::Decided, body: None });
        stream.body.get_or_insert_with(new)
    }

    /// Sets the state of a stream.
    pub(super) fn set(&mut self, id: StreamId, state: State) {
        self.take(id);
        if let Some(awaited) = state.awaited() {
            *self.taken.entry(awaited).or_default() += 1;
        }
        if let Some(deadline) = state.deadline() {
            *self.deadlines.entry(deadline).or_default() += 1;
        }
        self.held_bytes = self.held_bytes.saturating_add(state.held_bytes());
        self.logins = self.logins.saturating_add(usize::from(matches!(state, State::Login(_))));
        self.bodies.extend(state.body_deadline().map(|deadline| (deadline, id)));
        match self.by_id.get_mut(&id) {
            Some(stream) => stream.state = state,
            None => {
                self.by_id.insert(id, Stream { state, body: None });
            }
        }
    }

    /// Removes the state of a stream, to decide on it.
    pub(super) fn take(&mut self, id: StreamId) -> Option<State> {
        let stream = self.by_id.get_mut(&id)?;
        let state = std::mem::replace(&mut stream.state, State::Decided);
        self.release(id, &state);
        Some(state)
    }

    /// Removes the request that a stream holds until its message is judged.
    pub(super) fn take_held(&mut self, id: StreamId) -> Option<Box<HeldRequest>> {
        self.get(id)?.held()?;
        match self.take(id)? {
            State::Held(request) => Some(request),
            _ => None,
        }
    }

    /// The login of a stream, if it waits.
    pub(super) fn login(&self, id: StreamId) -> Option<&WaitingLogin> {
        match &self.by_id.get(&id)?.state {
            State::Login(login) => Some(login),
            _ => None,
        }
    }

    /// Makes the login that has waited the longest for its body overdue, unless all of them are.
    pub(super) fn hasten_oldest_body(&mut self, now: UnixTime) {
        let mut timely = self.bodies.range((now, StreamId(u64::MAX))..);
        let Some((_, oldest)) = timely.next().copied() else { return };
        if let Some(awaited) = self.take_login(oldest) {
            let login = WaitingLogin { awaited, deadline: now };
            self.set(oldest, State::Login(Box::new(login)));
        }
    }

    /// The number of logins that wait for their bodies.
    pub(super) fn awaited_bodies(&self) -> usize {
        self.bodies.len()
    }

    /// The number of logins that wait for anything else.
    pub(super) fn other_logins(&self) -> usize {
        self.logins.saturating_sub(self.bodies.len())
    }

    /// Removes what the login of a stream waits for.
    pub(super) fn take_login(&mut self, id: StreamId) -> Option<AwaitedByLogin> {
        self.login(id)?;
        match self.take(id)? {
            State::Login(login) => Some(login.awaited),
            _ => None,
        }
    }

    /// The streams of logins that wait for something of this kind.
    pub(super) fn logins(&self, is_wanted: impl Fn(&AwaitedByLogin) -> bool) -> Vec<StreamId> {
        if !self.has_logins() {
            return Vec::new();
        }
        self.select(|stream| match &stream.state {
            State::Login(login) => is_wanted(&login.awaited),
            _ => false,
        })
    }

    /// Whether any login waits.
    pub(super) fn has_logins(&self) -> bool {
        self.logins > 0
    }

    /// Marks a stream as decided: it is kept only while its body must be held back or refused.
    pub(super) fn decide(&mut self, id: StreamId, goes_on: bool) {
        let Some(stream) = self.by_id.get(&id) else { return };
        let is_kept = match &stream.body {
            Some(body) => !goes_on || body.is_absent,
            None => false,
        };
        if is_kept {
            self.take(id);
        } else {
            self.remove(id);
        }
    }

    /// Removes a stream. Returns its state.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<State> {
        let stream = self.by_id.remove(&id)?;
        self.release(id, &stream.state);
        Some(stream.state)
    }

    /// Whether another request may wait for this.
    pub(super) fn has_room(&self, awaited: Awaited) -> bool {
        self.places.has_room(awaited, |awaited| self.taken(awaited))
    }

    /// Whether there is no room to hold another request with a token of this length.
    pub(super) fn is_full(&self, token_length: usize) -> bool {
        self.held_bytes.saturating_add(token_length) > Self::MAX_HELD_BYTES
    }

    /// How many streams wait for this.
    pub(super) fn taken(&self, awaited: Awaited) -> usize {
        self.taken.get(&awaited).copied().unwrap_or_default()
    }

    /// Whether any stream waits.
    pub(super) fn any_waits(&self) -> bool {
        self.taken.values().any(|count| *count > 0)
    }

    /// When the first of the streams that wait is refused.
    pub(super) fn first_deadline(&self) -> Option<UnixTime> {
        self.deadlines.keys().next().copied()
    }

    /// The streams that wait to be judged, in order of arrival.
    pub(super) fn waiting(&self) -> Vec<StreamId> {
        if !self.any_waits() {
            return Vec::new();
        }
        self.select(|stream| stream.waiting().is_some())
    }

    /// The streams whose single-use tokens are overdue.
    pub(super) fn late(&self, now: UnixTime) -> Vec<StreamId> {
        if self.taken(Awaited::SingleUse) == 0 {
            return Vec::new();
        }
        self.select(|stream| match &stream.state {
            State::SingleUse(single_use) => single_use.deadline <= now,
            _ => false,
        })
    }

    /// The streams whose heads are held back only for their bodies.
    pub(super) fn held_heads(&self) -> Vec<StreamId> {
        self.select(Stream::is_held_head)
    }

    /// Whether there are any such streams.
    pub(super) fn has_held_head(&self) -> bool {
        self.held_bytes > 0 && self.by_id.values().any(Stream::is_held_head)
    }

    fn select(&self, is_wanted: impl Fn(&Stream) -> bool) -> Vec<StreamId> {
        let wanted = self.by_id.iter().filter(|(_, stream)| is_wanted(stream));
        wanted.map(|(id, _)| *id).collect()
    }

    fn release(&mut self, id: StreamId, state: &State) {
        if let Some(taken) = state.awaited().and_then(|awaited| self.taken.get_mut(&awaited)) {
            *taken = taken.saturating_sub(1);
        }
        if let Some(Entry::Occupied(mut deadline)) =
            state.deadline().map(|deadline| self.deadlines.entry(deadline))
        {
            *deadline.get_mut() = deadline.get().saturating_sub(1);
            if *deadline.get() == 0 {
                deadline.remove();
            }
        }
        self.held_bytes = self.held_bytes.saturating_sub(state.held_bytes());
        self.logins = self.logins.saturating_sub(usize::from(matches!(state, State::Login(_))));
        if let Some(deadline) = state.body_deadline() {
            self.bodies.remove(&(deadline, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::login::Form;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn at(seconds: u64) -> UnixTime {
        NOW + Duration::from_secs(seconds)
    }

    fn body(deadline: UnixTime) -> State {
        let awaited = AwaitedByLogin::Body(Form::Token);
        State::Login(Box::new(WaitingLogin { awaited, deadline }))
    }

    #[test]
    fn the_login_that_has_waited_the_longest_for_its_body_becomes_overdue() {
        let mut streams = Streams::new(Places::new(4, 1, []));
        for (id, deadline) in [(1, at(9)), (2, at(8)), (3, at(8)), (4, at(7))] {
            streams.set(StreamId(id), body(deadline));
        }
        // Its body has come.
        streams.take_login(StreamId(4));
        let overdue = |streams: &Streams| {
            let ids = (1..=4).filter(|id| {
                streams.login(StreamId(*id)).is_some_and(|login| login.deadline <= NOW)
            });
            ids.collect::<Vec<_>>()
        };
        for expected in [vec![2], vec![2, 3], vec![1, 2, 3], vec![1, 2, 3]] {
            streams.hasten_oldest_body(NOW);
            assert_eq!(overdue(&streams), expected);
        }
        assert_eq!(streams.awaited_bodies(), 3);
    }

    #[test]
    fn nothing_is_kept_of_a_login_that_is_over() {
        let mut streams = Streams::new(Places::new(4, 1, []));
        for (id, deadline) in [(1, at(9)), (2, at(8)), (3, at(7))] {
            streams.set(StreamId(id), body(deadline));
        }
        streams.hasten_oldest_body(NOW);
        assert_eq!(streams.first_deadline(), Some(NOW));
        streams.take_login(StreamId(3));
        assert_eq!(streams.first_deadline(), Some(at(8)));
        streams.decide(StreamId(2), true);
        streams.remove(StreamId(1));
        streams.remove(StreamId(3));
        assert_eq!((streams.first_deadline(), streams.awaited_bodies()), (None, 0));
        assert_eq!((streams.has_logins(), streams.other_logins()), (false, 0));
        assert!(streams.by_id.is_empty());
    }
}
