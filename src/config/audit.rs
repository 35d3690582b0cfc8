//! `audit`.

use serde::Deserialize;

use super::Faults;
use super::defaults::AUDIT_OUTCOMES;
use super::field::{Field, UnknownFields, refuse_unknown};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawAudit {
    /// Whether the outcome of each call is read from its response, for the access log and the
    /// metric `mcp_auth_calls`.
    pub(super) outcomes: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// Whether the outcomes of calls are read from responses.
pub(super) fn follows_calls(raw: Field<RawAudit>, faults: &mut Faults) -> bool {
    let raw = raw.or_default("audit", faults);
    refuse_unknown("audit.", &raw.unknown, faults);
    AUDIT_OUTCOMES.read(raw.outcomes, "audit.outcomes", faults)
}
