//! One worker of the plugin: it decides on requests, and keeps the state for that.
//!
//! A proxy passes each callback of a stream to [`Engine`], which carries out the decision through
//! its [`Host`]. The other modules do no I/O; this one does all of it, and only through the host.
//!
//! - [`Authenticator`] decides on a request from the current state: the order of checks.
//! - [`Streams`] has the state of each stream.
//! - [`Callouts`] has the purpose of each callout.
//! - [`Responses`] has the responses of upstreams that are filtered.
//! - [`Outcomes`] has the calls whose outcomes are read from their responses.
//! - [`VerdictCache`] caches verdicts on tokens.

pub(crate) mod authenticator;
mod callouts;
mod carry_out;
mod cookies;
mod held;
pub(crate) mod host;
mod keys;
mod lists;
mod login;
mod metrics;
mod outcomes;
mod overage_log;
mod places;
mod rate_limit;
mod refusal_log;
mod request_body;
mod response_room;
mod response_trials;
mod sessions;
mod signatures;
mod single_use;
mod status_page;
mod stream;
mod users;
pub(crate) mod verdicts;
mod waiting;

use std::rc::Rc;
use std::time::Duration;

use log::Level;

use self::callouts::{Callouts, Purpose};
use self::host::{CalloutId, Host, StreamId};
use self::keys::KeyView;
pub use self::lists::ResponsePlan;
use self::lists::Responses;
use self::login::Logins;
pub use self::metrics::METRIC_FAMILIES;
use self::metrics::{HostBoard, Metrics};
use self::outcomes::Outcomes;
use self::overage_log::OverageLog;
use self::places::{Awaited, Places};
use self::rate_limit::RateLimit;
use self::refusal_log::RefusalLog;
use self::request_body::{BodyDelivery, RequestBody};
use self::signatures::signature_verifier;
pub use self::status_page::StatusPageFilter;
pub(crate) use self::stream::Awaits;
use self::stream::{State, Streams};
use self::verdicts::VerdictCache;
use crate::callout::{CalloutFault, CalloutResponse};
use crate::config::Config;
use crate::engine::authenticator::{
    Authenticator, BearerRequest, Decision, Examined, Judgement, WorkerView,
};
use crate::identity::ScimLookups;
use crate::jose::{HostCrypto, SignatureVerifier};
use crate::keys::{Event, ProviderKeys};
use crate::login::Step;
use crate::provider::{ProviderId, ProviderMap};
use crate::request::RequestHead;
use crate::resource::ResourceId;
use crate::status::{HeartbeatWriter, VERSION};
use crate::time::UnixTime;
use crate::token::{FleetStore, ReplayStore, VerificationBudget};

/// One worker: its state, the waiting streams, and the host through which it acts.
pub struct Engine<H> {
    host: H,
    authenticator: Authenticator,
    verifier: Box<dyn SignatureVerifier>,
    budget: VerificationBudget,
    keys: ProviderMap<ProviderKeys>,
    key_views: ProviderMap<KeyView>,
    provider_names: ProviderMap<String>,
    /// `None` unless users are looked up in a directory.
    users: Option<ScimLookups>,
    user_log: RateLimit,
    /// `None` if spent tokens are recorded in shared data.
    fleet_store: Option<Rc<FleetStore>>,
    streams: Streams,
    responses: Responses,
    outcomes: Outcomes,
    callouts: Callouts,
    /// `None` if no login is configured.
    logins: Option<Logins>,
    delivery: BodyDelivery,
    /// Streams whose trailers arrived while their heads were resumed. The next tick decides on
    /// them.
    ended: Vec<StreamId>,
    verdicts: VerdictCache,
    tick_period: Option<Duration>,
    overage_log: OverageLog,
    refusal_log: RefusalLog,
    metrics: Metrics,
    heartbeat_writer: HeartbeatWriter,
}

/// What was decided on the head of a request, and when.
pub struct JudgedHead {
    decision: Decision,
    resource: Option<ResourceId>,
    now: UnixTime,
}

/// What the proxy does next with the head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadAction {
    /// Forward it.
    Continue,
    /// Hold it back. The engine should see the body meanwhile, if the proxy can deliver it.
    Stop,
    /// Hold it back, and hold the body back at the client by flow control.
    StopWithBody,
}

