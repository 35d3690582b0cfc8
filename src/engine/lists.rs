//! Responses of upstreams whose lists are filtered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use log::Level;

use super::cookies::KeptCookies;
use super::host::{Host, HostRefused, StreamId};
use super::metrics::Outcome;
use super::rate_limit::RateLimit;
use super::request_body::BodyDelivery;
use super::sessions::{AwaitedSession, SessionPlan};
use super::{BodyAction, Engine, HeadAction};
use crate::access::MessageId;
use crate::engine::authenticator::{ListView, Refused};
use crate::lists::{BodyPlan, Filtered, HeadPlan, ListFilter};
use crate::outcome::OutcomeReader;
use crate::refusal::McpCall;
use crate::response_head::ResponseHead;

/// The responses that are or will be filtered.
#[derive(Debug)]
pub(super) struct Responses {
    by_stream: BTreeMap<StreamId, Filtering>,
    /// Those whose heads may give a session its id.
    sessions: BTreeMap<StreamId, AwaitedSession>,
    /// Those whose heads may set cookies; empty where people do not log in through the gateway.
    cookies: BTreeSet<StreamId>,
    log: RateLimit,
    pub(super) session_log: RateLimit,
}

/// A response that is filtered.
#[derive(Debug)]
struct Filtering {
    view: Box<ListView>,
    progress: Progress,
}

/// What to do with a response.
#[derive(Debug)]
pub struct ResponsePlan {
    cookies: Option<KeptCookies>,
    session: SessionPlan,
    lists: HeadPlan,
    outcome: Option<OutcomeReader>,
}

/// How far a response has come.
#[derive(Debug)]
enum Progress {
    /// Its head has not arrived.
    Expected,
    /// Its body is held back until it is complete, its head too if the proxy delivers the body
    /// meanwhile.
    Message { filter: ListFilter, is_head_held: bool, size: usize },
    /// Its events are filtered one by one.
    Events { filter: ListFilter, is_refused: bool },
    /// Nothing more of it is forwarded.
    Dropped,
}

impl Responses {
    /// Maximum number of log lines per minute, of each kind.
    const MAX_LINES: u32 = 10;

    /// The response to this request will be filtered.
    pub(super) fn expect(&mut self, stream: StreamId, view: Box<ListView>) {
        self.by_stream.insert(stream, Filtering { view, progress: Progress::Expected });
    }

    /// The response to this request may give a session its id.
    pub(super) fn expect_session(&mut self, stream: StreamId, session: AwaitedSession) {
        self.sessions.insert(stream, session);
    }

    /// The response to this request must set no cookie of the gateway.
    pub(super) fn expect_cookies(&mut self, stream: StreamId) {
        self.cookies.insert(stream);
    }

    pub(super) fn remove(&mut self, stream: StreamId) {
        self.by_stream.remove(&stream);
        self.sessions.remove(&stream);
        self.cookies.remove(&stream);
    }
}

impl Default for Responses {
    fn default() -> Self {
        let log = || RateLimit::new(Self::MAX_LINES, Duration::from_secs(60));
        Self {
            by_stream: BTreeMap::new(),
            sessions: BTreeMap::new(),
            cookies: BTreeSet::new(),
            log: log(),
            session_log: log(),
        }
    }
}

impl<H: Host> Engine<H> {
    /// Whether the response to a request is read; otherwise the host need not report it.
    #[must_use]
    pub fn reads_response(&self, stream: StreamId) -> bool {
        let Responses { by_stream, sessions, cookies, .. } = &self.responses;
        by_stream.contains_key(&stream)
            || sessions.contains_key(&stream)
            || cookies.contains(&stream)
            || self.outcomes.contains(stream)
    }

    /// The head of the response to a request arrived. `has_body` says whether a body follows.
    pub fn on_response_head(
        &mut self,
        stream: StreamId,
        head: ResponseHead<'_>,
        has_body: bool,
    ) -> HeadAction {
        let plan = self.plan_response(stream, head, has_body);
        self.carry_out_response(stream, Some(plan))
    }

    /// The first half of [`Self::on_response_head`]: reads the head, and changes nothing.
    #[must_use]
    pub fn plan_response(
        &self,
        stream: StreamId,
        head: ResponseHead<'_>,
        has_body: bool,
    ) -> ResponsePlan {
        let is_guarded = self.responses.cookies.contains(&stream);
        let cookies = is_guarded.then(|| KeptCookies::from_head(head)).flatten();
        let session = match self.responses.sessions.get(&stream) {
            Some(awaited) => self.plan_session(awaited, head),
            None => SessionPlan::Pass,
        };
        let lists = match self.responses.by_stream.get(&stream) {
            Some(Filtering { view, .. }) if has_body => {
                ListFilter::on_head(view.asked().clone(), head, view.max_body())
            }
            _ => HeadPlan::Pass,
        };
        let outcome = self.outcome_reader(stream, head, has_body);
        ResponsePlan { cookies, session, lists, outcome }
    }

