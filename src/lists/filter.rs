//! Filters one response, as it arrives.

use super::asked::Asked;
use super::long_event::LongEvent;
use super::message::{Screened, is_message, screen};
use super::scan::{ListScan, Sight, is_begun_blank, without_blank};
use crate::access::{Listed, MessageId};
use crate::response_head::{Media, ResponseHead};
use crate::response_messages::{
    EventReader, Part, begins_like_events, data, data_after_first_line, with_data,
};

/// Filters the lists in one response.
#[derive(Debug)]
pub(crate) struct ListFilter {
    asked: Asked,
    /// Longest message that is read, in bytes.
    max_body: usize,
    form: Form,
}

/// How a response carries its messages.
#[derive(Debug)]
enum Form {
    /// Not known: of its body, only this has arrived. `blank`: the length of the byte order mark and
    /// white space that it begins with.
    Unknown { held: Vec<u8>, blank: usize },
    /// One message, of which this has arrived.
    Message { held: Vec<u8>, scan: ListScan },
    /// One message that is no list, as far as it has arrived.
    Passing(ListScan),
    /// An event stream, read event by event.
    Events(Events),
}

impl Form {
    const NOTHING: Self = Self::Unknown { held: Vec::new(), blank: 0 };
}

#[derive(Debug)]
struct Events {
    reader: EventReader,
    /// The event that is being read, if it is too long.
    overlong: LongEvent,
    /// Whether a byte order mark is all that has come before the event.
    is_after_mark: bool,
}

/// What to do with a response whose head has arrived.
#[derive(Debug)]
pub(crate) enum HeadPlan {
    /// It holds no list, or none that is filtered.
    Pass,
    /// It cannot be read.
    Refuse,
    /// Its head is held back until its body says what it is.
    Hold(ListFilter),
    /// Its head is forwarded, without a length; its events are filtered.
    Stream(ListFilter),
}

/// What decides on the messages of a response.
pub(crate) struct Judge<'a> {
    /// Whether the caller sees an item.
    pub shows: &'a dyn Fn(&Listed) -> bool,
    /// The message in place of one that cannot be read, in one line.
    pub error: &'a dyn Fn(Option<&MessageId>) -> Vec<u8>,
}

/// What to do with a part of a body, and what was held back before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyPlan {
    /// All of it is held back.
    Hold,
    /// This is forwarded instead. The rest `is_read`, or passes.
    Forward { filtered: Filtered, is_read: bool },
    /// It cannot be read, and nothing of it was forwarded; its message has this id if that is known.
    Refuse(Option<MessageId>),
    /// It must not be forwarded, nor anything after it; what was before it has been.
    Cut,
}

/// What of a part of a body is forwarded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filtered {
    /// What arrived in this part, and what was held back before it.
    pub arrived: Vec<u8>,
    /// What is forwarded now; `None` for what arrived.
    pub changed: Option<Vec<u8>>,
    /// How many items were taken out.
    pub hidden: usize,
    /// How many messages were replaced with an error, since they cannot be read.
    pub refused: usize,
}

impl ListFilter {
    /// How much is held back of a message that shows no list so far, in bytes. With the part that
    /// arrives then, it must stay far below Envoy's own limit.
    const MAX_BEGINNING: usize = 16 << 10;

    /// Decides by the head of the response to a request. `max_body`: the longest message that is
    /// read, in bytes.
    pub(crate) fn on_head(asked: Asked, head: ResponseHead<'_>, max_body: usize) -> HeadPlan {
        if !(200..300).contains(&head.status()) {
            return HeadPlan::Pass;
        }
        if head.is_encoded() {
            // The response to a call is not a list, so it may be compressed.
            return if asked.is_call() { HeadPlan::Pass } else { HeadPlan::Refuse };
        }
        match head.media() {
            Media::Ambiguous => HeadPlan::Refuse,
            Media::Other if asked.list().is_some() && head.is_longer_than(max_body) => {
                HeadPlan::Refuse
            }
            Media::Events => {
                let form = Form::Events(Events::new(max_body));
                HeadPlan::Stream(Self { asked, max_body, form })
            }
            Media::Other => HeadPlan::Hold(Self { asked, max_body, form: Form::NOTHING }),
        }
    }

