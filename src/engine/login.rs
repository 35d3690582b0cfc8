//! Logins: carries out the steps of [`Login`].

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use log::Level;

use super::callouts::{Callout, LoginPurpose, Purpose};
use super::host::{CalloutId, Host, StreamId};
use super::rate_limit::RateLimit;
use super::request_body::{BodyDelivery, Head, RequestBody};
use super::stream::State;
use super::{BodyAction, Engine};
use crate::callout::{CalloutFault, CalloutRequest, CalloutResponse};
use crate::engine::authenticator::{Decision, IssuedJudgement, Need, PlausibleRequest};
use crate::keys::KeySource;
use crate::login::{
    AwaitingClient, AwaitingEndpoints, Client, DOCUMENT_LIMIT, DiscoveryFault, DocumentCache,
    DocumentFault, DocumentLookup, DocumentUrl, EndpointCache, EndpointLookup, Exchange, Form,
    IssuedToken, Login, LoginEvent, LoginResult, LoginStage, ProviderEndpoints, Step,
    TokenJudgement,
};
use crate::provider::{ProviderId, ProviderMap, Providers};
use crate::request::RequestHead;
use crate::response::Response;
use crate::seal::Randomness;
use crate::time::UnixTime;

/// What a worker keeps for logins: nothing of a person or a client, except published documents.
#[derive(Debug)]
pub(super) struct Logins {
    login: Rc<Login>,
    documents: DocumentCache,
    endpoints: ProviderMap<EndpointCache>,
    /// The exchanges under way, with the times when they are given up.
    exchanges: ProviderMap<BTreeMap<CalloutId, UnixTime>>,
    /// Longest time for a response of each provider.
    timeouts: ProviderMap<Duration>,
    /// Of what clients and people are to blame for.
    refusal_log: RateLimit,
    /// Of what providers and the operator are to blame for.
    failure_log: RateLimit,
}

/// A login that waits.
#[derive(Debug)]
pub(super) struct WaitingLogin {
    pub(super) awaited: AwaitedByLogin,
    /// It is given up at this time.
    pub(super) deadline: UnixTime,
}

/// What a login waits for.
#[derive(Debug)]
pub(super) enum AwaitedByLogin {
    /// The body of its request.
    Body(Form),
    /// The metadata document of its client.
    Client(DocumentUrl, Box<AwaitingClient>),
    /// The endpoints of its provider.
    Endpoints(ProviderId, Box<AwaitingEndpoints>),
    /// The response of the provider's token endpoint.
    Exchange(CalloutId, ProviderId, Box<Exchange>),
}

/// A token that a provider issued, while it is judged.
#[derive(Debug)]
pub(super) struct JudgedToken {
    provider: ProviderId,
    issued: Box<IssuedToken>,
    stage: LoginStage,
}

impl Logins {
    /// Most exchanges under way at a provider.
    const MAX_EXCHANGES: usize = 32;
    /// Most requests whose bodies are awaited.
    const MAX_BODIES: usize = 1024;
    /// Most logins that wait for anything else.
    const MAX_WAITING: usize = 256;
    /// Longest time for the body of a request.
    const BODY_TIMEOUT: Duration = Duration::from_secs(30);
    /// Longest time for the metadata document of a client.
    const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);
    /// How much later than its callout a login is given up.
    const GRACE: Duration = Duration::from_secs(2);
    /// How long a body is awaited of which the proxy has received a part.
    const NOT_HANDED_OVER: Duration = Duration::from_millis(500);
    /// The same time for a proxy that does not report how much it has received.
    const NOT_REPORTED: Duration = Duration::from_secs(5);
    /// Most log lines a minute of each kind.
    const MAX_LINES: u32 = 60;

    pub(super) fn new(login: Rc<Login>, providers: &Providers) -> Self {
        let log = || RateLimit::new(Self::MAX_LINES, Duration::from_secs(60));
        let timeout = |source: &KeySource| match source {
            KeySource::Remote(source) => source.settings.timeout,
            // People log in only where there is a metadata document.
            KeySource::Static(_) => Duration::ZERO,
        };
        Self {
            login,
            documents: DocumentCache::default(),
            endpoints: providers.map(|_| EndpointCache::default()),
            exchanges: providers.map(|_| BTreeMap::new()),
            timeouts: providers.map(|provider| timeout(&provider.key_source)),
            refusal_log: log(),
            failure_log: log(),
        }
    }
}

