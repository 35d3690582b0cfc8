//! What the root context and the requests of one worker thread share.

use std::time::Duration;

use log::warn;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, Status};

use super::fleet_spender::{Claimant, FleetSpender, Spent};
use super::head_status::stop_with_body;
use super::host;
use super::host_crypto;
use super::key_fetcher::KeyFetcher;
use super::metrics::{Metrics, RequestOutcome};
use super::overage_log::OverageLog;
use super::paused_bodies::{BodyDelivery, Head, PausedBodies, PausedBody, PausedHead};
use super::refusal_log::RefusalLog;
use super::replay_store;
use super::scim_caller::ScimCaller;
use super::status_board::HostBoard;
use crate::authenticator::{
    Authenticator, BearerRequest, Body, Decision, Examined, HeldRequest, Judgement, Need,
    PlausibleRequest, Refused, SpendingRequest, WorkerView,
};
use crate::config::Config;
use crate::identity::{DirectoryFault, ScimSettings, UserKey};
use crate::jose::SignatureVerifier;
use crate::keys::{Demand, Event, NoKeys, ProviderKeys, RemoteKeys};
use crate::provider::{ProviderId, ProviderMap};
use crate::refusal::Refusal;
use crate::request::{RequestHead, decode_fields};
use crate::status::{HeartbeatWriter, RefusalRecord};
use crate::time::UnixTime;
use crate::token::{FleetStore, NotSpent, ReplayStore, VerificationBudget};
use crate::verdict::VerdictCache;
use crate::waiting_room::{Awaited, Places, WaitingRoom};

/// The authenticator, the keys it judges by, and the requests that wait.
pub(super) struct Worker {
    root_id: u32,
    authenticator: Authenticator,
    verifier: Box<dyn SignatureVerifier>,
    budget: VerificationBudget,
    keys: ProviderMap<ProviderKeys>,
    /// None for providers whose keys are in the configuration.
    fetchers: ProviderMap<Option<KeyFetcher>>,
    /// None unless users are looked up in a directory.
    users: Option<ScimCaller>,
    waiting: WaitingRoom<WaitingRequest>,
    bodies: PausedBodies,
    delivery: BodyDelivery,
    /// Contexts of requests whose trailers came while their heads were resumed: they are decided on by
    /// the next tick.
    ended: Vec<u32>,
    /// Has those that wait for their tokens to be spent; none when that is done at once.
    spender: Option<FleetSpender>,
    /// For requests that wait.
    places: Places,
    verdicts: VerdictCache,
    tick_period: Option<Duration>,
    overage_log: OverageLog,
    refusal_log: RefusalLog,
    metrics: Metrics,
    heartbeat_writer: HeartbeatWriter,
}

struct WaitingRequest {
    waits: Waits,
    deadline: UnixTime,
}

/// What a request waits for.
enum Waits {
    /// For keys to judge it by.
    ForKeys(PlausibleRequest),
    /// For what the directory knows of its user.
    ForUser(PlausibleRequest, UserKey),
    /// For its turn to be verified with more keys.
    InTurn(PlausibleRequest),
}

impl Worker {
    /// Longest time until the next look at the keys while nobody waits for any.
    const IDLE: Duration = Duration::from_secs(1);
    /// Longest time while somebody does: the keys may come from another worker.
    const BUSY: Duration = Duration::from_millis(20);
    /// Shortest time: there is something to do that only the root context can do.
    const AT_ONCE: Duration = Duration::from_millis(1);
    /// What deciding on requests that waited may cost in one go: at least 1 for each, and what it
    /// takes to verify its token.
    const BATCH: u64 = 64;
    /// Most bytes of tokens of requests that wait at the same time for keys, users and spendings.
    const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;
    /// Most bytes of tokens of requests that wait for their turn.
    const MAX_BYTES_IN_TURN: usize = 4 * 1024 * 1024;
    /// Longest time that a request waits for its turn.
    const MAX_TURN: Duration = Duration::from_secs(7);