    /// Whether of what is still to be read more may be forwarded than arrives, or less.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self.form, Form::Events(_) | Form::Unknown { .. })
    }

    /// Whether what has arrived is held back until its end.
    pub(crate) fn holds_message(&self) -> bool {
        matches!(self.form, Form::Unknown { .. } | Form::Message { .. })
    }

    /// How much of the body is kept, in bytes.
    pub(crate) fn held(&self) -> usize {
        match &self.form {
            Form::Unknown { held, .. } | Form::Message { held, .. } => held.len(),
            Form::Passing(_) => 0,
            Form::Events(events) => events.reader.held(),
        }
    }

    /// From now on, no message is read that is longer than this, in bytes.
    pub(crate) fn limit(&mut self, max_body: usize) {
        self.max_body = max_body;
        if let Form::Events(events) = &mut self.form {
            events.reader.limit_events(max_body);
        }
    }

    /// Decides on a part of the body; `is_last`: nothing follows.
    pub(crate) fn on_body(&mut self, part: Vec<u8>, is_last: bool, judge: &Judge<'_>) -> BodyPlan {
        let form = std::mem::replace(&mut self.form, Form::NOTHING);
        match form {
            Form::Unknown { held, blank } => {
                self.find_form(joined(held, part), blank, is_last, judge)
            }
            Form::Message { held, mut scan } => {
                if self.asked.list().is_none() {
                    scan.read(&part);
                }
                self.on_message(joined(held, part), scan, is_last, judge)
            }
            Form::Passing(mut scan) => {
                scan.read(&part);
                match scan.sight() {
                    Sight::List => BodyPlan::Cut,
                    Sight::NotJson => BodyPlan::pass(part, false),
                    _ => {
                        self.form = Form::Passing(scan);
                        BodyPlan::pass(part, !is_last)
                    }
                }
            }
            Form::Events(mut events) => {
                let filtered = events.read(part, is_last, &self.asked, judge);
                self.form = Form::Events(events);
                BodyPlan::Forward { filtered, is_read: !is_last }
            }
        }
    }

    /// Decides on the beginning of a body, of which so many bytes are known to be blank. Its head
    /// does not say, or says wrongly, what it is.
    fn find_form(
        &mut self,
        held: Vec<u8>,
        blank: usize,
        is_last: bool,
        judge: &Judge<'_>,
    ) -> BodyPlan {
        let text = without_blank(held.get(blank..).unwrap_or_default());
        let blank = held.len().saturating_sub(text.len());
        let is_list = self.asked.list().is_some();
        let is_json = match text {
            [b'{' | b'[', ..] => true,
            // Some clients skip comments, but no server sends one with the list that it is asked for.
            [b'/' | b'#', ..] => !is_list,
            _ => false,
        };
        if is_json {
            let mut scan = ListScan::new(self.asked.call().cloned());
            if !is_list {
                scan.read(text);
            }
            return self.on_message(held, scan, is_last, judge);
        }
        let is_stream = if is_begun_blank(text) { None } else { begins_like_events(text) };
        match is_stream {
            Some(true) => {
                let mut events = Events::new(self.max_body);
                let filtered = events.read(held, is_last, &self.asked, judge);
                self.form = Form::Events(events);
                BodyPlan::Forward { filtered, is_read: !is_last }
            }
            // White space keeps connections open. A mark is needed to read what follows it.
            None if !is_last && text.is_empty() && !is_list && held.first() != Some(&0xef) => {
                BodyPlan::pass(held, true)
            }
            None if !is_last && held.len() <= self.max_body => {
                self.form = Form::Unknown { held, blank };
                BodyPlan::Hold
            }
            // It is too long to be held, and a list may follow.
            None if !is_last => self.refuse(None),
            _ if !is_list || text.is_empty() => BodyPlan::pass(held, false),
            _ => self.refuse(None),
        }
    }

    /// Decides on a message of which this has arrived.
    fn on_message(
        &mut self,
        held: Vec<u8>,
        scan: ListScan,
        is_last: bool,
        judge: &Judge<'_>,
    ) -> BodyPlan {
        let is_list = self.asked.list().is_some();
        let is_long = held.len() > self.max_body;
        if is_last && !is_long {
            return self.on_whole_message(held, judge);
        }
        match scan.sight() {
            // A client that reads on takes what is after it for something else.
            Sight::NotJson | Sight::Whole if !is_list => BodyPlan::pass(held, false),
            Sight::Response if !is_list => self.pass_on(held, scan, is_last),
            Sight::Nothing if !is_list && held.len() > self.max_body.min(Self::MAX_BEGINNING) => {
                self.pass_on(held, scan, is_last)
            }
            _ if is_long => self.refuse(None),
            _ => {
                self.form = Form::Message { held, scan };
                BodyPlan::Hold
            }
        }
    }

    fn pass_on(&mut self, held: Vec<u8>, scan: ListScan, is_last: bool) -> BodyPlan {
        self.form = Form::Passing(scan);
        BodyPlan::pass(held, !is_last)
    }

    fn on_whole_message(&self, body: Vec<u8>, judge: &Judge<'_>) -> BodyPlan {
        match screen(&body, &self.asked, judge.shows) {
            Screened::Unchanged if !is_odd(&body, &self.asked) => BodyPlan::pass(body, false),
            Screened::NotJson if self.asked.list().is_none() => BodyPlan::pass(body, false),
            Screened::Unchanged | Screened::NotJson => self.refuse(None),
            Screened::Filtered { message, hidden } => {
                let changed = Some(message.into_bytes());
                let filtered = Filtered { arrived: body, changed, hidden, refused: 0 };
                BodyPlan::Forward { filtered, is_read: false }
            }
            Screened::Unreadable(id) => self.refuse(id),
        }
    }

    /// A message cannot be read; its id, if it is not that of the request.
    fn refuse(&self, id: Option<MessageId>) -> BodyPlan {
        BodyPlan::Refuse(id.or_else(|| self.asked.id().cloned()))
    }
}