impl<H: Host> Engine<H> {
    /// The first step of a login; none if the request is for something else.
    pub(super) fn begin_login(&mut self, head: RequestHead<'_>, now: UnixTime) -> Option<Decision> {
        let login = self.logins.as_ref()?.login.clone();
        let endpoint = login.endpoint_of(head)?;
        let step = match self.randomness() {
            Some(mut random) => login.on_head(endpoint, head, now, &mut random),
            None => Step::Respond(Response::bare(500), None),
        };
        Some(Decision::Login(Box::new(step)))
    }

    /// Carries out the steps of a login until it is over or has to wait.
    pub(super) fn run_login(
        &mut self,
        stream: StreamId,
        mut step: Step,
        now: UnixTime,
    ) -> BodyAction {
        loop {
            step = match step {
                Step::Respond(response, event) => {
                    return self.end_login(stream, response, event, now);
                }
                next => match self.login_step(stream, next, now) {
                    Some(next) => next,
                    None => return BodyAction::Stop,
                },
            };
        }
    }

    /// More of the body of a login's request has come.
    pub(super) fn on_login_body(&mut self, stream: StreamId, now: UnixTime) -> BodyAction {
        let Some(body) = self.streams.body_mut(stream) else { return BodyAction::Stop };
        let (size, is_whole) = (body.size, body.is_whole);
        let is_too_large = size > Form::MAX_LENGTH;
        if !is_whole && !is_too_large {
            return BodyAction::Stop;
        }
        let Some(AwaitedByLogin::Body(form)) = self.streams.take_login(stream) else {
            return BodyAction::Stop;
        };
        let bytes = match size {
            _ if is_too_large => None,
            0 => Some(Vec::new()),
            size => match self.host.request_body(stream, size) {
                Ok(bytes) if bytes.len() == size => Some(bytes),
                _ => return self.abort(stream),
            },
        };
        match self.with_login(|login, random| login.on_body(form, bytes.as_deref(), now, random)) {
            Some(step) => self.run_login(stream, step, now),
            None => self.abort(stream),
        }
    }

    /// A callout for logins is over.
    pub(super) fn on_login_response(
        &mut self,
        callout: CalloutId,
        purpose: LoginPurpose,
        response: Result<CalloutResponse, CalloutFault>,
        now: UnixTime,
    ) {
        let Some(logins) = &mut self.logins else { return };
        match purpose {
            LoginPurpose::Client(url) => {
                let client = response.map_err(DocumentFault::Callout);
                let client =
                    client.and_then(|response| Client::from_document(Some(response), &url));
                logins.documents.on_fetched(url.clone(), client, now);
                let waiting = self.streams.logins(
                    |awaited| matches!(awaited, AwaitedByLogin::Client(own, _) if *own == url),
                );
                self.resume_logins(&waiting, now);
            }
            LoginPurpose::Endpoints(id) => {
                if let Some(provider) = &logins.login.providers[id] {
                    let endpoints =
                        response.map_err(DiscoveryFault::Callout).and_then(|response| {
                            ProviderEndpoints::from_response(Some(response), provider)
                        });
                    logins.endpoints[id].on_fetched(endpoints, now);
                }
                let waiting = self.streams.logins(
                    |awaited| matches!(awaited, AwaitedByLogin::Endpoints(own, _) if *own == id),
                );
                self.resume_logins(&waiting, now);
            }
            LoginPurpose::Exchange(id, stream) => {
                logins.exchanges[id].remove(&callout);
                self.on_exchanged(stream, callout, response, now);
            }
        }
    }

    /// A callout for logins could not be made.
    pub(super) fn on_login_refused(
        &mut self,
        callout: CalloutId,
        purpose: LoginPurpose,
        now: UnixTime,
    ) {
        let cluster = match &purpose {
            LoginPurpose::Client(url) => self.cluster_of_client(url),
            LoginPurpose::Endpoints(id) | LoginPurpose::Exchange(id, _) => {
                let logins = self.logins.as_ref();
                let provider = logins.and_then(|logins| logins.login.providers[*id].as_ref());
                provider.map(|provider| provider.metadata.cluster().to_owned())
            }
        };
        let fault = CalloutFault::Dispatch { cluster: cluster.unwrap_or_default() };
        self.on_login_response(callout, purpose, Err(fault), now);
    }

