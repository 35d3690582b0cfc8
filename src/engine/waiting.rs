//! Requests that wait for keys, for a user's record, or for their turn.

use std::time::Duration;

use super::Engine;
use super::host::{Host, Part, StreamId};
use super::login::JudgedToken;
use super::places::Awaited;
use super::request_body::BodyDelivery;
use super::stream::{State, Waiting, WaitsFor};
use crate::engine::authenticator::{Decision, Judgement, Need, PlausibleRequest};
use crate::identity::{ScimLookups, ScimSettings};
use crate::keys::ProviderKeys;
use crate::time::UnixTime;

impl<H: Host> Engine<H> {
    /// Tick period while no request waits for keys.
    const IDLE: Duration = Duration::from_secs(1);
    /// Tick period while one does and the host announces no keys: another worker may publish them.
    const BUSY: Duration = Duration::from_millis(20);
    /// Shortest tick period: there is work that only a tick can do.
    pub(super) const AT_ONCE: Duration = Duration::from_millis(1);
    /// Limit on the cost of deciding on waiting requests per tick: at least 1 for each, plus the
    /// cost of verifying its token.
    const BATCH: u64 = 64;
    /// Longest time that a request waits for its turn.
    const MAX_TURN: Duration = Duration::from_secs(7);

    /// Lets a new request wait. Returns the decision if there is no room.
    pub(super) fn wait_for(
        &mut self,
        stream: StreamId,
        request: PlausibleRequest,
        need: Need,
        now: UnixTime,
    ) -> Option<Decision> {
        if !self.streams.has_room(awaited(&request, &need)) {
            return Some(self.authenticator.give_up(request, need, self.view(), now));
        }
        let deadline = now + self.max_wait(&request, &need);
        self.let_wait(stream, request, need, None, deadline, now);
        self.set_pace(now);
        None
    }

    /// Decides again on waiting requests, and sets the tick period. Not on all of them at once:
    /// verifying all their signatures would delay other requests.
    pub(super) fn serve_waiting(&mut self, now: UnixTime) {
        self.budget.set_closed(false);
        let mut cost = 0;
        let mut is_over = true;
        for stream in self.streams.waiting() {
            if self.keeps_waiting(stream, now) {
                continue;
            }
            if cost >= Self::BATCH {
                is_over = false;
                break;
            }
            let before = self.budget.spent();
            self.serve(stream, now);
            cost += self.budget.spent().saturating_sub(before).max(1);
        }
        // Requests that wait for their turn take precedence over new ones.
        self.budget.set_closed(self.streams.taken(Awaited::Turn) > 0);
        if is_over {
            self.set_pace(now);
        } else {
            self.tick_every(Self::AT_ONCE);
        }
    }

    /// Decides on a waiting request as if its time had passed.
    pub(crate) fn expire(&mut self, stream: StreamId) {
        let Some(now) = self.host.now() else { return };
        if self.streams.get(stream).is_none_or(|stream| stream.waiting().is_none()) {
            return;
        }
        if let Some(State::Waiting(mut waiting)) = self.streams.take(stream) {
            waiting.deadline = now;
            self.streams.set(stream, State::Waiting(waiting));
            self.serve(stream, now);
        }
    }

    /// Sets the tick period by the work that remains.
    pub(super) fn set_pace(&mut self, now: UnixTime) {
        let has_callouts = self.users.as_ref().is_some_and(ScimLookups::has_callouts);
        let looks_after_heads = match self.delivery {
            BodyDelivery::Unknown => self.streams.has_held_head() || self.streams.has_logins(),
            BodyDelivery::OnTrial(_) => true,
            BodyDelivery::WithHeldHead | BodyDelivery::AfterHead => false,
        };
        let looks_after_heads = looks_after_heads || self.responses.trials.are_open();
        let has_overdue = self.logins.as_ref().is_some_and(|logins| logins.has_overdue);
        let longest = if has_callouts || has_overdue {
            Self::AT_ONCE
        } else if looks_after_heads {
            Self::BUSY
        } else if self.streams.any_waits() {
            self.waiting_period(now)
        } else {
            Self::IDLE
        };
        let due = match self.host.part() {
            Part::All => {
                let remote = self.keys.values().filter_map(ProviderKeys::remote);
                remote.map(|keys| keys.next_tick(now).since(now)).min()
            }
            Part::Requests => None,
        };
        self.tick_every(due.map_or(longest, |due| due.clamp(Self::AT_ONCE, longest)));
    }

    /// Whether a tick may find something to do for a stream, or a callout to make.
    pub fn needs_ticks(&self) -> bool {
        self.streams.any_waits()
            || self.streams.has_logins()
            || !self.ended.is_empty()
            || self.users.as_ref().is_some_and(ScimLookups::has_callouts)
    }

