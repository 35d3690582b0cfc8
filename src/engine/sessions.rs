//! Sessions in responses: the client gets the server's session id sealed, or not at all.

use std::rc::Rc;

use log::Level;

use super::Engine;
use super::host::{Host, HostRefused, StreamId};
use crate::engine::authenticator::RequestEdits;
use crate::resource::ResourceLabel;
use crate::response_head::ResponseHead;
use crate::sessions::{SESSION_ID, SessionHolder};

/// A response that may contain a new session id.
#[derive(Debug)]
pub(super) struct AwaitedSession {
    /// Whom the id is sealed for; `None` if the client gets no id.
    holder: Option<Rc<SessionHolder>>,
    /// The resource, if there are several.
    resource: Option<ResourceLabel>,
}

/// What to do with the session id in a response.
#[derive(Debug)]
pub(super) enum SessionPlan {
    /// There is no session id.
    Pass,
    /// The client does not get it; `is_fault`: because it cannot be sealed.
    Remove { is_fault: bool },
    /// The client gets this one instead.
    Replace(String),
}

impl AwaitedSession {
    /// For the response to a request with these edits; `None` if sessions are not bound.
    pub(super) fn new(edits: &RequestEdits) -> Option<Self> {
        let holder = edits.session.as_ref()?.holder().cloned();
        Some(Self { holder, resource: edits.resource.clone() })
    }
}

impl<H: Host> Engine<H> {
    /// What to do with the session id in the head of a response.
    pub(super) fn plan_session(
        &self,
        awaited: &AwaitedSession,
        head: ResponseHead<'_>,
    ) -> SessionPlan {
        let Some(holder) = &awaited.holder else {
            return match head.values(SESSION_ID).next() {
                Some(_) => SessionPlan::Remove { is_fault: false },
                None => SessionPlan::Pass,
            };
        };
        match self.authenticator.sealed_session(head, holder) {
            Ok(None) => SessionPlan::Pass,
            Ok(Some(sealed)) => SessionPlan::Replace(sealed),
            Err(_) => SessionPlan::Remove { is_fault: true },
        }
    }

    /// Carries out the plan on the head of a response.
    pub(super) fn carry_out_session(
        &mut self,
        stream: StreamId,
        awaited: &AwaitedSession,
        plan: SessionPlan,
    ) -> Result<(), HostRefused> {
        match plan {
            SessionPlan::Pass => Ok(()),
            SessionPlan::Remove { is_fault } => {
                if is_fault {
                    self.log_unsealable(awaited);
                }
                self.host.remove_response_field(stream, SESSION_ID)
            }
            SessionPlan::Replace(sealed) => {
                self.host.remove_response_field(stream, SESSION_ID)?;
                self.host.add_response_field(stream, SESSION_ID, &sealed)
            }
        }
    }

    fn log_unsealable(&mut self, awaited: &AwaitedSession) {
        let Some(now) = self.host.now() else { return };
        let host = &self.host;
        let sum_up = |suppressed| {
            host.log(
                Level::Warn,
                format_args!("{suppressed} more session ids removed (log rate limit)"),
            );
        };
        if self.responses.session_log.admits(now, sum_up) {
            let resource = awaited.resource.as_ref().map_or("", |label| label.id());
            let of_resource = if resource.is_empty() { "" } else { " of resource " };
            host.log(
                Level::Warn,
                format_args!(
                    "removed a session id from the server{of_resource}{resource}: it is not a \
                     single value of visible ASCII, or too long to be sealed"
                ),
            );
        }
    }
}