/// What the proxy does next with the part of a body that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyAction {
    /// Forward it, and with it a head that was held back.
    Continue,
    /// Hold it back.
    Stop,
}

impl<H: Host> Engine<H> {
    /// Limit in bytes on the tokens of requests that wait for keys, users and single-use tokens.
    const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;
    /// Limit in bytes on the tokens of requests that wait for their turn.
    const MAX_BYTES_IN_TURN: usize = 4 * 1024 * 1024;
    /// Maximum number of log lines per minute about user look-ups that fail or create a user.
    const MAX_USER_LINES: u32 = 10;

    /// A worker for this configuration. It fetches nothing before the first tick, which it requests
    /// from the host: Envoy's clusters may not be ready while a plugin is configured.
    ///
    /// Signatures are verified by `crypto` if it passes its self-test, and in Rust otherwise.
    pub fn new(config: Config, host: H, crypto: impl HostCrypto + 'static) -> Self {
        let verifier = signature_verifier(crypto, &host);
        Self::with_parts(config, host, verifier, VerificationBudget::new())
    }

    /// The same; signatures are verified by aws-lc, in this process.
    #[cfg(feature = "native-signatures")]
    pub fn with_native_signatures(config: Config, host: H) -> Self {
        let verifier = Box::new(crate::jose::NativeSignatures::default());
        Self::with_parts(config, host, verifier, VerificationBudget::new())
    }

    /// Like [`Self::new`], with this verifier, which is not tested, and this budget.
    pub(crate) fn with_parts(
        config: Config,
        host: H,
        verifier: Box<dyn SignatureVerifier>,
        budget: VerificationBudget,
    ) -> Self {
        let providers = &config.providers;
        let keys =
            providers.map(|provider| ProviderKeys::new(provider.key_source.clone(), host.random()));
        let provider_names = providers.map(|provider| provider.name.clone());
        let metrics = Metrics::new(providers, &config.resources, &host);
        for (provider, keys) in keys.entries() {
            if let ProviderKeys::Static(set) = keys {
                metrics.set_keys(provider, set.keys().len(), 0, &host);
            }
        }
        let heartbeat_writer = HeartbeatWriter::new(&config);
        let has_several_resources = config.resources.outside().is_some();
        let verdicts = VerdictCache::new(config.token_cache, has_several_resources);
        let fleet_store = match &config.replay_store {
            ReplayStore::Fleet(store) => Some(Rc::new(store.clone())),
            ReplayStore::Local => None,
        };
        let max_token_size = config.max_token_size;
        let logins = config.login.clone().map(|login| Logins::new(login, &config.providers));
        let authenticator = Authenticator::new(config);
        let users = authenticator.user_lookups();
        let fetched = keys.entries().filter(|(_, keys)| keys.remote().is_some());
        let awaited = fetched
            .map(|(provider, _)| Awaited::Keys(provider))
            .chain(users.as_ref().map(|_| Awaited::User))
            .chain(fleet_store.as_ref().map(|_| Awaited::SingleUse));
        let places = Self::places(max_token_size, awaited);
        let delivery = match host.hands_over_held_bodies() {
            true => BodyDelivery::WithHeldHead,
            false => BodyDelivery::Unknown,
        };
        let key_views = keys.map(|_| KeyView::default());
        let mut engine = Self {
            host,
            authenticator,
            verifier,
            budget,
            keys,
            key_views,
            provider_names,
            users,
            user_log: RateLimit::new(Self::MAX_USER_LINES, Duration::from_secs(60)),
            fleet_store,
            streams: Streams::new(places),
            responses: Responses::default(),
            outcomes: Outcomes::default(),
            callouts: Callouts::default(),
            logins,
            delivery,
            ended: Vec::new(),
            verdicts,
            tick_period: None,
            overage_log: OverageLog::default(),
            refusal_log: RefusalLog::default(),
            metrics,
            heartbeat_writer,
        };
        engine.tick_every(Self::AT_ONCE);
        engine
    }

    /// Places for as many tokens of this size as may wait.
    fn places(max_token_size: usize, awaited: impl Iterator<Item = Awaited>) -> Places {
        Places::new(
            Self::MAX_WAITING_BYTES / max_token_size,
            Self::MAX_BYTES_IN_TURN / max_token_size,
            awaited,
        )
    }

