//! Responses of upstreams whose lists are filtered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use log::Level;

use super::cookies::KeptCookies;
use super::host::{Host, HostRefused, StreamId};
use super::metrics::Outcome;
use super::rate_limit::RateLimit;
use super::response_room::ResponseRoom;
use super::response_trials::ResponseTrials;
use super::sessions::{AwaitedSession, SessionPlan};
use super::{BodyAction, Engine, HeadAction};
use crate::access::MessageId;
use crate::engine::authenticator::{ListView, Refused};
use crate::lists::{BodyPlan, Filtered, HeadPlan, Judge, ListFilter};
use crate::outcome::OutcomeReader;
use crate::response_head::ResponseHead;

/// The responses that are or will be filtered.
#[derive(Debug)]
pub(super) struct Responses {
    by_stream: BTreeMap<StreamId, Filtering>,
    /// Those whose heads may give a session its id.
    sessions: BTreeMap<StreamId, AwaitedSession>,
    /// Those whose heads may set cookies; empty where people do not log in through the gateway.
    cookies: BTreeSet<StreamId>,
    /// For lists and outcomes.
    pub(super) room: ResponseRoom,
    pub(super) trials: ResponseTrials,
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
    caching: Option<PrivateCaching>,
    outcome: Option<OutcomeReader>,
}

/// What keeps shared caches from a response.
#[derive(Debug, Default)]
struct PrivateCaching {
    /// `cache-control` in place of the server's, if that must not stay.
    cache_control: Option<String>,
    /// Fields for some caches, which are removed.
    removed: Vec<String>,
}

/// How far a response has come.
#[derive(Debug)]
enum Progress {
    /// Its head has not arrived.
    Expected,
    /// Its body is read.
    Read(Reading),
    /// Nothing more of it is forwarded.
    Dropped,
}

/// A body that is read.
#[derive(Debug)]
struct Reading {
    filter: ListFilter,
    /// Whether its head is held back meanwhile.
    is_head_held: bool,
    /// Whether one of its messages was refused.
    is_refused: bool,
}

impl Responses {
    /// Maximum number of log lines per minute, of each kind.
    const MAX_LINES: u32 = 10;

    /// The response to this request will be filtered.
    pub(super) fn expect(&mut self, stream: StreamId, view: Box<ListView>) {
        self.put(stream, Filtering { view, progress: Progress::Expected });
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
        let _ = self.take(stream);
        self.trials.remove(stream);
        self.sessions.remove(&stream);
        self.cookies.remove(&stream);
    }

    fn put(&mut self, stream: StreamId, filtering: Filtering) {
        self.room.change(0, filtering.held());
        self.by_stream.insert(stream, filtering);
    }

    fn take(&mut self, stream: StreamId) -> Option<Filtering> {
        let filtering = self.by_stream.remove(&stream)?;
        self.room.change(filtering.held(), 0);
        Some(filtering)
    }
}

impl Filtering {
    /// How much of the body is kept, in bytes.
    fn held(&self) -> usize {
        match &self.progress {
            Progress::Read(reading) => reading.filter.held(),
            Progress::Expected | Progress::Dropped => 0,
        }
    }
}

