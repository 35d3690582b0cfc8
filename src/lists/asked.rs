//! What a request asks for, as far as it decides how to read its response.

use super::kind::ListKind;
use crate::access::MessageId;
use crate::refusal::McpCall;

/// What is known about the request that a response belongs to.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// It asks for a list. Its `id` is known if its message was read.
    List(ListKind, Option<MessageId>),
    /// It calls a method of MCP that returns no list.
    Call(Option<MessageId>),
    /// Anything may be in the response to it: it opens a stream, or calls a method that is not
    /// known, by which some server may understand a list.
    Other(Option<MessageId>),
}

impl Asked {
    /// What a message with this call and this `id` asks for.
    #[must_use]
    pub(crate) fn new(call: Option<&McpCall>, id: Option<MessageId>) -> Self {
        let Some(call) = call else { return Self::Other(id) };
        match ListKind::from_method(&call.method) {
            Some(kind) => Self::List(kind, id),
            None if call.known_method().is_some_and(returns_no_list) => Self::Call(id),
            None => Self::Other(id),
        }
    }

    /// Whether its response is not a list.
    #[must_use]
    pub(crate) fn is_call(&self) -> bool {
        matches!(self, Self::Call(_))
    }

    /// The `id` that its response carries.
    pub(super) fn id(&self) -> Option<&MessageId> {
        match self {
            Self::List(_, id) | Self::Call(id) | Self::Other(id) => id.as_ref(),
        }
    }

    /// The `id` of a call, whose response is no list.
    pub(super) fn call(&self) -> Option<&MessageId> {
        match self {
            Self::Call(id) => id.as_ref(),
            Self::List(..) | Self::Other(_) => None,
        }
    }

    /// The list that it asks for.
    pub(crate) fn list(&self) -> Option<ListKind> {
        match self {
            Self::List(kind, _) => Some(*kind),
            Self::Call(_) | Self::Other(_) => None,
        }
    }
}

/// The result of a task may be that of a request for a list.
fn returns_no_list(method: &str) -> bool {
    method != "tasks/result"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_some_server_may_read_as_a_list_is_not_a_call() {
        let asked = |method: &str| {
            let call = McpCall { method: method.to_owned(), name: None };
            Asked::new(Some(&call), None)
        };
        for method in ["tools/list", "Tools/List", "TOOLS/LIST", " tools/list", "tools/list\n\0"] {
            assert_eq!(asked(method).list(), Some(ListKind::Tools), "{method:?}");
        }
        assert_eq!(asked("tool\u{17f}/li\u{17f}t").list(), Some(ListKind::Tools));
        for method in ["tools.list", "tools/list/", "tasks/result", "x/search", "Tools/Call"] {
            assert!(matches!(asked(method), Asked::Other(_)), "{method}");
        }
        for method in ["tools/call", "initialize", "ping", "resources/read", "tasks/list"] {
            assert!(asked(method).is_call(), "{method}");
        }
        assert!(matches!(Asked::new(None, None), Asked::Other(_)));
    }
}