    pub(super) fn new(root_id: u32, config: Config) -> Self {
        let providers = &config.providers;
        let keys = providers
            .map(|provider| ProviderKeys::new(provider.key_source.clone(), host::random()));
        let fetchers = providers.map(KeyFetcher::new);
        let mut metrics = Metrics::new(providers);
        for (provider, keys) in providers.iter().zip(keys.values()) {
            if let ProviderKeys::Static(set) = keys {
                metrics.set_keys(&provider.name, set.kids().count(), 0);
            }
        }
        let spender = match &config.replay_store {
            ReplayStore::Local => None,
            ReplayStore::Fleet(store) => Some(FleetSpender::new(root_id, store.clone())),
        };
        let heartbeat_writer = HeartbeatWriter::new(&config);
        let verdicts = VerdictCache::new(config.token_cache);
        let max_token_size = config.max_token_size;
        let authenticator = Authenticator::new(config);
        let users = authenticator.user_lookups().map(ScimCaller::new);
        let fetched = fetchers.entries().filter(|(_, fetcher)| fetcher.is_some());
        let awaited = fetched
            .map(|(provider, _)| Awaited::Keys(provider))
            .chain(users.as_ref().map(|_| Awaited::User))
            .chain(spender.as_ref().map(|_| Awaited::Spending));
        let places = Places::new(
            Self::MAX_WAITING_BYTES / max_token_size,
            Self::MAX_BYTES_IN_TURN / max_token_size,
            awaited,
        );
        let mut worker = Self {
            root_id,
            spender,
            places,
            users,
            authenticator,
            verifier: host_crypto::signature_verifier(),
            budget: VerificationBudget::new(),
            keys,
            fetchers,
            waiting: WaitingRoom::default(),
            bodies: PausedBodies::default(),
            delivery: BodyDelivery::default(),
            ended: Vec::new(),
            verdicts,
            tick_period: None,
            overage_log: OverageLog::default(),
            refusal_log: RefusalLog::default(),
            metrics,
            heartbeat_writer,
        };
        // Clusters may not be ready while plugins are configured: the first fetch waits for a tick.
        // So does the announcement, lest one who only tries a configuration make it.
        worker.tick_every(Self::AT_ONCE);
        worker
    }

    /// The headers of a request arrived; it is the one in hand.
    pub(super) fn on_request(&mut self, context_id: u32, has_body: bool) -> Action {
        let (Some(now), Some(bytes)) = (host::now(), host::request_fields()) else {
            return Self::abort();
        };
        let Some(fields) = decode_fields(&bytes) else { return Self::abort() };
        let head = RequestHead::new(&fields, has_body);
        let mut decision = match self.authenticator.examine(head) {
            Examined::Decided(decision) => *decision,
            Examined::Bearer(request) => self.judge_token(request, now),
        };
        if let Decision::Await(request, need) = decision {
            let needs_body = has_body && self.authenticator.depends_on_message(&request);
            if needs_body {
                self.bodies.entry(context_id, || PausedBody::new(now, head.size()));
            }
            match self.wait_for(context_id, request, need, now) {
                None if needs_body => return Action::Pause,
                None => {
                    stop_with_body();
                    return Action::Pause;
                }
                Some(given_up) => decision = given_up,
            }
        }
        if matches!(decision, Decision::Spend(_)) {
            // If it has to wait for that.
            stop_with_body();
        }
        if matches!(decision, Decision::AwaitBody(_)) {
            self.bodies.entry(context_id, || PausedBody::new(now, head.size()));
        }
        self.carry_out(context_id, decision, now).unwrap_or_else(|_| Self::abort())
    }

    /// Lets a request wait that has only come in. Returns what becomes of it if there is no room.
    fn wait_for(
        &mut self,
        context_id: u32,
        request: PlausibleRequest,
        need: Need,
        now: UnixTime,
    ) -> Option<Decision> {
        if !self.has_room(Self::awaited(&request, &need)) {
            return Some(self.authenticator.give_up(request, need, self.view(), now));
        }
        let deadline = now + self.max_wait(&request, &need);
        self.let_wait(context_id, request, need, deadline);
        self.set_pace(now);
        None
    }

    /// Decides on a request by its token, or by what was found out about it before.
    fn judge_token(&mut self, request: BearerRequest<'_>, now: UnixTime) -> Decision {
        let token = self.verdicts.hash(request.token());
        let verdict = self.verdicts.find(token);
        let request = match verdict {
            None => request,
            Some(verdict) => {
                self.sync_keys(verdict.provider, now);
                match self.authenticator.apply(request, &verdict, self.view(), now) {
                    Ok(decision) => {
                        self.metrics.count_token_cache(true);
                        return decision;
                    }
                    Err(request) => request,
                }
            }
        };
        self.metrics.count_token_cache(false);
        let request = match self.authenticator.read(request, now) {
            Ok(request) => request,
            Err(decision) => return *decision,
        };
        // Another worker may have published since: a key that was withdrawn must not serve.
        self.sync_keys(request.provider(), now);
        let Judgement { decision, verdict } = self.authenticator.judge(request, self.view(), now);
        if let Some(verdict) = verdict {
            self.verdicts.remember(token, verdict);
        }
        decision
    }

