//! Carries out the steps of logins.

mod callouts;
mod waiting;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use log::Level;

use self::callouts::ExchangeUnderWay;
pub(super) use self::waiting::{AwaitedByLogin, WaitingLogin};
use super::host::{CalloutId, Host, Part, StreamId};
use super::rate_limit::RateLimit;
use super::{BodyAction, Engine};
use crate::engine::authenticator::{
    Decision, IssuedJudgement, Need, PlausibleRequest, issued_judgement, judgement_by,
};
use crate::keys::{Demand, KeySource, KeysUnavailable, ProviderKeys};
use crate::login::{
    DocumentCache, EndpointCache, Form, IssuedToken, Login, LoginEvent, LoginResult, LoginStage,
    SpentCodes, Step, TokenJudgement,
};
use crate::provider::{ProviderId, ProviderMap, Providers};
use crate::refusal::{Reason, Refusal};
use crate::request::RequestHead;
use crate::response::Response;
use crate::seal::Randomness;
use crate::status::LoginRecord;
use crate::time::UnixTime;

/// What a worker keeps for logins: nothing of a person or a client, except published documents.
#[derive(Debug)]
pub(super) struct Logins {
    login: Rc<Login>,
    documents: DocumentCache,
    endpoints: ProviderMap<EndpointCache>,
    exchanges: ProviderMap<BTreeMap<CalloutId, ExchangeUnderWay>>,
    spent_codes: SpentCodes,
    /// Longest time for a response of each provider.
    timeouts: ProviderMap<Duration>,
    /// Whether there may be more logins to end than the last tick did.
    pub(super) has_overdue: bool,
    /// Limits log lines, each kind apart.
    logs: BTreeMap<LogKind, RateLimit>,
    /// Limits results without a log line that the status page shows at once; others are shown with
    /// the next one.
    status_limit: RateLimit,
}

/// Log lines that are limited together: a flood of one kind hides no other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LogKind {
    /// Faults of clients and people.
    Refused,
    /// Logins that found no room.
    Crowded,
    /// Faults of providers and the operator at this stage.
    Failed(LoginStage),
}

/// A token that a provider issued, while it is judged.
#[derive(Debug)]
pub(super) struct JudgedToken {
    provider: ProviderId,
    issued: Box<IssuedToken>,
    stage: LoginStage,
    /// The keys that were fetched for it, if none of the known ones verified it.
    sought: Option<Demand>,
}

/// A key that an issued token may have, and that is not among the current ones.
enum NewerKey {
    /// It can be fetched. The request is to be judged again then.
    Await(Box<PlausibleRequest>, Demand),
    /// It could not be fetched: the client must not take that for a refusal of its grant.
    Missed(KeysUnavailable),
}

impl JudgedToken {
    /// The keys that are still being fetched for it.
    pub(super) fn still_awaits(&self, keys: &ProviderKeys, now: UnixTime) -> Option<Demand> {
        keys.issued_key(now).filter(|demand| Some(*demand) == self.sought)
    }
}

impl Logins {
    /// Maximum number of log lines per minute of each kind.
    const MAX_LINES: u32 = 60;

    pub(super) fn new(login: Rc<Login>, providers: &Providers) -> Self {
        let timeout = |source: &KeySource| match source {
            KeySource::Remote(source) => source.settings.timeout,
            // A provider with `login` has a metadata document.
            KeySource::Static(_) => Duration::ZERO,
        };
        Self {
            login,
            documents: DocumentCache::default(),
            endpoints: providers.map(|_| EndpointCache::default()),
            exchanges: providers.map(|_| BTreeMap::new()),
            spent_codes: SpentCodes::default(),
            timeouts: providers.map(|provider| timeout(&provider.key_source)),
            has_overdue: false,
            logs: BTreeMap::new(),
            status_limit: Self::log(),
        }
    }

    fn log() -> RateLimit {
        RateLimit::new(Self::MAX_LINES, Duration::from_secs(60))
    }
}

impl<H: Host> Engine<H> {
    /// The first step of a login; `None` if the request does not belong to the login.
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

    /// More of the body of a login's request has arrived.
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

    /// Judges a token that waited. `waited`: its deadline, and whether it waited for its user.
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

    /// Carries out one step. Returns the next one; `None` if the login waits.
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
                let token = Box::new(JudgedToken { provider, issued, stage, sought: None });
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

    /// Judges a token, or lets it wait. `waited`: its deadline, and whether it waited for its user;
    /// `None` if it did not wait before.
    fn judge_issued(
        &mut self,
        stream: StreamId,
        request: PlausibleRequest,
        mut token: Box<JudgedToken>,
        waited: Option<(UnixTime, bool)>,
        now: UnixTime,
    ) -> Option<Step> {
        let judgement = match self.authenticator.judge_issued(request, self.view(), now) {
            IssuedJudgement::Judged(judgement, verdict) => {
                match self.newer_key(&token, &judgement, now) {
                    Some(NewerKey::Await(request, demand)) => {
                        token.sought = Some(demand);
                        let need = Need::Keys(demand);
                        let deadline = now + self.max_wait(&request, &need);
                        self.let_wait(stream, *request, need, Some(token), deadline, now);
                        self.set_pace(now);
                        return None;
                    }
                    Some(NewerKey::Missed(why)) => issued_judgement(&Refusal::from(why)),
                    None => {
                        if let Some(verdict) = verdict {
                            let hashed = self.verdicts.hash(token.issued.token().as_bytes());
                            self.verdicts.remember(hashed, verdict);
                        }
                        judgement
                    }
                }
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
                judgement_by(given_up)
            }
        };
        self.on_judged(*token, judgement, now)
    }