    /// Tick period while requests wait. A host that announces keys calls the engine whenever
    /// something changes for them; then ticks are needed only for deadlines, for demands that were
    /// lost, and for turns, which come with time.
    fn waiting_period(&self, now: UnixTime) -> Duration {
        if self.host.key_announcements().is_none() || self.streams.taken(Awaited::Turn) > 0 {
            return Self::BUSY;
        }
        let first = self.streams.first_deadline();
        first.map_or(Self::IDLE, |first| first.since(now).clamp(Self::AT_ONCE, Self::IDLE))
    }

    pub(super) fn tick_every(&mut self, period: Duration) {
        if self.tick_period != Some(period) && self.host.tick_every(period) {
            self.tick_period = Some(period);
        }
    }

    /// Lets a request wait, and requests what it needs.
    pub(super) fn let_wait(
        &mut self,
        stream: StreamId,
        request: PlausibleRequest,
        need: Need,
        issued: Option<Box<JudgedToken>>,
        deadline: UnixTime,
        now: UnixTime,
    ) {
        let need = match need {
            Need::Keys(demand) => {
                self.want_keys(request.provider(), demand, now);
                WaitsFor::Keys
            }
            Need::User(query) => {
                let key = query.key.clone();
                if let Some(users) = &mut self.users {
                    users.want(*query);
                }
                WaitsFor::User(key)
            }
            Need::Turn => WaitsFor::Turn,
        };
        let waiting = Waiting { request, issued, need, deadline };
        self.streams.set(stream, State::Waiting(Box::new(waiting)));
    }

    /// Whether nothing has changed for a waiting request. If so, what it needs is requested again:
    /// the stream that requested it before may be gone.
    fn keeps_waiting(&mut self, stream: StreamId, now: UnixTime) -> bool {
        let Some(waiting) = self.streams.get(stream).and_then(|stream| stream.waiting()) else {
            return true;
        };
        if waiting.deadline <= now {
            return false;
        }
        match &waiting.need {
            WaitsFor::Keys => {
                let provider = waiting.request.provider();
                let keys = &self.keys[provider];
                let issued = || waiting.issued.as_ref()?.still_awaits(keys, now);
                let demand = waiting.request.still_awaits(keys, now).or_else(issued);
                demand.map(|demand| self.want_keys(provider, demand, now)).is_some()
            }
            WaitsFor::User(user) => self.is_looked_up(user),
            WaitsFor::Turn => self.budget.is_closed(),
        }
    }

    /// Decides again on a waiting request.
    fn serve(&mut self, stream: StreamId, now: UnixTime) {
        let Some(State::Waiting(waiting)) = self.streams.take(stream) else { return };
        let Waiting { request, issued, need, deadline } = *waiting;
        if let Some(issued) = issued {
            let had_keys = matches!(need, WaitsFor::User(_));
            return self.serve_issued(stream, request, issued, (deadline, had_keys), now);
        }
        let had_keys = matches!(need, WaitsFor::User(_));
        let mut decision = self.judge_waiting(request, now);
        if let Decision::Await(request, need) = decision {
            let deadline = match &need {
                Need::User(_) if !had_keys => now + self.max_wait(&request, &need),
                _ => deadline,
            };
            if now < deadline && self.streams.has_room(awaited(&request, &need)) {
                return self.let_wait(stream, *request, need, None, deadline, now);
            }
            decision = self.authenticator.give_up(*request, need, self.view(), now);
        }
        self.settle(stream, decision, now);
    }

    /// Decides on a request by the cached verdict on its token, or by the token itself. Others may
    /// have waited with the same token: it is verified once.
    fn judge_waiting(&mut self, request: PlausibleRequest, now: UnixTime) -> Decision {
        let bytes = request.token().to_vec();
        let token = self.verdicts.hash(&bytes);
        let (verdict, known) = self.verdicts.find(token, request.resource());
        if let Some(verdict) = verdict
            && self.authenticator.holds(&verdict, self.view(), now)
        {
            return self.authenticator.apply(request.into_bearer(&bytes), &verdict);
        }
        let request = request.with_known(known);
        let Judgement { decision, verdict } = self.authenticator.judge(request, self.view(), now);
        if let Some(verdict) = verdict {
            self.verdicts.remember(token, verdict);
        }
        decision
    }

    /// Whether another request may wait for this.
    pub(super) fn has_room_for(&self, request: &PlausibleRequest, need: &Need) -> bool {
        self.streams.has_room(awaited(request, need))
    }

    /// The longest time that a request waits.
    pub(super) fn max_wait(&self, request: &PlausibleRequest, need: &Need) -> Duration {
        let for_keys = || self.keys[request.provider()].max_wait();
        match need {
            Need::Keys(_) => for_keys(),
            Need::User(_) => {
                let directory = self.users.as_ref().map(ScimLookups::directory);
                directory.map(ScimSettings::max_wait).unwrap_or_default()
            }
            // Afterwards it may have to wait for keys.
            Need::Turn => for_keys().max(Self::MAX_TURN),
        }
    }
}

fn awaited(request: &PlausibleRequest, need: &Need) -> Awaited {
    match need {
        Need::Keys(_) => Awaited::Keys(request.provider()),
        Need::User(_) => Awaited::User,
        Need::Turn => Awaited::Turn,
    }
}