    /// More of the body of a request arrived: it has `size` bytes by now, and is whole or not. The
    /// request is the current context.
    pub(super) fn on_request_body(
        &mut self,
        context_id: u32,
        size: usize,
        is_whole: bool,
    ) -> Action {
        self.on_body(context_id, Some(size), is_whole)
    }

    /// Removes the trailers of the current context's request that the server must not get.
    ///
    /// # Errors
    ///
    /// The host did not do it: what becomes of the request.
    pub(super) fn strip_trailers(&mut self, context_id: u32) -> Result<(), Action> {
        let stripped = host::remove_trailers(|name| self.authenticator.removes_trailer(name));
        stripped.map_err(|_| {
            self.forget(context_id);
            self.bodies.entry(context_id, PausedBody::untimed);
            Self::abort()
        })
    }

    /// The trailers of a request arrived, and with them the end of its body.
    pub(super) fn on_request_trailers(&mut self, context_id: u32) -> Action {
        let body = self.bodies.get_mut(context_id).filter(|body| body.was_resumed);
        if let Some(body) = body {
            body.is_whole = true;
            self.ended.push(context_id);
            self.tick_every(Self::AT_ONCE);
            return Action::Pause;
        }
        self.on_body(context_id, None, true)
    }

    /// Decides on requests whose trailers came while their heads were resumed.
    fn serve_ended(&mut self, now: UnixTime) {
        for context_id in std::mem::take(&mut self.ended) {
            if self.bodies.get(context_id).is_some()
                && hostcalls::set_effective_context(context_id).is_ok()
            {
                let action = self.on_body(context_id, None, true);
                self.go_on(context_id, Ok(action), now);
            }
        }
    }

    /// More of a body arrived; no `size` leaves it as it was.
    fn on_body(&mut self, context_id: u32, size: Option<usize>, is_whole: bool) -> Action {
        let waits = self.waits(context_id);
        if self.bodies.get(context_id).is_none() && !waits {
            return Action::Continue;
        }
        let body = self.bodies.entry(context_id, PausedBody::untimed);
        body.size = size.unwrap_or(body.size);
        body.is_whole = is_whole;
        if body.lacks_body() {
            return match body.size {
                0 if waits => Action::Pause,
                0 => Action::Continue,
                _ => Self::time_out(),
            };
        }
        match body.head {
            Head::Paused { .. } => self.delivery = BodyDelivery::WithPausedHead,
            Head::Forwarded(_) if self.delivery == BodyDelivery::OnTrial(context_id) => {
                self.delivery = BodyDelivery::AfterHead;
                warn!(
                    "Envoy does not hand over a request body while its head is held back, so heads \
                     reach the server before access rules have read their messages: set \
                     allow_on_headers_stop_iteration, or see docs/access.md#withheld-bodies"
                );
            }
            Head::Forwarded(_) => {}
        }
        let (size, max_body) = (body.size, self.authenticator.max_body());
        let decides = |request: &HeldRequest| request.is_decided_by(size, is_whole, max_body);
        if !body.request().is_some_and(decides) {
            return Action::Pause;
        }
        let Some(now) = host::now() else { return Self::abort() };
        self.judge_body(context_id, now).unwrap_or_else(|_| Self::abort())
    }

    /// Holds a request until its message was judged, together with its head if the host hands over
    /// the body then.
    fn hold(
        &mut self,
        context_id: u32,
        request: Box<HeldRequest>,
        now: UnixTime,
    ) -> Result<Action, Status> {
        // A token is looked up only where the head is to go first.
        let goes_first = self.delivery == BodyDelivery::AfterHead || request.is_looked_up();
        self.hold_behind(context_id, request, goes_first, now)
    }