    /// The second half: carries out the plan; `None` if the head could not be read.
    pub fn carry_out_response(
        &mut self,
        stream: StreamId,
        plan: Option<ResponsePlan>,
    ) -> HeadAction {
        if !self.reads_response(stream) {
            return HeadAction::Continue;
        }
        self.responses.cookies.remove(&stream);
        let awaited = self.responses.sessions.remove(&stream);
        let edited = match plan {
            None => Err(HostRefused),
            Some(plan) => self.edit_response(stream, awaited.as_ref(), plan),
        };
        let Ok((lists, outcome)) = edited else {
            self.responses.by_stream.remove(&stream);
            self.abort(stream);
            return HeadAction::Stop;
        };
        let filtering = self.responses.by_stream.remove(&stream);
        self.begin_outcome(stream, outcome);
        match filtering {
            Some(Filtering { view, .. }) => self.carry_out_lists(stream, view, lists),
            None => {
                self.report_outcome(stream);
                HeadAction::Continue
            }
        }
    }

    /// Edits the head of a response as planned. Returns what is planned for its body.
    fn edit_response(
        &mut self,
        stream: StreamId,
        awaited: Option<&AwaitedSession>,
        plan: ResponsePlan,
    ) -> Result<(HeadPlan, Option<OutcomeReader>), HostRefused> {
        let ResponsePlan { cookies, session, lists, outcome } = plan;
        if let Some(kept) = cookies {
            self.keep_cookies(stream, &kept)?;
        }
        if let Some(awaited) = awaited {
            self.carry_out_session(stream, awaited, session)?;
        }
        Ok((lists, outcome))
    }

    /// Carries out the plan for a response whose lists are filtered.
    fn carry_out_lists(
        &mut self,
        stream: StreamId,
        view: Box<ListView>,
        plan: HeadPlan,
    ) -> HeadAction {
        let (progress, action) = match plan {
            HeadPlan::Refuse if self.authenticator.enforces(&view) => {
                self.refuse_response(stream, &view, None);
                return HeadAction::Stop;
            }
            HeadPlan::Pass | HeadPlan::Refuse => {
                self.report_outcome(stream);
                return HeadAction::Continue;
            }
            HeadPlan::Stream(filter) => {
                self.report_outcome(stream);
                (Progress::Events { filter, is_refused: false }, HeadAction::Continue)
            }
            // A proxy that delivers no body meanwhile would wait forever.
            HeadPlan::Hold(filter) if self.delivery == BodyDelivery::WithHeldHead => {
                (Progress::Message { filter, is_head_held: true, size: 0 }, HeadAction::Stop)
            }
            HeadPlan::Hold(filter) => {
                (Progress::Message { filter, is_head_held: false, size: 0 }, HeadAction::Continue)
            }
        };
        let is_held = action == HeadAction::Stop;
        self.responses.by_stream.insert(stream, Filtering { view, progress });
        if is_held || self.host.remove_response_field(stream, CONTENT_LENGTH).is_ok() {
            return action;
        }
        self.abort(stream);
        HeadAction::Stop
    }

    /// More of the body of a response arrived: the size of what is held back, or of the part that
    /// has just arrived, and whether nothing follows.
    pub fn on_response_body(&mut self, stream: StreamId, size: usize, is_last: bool) -> BodyAction {
        let Some(filtering) = self.responses.by_stream.remove(&stream) else {
            self.watch_outcome(stream, size, is_last);
            return BodyAction::Continue;
        };
        let Filtering { view, progress } = filtering;
        let done = match progress {
            Progress::Expected => Ok((BodyAction::Continue, None)),
            Progress::Message { filter, is_head_held, .. } => {
                self.filter_message(stream, &view, filter, is_head_held, size, is_last)
            }
            Progress::Events { filter, is_refused } => {
                self.filter_events(stream, &view, filter, is_refused, size, is_last)
            }
            Progress::Dropped => {
                let dropped = self.host.replace_response_body(stream, b"");
                dropped.map(|()| (BodyAction::Continue, Some(Progress::Dropped)))
            }
        };
        match done {
            Ok((action, progress)) => {
                if let Some(progress) = progress.filter(|_| !is_last) {
                    self.responses.by_stream.insert(stream, Filtering { view, progress });
                }
                action
            }
            Err(HostRefused) => {
                self.responses
                    .by_stream
                    .insert(stream, Filtering { view, progress: Progress::Dropped });
                self.lose_outcome(stream);
                self.abort(stream)
            }
        }
    }

    /// The trailers of a response arrived, and with them the end of its body.
    pub fn on_response_trailers(&mut self, stream: StreamId) -> BodyAction {
        match self.responses.by_stream.get(&stream).map(|filtering| &filtering.progress) {
            Some(Progress::Message { size, .. }) => self.on_response_body(stream, *size, true),
            // An incomplete event is discarded (WHATWG HTML §9.2.6).
            _ => {
                self.read_outcome(stream, b"", true);
                BodyAction::Continue
            }
        }
    }

