//! Sessions that are bound to the user they were given to.

use super::Authenticator;
use super::edits::RequestEdits;
use crate::identity::VerifiedIdentity;
use crate::refusal::Refusal;
use crate::response_head::ResponseHead;
use crate::sessions::{SESSION_ID, SessionHolder, UnsealableId};

impl Authenticator {
    /// Checks the session of a request, where sessions are bound: the server gets its id only if it
    /// was given to the sender of the request.
    ///
    /// # Errors
    ///
    /// [`Refusal::SessionMismatch`]: the server gets no id.
    pub(super) fn bind_session(
        &self,
        edits: &mut RequestEdits,
        identity: &VerifiedIdentity,
    ) -> Result<(), Refusal> {
        let RequestEdits { session: Some(session), add, .. } = edits else { return Ok(()) };
        let sealer = self.config.sessions.as_ref().zip(identity.session_holder());
        // A request has a session only if both exist.
        let (sealer, holder) = sealer.ok_or(Refusal::SessionMismatch)?;
        let id = session.bind(sealer, holder).map_err(|_| Refusal::SessionMismatch)?;
        add.extend(id.map(|id| (SESSION_ID, id)));
        Ok(())
    }

    /// The id of a session in a response, sealed for its holder; `None` if the server gives none.
    ///
    /// # Errors
    ///
    /// [`UnsealableId`].
    pub(crate) fn sealed_session(
        &self,
        head: ResponseHead<'_>,
        holder: &SessionHolder,
    ) -> Result<Option<String>, UnsealableId> {
        let sealer = self.config.sessions.as_ref().ok_or(UnsealableId)?;
        sealer.seal(head, holder)
    }
}