    /// Ends logins that have waited too long, and those whose bodies are not handed over.
    pub(super) fn look_after_logins(&mut self, now: UnixTime) {
        if self.logins.is_none() || !self.streams.has_logins() {
            return;
        }
        for stream in self.streams.logins(|_| true) {
            if !self.host.is_open(stream) {
                continue;
            }
            if self.withholds_body(stream, now) {
                self.refuse_withheld(stream, now);
            } else if self.streams.login(stream).is_some_and(|login| login.deadline <= now) {
                self.give_up_login(stream, now);
            }
        }
    }

    /// Judges a token that waited: when it is given up, and whether it waited for its user.
    pub(super) fn serve_issued(
        &mut self,
        stream: StreamId,
        request: PlausibleRequest,
        token: Box<JudgedToken>,
        waited: (UnixTime, bool),
        now: UnixTime,
    ) {
        if !self.host.is_open(stream) {
            self.streams.remove(stream);
            return;
        }
        if let Some(step) = self.judge_issued(stream, request, token, Some(waited), now) {
            self.run_login(stream, step, now);
        }
    }

    /// What a login that waits needs before it goes on; none if it waits.
    fn login_step(&mut self, stream: StreamId, step: Step, now: UnixTime) -> Option<Step> {
        match step {
            Step::Respond(..) => Some(step),
            Step::ReadBody(form) => self.await_body(stream, form, now),
            Step::FetchClient(url, request) => self.await_client(stream, url, request, now),
            Step::Discover(id, awaiting) => self.await_endpoints(stream, id, awaiting, now),
            Step::Exchange(id, request, exchange) => {
                self.exchange(stream, id, &request, exchange, now)
            }
            Step::Judge(provider, issued, stage) => {
                let read = self.authenticator.read_issued(issued.token(), issued.resource(), now);
                let token = Box::new(JudgedToken { provider, issued, stage });
                match read {
                    Ok(request) => {
                        self.sync_keys(request.provider(), now);
                        self.judge_issued(stream, request, token, None, now)
                    }
                    Err(judgement) => self.on_judged(*token, judgement, now),
                }
            }
        }
    }

    fn await_body(&mut self, stream: StreamId, form: Form, now: UnixTime) -> Option<Step> {
        if self.streams.body_mut(stream).is_none() {
            // No body follows the head.
            let step = self.with_login(|login, random| login.on_body(form, Some(b""), now, random));
            return Some(step.unwrap_or_else(no_randomness));
        }
        if self.delivery == BodyDelivery::AfterHead {
            return Some(Login::withheld(&form, self.host.withheld_bodies_fix()));
        }
        let is_body = |awaited: &AwaitedByLogin| matches!(awaited, AwaitedByLogin::Body(_));
        if self.streams.logins(is_body).len() >= Logins::MAX_BODIES {
            return Some(Login::busy(None, form.stage()));
        }
        self.let_login_wait(stream, AwaitedByLogin::Body(form), Logins::BODY_TIMEOUT, now);
        if self.delivery.is_open() {
            self.set_pace(now);
        }
        None
    }

    fn await_client(
        &mut self,
        stream: StreamId,
        url: DocumentUrl,
        request: Box<AwaitingClient>,
        now: UnixTime,
    ) -> Option<Step> {
        let logins = self.logins.as_mut()?;
        let client = match logins.documents.look_up(&url, now) {
            DocumentLookup::Known(client) => Ok(client),
            DocumentLookup::Failed(fault) => Err(fault),
            DocumentLookup::Busy => return Some(Login::busy(None, LoginStage::Authorize)),
            lookup @ (DocumentLookup::Fetch | DocumentLookup::Await) => {
                if lookup == DocumentLookup::Fetch
                    && let Err(fault) = self.fetch_client(&url)
                {
                    let fault = DocumentFault::Callout(fault);
                    let logins = self.logins.as_mut()?;
                    logins.documents.on_fetched(url, Err(fault.clone()), now);
                    return self.on_client(*request, Err(&fault), now);
                }
                if self.is_crowded() {
                    return Some(Login::busy(None, LoginStage::Authorize));
                }
                let awaited = AwaitedByLogin::Client(url, request);
                self.let_login_wait(stream, awaited, Logins::DOCUMENT_TIMEOUT + Logins::GRACE, now);
                return None;
            }
        };
        self.on_client(*request, client.as_deref(), now)
    }

