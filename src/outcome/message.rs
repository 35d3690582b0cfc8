//! What a message of a server says about a call.

use serde_json::value::RawValue;

use super::CallOutcome;
use crate::access::MessageId;
use crate::json::without_byte_order_mark;
use crate::response_messages::Members;

/// A message of a server.
#[derive(Debug)]
pub(super) enum ServerMessage {
    /// A response, with its `id` unless that is null or missing.
    Response(Option<MessageId>, CallOutcome),
    /// Not a response: a request or notification of the server, or not a message at all.
    Other,
    /// Clients may read it in several ways, or it is a batch. It may hold a response.
    Unreadable,
}

/// The members of a message that are read.
const READ: [&str; 5] = ["error", "id", "jsonrpc", "method", "result"];

impl ServerMessage {
    /// Reads a message. `needs_version`: the outcome of a response without `jsonrpc` is unknown.
    pub(super) fn read(text: &[u8], needs_version: bool) -> Self {
        let text = without_byte_order_mark(text).trim_ascii();
        if !text.starts_with(b"{") {
            return if text.starts_with(b"[") { Self::Unreadable } else { Self::Other };
        }
        let members = std::str::from_utf8(text).ok().map(serde_json::from_str::<Members<'_>>);
        let Some(Ok(members)) = members else { return Self::Unreadable };
        let [error, id, version, method, result] = match members.read_alike(READ) {
            Some(values) => values.map(|value| value.map(RawValue::get)),
            None => return Self::Unreadable,
        };
        let is_json_rpc = match version {
            Some(version) => version == "\"2.0\"",
            None => !needs_version,
        };
        if method.is_some() || (error.is_none() && result.is_none()) {
            return Self::Other;
        }
        let id = match id {
            None | Some("null") => None,
            Some(_) => match members.id() {
                Some(id) => Some(id),
                None => return Self::Unreadable,
            },
        };
        let outcome = match (error, result) {
            _ if !is_json_rpc => CallOutcome::Unknown,
            (Some(error), None) => error_outcome(error),
            (None, Some(result)) => result_outcome(result),
            _ => CallOutcome::Unknown,
        };
        Self::Response(id, outcome)
    }
}

fn error_outcome(error: &str) -> CallOutcome {
    let code = serde_json::from_str::<Members<'_>>(error)
        .ok()
        .and_then(|error| error.read_alike(["code"]))
        .and_then(|[code]| code?.get().parse().ok());
    code.map_or(CallOutcome::Unknown, CallOutcome::RpcError)
}

fn result_outcome(result: &str) -> CallOutcome {
    let Ok(result) = serde_json::from_str::<Members<'_>>(result) else {
        return CallOutcome::Unknown;
    };
    match result.read_alike(["isError"]) {
        Some([None]) => CallOutcome::Ok,
        Some([Some(is_error)]) => match is_error.get() {
            "false" => CallOutcome::Ok,
            "true" => CallOutcome::ToolError,
            _ => CallOutcome::Unknown,
        },
        None => CallOutcome::Unknown,
    }
}
