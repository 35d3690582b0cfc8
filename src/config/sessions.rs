//! `sessions`: whether a session is bound to the user who opened it.

use serde::Deserialize;

use super::Faults;
use super::defaults::SESSIONS_BIND;
use super::field::{Field, UnknownFields, refuse_unknown};
use super::secret::ReadSecret;
use crate::sessions::SessionSealer;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawSessions {
    /// Whether each `Mcp-Session-Id` from the server is sealed, and accepted only from the user
    /// that it was given to, at the same resource. Needs `secret`.
    pub(super) bind: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// The sealer, if sessions are bound and the secret is usable.
pub(super) fn sessions(
    raw: Field<RawSessions>,
    secret: &ReadSecret,
    faults: &mut Faults,
) -> Option<SessionSealer> {
    let raw = raw.optional("sessions", faults)?;
    refuse_unknown("sessions.", &raw.unknown, faults);
    if !SESSIONS_BIND.read(raw.bind, "sessions.bind", faults) {
        return None;
    }
    if secret.is_absent() {
        faults.add("sessions.bind", "needs secret, which seals the session ids");
    }
    secret.sealer().map(SessionSealer::new)
}