impl Default for Responses {
    fn default() -> Self {
        let log = || RateLimit::new(Self::MAX_LINES, Duration::from_secs(60));
        Self {
            by_stream: BTreeMap::new(),
            sessions: BTreeMap::new(),
            cookies: BTreeSet::new(),
            room: ResponseRoom::default(),
            trials: ResponseTrials::default(),
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
        // A list that depends on the caller's permissions is for the caller alone.
        let is_own_list =
            self.responses.by_stream.get(&stream).is_some_and(|Filtering { view, .. }| {
                view.asked().list().is_some() && self.authenticator.enforces(view)
            });
        let caching = is_own_list.then(|| PrivateCaching {
            cache_control: head.private_cache_control(),
            removed: head.targeted_cache_fields(),
        });
        let outcome = self.outcome_reader(stream, head, has_body);
        ResponsePlan { cookies, session, lists, caching, outcome }
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
            self.responses.take(stream);
            self.abort(stream);
            return HeadAction::Stop;
        };
        let filtering = self.responses.take(stream);
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
        let ResponsePlan { cookies, session, lists, caching, outcome } = plan;
        if let Some(kept) = cookies {
            self.keep_cookies(stream, &kept)?;
        }
        if let Some(awaited) = awaited {
            self.carry_out_session(stream, awaited, session)?;
        }
        let PrivateCaching { cache_control, removed } = caching.unwrap_or_default();
        for field in removed {
            self.host.remove_response_field(stream, &field)?;
        }
        if let Some(value) = cache_control {
            self.host.remove_response_field(stream, CACHE_CONTROL)?;
            self.host.add_response_field(stream, CACHE_CONTROL, &value)?;
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
        let enforces = self.authenticator.enforces(&view);
        let (filter, is_head_held) = match plan {
            HeadPlan::Refuse if enforces => {
                self.refuse_response(stream, &view, None);
                return HeadAction::Stop;
            }
            HeadPlan::Pass | HeadPlan::Refuse => {
                self.report_outcome(stream);
                return HeadAction::Continue;
            }
            // A proxy that delivers no body meanwhile would wait forever.
            HeadPlan::Hold(filter) => {
                let is_list = view.asked().list().is_some();
                (filter, enforces && self.holds_response_head(stream, is_list))
            }
            HeadPlan::Stream(filter) => {
                self.report_outcome(stream);
                (filter, false)
            }
        };
        let progress = Progress::Read(Reading { filter, is_head_held, is_refused: false });
        self.responses.put(stream, Filtering { view, progress });
        if is_head_held {
            return HeadAction::Stop;
        }
        if enforces && !self.remove_fields_of_body(stream) {
            return HeadAction::Stop;
        }
        HeadAction::Continue
    }

    /// The head of a response is held back no longer, although its body has not been judged.
    /// Returns whether it may be forwarded.
    pub(super) fn release_response_head(&mut self, stream: StreamId) -> bool {
        let held = self.responses.by_stream.get_mut(&stream);
        let Some(Filtering { progress: Progress::Read(reading), .. }) = held else { return false };
        reading.is_head_held = false;
        self.host.is_open(stream) && self.remove_fields_of_body(stream)
    }

    /// Removes from the head of a response what may be wrong for the body that is forwarded.
    /// Otherwise the response is aborted, and this returns false.
    fn remove_fields_of_body(&mut self, stream: StreamId) -> bool {
        let mut fields = OF_WHOLE_BODY.into_iter();
        let is_refused =
            fields.any(|field| self.host.remove_response_field(stream, field).is_err());
        if is_refused {
            self.abort(stream);
        }
        !is_refused
    }

    /// More of the body of a response arrived: the size of what is held back, or of the part that
    /// has just arrived, and whether nothing follows.
    pub fn on_response_body(&mut self, stream: StreamId, size: usize, is_last: bool) -> BodyAction {
        self.learn_response_delivery(stream);
        let Some(filtering) = self.responses.take(stream) else {
            self.watch_outcome(stream, size, is_last);
            return BodyAction::Continue;
        };
        let Filtering { view, progress } = filtering;
        let done = match progress {
            Progress::Expected => Ok((BodyAction::Continue, None)),
            Progress::Read(reading) => self.read_body(stream, &view, reading, size, is_last),
            Progress::Dropped => {
                let dropped = self.host.replace_response_body(stream, b"");
                dropped.map(|()| (BodyAction::Continue, Some(Progress::Dropped)))
            }
        };
        match done {
            Ok((action, progress)) => {
                if let Some(progress) = progress.filter(|_| !is_last) {
                    self.responses.put(stream, Filtering { view, progress });
                }
                action
            }
            Err(HostRefused) => {
                self.responses.put(stream, Filtering { view, progress: Progress::Dropped });
                self.lose_outcome(stream);
                self.abort(stream)
            }
        }
    }

    /// The trailers of a response arrived, and with them the end of its body.
    pub fn on_response_trailers(&mut self, stream: StreamId) -> BodyAction {
        match self.responses.by_stream.get(&stream).map(|filtering| &filtering.progress) {
            Some(Progress::Read(reading)) if reading.filter.holds_message() => {
                self.on_response_body(stream, 0, true)
            }
            // An incomplete event is discarded (WHATWG HTML §9.2.6).
            _ => {
                self.read_outcome(stream, b"", true);
                BodyAction::Continue
            }
        }
    }

    /// Reads a part of a body, and forwards of it what its caller may see.
    fn read_body(
        &mut self,
        stream: StreamId,
        view: &ListView,
        mut reading: Reading,
        size: usize,
        is_last: bool,
    ) -> Result<(BodyAction, Option<Progress>), HostRefused> {
        let part = match size {
            0 => Vec::new(),
            size => self.host.response_body(stream, size)?,
        };
        let (part_size, enforces) = (part.len(), self.authenticator.enforces(view));
        if !enforces {
            self.read_outcome(stream, &part, is_last);
        }
        // It is not in the map now, so its own part is not counted.
        reading.filter.limit(self.responses.room.of_one(0, view.max_body()));
        let authenticator = &self.authenticator;
        let judge = Judge {
            shows: &|item| authenticator.shows(view, item),
            error: &|id| authenticator.list_error(view, id),
        };
        let plan = reading.filter.on_body(part, is_last, &judge);
        if !enforces {
            let progress = self.report_plan(view, reading, &plan);
            return Ok((BodyAction::Continue, progress));
        }
        match plan {
            BodyPlan::Hold => {
                // The filter keeps it, so it does not count towards the proxy's own limit.
                if part_size > 0 {
                    self.host.replace_response_body(stream, b"")?;
                }
                Ok((BodyAction::Stop, Some(Progress::Read(reading))))
            }
            BodyPlan::Forward { filtered, is_read } => {
                if filtered.refused > 0 && !std::mem::replace(&mut reading.is_refused, true) {
                    self.note_unreadable(stream, view, None);
                }
                let is_changed =
                    filtered.changed.is_some() || (is_read && reading.filter.may_change());
                let loses_fields = std::mem::take(&mut reading.is_head_held) && is_changed;
                self.forward_filtered(stream, &filtered, part_size, loses_fields)?;
                self.read_outcome(stream, &filtered.arrived, is_last);
                Ok((BodyAction::Continue, is_read.then_some(Progress::Read(reading))))
            }
            BodyPlan::Refuse(id) if reading.is_head_held => {
                self.refuse_response(stream, view, id);
                Ok((BodyAction::Stop, Some(Progress::Dropped)))
            }
            BodyPlan::Refuse(id) => {
                let error = self.authenticator.list_error(view, id.as_ref());
                self.note_unreadable(stream, view, id);
                self.host.replace_response_body(stream, &error)?;
                Ok((BodyAction::Continue, Some(Progress::Dropped)))
            }
            BodyPlan::Cut => {
                self.note_unreadable(stream, view, None);
                self.host.replace_response_body(stream, b"")?;
                Err(HostRefused)
            }
        }
    }

    /// Forwards a part of a body, of which the proxy has this many bytes. `loses_fields`: what its
    /// head says about the whole body is not true any more.
    fn forward_filtered(
        &mut self,
        stream: StreamId,
        filtered: &Filtered,
        part_size: usize,
        loses_fields: bool,
    ) -> Result<(), HostRefused> {
        let Filtered { arrived, changed, .. } = filtered;
        for field in OF_WHOLE_BODY.into_iter().filter(|_| loses_fields) {
            self.host.remove_response_field(stream, field)?;
        }
        match changed {
            Some(changed) => self.host.replace_response_body(stream, changed),
            None if arrived.len() != part_size => self.host.replace_response_body(stream, arrived),
            None => Ok(()),
        }
    }

    /// Logs what would be hidden.
    fn report_plan(
        &mut self,
        view: &ListView,
        reading: Reading,
        plan: &BodyPlan,
    ) -> Option<Progress> {
        let is_read = match plan {
            BodyPlan::Hold => true,
            BodyPlan::Refuse(_) | BodyPlan::Cut => false,
            BodyPlan::Forward { filtered, is_read } => {
                if filtered.hidden > 0 {
                    self.log_hidden(view, filtered.hidden);
                }
                *is_read
            }
        };
        is_read.then_some(Progress::Read(reading))
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
                format_args!("report mode: {suppressed} more lists (log rate limit)"),
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

const CACHE_CONTROL: &str = "cache-control";

/// What a server says about a body is wrong for one that is filtered.
const OF_WHOLE_BODY: [&str; 6] =
    ["content-digest", "content-length", "content-md5", "digest", "etag", "repr-digest"];