    /// The same, and lets the head go first or not.
    fn hold_behind(
        &mut self,
        context_id: u32,
        mut request: Box<HeldRequest>,
        goes_first: bool,
        now: UnixTime,
    ) -> Result<Action, Status> {
        let has_fleet = self.spender.is_some();
        let single_use_token = request.single_use_token();
        let local = single_use_token.filter(|_| !has_fleet);
        let spent = local.map(|single_use_token| replay_store::look_up(single_use_token, now));
        if let Some(Err(not_spent)) = spent {
            let decision = self.authenticator.refuse_held(*request, not_spent.into());
            return self.carry_out(context_id, decision, now);
        }
        if self.bodies.is_crowded(request.token_length()) {
            let refusal = self.authenticator.crowded(NoKeys::TooManyBodies);
            let decision = self.authenticator.refuse_held(*request, refusal);
            return self.carry_out(context_id, decision, now);
        }
        let body = self.bodies.entry(context_id, PausedBody::untimed);
        let mut action = Action::Pause;
        match &body.head {
            Head::Forwarded(sent) if sent != request.identity() => {
                let refusal = Refusal::directory_unavailable(DirectoryFault::Changed);
                let decision = self.authenticator.refuse_held(*request, refusal);
                return self.carry_out(context_id, decision, now);
            }
            Head::Forwarded(_) => {
                request.take_edits();
            }
            Head::Paused { .. } if goes_first => {
                if has_fleet && single_use_token.is_some() && !request.is_looked_up() {
                    return self.ask_fleet(context_id, Claimant::Held(request), now);
                }
                forward_head(body, &mut request)?;
                action = Action::Continue;
            }
            Head::Paused { .. } => {}
        }
        let is_decided =
            request.is_decided_by(body.size, body.is_whole, self.authenticator.max_body());
        self.bodies.set_request(context_id, request);
        if is_decided {
            return self.judge_message(context_id, now);
        }
        if self.is_delivery_open() {
            self.set_pace(now);
        }
        Ok(action)
    }

    /// Decides on a held request, of whose body enough has come. What it was judged by when its head
    /// came must still hold.
    fn judge_body(&mut self, context_id: u32, now: UnixTime) -> Result<Action, Status> {
        let Some(request) = self.bodies.get(context_id).and_then(PausedBody::request) else {
            return Ok(Action::Pause);
        };
        self.sync_keys(request.provider(), now);
        let request = self.bodies.get(context_id).and_then(PausedBody::request);
        let holds = |request| self.authenticator.still_holds(request, self.view(), now);
        if request.is_some_and(holds) {
            return self.judge_message(context_id, now);
        }
        let Some(request) = self.bodies.take_request(context_id) else {
            return Ok(Action::Pause);
        };
        let mut decision = self.judge_token(request.as_it_came(), now);
        if let Decision::Await(request, need) = decision {
            match self.wait_for(context_id, request, need, now) {
                None => return Ok(Action::Pause),
                Some(given_up) => decision = given_up,
            }
        }
        self.carry_out(context_id, decision, now)
    }

    /// Decides on a held request by as much of its body as has come.
    fn judge_message(&mut self, context_id: u32, now: UnixTime) -> Result<Action, Status> {
        let size = self.bodies.get(context_id).map(|body| body.size);
        let (Some(size), Some(request)) = (size, self.bodies.take_request(context_id)) else {
            return Ok(Action::Pause);
        };
        let decision = if size > self.authenticator.max_body() {
            self.authenticator.judge_body(*request, Body::TooLarge)
        } else {
            let bytes = host::request_body(size)?;
            if bytes.len() != size {
                // What would go on is something else than what can be judged.
                return Err(Status::InternalFailure);
            }
            self.authenticator.judge_body(*request, Body::Whole(&bytes))
        };
        self.carry_out(context_id, decision, now)
    }

    /// Whether nobody knows yet if the host hands over bodies while heads are paused.
    fn is_delivery_open(&self) -> bool {
        matches!(self.delivery, BodyDelivery::Unknown | BodyDelivery::OnTrial(_))
    }

