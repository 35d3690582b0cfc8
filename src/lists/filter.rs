//! Filters one response, as it arrives.

use super::asked::Asked;
use super::message::{Beginning, Screened, beginning, screen};
use crate::access::MessageId;
use crate::refusal::McpCall;
use crate::response_head::{Media, ResponseHead};
use crate::response_messages::{EventReader, Part, data, with_data};

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
    /// One message, read once it is complete. The first part of it may say that it is no list.
    Message { is_begun: bool },
    /// An event stream, read event by event.
    Events { reader: EventReader, overlong: Overlong },
}

/// What happens to the rest of an event that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overlong {
    Passes,
    IsDropped,
}

/// What to do with a response whose head has arrived.
#[derive(Debug)]
pub(crate) enum HeadPlan {
    /// It holds no list, or none that is filtered.
    Pass,
    /// It cannot be read.
    Refuse,
    /// Its head is held back until the message in its body has been filtered.
    Hold(ListFilter),
    /// Its head is forwarded, without a length; its events are filtered.
    Stream(ListFilter),
}

/// What to do with a body that is held back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyPlan {
    /// Hold it back until more of it has arrived.
    Wait,
    /// Forward what was held back, as it is, and what follows.
    Pass,
    /// Forward this instead, from which this number of items was taken out.
    Replace { body: Vec<u8>, hidden: usize },
    /// It cannot be read; its message has this id if that is known.
    Refuse(Option<MessageId>),
}

/// What of a chunk of events is forwarded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filtered {
    /// The events that are forwarded now.
    pub bytes: Vec<u8>,
    /// How many items were taken out of them.
    pub hidden: usize,
    /// How many messages were replaced with an error, since they cannot be read.
    pub refused: usize,
}

impl ListFilter {
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
                let reader = EventReader::new(max_body);
                let form = Form::Events { reader, overlong: Overlong::Passes };
                HeadPlan::Stream(Self { asked, max_body, form })
            }
            Media::Other => {
                HeadPlan::Hold(Self { asked, max_body, form: Form::Message { is_begun: false } })
            }
        }
    }

    /// Whether this many bytes of the body may be enough to decide.
    pub(crate) fn reads(&self, size: usize, is_whole: bool) -> bool {
        let may_be_response = self.asked.list().is_none() && size > 0;
        let is_first = matches!(self.form, Form::Message { is_begun: false });
        is_whole || size > self.max_body || (is_first && may_be_response)
    }

    /// How much of the body must be read to decide, in bytes.
    pub(crate) fn max_body(&self) -> usize {
        self.max_body
    }

    /// Decides on the body that is held back: all of it if `is_whole`, else its beginning, of which
    /// no more than one byte over [`Self::max_body`] is needed.
    pub(crate) fn on_message(
        &mut self,
        body: &[u8],
        is_whole: bool,
        shows: &dyn Fn(McpCall) -> bool,
    ) -> BodyPlan {
        let is_long = body.len() > self.max_body;
        if is_long || !is_whole {
            self.form = Form::Message { is_begun: true };
            return match overlong_message(body, &self.asked) {
                Overlong::Passes => BodyPlan::Pass,
                Overlong::IsDropped if is_long => BodyPlan::Refuse(self.asked.id().cloned()),
                Overlong::IsDropped => BodyPlan::Wait,
            };
        }
        if body.trim_ascii().is_empty() {
            return BodyPlan::Pass;
        }
        match screen(body, &self.asked, shows) {
            Screened::Unchanged => BodyPlan::Pass,
            Screened::NotJson if self.asked.list().is_none() => BodyPlan::Pass,
            Screened::NotJson => BodyPlan::Refuse(self.asked.id().cloned()),
            Screened::Filtered { message, hidden } => {
                BodyPlan::Replace { body: message.into_bytes(), hidden }
            }
            Screened::Unreadable(id) => BodyPlan::Refuse(id.or_else(|| self.asked.id().cloned())),
        }
    }

    /// Filters a chunk of an event stream; `is_last`: nothing follows. `error` makes the message
    /// in place of one that cannot be read, in one line.
    pub(crate) fn on_events(
        &mut self,
        chunk: &[u8],
        is_last: bool,
        shows: &dyn Fn(McpCall) -> bool,
        error: &dyn Fn(Option<&MessageId>) -> Vec<u8>,
    ) -> Filtered {
        let mut filtered = Filtered::default();
        let Self { asked, form, .. } = self;
        let Form::Events { reader, overlong } = form else {
            return filtered;
        };
        let mut parts = |part: Part<'_>| match part {
            Part::Event(event) => filtered.add_event(event, asked, shows, error),
            Part::Overlong(event) => {
                *overlong = overlong_event(event, asked);
                match overlong {
                    Overlong::Passes => filtered.bytes.extend_from_slice(event),
                    Overlong::IsDropped => {
                        filtered.refused = filtered.refused.saturating_add(1);
                        let message = error(asked.id());
                        let event = [b"data: ", &*message, b"\n\n"].concat();
                        filtered.bytes.extend(event);
                    }
                }
            }
            Part::More(bytes) | Part::End(bytes) => {
                if *overlong == Overlong::Passes {
                    filtered.bytes.extend_from_slice(bytes);
                }
            }
            Part::LineFeed => filtered.bytes.push(b'\n'),
        };
        reader.read(chunk, &mut parts);
        if is_last {
            reader.end(&mut parts);
        }
        filtered
    }
}

