//! Reads the outcome from one response while it is forwarded.

use super::message::ServerMessage;
use super::{CallOutcome, Sent};
use crate::response_head::{Media, ResponseHead};
use crate::response_messages::{EventReader, Part, data};

/// Reads the outcome of a call from its response. Keeps no more than the message that is arriving.
#[derive(Debug)]
pub(crate) struct OutcomeReader {
    form: Form,
    known: KnownOutcome,
}

/// How a response carries its messages.
#[derive(Debug)]
enum Form {
    /// The body does not matter, or the rest of it does not.
    Unread,
    /// One message, of which this has arrived.
    Message { begun: Vec<u8>, max_body: usize },
    /// An event stream.
    Events(EventReader),
}

/// The outcome of a call, as far as it is known.
#[derive(Debug)]
struct KnownOutcome {
    sent: Sent,
    is_success: bool,
    /// The outcome unless a message says more.
    by_status: CallOutcome,
    found: Found,
}

/// What the messages so far have shown.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// Nothing.
    Nothing,
    /// This, in the response with the `id` of the request: there is only one.
    Response(CallOutcome),
    /// This, in a response that may be to the request.
    One(CallOutcome),
    /// Several outcomes, or one that cannot be read.
    Unclear,
}

impl OutcomeReader {
    /// Begins with the head of the response to what was sent. `max_body`: the longest message that
    /// is read, in bytes.
    pub(crate) fn new(sent: Sent, head: ResponseHead<'_>, has_body: bool, max_body: usize) -> Self {
        let is_success = (200..300).contains(&head.status());
        let by_status = match &sent {
            _ if !is_success => CallOutcome::HttpError(head.status()),
            Sent::Notification if head.status() == 202 => CallOutcome::Ok,
            _ => CallOutcome::Unknown,
        };
        let is_decided =
            by_status == CallOutcome::Ok || (is_success && matches!(sent, Sent::Nothing));
        let form = match head.media() {
            _ if is_decided || !has_body || head.is_encoded() => Form::Unread,
            Media::Ambiguous => Form::Unread,
            Media::Events => Form::Events(EventReader::new(max_body)),
            Media::Other if head.is_longer_than(max_body) => Form::Unread,
            Media::Other => Form::Message { begun: Vec::new(), max_body },
        };
        let known = KnownOutcome { sent, is_success, by_status, found: Found::Nothing };
        Self { form, known }
    }

    /// Whether more of the body must be read.
    pub(crate) fn reads(&self) -> bool {
        !matches!(self.form, Form::Unread)
    }

    /// How much of the body is kept, in bytes.
    pub(crate) fn held(&self) -> usize {
        match &self.form {
            Form::Unread => 0,
            Form::Message { begun, .. } => begun.len(),
            Form::Events(reader) => reader.held(),
        }
    }

    /// From now on, no message is read that is longer than this, in bytes.
    pub(crate) fn limit(&mut self, max: usize) {
        match &mut self.form {
            Form::Unread => {}
            Form::Message { max_body, .. } => *max_body = max,
            Form::Events(reader) => reader.limit_events(max),
        }
    }

    /// More of the body arrived.
    pub(crate) fn read(&mut self, chunk: &[u8]) {
        let Self { form, known } = self;
        match form {
            Form::Unread => {}
            Form::Message { begun, max_body } => {
                if begun.len().saturating_add(chunk.len()) > *max_body {
                    *form = Form::Unread;
                } else {
                    begun.extend_from_slice(chunk);
                }
            }
            Form::Events(reader) => reader.read(chunk, |part| known.take_part(part)),
        }
        if self.known.is_final() {
            self.form = Form::Unread;
        }
    }

    /// The body is complete.
    pub(crate) fn end(&mut self) {
        let known = &mut self.known;
        match std::mem::replace(&mut self.form, Form::Unread) {
            Form::Unread => {}
            Form::Message { begun, .. } => known.take_message(&begun),
            Form::Events(mut reader) => reader.end(|part| known.take_part(part)),
        }
    }

    /// The outcome if nothing followed. Before [`Self::end`], only what the rest of the body cannot
    /// contradict counts.
    pub(crate) fn outcome(&self) -> CallOutcome {
        let KnownOutcome { by_status, found, .. } = &self.known;
        match found {
            Found::Response(outcome) => *outcome,
            Found::One(outcome) if !self.reads() => *outcome,
            Found::One(_) | Found::Nothing | Found::Unclear => *by_status,
        }
    }
}

impl KnownOutcome {
    fn take_part(&mut self, part: Part<'_>) {
        match part {
            Part::Event(event) => {
                if let Some(message) = data(event) {
                    self.take_message(&message);
                }
            }
            Part::Overlong(_) => self.add(None),
            Part::Mark(_) | Part::More(_) | Part::End(_) | Part::LineFeed => {}
        }
    }

    fn take_message(&mut self, text: &[u8]) {
        match ServerMessage::read(text, !self.is_success) {
            ServerMessage::Other => {}
            ServerMessage::Unreadable => self.add(None),
            ServerMessage::Response(id, outcome) => {
                let is_error = matches!(outcome, CallOutcome::RpcError(_));
                if !is_error && !self.is_success {
                    return;
                }
                match (&self.sent, id) {
                    (Sent::Request(Some(sent)), Some(id)) if *sent == id && !self.is_final() => {
                        self.found = Found::Response(outcome);
                    }
                    (Sent::Request(None) | Sent::Unread, Some(_)) => self.add(Some(outcome)),
                    // A server that could not read the `id` sends an error without one.
                    (_, None) | (Sent::Notification | Sent::Nothing, Some(_)) if is_error => {
                        self.add(Some(outcome));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Adds a response that may be to the request; `None` for one that cannot be read.
    fn add(&mut self, outcome: Option<CallOutcome>) {
        let knows_id = matches!(self.sent, Sent::Request(Some(_)));
        self.found = match (self.found, outcome) {
            (Found::Nothing, Some(outcome)) => Found::One(outcome),
            // The response to the request still has its `id`.
            (found, None) if knows_id => found,
            (found @ Found::Response(_), _) => found,
            _ => Found::Unclear,
        };
    }

    /// Whether nothing that follows can change the outcome.
    fn is_final(&self) -> bool {
        matches!(self.found, Found::Response(_))
    }
}
