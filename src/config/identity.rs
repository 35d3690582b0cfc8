//! `identity`: how the identity of the caller is passed to the MCP server.

use serde::Deserialize;

use super::Faults;
use super::defaults::{FORWARD_TOKEN, HEADER_PREFIX};
use super::field::{Field, UnknownFields, refuse_unknown};
use crate::claim::ClaimPath;
use crate::identity::{ClaimHeader, IdentityHeaders, ReservedNames};
use crate::resource::ResourceLabel;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawIdentity {
    /// Prefix of the identity headers: a-z, 0-9 and -.
    pub(super) header_prefix: Field<String>,
    /// Further claims that are passed in header fields. Default: none.
    pub(super) claims_to_headers: Field<Vec<Field<RawClaimHeader>>>,
    /// Whether the token is passed to the MCP server in `Authorization`.
    pub(super) forward_token: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawClaimHeader {
    /// The claim. A list is joined with commas; an object is sent as base64url of its JSON.
    pub(super) claim: Field<ClaimPath>,
    /// The header field: a-z, 0-9 and -; not an identity header, and not one that HTTP, MCP or
    /// proxies give another meaning, such as `x-envoy-*` and `x-forwarded-for`.
    pub(super) header: Field<String>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// The validated `identity`.
#[derive(Clone)]
pub(super) struct Identity {
    /// The prefix of the identity headers.
    pub(super) prefix: String,
    pub(super) headers: IdentityHeaders,
    pub(super) forward_token: bool,
}

/// Reads the object at this path. `names_resource`: a header field names the resource.
pub(super) fn identity(
    raw: RawIdentity,
    at: &str,
    names_resource: bool,
    faults: &mut Faults,
) -> Identity {
    refuse_unknown(&format!("{at}."), &raw.unknown, faults);
    let at = |name: &str| format!("{at}.{name}");
    let prefix = HEADER_PREFIX.read(raw.header_prefix, &at("header_prefix"), faults);
    if !is_header_name(&prefix) {
        faults.add(&at("header_prefix"), HEADER_NAME_EXPECTED);
    } else if has_other_prefix(&prefix) {
        faults.add(&at("header_prefix"), MEANT_OTHERWISE);
    }
    let own_headers = IdentityHeaders::new(&prefix, Vec::new());
    let resource_header = names_resource.then(|| ResourceLabel::header_name(&prefix));
    let own_names = ReservedNames::new(own_headers.names().chain(resource_header.as_deref()));
    let raw_claims = raw.claims_to_headers.optional(&at("claims_to_headers"), faults);
    let mut claims: Vec<ClaimHeader> = Vec::new();
    for (index, raw) in raw_claims.unwrap_or_default().into_iter().enumerate() {
        let path = at(&format!("claims_to_headers[{index}]"));
        let Some(raw) = raw.optional(&path, faults) else { continue };
        let Some(claim) = claim_header(raw, &path, faults) else { continue };
        if own_names.is_reserved(claim.header.as_bytes()) {
            faults.add(&format!("{path}.header"), "is one of the identity headers");
        }
        if claims.iter().any(|other| other.header == claim.header) {
            faults.add(&format!("{path}.header"), "is duplicated");
        }
        claims.push(claim);
    }
    let forward_token = FORWARD_TOKEN.read(raw.forward_token, &at("forward_token"), faults);
    Identity { headers: IdentityHeaders::new(&prefix, claims), prefix, forward_token }
}

fn claim_header(raw: RawClaimHeader, path: &str, faults: &mut Faults) -> Option<ClaimHeader> {
    refuse_unknown(&format!("{path}."), &raw.unknown, faults);
    let claim = raw.claim.required(&format!("{path}.claim"), faults);
    let header = raw.header.required(&format!("{path}.header"), faults);
    let header = header.map(|header| header.to_ascii_lowercase());
    if let Some(header) = &header {
        if !is_header_name(header) {
            faults.add(&format!("{path}.header"), HEADER_NAME_EXPECTED);
        } else if is_meant_otherwise(header) {
            faults.add(&format!("{path}.header"), MEANT_OTHERWISE);
        }
    }
    Some(ClaimHeader { claim: claim?, header: header? })
}

const HEADER_NAME_EXPECTED: &str = "must be a header name of a-z, 0-9 and -";

const MEANT_OTHERWISE: &str = "has another meaning in HTTP, MCP or proxies";

/// Whether a field is read for something else than a claim: by whoever forwards the request, or by
/// the server before it looks at the caller.
fn is_meant_otherwise(name: &str) -> bool {
    OTHER_FIELDS.contains(&name) || has_other_prefix(name)
}

fn has_other_prefix(name: &str) -> bool {
    OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Fields that a claim must not set or remove.
const OTHER_FIELDS: [&str; 44] = [
    "accept",
    "accept-encoding",
    "authorization",
    "b3",
    "baggage",
    "connection",
    "cookie",
    "early-data",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "max-forwards",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
    "range",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-client-trace-id",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-ot-span-context",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
];

/// What the names of further ones start with. A field of `x-envoy-` that a filter sets steers Envoy's
/// router: time limits, retries, even the address that a request goes to.
const OTHER_PREFIXES: [&str; 8] =
    ["access-control-", "content-", "grpc-", "mcp-param-", "proxy-", "sec-", "x-b3-", "x-envoy-"];

/// Underscores are rejected: a server that folds them to hyphens could not distinguish the field.
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