impl Filtered {
    fn add_event(
        &mut self,
        event: &[u8],
        asked: &Asked,
        shows: &dyn Fn(McpCall) -> bool,
        error: &dyn Fn(Option<&MessageId>) -> Vec<u8>,
    ) {
        let message = data(event).unwrap_or_default();
        let replacement = if message.trim_ascii().is_empty() {
            None
        } else {
            match screen(&message, asked, shows) {
                Screened::Unchanged => None,
                Screened::NotJson if asked.list().is_none() => None,
                Screened::NotJson => {
                    self.refused = self.refused.saturating_add(1);
                    Some(error(asked.id()))
                }
                Screened::Filtered { message, hidden } => {
                    self.hidden = self.hidden.saturating_add(hidden);
                    Some(message.into_bytes())
                }
                Screened::Unreadable(id) => {
                    self.refused = self.refused.saturating_add(1);
                    Some(error(id.as_ref()))
                }
            }
        };
        match replacement {
            None => self.bytes.extend_from_slice(event),
            Some(message) => self.bytes.extend(with_data(event, &message)),
        }
    }
}

fn overlong_event(beginning_of_event: &[u8], asked: &Asked) -> Overlong {
    match data(beginning_of_event) {
        Some(message) => overlong_message(&message, asked),
        // Only comments so far. Data may follow.
        None => Overlong::IsDropped,
    }
}

fn overlong_message(beginning_of_message: &[u8], asked: &Asked) -> Overlong {
    if asked.list().is_some() {
        return Overlong::IsDropped;
    }
    match beginning(beginning_of_message, asked) {
        Beginning::Response | Beginning::NotJson => Overlong::Passes,
        Beginning::Unknown => Overlong::IsDropped,
    }
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
        _ => Asked::Nothing,
    };
    let filtered = |stream: &[u8], split: usize| {
        let fields: [crate::request::Field<'_>; 2] =
            [(b":status", b"200"), (b"content-type", b"text/event-stream")];
        let plan = ListFilter::on_head(asked.clone(), ResponseHead::new(&fields), 1 << 20);
        let HeadPlan::Stream(mut filter) = plan else { return Filtered::default() };
        let (first, second) = stream.split_at_checked(split).unwrap_or((stream, &[]));
        let error = |_: Option<&MessageId>| b"null".to_vec();
        let mut all = filter.on_events(first, false, &|_| false, &error);
        let rest = filter.on_events(second, true, &|_| false, &error);
        all.bytes.extend(rest.bytes);
        all.hidden = all.hidden.saturating_add(rest.hidden);
        all.refused = all.refused.saturating_add(rest.refused);
        all
    };
    let whole = filtered(stream, 0);
    assert_eq!(filtered(stream, usize::from(*split)), whole);
    let again = filtered(&whole.bytes, 0);
    assert_eq!((&again.bytes, again.hidden), (&whole.bytes, 0));
    whole.hidden > 0
}

#[cfg(test)]
mod tests;