impl BodyPlan {
    /// Forwards what arrived as it is.
    fn pass(arrived: Vec<u8>, is_read: bool) -> Self {
        Self::Forward { filtered: Filtered { arrived, ..Filtered::default() }, is_read }
    }
}

impl Events {
    fn new(max_event: usize) -> Self {
        let (reader, overlong) = (EventReader::new(max_event), LongEvent::none());
        Self { reader, overlong, is_after_mark: false }
    }

    /// Filters a part of the stream.
    fn read(
        &mut self,
        arrived: Vec<u8>,
        is_last: bool,
        asked: &Asked,
        judge: &Judge<'_>,
    ) -> Filtered {
        let Self { reader, overlong, is_after_mark } = self;
        let mut bytes = Vec::new();
        let (mut hidden, mut refused) = (0_usize, 0_usize);
        let mut parts = |part: Part<'_>| {
            let is_first = std::mem::take(is_after_mark);
            match part {
                Part::Mark(mark) => {
                    *is_after_mark = true;
                    bytes.extend_from_slice(mark);
                }
                Part::Event(event) => match filter_event(event, is_first, asked, judge) {
                    Event::Passes => bytes.extend_from_slice(event),
                    Event::Filtered(event, items) => {
                        hidden = hidden.saturating_add(items);
                        bytes.extend(event);
                    }
                    Event::Refused(event) => {
                        refused = refused.saturating_add(1);
                        bytes.extend(event);
                    }
                },
                Part::Overlong(event) => {
                    // Clients differ on data in the line after a mark.
                    let is_odd = is_first && data(event) != data_after_first_line(event);
                    *overlong =
                        if is_odd { LongEvent::none() } else { LongEvent::new(event, asked) };
                    if overlong.passes() {
                        bytes.extend_from_slice(event);
                    } else {
                        refused = refused.saturating_add(1);
                        bytes.extend(error_event(asked, judge));
                    }
                }
                Part::More(more) | Part::End(more) => {
                    if overlong.read_on(more) {
                        refused = refused.saturating_add(1);
                        bytes.extend([b"\n\n", &*error_event(asked, judge)].concat());
                    } else if overlong.passes() {
                        bytes.extend_from_slice(more);
                    }
                }
                Part::LineFeed => bytes.push(b'\n'),
            }
        };
        reader.read(&arrived, &mut parts);
        if is_last {
            reader.end(&mut parts);
        }
        let changed = (bytes != arrived).then_some(bytes);
        Filtered { arrived, changed, hidden, refused }
    }
}