    /// Looks after heads that are paused while nobody knows whether the host hands over their bodies.
    fn look_after_paused_heads(&mut self, now: UnixTime) {
        if self.delivery == BodyDelivery::WithPausedHead {
            return;
        }
        if let BodyDelivery::OnTrial(context_id) = self.delivery
            && self.bodies.get(context_id).is_none_or(PausedBody::is_missing)
        {
            // What was received is with a filter before the plugin.
            self.delivery = BodyDelivery::Unknown;
        }
        let paused: Vec<u32> = self.bodies.paused_heads().collect();
        for context_id in paused {
            if hostcalls::set_effective_context(context_id).is_err() {
                continue;
            }
            let received = host::received_bytes();
            let body = self.bodies.get(context_id);
            let next = body.map_or(PausedHead::Waits, |body| body.paused_head(received, now));
            match (next, self.delivery) {
                (_, BodyDelivery::AfterHead) => self.send_head_first(context_id, now),
                (PausedHead::GoesFirst, BodyDelivery::Unknown) => {
                    self.delivery = BodyDelivery::OnTrial(context_id);
                    self.send_head_first(context_id, now);
                }
                (PausedHead::HasNoBody, _) => self.settle_without_body(context_id, now),
                (PausedHead::GoesFirst | PausedHead::Waits, _) => {}
            }
        }
        let _ = hostcalls::set_effective_context(self.root_id);
    }

    /// Decides on a request of whose body nothing has come, as on one without a body.
    fn settle_without_body(&mut self, context_id: u32, now: UnixTime) {
        let Some(request) = self.bodies.take_request(context_id) else { return };
        if let Some(body) = self.bodies.get_mut(context_id) {
            body.set_lacks_body();
        }
        let decision = self.authenticator.judge_body(*request, Body::Whole(b""));
        self.settle(context_id, decision, now);
    }

    /// Lets the head of a held request go to the server before its body.
    fn send_head_first(&mut self, context_id: u32, now: UnixTime) {
        if hostcalls::set_effective_context(context_id).is_err() {
            return;
        }
        let Some(request) = self.bodies.take_request(context_id) else { return };
        let held = self.hold_behind(context_id, request, true, now);
        self.go_on(context_id, held, now);
    }

    /// Time has passed; the root context is in hand.
    pub(super) fn on_tick(&mut self) {
        let Some(now) = host::now() else { return };
        for (fetcher, keys) in remote(&mut self.fetchers, &mut self.keys) {
            fetcher.run(Event::Tick, keys, &mut self.metrics, now);
            fetcher.gauge(keys, &mut self.metrics, now);
        }
        if let Some(users) = &mut self.users {
            users.run(&mut self.metrics, now);
        }
        let metrics = &self.metrics;
        let counters = || metrics.request_counters();
        self.heartbeat_writer.run(&HostBoard, metrics.request_counter_count(), counters, now);
        let late = self.spender.as_mut().map(|spender| spender.give_up(now));
        self.conclude(late.unwrap_or_default(), now);
        self.serve_ended(now);
        self.look_after_paused_heads(now);
        self.serve_waiting(now);
    }

    /// A call of the root context was answered, or failed. The context in hand is that one, or the
    /// request for which it was made.
    pub(super) fn on_callout_response(
        &mut self,
        call: u32,
        header_count: usize,
        body_length: usize,
    ) {
        let Some(now) = host::now() else { return };
        // Whose call it is has the answer.
        if hostcalls::set_effective_context(self.root_id).is_err() {
            return;
        }
        if let Some(spender) = self.spender.as_mut().filter(|spender| spender.awaits(call)) {
            let spent = spender.on_callout_response(call, header_count, body_length);
            return self.conclude(spent, now);
        }
        for (fetcher, keys) in remote(&mut self.fetchers, &mut self.keys) {
            if fetcher.awaits(call) {
                let metrics = &mut self.metrics;
                fetcher.on_callout_response(header_count, body_length, keys, metrics, now);
                fetcher.gauge(keys, metrics, now);
            }
        }
        if let Some(users) = &mut self.users {
            users.on_callout_response(call, header_count, body_length, &mut self.metrics, now);
        }
        self.serve_waiting(now);
    }

    /// A request is gone.
    pub(super) fn forget(&mut self, context_id: u32) {
        self.waiting.remove(&context_id);
        self.bodies.remove(context_id);
        if let Some(spender) = &mut self.spender {
            spender.forget(context_id);
        }
    }

    /// Whether this request waits for something to be known or done.
    fn waits(&self, context_id: u32) -> bool {
        self.waiting.contains_key(&context_id)
            || self.spender.as_ref().is_some_and(|spender| spender.has(context_id))
    }

    /// Whether another request may wait for this.
    fn has_room(&self, awaited: Awaited) -> bool {
        self.places.has_room(awaited, |awaited| match awaited {
            Awaited::Spending => self.spender.as_ref().map_or(0, FleetSpender::len),
            awaited => self.waiting.taken(awaited),
        })
    }