    fn on_client(
        &self,
        request: AwaitingClient,
        client: Result<&Client, &DocumentFault>,
        now: UnixTime,
    ) -> Option<Step> {
        let step = self.with_login(|login, random| login.on_client(request, client, now, random));
        Some(step.unwrap_or_else(no_randomness))
    }

    fn await_endpoints(
        &mut self,
        stream: StreamId,
        id: ProviderId,
        awaiting: Box<AwaitingEndpoints>,
        now: UnixTime,
    ) -> Option<Step> {
        let logins = self.logins.as_mut()?;
        let endpoints = match logins.endpoints[id].look_up(now) {
            EndpointLookup::Known(endpoints) => Ok(endpoints),
            EndpointLookup::Failed(fault) => Err(fault),
            lookup @ (EndpointLookup::Fetch | EndpointLookup::Await) => {
                let timeout = logins.timeouts[id];
                if lookup == EndpointLookup::Fetch
                    && let Err(fault) = self.fetch_endpoints(id, timeout)
                {
                    let fault = DiscoveryFault::Callout(fault);
                    let logins = self.logins.as_mut()?;
                    logins.endpoints[id].on_fetched(Err(fault), now);
                    return self.await_endpoints(stream, id, awaiting, now);
                }
                if self.is_crowded() {
                    return Some(Login::busy(Some(id), awaiting.stage()));
                }
                let awaited = AwaitedByLogin::Endpoints(id, awaiting);
                self.let_login_wait(stream, awaited, timeout + Logins::GRACE, now);
                return None;
            }
        };
        let step = self.with_login(|login, random| {
            login.on_endpoints(id, *awaiting, endpoints.as_deref(), now, random)
        });
        Some(step.unwrap_or_else(no_randomness))
    }

    fn exchange(
        &mut self,
        stream: StreamId,
        id: ProviderId,
        request: &CalloutRequest,
        exchange: Box<Exchange>,
        now: UnixTime,
    ) -> Option<Step> {
        let logins = self.logins.as_mut()?;
        let timeout = logins.timeouts[id];
        let under_way = &mut logins.exchanges[id];
        under_way.retain(|_, deadline| now < *deadline);
        if under_way.len() >= Logins::MAX_EXCHANGES {
            return Some(Login::busy(Some(id), exchange.stage()));
        }
        let Some(callout) = self.host.call(request, timeout) else {
            let fault = CalloutFault::Dispatch { cluster: request.cluster.clone() };
            return Some(logins.login.on_exchanged(id, *exchange, Err(fault)));
        };
        let deadline = now + timeout + Logins::GRACE;
        under_way.insert(callout, deadline);
        let purpose = Purpose::Login(LoginPurpose::Exchange(id, stream));
        self.callouts.insert(callout, Callout { purpose, max_body: request.max_body });
        let awaited = AwaitedByLogin::Exchange(callout, id, exchange);
        self.let_login_wait(stream, awaited, timeout + Logins::GRACE, now);
        None
    }

    /// Ends the exchange of this stream, if it is the one of this callout.
    fn on_exchanged(
        &mut self,
        stream: StreamId,
        callout: CalloutId,
        response: Result<CalloutResponse, CalloutFault>,
        now: UnixTime,
    ) {
        let is_its = self.streams.login(stream).is_some_and(
            |login| matches!(login.awaited, AwaitedByLogin::Exchange(own, ..) if own == callout),
        );
        if !is_its || !self.host.is_open(stream) {
            return;
        }
        let Some(logins) = &self.logins else { return };
        if let Some(AwaitedByLogin::Exchange(_, id, exchange)) = self.streams.take_login(stream) {
            let step = logins.login.on_exchanged(id, *exchange, response);
            self.run_login(stream, step, now);
        }
    }