/// What of an event is forwarded.
enum Event {
    Passes,
    /// This, from which this number of items was taken out.
    Filtered(Vec<u8>, usize),
    /// This error.
    Refused(Vec<u8>),
}

/// `is_first`: a byte order mark is before it, which some clients take for a part of its first line.
fn filter_event(event: &[u8], is_first: bool, asked: &Asked, judge: &Judge<'_>) -> Event {
    let refused = |id: Option<&MessageId>| Event::Refused(with_data(event, &(judge.error)(id)));
    let message = data(event).unwrap_or_default();
    if let Some(other) = data_after_first_line(event).filter(|_| is_first)
        && other != message
        && !matches!(screen(&other, asked, judge.shows), Screened::Unchanged | Screened::NotJson)
    {
        return refused(asked.id());
    }
    if message.trim_ascii().is_empty() {
        return Event::Passes;
    }
    match screen(&message, asked, judge.shows) {
        Screened::Unchanged => Event::Passes,
        Screened::NotJson if asked.list().is_none() => Event::Passes,
        Screened::NotJson => refused(asked.id()),
        Screened::Filtered { message, hidden } => {
            Event::Filtered(with_data(event, message.as_bytes()), hidden)
        }
        // A client that waits for its list waits for a message with the `id` of its request.
        Screened::Unreadable(id) => refused(id.as_ref().or(asked.list().and(asked.id()))),
    }
}

fn error_event(asked: &Asked, judge: &Judge<'_>) -> Vec<u8> {
    [b"data: ", &*(judge.error)(asked.id()), b"\n\n"].concat()
}

/// Whether what a request for a list got as its only message is none: then clients may find a list
/// where it is not looked for.
fn is_odd(message: &[u8], asked: &Asked) -> bool {
    asked.list().is_some() && !is_message(message)
}

fn joined(mut held: Vec<u8>, part: Vec<u8>) -> Vec<u8> {
    if held.is_empty() {
        return part;
    }
    held.extend(part);
    held
}

/// Filters an event stream so that it shows no item. The result does not depend on how the stream
/// is split, and filtering it again hides nothing more. The first byte selects what was asked for,
/// the second where the stream is split. Returns whether an event was filtered.
#[cfg(any(fuzzing, test))]
pub fn fuzz_lists(input: &[u8]) -> bool {
    let [choice, split, stream @ ..] = input else { return false };
    let id = || MessageId::from_body(br#"{"id":1}"#);
    let asked = match choice % 3 {
        0 => Asked::List(super::kind::ListKind::Tools, id()),
        1 => Asked::Call(id()),
        _ => Asked::Other(None),
    };
    let filtered = |stream: &[u8], split: usize| {
        let fields: [crate::request::Field<'_>; 2] =
            [(b":status", b"200"), (b"content-type", b"text/event-stream")];
        let plan = ListFilter::on_head(asked.clone(), ResponseHead::new(&fields), 1 << 20);
        let HeadPlan::Stream(mut filter) = plan else { return (Vec::new(), [0; 2]) };
        let (first, second) = stream.split_at_checked(split).unwrap_or((stream, &[]));
        let judge = Judge { shows: &|_| false, error: &|_| b"null".to_vec() };
        let (mut bytes, mut counts) = (Vec::new(), [0_usize; 2]);
        for (part, is_last) in [(first, false), (second, true)] {
            let plan = filter.on_body(part.to_vec(), is_last, &judge);
            let BodyPlan::Forward { filtered, .. } = plan else { continue };
            bytes.extend(filtered.changed.unwrap_or(filtered.arrived));
            for (count, more) in counts.iter_mut().zip([filtered.hidden, filtered.refused]) {
                *count = count.saturating_add(more);
            }
        }
        (bytes, counts)
    };
    let whole = filtered(stream, 0);
    assert_eq!(filtered(stream, usize::from(*split)), whole);
    let again = filtered(&whole.0, 0);
    assert_eq!((&again.0, again.1[0]), (&whole.0, 0));
    whole.1[0] > 0
}

#[cfg(test)]
mod tests;