    /// The host of this engine.
    pub fn host(&mut self) -> &mut H {
        &mut self.host
    }

    /// What a stream waits for; `None` once it is decided.
    pub(crate) fn awaits(&self, stream: StreamId) -> Option<Awaits<'_>> {
        self.streams.get(stream)?.awaits()
    }

    /// The keys of a provider.
    pub(crate) fn keys(&self, provider: ProviderId) -> &ProviderKeys {
        &self.keys[provider]
    }

    /// The head of a request arrived. `has_body` says whether a body follows.
    pub fn on_request_head(&mut self, stream: StreamId, head: RequestHead<'_>) -> HeadAction {
        let judged = self.judge_head(stream, head);
        self.carry_out_head(stream, judged)
    }

    /// The first half of [`Self::on_request_head`]: reads the head, and changes nothing of the
    /// stream. `None` if the proxy has no clock.
    pub fn judge_head(&mut self, stream: StreamId, head: RequestHead<'_>) -> Option<JudgedHead> {
        let now = self.host.now()?;
        let (resource, decision) = match self.begin_login(head, now) {
            Some(decision) => (None, decision),
            None => match self.authenticator.examine(head) {
                (resource, Examined::Decided(decision)) => (resource, *decision),
                (resource, Examined::Bearer(request)) => (resource, self.judge_token(request, now)),
            },
        };
        let reads_body = match &decision {
            Decision::Await(request, _) => {
                head.has_body() && self.authenticator.depends_on_message(request)
            }
            Decision::AwaitBody(_) => true,
            Decision::Login(step) => head.has_body() && matches!(**step, Step::ReadBody(_)),
            _ => false,
        };
        if reads_body {
            self.streams.follow_body(stream, || RequestBody::new(now, head.size()));
        }
        Some(JudgedHead { decision, resource, now })
    }

    /// The second half: carries out the decision.
    pub fn carry_out_head(&mut self, stream: StreamId, judged: Option<JudgedHead>) -> HeadAction {
        let Some(JudgedHead { decision, resource, now }) = judged else {
            self.abort(stream);
            return HeadAction::Stop;
        };
        if let Some(label) = resource.and_then(|resource| self.authenticator.label(resource)) {
            self.host.set_filter_state(stream, "mcp_auth.resource", label.id());
        }
        match self.carry_out(stream, decision, now) {
            BodyAction::Continue => HeadAction::Continue,
            BodyAction::Stop => match self.streams.get(stream) {
                Some(waiting) if waiting.body.is_none() => HeadAction::StopWithBody,
                _ => HeadAction::Stop,
            },
        }
    }

    /// More of the body of a request arrived: its total size so far, and whether it is complete.
    pub fn on_request_body(&mut self, stream: StreamId, size: usize, is_whole: bool) -> BodyAction {
        self.on_body(stream, Some(size), is_whole)
    }

    /// The trailers of a request arrived, and with them the end of its body.
    pub fn on_request_trailers(&mut self, stream: StreamId) -> BodyAction {
        let authenticator = &self.authenticator;
        let removed = self.host.remove_trailers(stream, |name| authenticator.removes_trailer(name));
        if removed.is_err() {
            self.forget(stream);
            self.streams.follow_body(stream, RequestBody::untimed);
            self.abort(stream);
            return BodyAction::Stop;
        }
        if let Some(body) = self.streams.body_mut(stream)
            && body.was_resumed
        {
            body.is_whole = true;
            self.ended.push(stream);
            self.tick_every(Self::AT_ONCE);
            return BodyAction::Stop;
        }
        self.on_body(stream, None, true)
    }

    /// Limit in bytes on the response body that [`Self::on_callout_response`] reads; `None` if the
    /// response is not needed.
    pub fn max_response_body(&self, callout: CalloutId) -> Option<usize> {
        self.callouts.get(callout).map(|callout| callout.max_body)
    }

    /// A callout completed; `response` is `None` if it failed.
    pub fn on_callout_response(&mut self, callout: CalloutId, response: Option<CalloutResponse>) {
        let (Some(now), Some(ended)) = (self.host.now(), self.callouts.remove(callout)) else {
            return;
        };
        match ended.purpose {
            Purpose::SingleUse(stream) => {
                return self.on_single_use_response(stream, callout, response, now);
            }
            Purpose::Keys(provider) => {
                self.run_keys(provider, Event::CalloutEnded(response), now);
                self.gauge_keys(provider, now);
            }
            Purpose::User(lookup) => self.on_user_response(lookup, response, now),
            Purpose::Login(purpose) => {
                let response = response.ok_or(CalloutFault::NoResponse);
                self.on_login_response(callout, purpose, response, now);
            }
        }
        self.serve_waiting(now);
    }

    /// The proxy refused to start a callout after [`Host::call`] had returned: there is no response.
    pub fn on_callout_refused(&mut self, callout: CalloutId) {
        let (Some(now), Some(refused)) = (self.host.now(), self.callouts.remove(callout)) else {
            return;
        };
        match refused.purpose {
            Purpose::SingleUse(stream) => return self.on_single_use_refused(stream, now),
            Purpose::Keys(provider) => self.run_keys(provider, Event::CalloutStarted(false), now),
            Purpose::User(lookup) => self.on_user_refused(lookup, now),
            Purpose::Login(purpose) => self.on_login_refused(callout, purpose, now),
        }
        self.serve_waiting(now);
    }

    /// A period of [`Host::tick_every`] has passed.
    pub fn on_tick(&mut self) {
        let Some(now) = self.host.now() else { return };
        let providers: Vec<ProviderId> = self.keys.entries().map(|(id, _)| id).collect();
        for provider in providers {
            self.tick_keys(provider, now);
        }
        self.run_users(now);
        self.write_status(now);
        self.give_up_single_use(now);
        self.serve_ended(now);
        self.look_after_held_heads(now);
        self.look_after_response_heads(now);
        self.look_after_logins(now);
        self.serve_waiting(now);
    }

    /// Writes what the status page shows, if anything has changed. The first worker that does so
    /// for a configuration logs the version and the configuration's digest.
    pub(super) fn write_status(&mut self, now: UnixTime) {
        let metrics = &self.metrics;
        let counters = || metrics.request_counters();
        let board = HostBoard(&self.host);
        let writer = &mut self.heartbeat_writer;
        if writer.run(&board, metrics.request_counter_count(), counters, now) {
            let digest = writer.configuration();
            self.host.log(
                Level::Info,
                format_args!("mcp-federated-auth {VERSION} started, configuration {digest}"),
            );
        }
    }

    /// A stream ended.
    pub fn on_stream_end(&mut self, stream: StreamId) {
        self.forget(stream);
        self.responses.remove(stream);
        self.finish_outcome(stream);
    }

    /// Forgets a stream, and the callout that was made for it: its response is not needed, and a
    /// host may drop it together with the stream.
    fn forget(&mut self, stream: StreamId) {
        if let Some(State::SingleUse(single_use)) = self.streams.remove(stream) {
            self.callouts.remove(single_use.callout);
        }
    }

    /// Decides on a request by its token, or by the cached verdict on it.
    fn judge_token(&mut self, request: BearerRequest<'_>, now: UnixTime) -> Decision {
        let token = self.verdicts.hash(request.token());
        let (verdict, known) = self.verdicts.find(token, request.resource());
        if let Some(verdict) = verdict {
            self.sync_keys(verdict.provider, now);
            if self.authenticator.holds(&verdict, self.view(), now) {
                self.metrics.count_token_cache(true, &self.host);
                return self.authenticator.apply(request, &verdict);
            }
        }
        self.metrics.count_token_cache(false, &self.host);
        let request = match self.authenticator.read(request, known, now) {
            Ok(request) => request,
            Err(decision) => return *decision,
        };
        // Another worker may have published keys since: a withdrawn key must not be used.
        self.sync_keys(request.provider(), now);
        let Judgement { decision, verdict } = self.authenticator.judge(request, self.view(), now);
        if let Some(verdict) = verdict {
            self.verdicts.remember(token, verdict);
        }
        decision
    }

    /// The state that decisions depend on.
    fn view(&self) -> WorkerView<'_> {
        WorkerView {
            keys: &self.keys,
            users: self.users.as_ref(),
            verifier: &*self.verifier,
            budget: &self.budget,
        }
    }
}
