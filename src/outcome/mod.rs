//! The outcome of a call, read from its response while that is forwarded.
//!
//! Nothing is guessed: an outcome other than `unknown` comes from the status, or from a complete
//! message that all clients read alike.

mod message;
mod reader;

pub(crate) use self::reader::OutcomeReader;

use crate::access::MessageId;

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// Its result arrived.
    Ok,
    /// Its result says that the tool failed (`isError`).
    ToolError,
    /// It got a JSON-RPC error with this code.
    RpcError(i64),
    /// The response has this status, which is not a success.
    HttpError(u16),
    /// None of these is certain.
    Unknown,
}

/// What a request carries, as far as it was read.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    /// A message that was not read.
    Unread,
    /// A request. Its `id` is known if its body was read, and unless it is too long.
    Request(Option<MessageId>),
    /// A notification or a response, which the server accepts with 202.
    Notification,
    /// No message.
    Nothing,
}

impl CallOutcome {
    /// Its name in access logs and metrics.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ToolError => "tool_error",
            Self::RpcError(_) => "rpc_error",
            Self::HttpError(_) => "http_error",
            Self::Unknown => "unknown",
        }
    }

    /// The class of the error, as defined by OpenTelemetry's conventions for MCP; `None` if there
    /// is no error, or it is unknown.
    #[must_use]
    pub(crate) fn error_type(self) -> Option<String> {
        match self {
            Self::Ok | Self::Unknown => None,
            Self::ToolError => Some(self.as_str().to_owned()),
            Self::RpcError(code) => Some(code.to_string()),
            Self::HttpError(status) => Some(status.to_string()),
        }
    }
}

/// Reads the response to a request with `id` 1, and the same bytes split in two. The outcome does
/// not depend on the split. Returns whether it is known. The first byte of the input selects
/// whether it is an event stream, and the second where it is split.
#[cfg(any(fuzzing, test))]
pub fn fuzz_outcomes(input: &[u8]) -> bool {
    use crate::response_head::ResponseHead;

    let [form, split, body @ ..] = input else { return false };
    let media: &[u8] = if form % 2 == 0 { b"application/json" } else { b"text/event-stream" };
    let status: &[u8] = if form % 4 < 2 { b"200" } else { b"400" };
    let fields = [(&b":status"[..], status), (&b"content-type"[..], media)];
    let read = |chunks: [&[u8]; 2]| {
        let sent = Sent::Request(MessageId::from_body(br#"{"id":1}"#));
        let mut reader = OutcomeReader::new(sent, ResponseHead::new(&fields), true, 1 << 16);
        chunks.into_iter().for_each(|chunk| reader.read(chunk));
        reader.end();
        reader.outcome()
    };
    let halves = body.split_at_checked(usize::from(*split)).unwrap_or((body, &[]));
    let outcome = read([body, &[]]);
    assert_eq!(read([halves.0, halves.1]), outcome);
    outcome != CallOutcome::Unknown
}

#[cfg(test)]
mod tests;