    /// The key that may verify a token that none of the current ones does; `None` if there is none.
    /// The token comes from the provider itself, so its key may be new. A fetch a moment ago, which
    /// any stranger can cause, says nothing.
    fn newer_key(
        &self,
        token: &JudgedToken,
        judgement: &TokenJudgement,
        now: UnixTime,
    ) -> Option<NewerKey> {
        let TokenJudgement::Refused { reason, .. } = judgement else { return None };
        let lacks_key = [Reason::UnknownKid, Reason::BadSignature].map(Reason::code);
        if !lacks_key.contains(reason) {
            return None;
        }
        let JudgedToken { issued, sought, .. } = token;
        let request =
            self.authenticator.read_issued(issued.token(), issued.resource(), now).ok()?;
        let keys = &self.keys[request.provider()];
        match keys.issued_key(now) {
            Some(demand)
                if sought.is_none() && self.has_room_for(&request, &Need::Keys(demand)) =>
            {
                Some(NewerKey::Await(Box::new(request), demand))
            }
            _ => keys.newer_keys_missed(*sought, now).map(NewerKey::Missed),
        }
    }

    fn on_judged(
        &self,
        token: JudgedToken,
        judgement: TokenJudgement,
        now: UnixTime,
    ) -> Option<Step> {
        let JudgedToken { provider, issued, stage, .. } = token;
        let step = self.with_login(|login, random| {
            login.on_judged(provider, stage, *issued, judgement, now, random)
        });
        Some(step.unwrap_or_else(no_randomness))
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
        if self.host.part() == Part::Requests {
            // There may be no further tick.
            self.write_status(now);
        }
        match self.host.respond(stream, response) {
            Ok(()) => BodyAction::Stop,
            Err(_) => self.abort(stream),
        }
    }

    fn report_login(&mut self, stream: StreamId, event: &LoginEvent, now: UnixTime) {
        let LoginEvent { provider, stage, result, line, .. } = event;
        let provider = provider.map(|provider| self.provider_names[provider].as_str());
        self.metrics.count_login(provider, stage.as_str(), result.as_str(), &self.host);
        if let Some(provider) = provider {
            self.host.set_filter_state(stream, "mcp_auth.provider", provider);
        }
        let configuration = self.heartbeat_writer.configuration();
        let record = LoginRecord::new(configuration, provider, *result, line.as_deref(), now);
        self.heartbeat_writer.note_login(*stage, record);
        let is_logged = self.log_login(event, now);
        let is_admitted = is_logged
            || self.logins.as_mut().is_some_and(|logins| logins.status_limit.admits(now, |_| ()));
        if is_admitted && self.host.part() == Part::Requests {
            self.heartbeat_writer.hasten();
        }
    }

    /// Writes the log line of an event, if it has one and the rate limit admits it. Returns whether
    /// it did.
    fn log_login(&mut self, event: &LoginEvent, now: UnixTime) -> bool {
        let (Some(line), Some(logins)) = (&event.line, &mut self.logins) else { return false };
        let (level, kind) = match event.result {
            LoginResult::Failed => (Level::Warn, LogKind::Failed(event.stage)),
            _ if event.is_crowding => (Level::Warn, LogKind::Crowded),
            LoginResult::Ok | LoginResult::Refused => (Level::Info, LogKind::Refused),
        };
        let log = logins.logs.entry(kind).or_insert_with(Logins::log);
        let host = &self.host;
        let sum_up = |suppressed| {
            host.log(level, format_args!("login: {suppressed} more lines (log rate limit)"));
        };
        let is_admitted = log.admits(now, sum_up);
        if is_admitted {
            let provider = event.provider.map(|provider| self.provider_names[provider].as_str());
            let (step, result) = (event.stage.as_str(), event.result.as_str());
            let provider = provider.unwrap_or("-");
            host.log(
                level,
                format_args!("login {result}: step={step} provider={provider}: {line}"),
            );
        }
        is_admitted
    }

    /// The result of a step that may need random bytes; `None` if the host has none.
    fn with_login(&self, step: impl FnOnce(&Login, &mut Randomness) -> Step) -> Option<Step> {
        let login = &self.logins.as_ref()?.login;
        Some(step(login, &mut self.randomness()?))
    }

    fn randomness(&self) -> Option<Randomness> {
        self.host.random_bytes().map(Randomness::from_seed)
    }
}

/// The end of a login if the host has no random bytes.
fn no_randomness() -> Step {
    Step::Respond(Response::bare(500), None)
}
