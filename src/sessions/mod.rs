//! MCP sessions that are bound to the user they were given to.
//!
//! A server knows a session by its id alone, so anyone who has the id has the session. Where
//! sessions are bound, a client gets the id with a seal in front: `seal.id`. The seal is an
//! HMAC-SHA-256 over the id and a digest of issuer, subject and resource, in base64url. A request
//! whose session does not verify for its own sender is refused, and the server gets the id without
//! the seal. Nothing is stored, so any worker and replica with the same secret verifies it, and the
//! same id always has the same seal.

mod form;
mod holder;
mod sealer;
mod sent;

use std::rc::Rc;

pub(crate) use self::holder::{SessionHolder, Subject};
pub(crate) use self::sealer::{SessionSealer, UnsealableId};
pub(crate) use self::sent::SentSession;
use crate::request::RequestHead;

/// The header field that carries the id of a session.
pub(crate) const SESSION_ID: &str = "mcp-session-id";

/// The session of a request, where sessions are bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestSession {
    /// Its sender is not known so far: neither the server nor the client gets a session id.
    Unverified(Option<SentSession>),
    /// Its sender is known, and new ids are sealed for them.
    Bound(Rc<SessionHolder>),
}

/// The session in a request is not one that was given to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotTheirs;

impl RequestSession {
    /// The session that a request names, if any.
    #[must_use]
    pub(crate) fn from_head(head: RequestHead<'_>) -> Self {
        Self::Unverified(SentSession::from_head(head))
    }

    /// Binds the request to its sender. Returns the id that the server gets, if the request names a
    /// session. Binding it again changes nothing.
    ///
    /// # Errors
    ///
    /// [`NotTheirs`]: the server gets no id.
    pub(crate) fn bind(
        &mut self,
        sealer: &SessionSealer,
        holder: &Rc<SessionHolder>,
    ) -> Result<Option<String>, NotTheirs> {
        match std::mem::replace(self, Self::Bound(holder.clone())) {
            Self::Unverified(sent) => sent.map(|sent| sealer.open(&sent, holder)).transpose(),
            Self::Bound(_) => Ok(None),
        }
    }

    /// Whom the id in the response is sealed for; `None` if the client gets no id.
    pub(crate) fn holder(&self) -> Option<&Rc<SessionHolder>> {
        match self {
            Self::Bound(holder) => Some(holder),
            Self::Unverified(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