    fn awaited(request: &PlausibleRequest, need: &Need) -> Awaited {
        match need {
            Need::Keys(_) => Awaited::Keys(request.provider()),
            Need::User(_) => Awaited::User,
            Need::Turn => Awaited::Turn,
        }
    }

    /// What this worker knows by now.
    fn view(&self) -> WorkerView<'_> {
        WorkerView {
            keys: &self.keys,
            users: self.users.as_ref().map(ScimCaller::lookups),
            verifier: &*self.verifier,
            budget: &self.budget,
        }
    }

    /// How long a request waits at the most.
    fn max_wait(&self, request: &PlausibleRequest, need: &Need) -> Duration {
        match need {
            Need::Keys(_) => self.keys[request.provider()].max_wait(),
            Need::User(_) => {
                let users = self.users.as_ref().map(|users| users.lookups().directory());
                users.map(ScimSettings::max_wait).unwrap_or_default()
            }
            Need::Turn => {
                // Afterwards it may have to wait for keys.
                self.keys[request.provider()].max_wait().max(Self::MAX_TURN)
            }
        }
    }

    /// Lets a request wait, and sees to it that it will learn what it needs.
    fn let_wait(
        &mut self,
        context_id: u32,
        request: PlausibleRequest,
        need: Need,
        deadline: UnixTime,
    ) {
        let awaited = Self::awaited(&request, &need);
        let waits = match need {
            Need::Keys(demand) => {
                self.want_keys(request.provider(), demand);
                Waits::ForKeys(request)
            }
            Need::User(query) => {
                let key = query.key.clone();
                if let Some(users) = &mut self.users {
                    users.lookups_mut().want(*query);
                }
                Waits::ForUser(request, key)
            }
            Need::Turn => Waits::InTurn(request),
        };
        self.waiting.insert(context_id, awaited, WaitingRequest { waits, deadline });
    }

    fn want_keys(&mut self, provider: ProviderId, demand: Demand) {
        if let Some(keys) = self.keys[provider].remote_mut() {
            keys.want(demand);
        }
    }

    /// Whether the directory is being asked for this user.
    fn is_looked_up(&self, user: &UserKey) -> bool {
        self.users.as_ref().is_some_and(|users| users.lookups().is_under_way(user))
    }

    /// Takes over what the workers know together of this provider's keys.
    fn sync_keys(&mut self, provider: ProviderId, now: UnixTime) {
        let fetcher = self.fetchers[provider].as_mut();
        if let (Some(fetcher), Some(keys)) = (fetcher, self.keys[provider].remote_mut()) {
            fetcher.run(Event::Request, keys, &mut self.metrics, now);
        }
    }

    /// Lets the next tick come when it is of use.
    fn set_pace(&mut self, now: UnixTime) {
        let has_callouts = self.users.as_ref().is_some_and(|users| users.lookups().has_callouts());
        let spender = self.spender.as_ref();
        let is_idle = self.waiting.is_empty()
            && spender.is_none_or(|spender| spender.len() == 0)
            && !matches!(self.delivery, BodyDelivery::OnTrial(_))
            && (self.delivery != BodyDelivery::Unknown
                || self.bodies.paused_heads().next().is_none());
        let max = match (has_callouts, is_idle) {
            (true, _) => Self::AT_ONCE,
            (false, true) => Self::IDLE,
            (false, false) => Self::BUSY,
        };
        let remote = self.keys.values().filter_map(ProviderKeys::remote);
        let due = remote.map(|keys| keys.next_tick(now).since(now)).min();
        self.tick_every(due.map_or(max, |due| due.clamp(Self::AT_ONCE, max)));
    }

    /// Decides again on the requests that wait, and sets the pace by what is left. Not on all at
    /// once, lest verifying all their signatures keep other requests waiting.
    fn serve_waiting(&mut self, now: UnixTime) {
        self.budget.set_closed(false);
        let mut cost = 0;
        let mut is_over = true;
        for context_id in self.waiting.context_ids() {
            if self.keep_waiting(context_id, now) {
                continue;
            }
            if cost >= Self::BATCH {
                is_over = false;
                break;
            }
            let before = self.budget.spent();
            self.serve(context_id, now);
            cost += self.budget.spent().saturating_sub(before).max(1);
        }
        // Who waits for its turn comes before those that are still to come.
        self.budget.set_closed(self.waiting.taken(Awaited::Turn) > 0);
        let _ = hostcalls::set_effective_context(self.root_id);
        if is_over {
            self.set_pace(now);
        } else {
            self.tick_every(Self::AT_ONCE);
        }
    }

    /// Renews what a request waits for, if nothing has changed for it. Returns whether that is so.
    fn keep_waiting(&mut self, context_id: u32, now: UnixTime) -> bool {
        let Some(waiting) = self.waiting.get(context_id) else { return true };
        if waiting.deadline <= now {
            return false;
        }
        match &waiting.waits {
            Waits::ForKeys(request) => {
                let provider = request.provider();
                let demand = request.still_awaits(&self.keys[provider], now);
                // Whoever was asked for them before may have given up.
                demand.map(|demand| self.want_keys(provider, demand)).is_some()
            }
            Waits::ForUser(_, user) => self.is_looked_up(user),
            Waits::InTurn(_) => self.budget.is_closed(),
        }
    }

    /// Decides again on a request that waits.
    fn serve(&mut self, context_id: u32, now: UnixTime) {
        let Some(WaitingRequest { waits, deadline }) = self.waiting.remove(&context_id) else {
            return;
        };
        let (request, had_keys) = match waits {
            Waits::ForKeys(request) | Waits::InTurn(request) => (request, false),
            Waits::ForUser(request, _) => (request, true),
        };
        let judgement = self.authenticator.judge(request, self.view(), now);
        let mut decision = judgement.decision;
        if let Decision::Await(request, need) = decision {
            let deadline = match &need {
                Need::User(_) if !had_keys => now + self.max_wait(&request, &need),
                _ => deadline,
            };
            if now < deadline && self.has_room(Self::awaited(&request, &need)) {
                return self.let_wait(context_id, request, need, deadline);
            }
            decision = self.authenticator.give_up(request, need, self.view(), now);
        }
        self.settle(context_id, decision, now);
    }

    /// Spends the token of the current context's request.
    fn spend(
        &mut self,
        context_id: u32,
        request: SpendingRequest,
        now: UnixTime,
    ) -> Result<Action, Status> {
        if self.spender.is_some() {
            return self.ask_fleet(context_id, Claimant::Spending(request), now);
        }
        let result = replay_store::spend(request.single_use_token(), now);
        let decision = self.authenticator.conclude(request, result);
        self.carry_out(context_id, decision, now)
    }

    /// Asks the store of the fleet for the token of the current context's request, which waits for it.
    fn ask_fleet(
        &mut self,
        context_id: u32,
        request: Claimant,
        now: UnixTime,
    ) -> Result<Action, Status> {
        let has_room = self.has_room(Awaited::Spending);
        let spent = match self.spender.as_mut().filter(|_| has_room) {
            Some(spender) => spender.ask(context_id, request, now),
            None => Some(Spent { context_id, request, result: Err(FleetStore::crowded()) }),
        };
        self.set_pace(now);
        match spent {
            None => Ok(Action::Pause),
            Some(Spent { request, result, .. }) => {
                let decision = self.concluded(request, result);
                self.carry_out(context_id, decision, now)
            }
        }
    }

    /// What becomes of a request by what came of spending its token, or of looking it up.
    fn concluded(&self, request: Claimant, result: Result<(), NotSpent>) -> Decision {
        match (request, result) {
            (Claimant::Spending(request), result) => self.authenticator.conclude(request, result),
            (Claimant::Held(request), Err(not_spent)) => {
                self.authenticator.refuse_held(*request, not_spent.into())
            }
            (Claimant::Held(mut request), Ok(())) => {
                request.set_looked_up();
                Decision::AwaitBody(request)
            }
        }
    }

    /// Decides on requests by what came of spending their tokens.
    fn conclude(&mut self, all: impl IntoIterator<Item = Spent>, now: UnixTime) {
        for Spent { context_id, request, result } in all {
            let decision = self.concluded(request, result);
            self.settle(context_id, decision, now);
        }
        let _ = hostcalls::set_effective_context(self.root_id);
    }

    /// Does to a request that waited what was decided.
    fn settle(&mut self, context_id: u32, decision: Decision, now: UnixTime) {
        if hostcalls::set_effective_context(context_id).is_err() {
            return;
        }
        let action = self.carry_out(context_id, decision, now);
        self.go_on(context_id, action, now);
    }

    /// Lets the current context's request, which waited, go on or not.
    fn go_on(&mut self, context_id: u32, action: Result<Action, Status>, now: UnixTime) {
        match action {
            Ok(Action::Continue) => {
                if let Some(body) = self.bodies.get_mut(context_id) {
                    body.was_resumed = true;
                }
                let _ = hostcalls::resume_http_request();
                if self.is_delivery_open() {
                    self.set_pace(now);
                }
            }
            Ok(_) => {}
            Err(_) => {
                Self::abort();
            }
        }
    }

    /// Does to the request in hand what was decided. A request whose headers could not be changed
    /// must not go on.
    fn carry_out(
        &mut self,
        context_id: u32,
        decision: Decision,
        now: UnixTime,
    ) -> Result<Action, Status> {
        match decision {
            Decision::Forward(edits, attribution) => {
                match &attribution {
                    Some(attribution) => self.metrics.count_allowed(attribution.provider),
                    None => self.metrics.count_request(None, RequestOutcome::Exempt, None),
                }
                if let Some(overage) = attribution.and_then(|attribution| attribution.overage) {
                    self.overage_log.write(&overage, now);
                }
                host::edit_request(&edits)?;
                self.bodies.forward(context_id);
                Ok(Action::Continue)
            }
            Decision::Respond(response) => {
                self.metrics.count_request(None, RequestOutcome::Metadata, None);
                host::respond(&response)?;
                Ok(Action::Pause)
            }
            Decision::Refuse(refused) => {
                self.note(&refused, RequestOutcome::Refused, now);
                host::respond(&refused.response)?;
                Ok(Action::Pause)
            }
            Decision::LetThrough(refused, edits) => {
                self.note(&refused, RequestOutcome::Reported, now);
                host::edit_request(&edits)?;
                self.bodies.forward(context_id);
                Ok(Action::Continue)
            }
            Decision::Spend(request) => self.spend(context_id, request, now),
            Decision::AwaitBody(request) => self.hold(context_id, request, now),
            Decision::Await(..) => Ok(Action::Pause),
        }
    }

    /// Counts a refusal, and logs it.
    fn note(&mut self, refused: &Refused, outcome: RequestOutcome, now: UnixTime) {
        let reason = refused.refusal.reason();
        self.metrics.count_request(refused.provider.as_deref(), outcome, Some(reason.code()));
        host::note_reason(reason.code());
        match (&refused.identity, &refused.provider) {
            (Some(identity), _) => host::note_identity(identity),
            (None, Some(provider)) => host::note_provider(provider),
            (None, None) => {}
        }
        let what = match outcome {
            RequestOutcome::Reported => "allowed (report mode), would be refused",
            _ => "refused",
        };
        if let Some(details) = self.refusal_log.write(what, refused, now) {
            self.heartbeat_writer.note(
                refused.refusal.reason(),
                RefusalRecord::new(
                    self.heartbeat_writer.configuration(),
                    refused.provider.as_deref(),
                    outcome == RequestOutcome::Reported,
                    details,
                    now,
                ),
            );
        }
    }

    /// The host did not do what it was asked to: the request ends here.
    fn abort() -> Action {
        let _ = hostcalls::send_http_response(500, vec![], None);
        Action::Pause
    }

    /// A body came after its request was judged as one without: the request ends here.
    fn time_out() -> Action {
        let _ = hostcalls::send_http_response(408, vec![], None);
        Action::Pause
    }

    fn tick_every(&mut self, period: Duration) {
        if self.tick_period != Some(period) && hostcalls::set_tick_period(period).is_ok() {
            self.tick_period = Some(period);
        }
    }
}

/// Makes the changes to the head of the current context's request, which goes on before its body.
///
/// # Errors
///
/// The host refuses them, or there are none: then the head has gone on before.
fn forward_head(body: &mut PausedBody, request: &mut HeldRequest) -> Result<(), Status> {
    let edits = request.take_edits().ok_or(Status::InternalFailure)?;
    host::edit_request(&edits)?;
    body.head = Head::Forwarded(request.identity().clone());
    Ok(())
}

/// The providers whose keys are fetched.
fn remote<'a>(
    fetchers: &'a mut ProviderMap<Option<KeyFetcher>>,
    keys: &'a mut ProviderMap<ProviderKeys>,
) -> impl Iterator<Item = (&'a mut KeyFetcher, &'a mut RemoteKeys)> {
    let all = fetchers.values_mut().zip(keys.values_mut());
    all.filter_map(|(fetcher, keys)| Some((fetcher.as_mut()?, keys.remote_mut()?)))
}
