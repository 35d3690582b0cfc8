//! `sessions`: whether a session serves only whom it was given to.

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
    /// Whether the `Mcp-Session-Id` that a server gives is sealed, and serves only the user that it
    /// was given to, at the same resource. Needs `secret`.
    pub(super) bind: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// What seals sessions, if they are bound. `secrets`: none if there is no secret, or it is at fault.
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
        faults.add("sessions.bind", "needs secret, with which sessions are sealed");
    }
    secrets.map(SessionSealer::new)
}
