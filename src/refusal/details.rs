//! The details of a refusal: in the response, if `errors.details` is `full`, and in the log.

use serde_json::{Map, Value, json};

use super::{BodyFault, Denial, HeaderFault, McpCall, Refusal, clipped};

/// The detail for groups or roles that are too many for a token.
const ELSEWHERE: &str = "elsewhere (_claim_names)";

impl Refusal {
    /// Found and expected values that are safe to show to clients. No claim of a user is included.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one arm for each refusal")]
    pub(crate) fn details(&self) -> Map<String, Value> {
        let details = match self {
            Self::AccessDenied { denial, call } => with_call(denial.details(), call.as_deref()),
            Self::AudienceMismatch { claim, found, configured } => {
                json!({(claim.name()): found.0, "configured": configured.0})
            }
            Self::BadSignature { kid } => json!({"kid": kid.as_deref().map(clipped)}),
            Self::ClaimMismatch { claim }
            | Self::MissingUserClaim { claim }
            | Self::MissingClaim { claim, is_elsewhere: false }
            | Self::MissingAnyClaim { claims: claim, is_elsewhere: false } => {
                json!({"claim": claim})
            }
            Self::Expired { seconds_ago } => json!({"seconds_ago": seconds_ago}),
            Self::InsufficientScope { rule, missing, call, .. } => {
                with_call(json!({"rule": rule, "missing": missing.0}), call.as_deref())
            }
            Self::KeyMismatch(mismatch) => json!({"key": clipped(&mismatch.to_string())}),
            Self::DirectoryUnavailable { .. }
            | Self::KeysUnavailable { .. }
            | Self::ReplayStoreUnavailable { .. } => json!({"retry_after": self.retry_after()}),
            Self::MalformedToken(fault) => json!({"fault": fault.to_string()}),
            Self::McpBodyInvalid(fault) => body_details(fault),
            Self::McpHeaderMismatch(fault) => header_details(fault),
            Self::MissingClaim { claim, is_elsewhere: true }
            | Self::MissingAnyClaim { claims: claim, is_elsewhere: true } => {
                json!({"claim": claim, "listed": ELSEWHERE})
            }
            Self::NotYetValid { claim, seconds_left } => {
                json!({"claim": claim, "seconds_left": seconds_left})
            }
            Self::TokenTooOld { seconds } => json!({"age_seconds": seconds}),
            Self::UnknownIssuer { found, configured } => {
                json!({"iss": found.as_deref().map(clipped), "configured": configured.0})
            }
            Self::UnknownKid { kid, published } => {
                json!({"kid": kid.as_deref().map(clipped), "published": published.0})
            }
            Self::UnknownResource { authority, is_ambiguous } => {
                let authority = authority.as_deref().map(clipped);
                json!({"authority": authority, "ambiguous_path": is_ambiguous})
            }
            Self::UnsupportedAlgorithm { found, .. } => json!({"alg": clipped(found)}),
            Self::UnsupportedCriticalHeader { name } => json!({"crit": clipped(name)}),
            Self::UserUnknown { claim, field, .. } => json!({"claim": claim, "field": field}),
            Self::WrongTokenType { found } => json!({"typ": found.as_deref().map(clipped)}),
            Self::BoundToken
            | Self::GraphToken { .. }
            | Self::MalformedAuthorization(_)
            | Self::McpListInvalid
            | Self::MissingToken
            | Self::OriginDenied
            | Self::SessionMismatch
            | Self::TokenIdMissing
            | Self::TokenReplayed
            | Self::UserInactive { .. }
            | Self::UserNotServiceAccount { .. } => Value::Null,
        };
        match details {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// [`Self::details`], the data for the operator only, and the data that clients get only as
    /// prose.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one arm for each refusal")]
    pub(crate) fn log_details(&self) -> Map<String, Value> {
        let mut details = self.details();
        let mut add = |name: &str, value: &str| details.insert(name.to_owned(), json!(value));
        match self {
            Self::DirectoryUnavailable { fault, .. } => {
                add("cause", &fault.to_string());
            }
            Self::KeysUnavailable { why, .. } => {
                add("cause", &why.to_string());
            }
            Self::UserUnknown { cause: Some(cause), .. } => {
                add("cause", cause);
            }
            Self::MalformedAuthorization(fault) => {
                add("fault", &fault.to_string());
            }
            Self::McpBodyInvalid(fault) => {
                add("fault", &fault.to_string());
            }
            Self::McpHeaderMismatch(fault) => {
                add("fault", &fault.to_string());
            }
            Self::ReplayStoreUnavailable { fault, .. } => {
                add("cause", &fault.to_string());
            }
            Self::UserInactive { user, account_status } => {
                add("user", &clipped(user));
                add("standing", account_status.as_str());
            }
            Self::UserNotServiceAccount { user } => {
                add("user", &clipped(user));
            }
            Self::AccessDenied { .. }
            | Self::AudienceMismatch { .. }
            | Self::BadSignature { .. }
            | Self::BoundToken
            | Self::ClaimMismatch { .. }
            | Self::Expired { .. }
            | Self::GraphToken { .. }
            | Self::InsufficientScope { .. }
            | Self::KeyMismatch(_)
            | Self::MalformedToken(_)
            | Self::McpListInvalid
            | Self::MissingAnyClaim { .. }
            | Self::MissingClaim { .. }
            | Self::MissingToken
            | Self::MissingUserClaim { .. }
            | Self::NotYetValid { .. }
            | Self::OriginDenied
            | Self::SessionMismatch
            | Self::TokenIdMissing
            | Self::TokenReplayed
            | Self::TokenTooOld { .. }
            | Self::UnknownIssuer { .. }
            | Self::UnknownKid { .. }
            | Self::UnknownResource { .. }
            | Self::UnsupportedAlgorithm { .. }
            | Self::UnsupportedCriticalHeader { .. }
            | Self::UserUnknown { cause: None, .. }
            | Self::WrongTokenType { .. } => {}
        }
        details
    }
}

impl Denial {
    fn details(&self) -> Value {
        match self {
            Self::AmbiguousMethod => json!({"method": "ambiguous"}),
            Self::AmbiguousName => json!({"name": "ambiguous"}),
            Self::AmbiguousPath => json!({"path": "ambiguous"}),
            Self::Misread { rule, line, claim, found } => {
                json!({"rule": rule, "requires": line, "claim": claim, "found": found.to_string()})
            }
            Self::NoRule => json!({"rule": null}),
            Self::Restricted { rule } => json!({"rule": rule, "requires": "restrict_to_policies"}),
            Self::Rule { rule, line, is_elsewhere: false } => {
                json!({"rule": rule, "requires": line})
            }
            Self::Rule { rule, line, is_elsewhere: true } => {
                json!({"rule": rule, "requires": line, "listed": ELSEWHERE})
            }
        }
    }
}

impl McpCall {
    /// Adds the call to the details of a refusal.
    pub(crate) fn describe(&self, details: &mut Map<String, Value>) {
        details.insert("mcp_method".to_owned(), clipped(&self.method).into());
        if let Some(name) = &self.name {
            details.insert("mcp_name".to_owned(), clipped(name).into());
        }
    }
}

/// Adds the call of the message to these details.
fn with_call(mut details: Value, call: Option<&McpCall>) -> Value {
    if let (Some(details), Some(call)) = (details.as_object_mut(), call) {
        call.describe(details);
    }
    details
}

fn body_details(fault: &BodyFault) -> Value {
    match fault {
        BodyFault::MissingName { member } => json!({"member": member}),
        BodyFault::Misspelt { member } | BodyFault::Repeated { member } => {
            json!({"member": clipped(member)})
        }
        BodyFault::TooLarge { limit } => json!({"limit": limit}),
        BodyFault::Uri { found } => json!({"member": "uri", "found": clipped(found)}),
        BodyFault::WrongType { member } => json!({"member": member}),
        BodyFault::Batch
        | BodyFault::ContentEncoding
        | BodyFault::ContentType
        | BodyFault::Kind
        | BodyFault::Nesting
        | BodyFault::NotAnObject
        | BodyFault::NotJson
        | BodyFault::NotUtf8
        | BodyFault::TooManyMembers => Value::Null,
    }
}

fn header_details(fault: &HeaderFault) -> Value {
    let header = fault.header();
    match fault {
        HeaderFault::Differs { found, body, .. } => {
            json!({"header": header, "found": clipped(found), "body": body.as_deref().map(clipped)})
        }
        HeaderFault::Version { found } => json!({"header": header, "found": clipped(found)}),
        HeaderFault::Malformed { .. }
        | HeaderFault::Missing { .. }
        | HeaderFault::Repeated { .. } => json!({"header": header}),
    }
}
