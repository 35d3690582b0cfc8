//! `resource`, `allowed_origins` and `mode`: the protected resource.

use serde::Deserialize;

use super::Faults;
use super::field::{Field, UnknownFields, refuse_unknown};
use super::scopes::{SCOPE_EXPECTED, is_scope};
use super::url::secure_url;
use crate::resource::{Mode, ResourceUrl};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawResource {
    /// The public URL of the MCP endpoint, exactly as clients write it: https, or http for a
    /// loopback host.
    pub(super) url: Field<String>,
    /// The name that people see. Default: none.
    pub(super) name: Field<String>,
    /// The URL of its documentation: https, or http for a loopback host. Default: none.
    pub(super) documentation: Field<String>,
    /// Scopes that clients are asked to request; most clients request all of them at the first
    /// login. Never `offline_access`. Default: none.
    pub(super) scopes_supported: Field<Vec<String>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawExempt {
    /// The path, decoded and without query, compared as a whole.
    pub(super) path: Field<String>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawMode {
    /// Refused requests get an error response.
    #[default]
    Enforce,
    /// Every request is forwarded, and the log says which would have been refused.
    Report,
}

/// The fields of a resource that its metadata document shows.
pub(super) struct Described {
    pub(super) url: ResourceUrl,
    pub(super) name: Option<String>,
    pub(super) documentation: Option<String>,
    pub(super) scopes_supported: Vec<String>,
}

/// The fields of a resource that describe it.
pub(super) struct RawDescription {
    pub(super) url: Field<String>,
    pub(super) name: Field<String>,
    pub(super) documentation: Field<String>,
    pub(super) scopes_supported: Field<Vec<String>>,
}

pub(super) fn resource(raw: RawResource, faults: &mut Faults) -> Option<Described> {
    refuse_unknown("resource.", &raw.unknown, faults);
    let RawResource { url, name, documentation, scopes_supported, unknown: _ } = raw;
    RawDescription { url, name, documentation, scopes_supported }.parse("resource", faults)
}

impl RawDescription {
    /// Reads the fields of the object at this path.
    pub(super) fn parse(self, at: &str, faults: &mut Faults) -> Option<Described> {
        let at = |name: &str| format!("{at}.{name}");
        let url = self.url.required(&at("url"), faults);
        let url = url.filter(|url| secure_url(url, &at("url"), faults));
        let documentation = self.documentation.optional(&at("documentation"), faults);
        let documentation =
            documentation.filter(|url| secure_url(url, &at("documentation"), faults));
        let name = self.name.optional(&at("name"), faults);
        let scopes_supported = self.scopes_supported.or_default(&at("scopes_supported"), faults);
        for (index, scope) in scopes_supported.iter().enumerate() {
            let path = at(&format!("scopes_supported[{index}]"));
            if !is_scope(scope) {
                faults.add(&path, SCOPE_EXPECTED);
            } else if scope == "offline_access" {
                let problem = "must not be offline_access, which is for the client to request";
                faults.add(&path, problem);
            }
        }
        // A URL that is not secure has already been reported.
        let url = url?.try_into().ok()?;
        Some(Described { url, name, documentation, scopes_supported })
    }
}

/// The origins of web pages that may send requests, from the list at this path.
pub(super) fn allowed_origins(origins: Vec<String>, at: &str, faults: &mut Faults) -> Vec<String> {
    for (index, origin) in origins.iter().enumerate() {
        if !is_origin(origin) {
            faults.add(
                &format!("{at}[{index}]"),
                "must be an origin such as https://app.example.com",
            );
        }
    }
    origins
}

impl From<RawMode> for Mode {
    fn from(raw: RawMode) -> Self {
        match raw {
            RawMode::Enforce => Self::Enforce,
            RawMode::Report => Self::Report,
        }
    }
}

/// True for an origin in the form that browsers send (RFC 6454 §6.2).
fn is_origin(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    !scheme.is_empty()
        && !host.is_empty()
        && origin.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
        && !host.contains(['/', '?', '#', '@', '*', ','])
}
