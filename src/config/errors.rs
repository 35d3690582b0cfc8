//! `errors`: the bodies of refusals.

use serde::Deserialize;

use super::Faults;
use super::field::{Field, UnknownFields, refuse_unknown};
use crate::response::{Details, ErrorStyle, Format};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawErrors {
    /// The format of the body.
    pub(super) format: Field<RawFormat>,
    /// How much the body says about the cause.
    pub(super) details: Field<RawDetails>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawFormat {
    /// A JSON-RPC error.
    JsonRpc,
    /// OAuth 2.0: `error`, `error_description`, and the reason.
    #[default]
    Oauth,
    /// ServiceNow: `error.message` and `error.detail`.
    Servicenow,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawDetails {
    /// Nothing about the cause.
    None,
    /// The reason code.
    #[default]
    Reason,
    /// The reason code, and the found and expected values where they are safe to show.
    Full,
}

pub(super) fn errors(raw: RawErrors, faults: &mut Faults) -> ErrorStyle {
    refuse_unknown("errors.", &raw.unknown, faults);
    let format = match raw.format.or_default("errors.format", faults) {
        RawFormat::JsonRpc => Format::JsonRpc,
        RawFormat::Oauth => Format::OAuth,
        RawFormat::Servicenow => Format::ServiceNow,
    };
    let details = match raw.details.or_default("errors.details", faults) {
        RawDetails::None => Details::None,
        RawDetails::Reason => Details::Reason,
        RawDetails::Full => Details::Full,
    };
    ErrorStyle { format, details }
}
