//! `sessions`: whether a session is bound to the user who opened it.

use serde::Deserialize;

use super::Faults;
use super::defaults::SESSIONS_BIND;
use super::field::{Field, UnknownFields, refuse_unknown};
use crate::seal::Sealer;
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

/// The sealer, if sessions are bound. `secrets`: `None` if there is no secret, or it is faulty.
pub(super) fn sessions(
    raw: Field<RawSessions>,
    secrets: Option<&Sealer>,
    faults: &mut Faults,
) -> Option<SessionSealer> {
    let raw = raw.optional("sessions", faults)?;
    refuse_unknown("sessions.", &raw.unknown, faults);
    if !SESSIONS_BIND.read(raw.bind, "sessions.bind", faults) {
        return None;
    }
    if secrets.is_none() {
        faults.add("sessions.bind", "needs secret, which seals the session ids");
    }
    secrets.map(SessionSealer::new)
}