    fn filter_message(
        &mut self,
        stream: StreamId,
        view: &ListView,
        mut filter: ListFilter,
        is_head_held: bool,
        size: usize,
        is_last: bool,
    ) -> Result<(BodyAction, Option<Progress>), HostRefused> {
        if !filter.reads(size, is_last) {
            return Ok((BodyAction::Stop, Some(Progress::Message { filter, is_head_held, size })));
        }
        let body = match size.min(filter.max_body().saturating_add(1)) {
            0 => Vec::new(),
            size => self.host.response_body(stream, size)?,
        };
        let authenticator = &self.authenticator;
        let shows = |call: McpCall| authenticator.shows(view, call);
        let plan = filter.on_message(&body, is_last, &shows);
        if plan == BodyPlan::Wait {
            return Ok((BodyAction::Stop, Some(Progress::Message { filter, is_head_held, size })));
        }
        let enforces = self.authenticator.enforces(view);
        if !(enforces && matches!(plan, BodyPlan::Refuse(_))) {
            self.read_outcome(stream, &body, is_last);
        }
        if !enforces {
            if let BodyPlan::Replace { hidden, .. } = plan {
                self.log_hidden(view, hidden);
            }
            return Ok((BodyAction::Continue, None));
        }
        match plan {
            BodyPlan::Wait | BodyPlan::Pass => Ok((BodyAction::Continue, None)),
            BodyPlan::Replace { body, .. } => {
                if is_head_held {
                    self.host.remove_response_field(stream, CONTENT_LENGTH)?;
                }
                self.host.replace_response_body(stream, &body)?;
                Ok((BodyAction::Continue, None))
            }
            BodyPlan::Refuse(id) if is_head_held => {
                self.refuse_response(stream, view, id);
                Ok((BodyAction::Stop, Some(Progress::Dropped)))
            }
            BodyPlan::Refuse(id) => {
                let error = self.authenticator.list_error(view, id.as_ref());
                self.note_unreadable(stream, view, id);
                self.host.replace_response_body(stream, &error)?;
                Ok((BodyAction::Continue, Some(Progress::Dropped)))
            }
        }
    }

    fn filter_events(
        &mut self,
        stream: StreamId,
        view: &ListView,
        mut filter: ListFilter,
        mut is_refused: bool,
        size: usize,
        is_last: bool,
    ) -> Result<(BodyAction, Option<Progress>), HostRefused> {
        let chunk = match size {
            0 => Vec::new(),
            size => self.host.response_body(stream, size)?,
        };
        let authenticator = &self.authenticator;
        let shows = |call: McpCall| authenticator.shows(view, call);
        let error = |id: Option<&MessageId>| authenticator.list_error(view, id);
        let Filtered { bytes, hidden, refused } = filter.on_events(&chunk, is_last, &shows, &error);
        if self.authenticator.enforces(view) {
            if refused > 0 && !std::mem::replace(&mut is_refused, true) {
                self.note_unreadable(stream, view, None);
            }
            if bytes != chunk {
                self.host.replace_response_body(stream, &bytes)?;
            }
        } else if hidden > 0 {
            self.log_hidden(view, hidden);
        }
        self.read_outcome(stream, &chunk, is_last);
        Ok((BodyAction::Continue, Some(Progress::Events { filter, is_refused })))
    }

    /// Responds in place of the upstream, whose list cannot be read.
    fn refuse_response(&mut self, stream: StreamId, view: &ListView, id: Option<MessageId>) {
        let refused = self.note_unreadable(stream, view, id);
        if self.host.respond(stream, self.authenticator.response(&refused)).is_err() {
            self.abort(stream);
        }
    }

    /// Counts and logs a list that cannot be read. Returns its refusal.
    fn note_unreadable(
        &mut self,
        stream: StreamId,
        view: &ListView,
        id: Option<MessageId>,
    ) -> Refused {
        let refused = self.authenticator.list_refused(view, id);
        if let Some(now) = self.host.now() {
            self.note(stream, &refused, Outcome::Refused, now);
        }
        refused
    }

    fn log_hidden(&mut self, view: &ListView, hidden: usize) {
        let Some(now) = self.host.now() else { return };
        let host = &self.host;
        let sum_up = |suppressed| {
            host.log(
                Level::Info,
                format_args!(
                    "report mode: {suppressed} more lists (log rate \
                                                limit)"
                ),
            );
        };
        if self.responses.log.admits(now, sum_up) {
            let url = self.authenticator.url(view);
            host.log(
                Level::Info,
                format_args!("report mode: {hidden} items in a list from {url} would be hidden"),
            );
        }
    }
}

const CONTENT_LENGTH: &str = "content-length";