    /// Judges a token, or lets it wait. `waited`: when it is given up, and whether it waited for its
    /// user; none if it did not wait before.
    fn judge_issued(
        &mut self,
        stream: StreamId,
        request: PlausibleRequest,
        token: Box<JudgedToken>,
        waited: Option<(UnixTime, bool)>,
        now: UnixTime,
    ) -> Option<Step> {
        let judgement = match self.authenticator.judge_issued(request, self.view(), now) {
            IssuedJudgement::Judged(judgement, verdict) => {
                if let Some(verdict) = verdict {
                    let hashed = self.verdicts.hash(token.issued.token().as_bytes());
                    self.verdicts.remember(hashed, verdict);
                }
                judgement
            }
            IssuedJudgement::Await(request, need) => {
                let deadline = match (&need, waited) {
                    (Need::User(_), Some((_, false))) | (_, None) => {
                        now + self.max_wait(&request, &need)
                    }
                    (_, Some((deadline, _))) => deadline,
                };
                if now < deadline && self.has_room_for(&request, &need) {
                    self.let_wait(stream, *request, need, Some(token), deadline, now);
                    self.set_pace(now);
                    return None;
                }
                let given_up = self.authenticator.give_up(*request, need, self.view(), now);
                crate::engine::authenticator::judgement_by(given_up)
            }
        };
        self.on_judged(*token, judgement, now)
    }

    fn on_judged(
        &self,
        token: JudgedToken,
        judgement: TokenJudgement,
        now: UnixTime,
    ) -> Option<Step> {
        let JudgedToken { provider, issued, stage } = token;
        let step = self.with_login(|login, random| {
            login.on_judged(provider, stage, *issued, judgement, now, random)
        });
        Some(step.unwrap_or_else(no_randomness))
    }

    fn fetch_client(&mut self, url: &DocumentUrl) -> Result<(), CalloutFault> {
        let Some(logins) = &self.logins else { return Err(CalloutFault::NoResponse) };
        let clusters = logins.login.client_documents.as_ref();
        let endpoint = clusters.and_then(|clusters| clusters.endpoint(url.as_str()).ok());
        let endpoint = endpoint.ok_or(CalloutFault::NoResponse)?;
        let request = endpoint.request("GET", "application/json", DOCUMENT_LIMIT.bytes);
        let purpose = LoginPurpose::Client(url.clone());
        self.call_for_logins(&request, purpose, Logins::DOCUMENT_TIMEOUT)
    }

    fn cluster_of_client(&self, url: &DocumentUrl) -> Option<String> {
        let clusters = self.logins.as_ref()?.login.client_documents.as_ref()?;
        Some(clusters.endpoint(url.as_str()).ok()?.cluster().to_owned())
    }

    fn fetch_endpoints(&mut self, id: ProviderId, timeout: Duration) -> Result<(), CalloutFault> {
        let Some(logins) = &self.logins else { return Err(CalloutFault::NoResponse) };
        let provider = logins.login.providers[id].as_ref().ok_or(CalloutFault::NoResponse)?;
        let request = ProviderEndpoints::request(provider);
        self.call_for_logins(&request, LoginPurpose::Endpoints(id), timeout)
    }

    fn call_for_logins(
        &mut self,
        request: &CalloutRequest,
        purpose: LoginPurpose,
        timeout: Duration,
    ) -> Result<(), CalloutFault> {
        let callout = self.host.call(request, timeout);
        let fault = || CalloutFault::Dispatch { cluster: request.cluster.clone() };
        let callout = callout.ok_or_else(fault)?;
        let purpose = Purpose::Login(purpose);
        self.callouts.insert(callout, Callout { purpose, max_body: request.max_body });
        Ok(())
    }

    /// Goes on with logins that waited for a document.
    fn resume_logins(&mut self, streams: &[StreamId], now: UnixTime) {
        for stream in streams {
            if !self.host.is_open(*stream) {
                continue;
            }
            let step = match self.streams.take_login(*stream) {
                Some(AwaitedByLogin::Client(url, request)) => Step::FetchClient(url, request),
                Some(AwaitedByLogin::Endpoints(id, awaiting)) => Step::Discover(id, awaiting),
                Some(AwaitedByLogin::Body(_) | AwaitedByLogin::Exchange(..)) | None => continue,
            };
            self.run_login(*stream, step, now);
        }
    }

    /// Ends a login that has waited too long.
    fn give_up_login(&mut self, stream: StreamId, now: UnixTime) {
        let Some(logins) = &self.logins else { return };
        let fault = CalloutFault::NoResponse;
        let step = match self.streams.take_login(stream) {
            None => return,
            Some(AwaitedByLogin::Body(_)) => {
                self.streams.decide(stream, false);
                self.end(stream, 408);
                return;
            }
            Some(AwaitedByLogin::Client(_, request)) => {
                self.on_client(*request, Err(&DocumentFault::Callout(fault)), now)
            }
            Some(AwaitedByLogin::Endpoints(id, awaiting)) => {
                let fault = DiscoveryFault::Callout(fault);
                self.with_login(|login, random| {
                    login.on_endpoints(id, *awaiting, Err(&fault), now, random)
                })
            }
            Some(AwaitedByLogin::Exchange(_, id, exchange)) => {
                Some(logins.login.on_exchanged(id, *exchange, Err(fault)))
            }
        };
        self.run_login(stream, step.unwrap_or_else(no_randomness), now);
    }

