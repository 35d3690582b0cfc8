//! Finds the MCP message of a request: in its body, or in the header fields that repeat it.

use super::mcp_headers::McpHeaders;
use super::message::Message;
use crate::refusal::{BodyFault, HeaderFault, Refusal};
use crate::request::RequestHead;

/// Where the message of a request is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inspection {
    /// In its body.
    Body {
        /// Longest body accepted, in bytes.
        max_body: usize,
    },
    /// In its header fields. The server must compare them with the body.
    Headers {
        /// Revisions of MCP whose servers do so.
        versions: Vec<String>,
    },
}

/// What the head of a request says about the message in its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageHints {
    headers: Result<McpHeaders, HeaderFault>,
    form: Result<(), BodyFault>,
    /// `None` without a readable `Content-Length`.
    length: Option<u64>,
}

/// How much of the message the head reveals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AnnouncedMessage {
    /// Nothing: the message must be read from the body.
    InBody,
    /// The whole message.
    Message(Message),
    /// Any content would be refused for this fault. An empty body is still accepted, since a client
    /// that sends nothing need not declare a content type.
    NoneOr(BodyFault),
}

impl MessageHints {
    /// `None` when the request has no body.
    pub(super) fn from_head(head: RequestHead<'_>) -> Option<Self> {
        let length = head.values("content-length").next();
        let length = length.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        head.has_body().then(|| Self { headers: McpHeaders::parse(head), form: form(head), length })
    }

    /// Reads what the head reveals about the message.
    ///
    /// # Errors
    ///
    /// [`Refusal::McpHeaderMismatch`] and [`Refusal::McpBodyInvalid`].
    pub(super) fn message(&self, inspection: &Inspection) -> Result<AnnouncedMessage, Refusal> {
        let headers = self.headers.as_ref().map_err(Clone::clone)?;
        match inspection {
            Inspection::Headers { versions } => {
                Ok(AnnouncedMessage::Message(headers.message(versions)?))
            }
            Inspection::Body { max_body } => {
                let max = u64::try_from(*max_body).unwrap_or(u64::MAX);
                match (&self.form, self.length) {
                    (Err(fault), Some(1..)) => Err(fault.clone().into()),
                    (Err(fault), _) => Ok(AnnouncedMessage::NoneOr(fault.clone())),
                    (Ok(()), Some(length)) if length > max => {
                        Err(BodyFault::TooLarge { limit: *max_body }.into())
                    }
                    (Ok(()), _) => Ok(AnnouncedMessage::InBody),
                }
            }
        }
    }

    /// True when `Content-Length` announces a body that is not empty.
    pub(super) fn announces_content(&self) -> bool {
        self.length.is_some_and(|length| length > 0)
    }

    /// True when any body that is not empty would be refused.
    pub(super) fn accepts_no_content(&self) -> bool {
        self.form.is_err()
    }

    /// The message in the body; `None` if the body is empty.
    ///
    /// # Errors
    ///
    /// As [`Self::message`].
    pub(super) fn message_in(&self, body: &[u8]) -> Result<Option<Message>, Refusal> {
        if body.is_empty() {
            return Ok(None);
        }
        self.form.clone()?;
        let message = Message::read(body)?;
        self.headers.as_ref().map_err(Clone::clone)?.agree_with(&message)?;
        Ok(Some(message))
    }
}

/// Checks that the body is unencoded JSON: a coded body would mean something only the server sees.
fn form(head: RequestHead<'_>) -> Result<(), BodyFault> {
    let mut types = head.values_in_any_spelling("content-type");
    if !types.next().is_some_and(is_json) || types.next().is_some() {
        return Err(BodyFault::ContentType);
    }
    let mut encodings = head.values_in_any_spelling("content-encoding");
    if encodings.any(|value| !value.eq_ignore_ascii_case(b"identity")) {
        return Err(BodyFault::ContentEncoding);
    }
    Ok(())
}

/// Ignores parameters other than `charset`, which JSON does not define (RFC 8259 §11), and accepts a
/// `charset` of UTF-8.
fn is_json(media_type: &[u8]) -> bool {
    let lowered = media_type.to_ascii_lowercase();
    let mut parts = lowered.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    parts.next() == Some(b"application/json")
        && parts
            .filter(|part| part.starts_with(b"charset"))
            .all(|part| matches!(part, b"charset=utf-8" | b"charset=\"utf-8\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Field;

    fn refused(fields: &[(&str, &str)], max_body: usize) -> Option<BodyFault> {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let hints = MessageHints::from_head(RequestHead::new(&fields, true)).unwrap();
        match hints.message(&Inspection::Body { max_body }) {
            Err(Refusal::McpBodyInvalid(fault)) => Some(fault),
            Ok(AnnouncedMessage::NoneOr(fault)) => {
                // The first byte is refused for the same fault; an empty body is accepted.
                let refused = Refusal::McpBodyInvalid(fault.clone());
                assert_eq!(hints.message_in(b"{"), Err(refused));
                assert_eq!(hints.message_in(b""), Ok(None));
                assert!(hints.accepts_no_content());
                Some(fault)
            }
            other => {
                assert_eq!(other, Ok(AnnouncedMessage::InBody));
                assert!(!hints.accepts_no_content());
                None
            }
        }
    }

    #[test]
    fn only_json_in_utf_8_can_be_inspected() {
        for (media_type, is_accepted) in [
            ("application/json", true),
            ("Application/JSON ; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; profile=x", true),
            ("application/json; charset=utf-16", false),
            ("application/json; charset = utf-16", false),
            ("application/json; charset*=utf-16''", false),
            ("application/json; charset=utf-8; charset=utf-16", false),
            ("application/json; x=\";charset=utf-16\"", false),
            ("application/json, text/plain", false),
            ("application/json-rpc", false),
            ("text/json", false),
            ("", false),
        ] {
            let fault = refused(&[("content-type", media_type)], 9);
            assert_eq!(fault, (!is_accepted).then_some(BodyFault::ContentType), "{media_type}");
        }
        assert_eq!(refused(&[], 9), Some(BodyFault::ContentType));
        let json = ("content-type", "application/json");
        for other in [
            json,
            ("content_type", "application/json; charset=utf-7"),
            ("content.type", "text/plain"),
        ] {
            assert_eq!(refused(&[json, other], 9), Some(BodyFault::ContentType));
        }
    }

    #[test]
    fn a_body_that_is_encoded_or_too_large_is_not_waited_for() {
        let json = ("content-type", "application/json");
        for (header, value, fault) in [
            ("content-encoding", "identity", None),
            ("content-encoding", "Identity", None),
            ("content-encoding", "gzip", Some(BodyFault::ContentEncoding)),
            ("content-encoding", "identity, gzip", Some(BodyFault::ContentEncoding)),
            ("content-encoding", "", Some(BodyFault::ContentEncoding)),
            ("content_encoding", "gzip", Some(BodyFault::ContentEncoding)),
            ("content.encoding", "gzip", Some(BodyFault::ContentEncoding)),
            ("content-length", "9", None),
            ("content-length", "10", Some(BodyFault::TooLarge { limit: 9 })),
        ] {
            assert_eq!(refused(&[json, (header, value)], 9), fault, "{header}: {value}");
        }
    }

    #[test]
    fn a_request_without_a_body_has_no_message() {
        let fields: [Field<'_>; 1] = [(b"content-type", b"application/json")];
        assert_eq!(MessageHints::from_head(RequestHead::new(&fields, false)), None);
    }
}
