//! What a request asks for, as far as it decides how to read its response.

use super::kind::ListKind;
use crate::access::MessageId;
use crate::refusal::McpCall;

/// What is known about the request that a response belongs to.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// It asks for a list. Its `id` is known if its message was read.
    List(ListKind, Option<MessageId>),
    /// It calls a method that returns no list.
    Call(Option<MessageId>),
    /// It carries no call: a request for a stream, or a response.
    Nothing,
}

impl Asked {
    /// What a message with this call and this `id` asks for.
    #[must_use]
    pub(crate) fn new(call: Option<&McpCall>, id: Option<MessageId>) -> Self {
        match call.map(|call| ListKind::from_method(&call.method)) {
            Some(Some(kind)) => Self::List(kind, id),
            Some(None) => Self::Call(id),
            None => Self::Nothing,
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
            Self::List(_, id) | Self::Call(id) => id.as_ref(),
            Self::Nothing => None,
        }
    }

    /// The list that it asks for.
    pub(super) fn list(&self) -> Option<ListKind> {
        match self {
            Self::List(kind, _) => Some(*kind),
            Self::Call(_) | Self::Nothing => None,
        }
    }
}