    /// Whether the proxy does not hand over the body that a login waits for.
    fn withholds_body(&mut self, stream: StreamId, now: UnixTime) -> bool {
        let awaits_body = self
            .streams
            .login(stream)
            .is_some_and(|login| matches!(login.awaited, AwaitedByLogin::Body(_)));
        let Some(RequestBody { head: Head::Held { since, size }, size: 0, .. }) =
            self.streams.body_mut(stream)
        else {
            return false;
        };
        let (since, head_size) = (*since, *size);
        if !awaits_body || self.delivery == BodyDelivery::WithHeldHead {
            return false;
        }
        self.delivery == BodyDelivery::AfterHead
            || match self.host.received_bytes(stream) {
                Some(received) => received > head_size && now >= since + Logins::NOT_HANDED_OVER,
                None => now >= since + Logins::NOT_REPORTED,
            }
    }

    fn refuse_withheld(&mut self, stream: StreamId, now: UnixTime) {
        if let Some(AwaitedByLogin::Body(form)) = self.streams.take_login(stream) {
            let step = Login::withheld(&form, self.host.withheld_bodies_fix());
            self.run_login(stream, step, now);
        }
    }

    fn end_login(
        &mut self,
        stream: StreamId,
        response: Response,
        event: Option<LoginEvent>,
        now: UnixTime,
    ) -> BodyAction {
        self.streams.decide(stream, false);
        if let Some(event) = event {
            self.report_login(stream, &event, now);
        }
        match self.host.respond(stream, response) {
            Ok(()) => BodyAction::Stop,
            Err(_) => self.abort(stream),
        }
    }

    fn report_login(&mut self, stream: StreamId, event: &LoginEvent, now: UnixTime) {
        let LoginEvent { provider, stage, result, line } = event;
        let provider = provider.map(|provider| self.provider_names[provider].as_str());
        let (step, result_name) = (stage.as_str(), result.as_str());
        self.metrics.count_login(provider, step, result_name, &self.host);
        if let Some(provider) = provider {
            self.host.set_filter_state(stream, "mcp_auth.provider", provider);
        }
        let (Some(line), Some(logins)) = (line, &mut self.logins) else { return };
        let (level, log) = match result {
            LoginResult::Failed => (Level::Warn, &mut logins.failure_log),
            LoginResult::Ok | LoginResult::Refused => (Level::Info, &mut logins.refusal_log),
        };
        let host = &self.host;
        let sum_up = |suppressed| {
            host.log(level, format_args!("login: {suppressed} more lines (log rate limit)"));
        };
        if log.admits(now, sum_up) {
            let provider = provider.unwrap_or("-");
            host.log(
                level,
                format_args!("login {result_name}: step={step} provider={provider}: {line}"),
            );
        }
    }

    fn let_login_wait(
        &mut self,
        stream: StreamId,
        awaited: AwaitedByLogin,
        time: Duration,
        now: UnixTime,
    ) {
        let deadline = now + time;
        self.streams.set(stream, State::Login(Box::new(WaitingLogin { awaited, deadline })));
    }

    fn is_crowded(&self) -> bool {
        let waits = |awaited: &AwaitedByLogin| !matches!(awaited, AwaitedByLogin::Body(_));
        self.streams.logins(waits).len() >= Logins::MAX_WAITING
    }

    /// The result of a step that may need random bytes; none if there are none.
    fn with_login(&self, step: impl FnOnce(&Login, &mut Randomness) -> Step) -> Option<Step> {
        let login = &self.logins.as_ref()?.login;
        Some(step(login, &mut self.randomness()?))
    }

    fn randomness(&self) -> Option<Randomness> {
        self.host.random_bytes().map(Randomness::from_seed)
    }
}

/// The end of a login at a proxy without random numbers.
fn no_randomness() -> Step {
    Step::Respond(Response::bare(500), None)
}
