//! Why a request is refused. One flat list; each reason blames a party and carries what a person
//! needs to find the cause.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::access::{BodyFault, HeaderFault, McpCall};
use crate::claim::{AudienceClaim, UnreadList};
use crate::identity::{AccountStatus, DirectoryFault, ScimLookups};
use crate::jose::{KeyMismatch, MalformedToken};
use crate::json::Json;
use crate::keys::NoKeys;
use crate::time::seconds_to_wait;
use crate::token::{AuthorizationFault, NotSpent, StoreFault};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// The access policy forbids it, and no scope could cure that.
    AccessDenied {
        /// Why.
        denial: Denial,
        /// What its message calls, if that was looked at.
        call: Option<Box<McpCall>>,
    },
    /// `aud` holds none of the provider's client ids (RFC 7519 §4.1.3), or the client is none of them.
    AudienceMismatch {
        /// The claim that names none.
        claim: AudienceClaim,
        /// What it holds.
        found: Strings,
        /// The client ids.
        configured: Strings,
    },
    /// No key that may verify the token does.
    BadSignature {
        /// The token's `kid`.
        kid: Option<String>,
    },
    /// The token is bound to a key (`cnf`), and nothing shows that the client holds it.
    BoundToken,
    /// A required claim has another value.
    ClaimMismatch {
        /// Its name.
        claim: String,
    },
    /// The directory of users could not be asked, or gave no answer of use.
    DirectoryUnavailable {
        /// When to try again.
        retry_after: Duration,
        /// Why: for the operator alone.
        fault: DirectoryFault,
    },
    /// `exp` is past, or missing.
    Expired {
        /// Since when; none when there is no `exp` that is a number.
        seconds_ago: Option<u64>,
    },
    /// A token for Microsoft's own services, which nobody else can verify.
    GraphToken,
    /// A rule requires scopes that the token lacks (RFC 6750 §3.1).
    InsufficientScope {
        /// The rule's name.
        rule: String,
        /// What to ask for: what the rule requires, and what the token has.
        scopes: Vec<String>,
        /// What the token lacks.
        missing: Strings,
        /// What the message calls, if that was looked at.
        call: Option<Box<McpCall>>,
    },
    /// The key that the token names must not verify it.
    KeyMismatch(KeyMismatch),
    /// There are no keys to judge the token by.
    KeysUnavailable {
        /// When to try again.
        retry_after: Duration,
        /// Why: for the operator alone, for it may show the inside of the network.
        why: NoKeys,
    },
    /// The request's credentials are not one bearer token.
    MalformedAuthorization(AuthorizationFault),
    /// The token is no JWS that could be judged.
    MalformedToken(MalformedToken),
    /// A rule needs the message in the body, and that cannot be read, or not in one way alone.
    McpBodyInvalid(BodyFault),
    /// The header fields of MCP and the body do not agree, or the fields are not as they must be.
    McpHeaderMismatch(HeaderFault),
    /// None of the claims is there, or each is empty, of which one is required.
    MissingAnyClaim {
        /// Their names.
        claims: String,
        /// Whether the token says that one of them is to be found elsewhere.
        is_elsewhere: bool,
    },
    /// A required claim is missing, or the one that identifies the user.
    MissingClaim {
        /// Its name.
        claim: String,
        /// Whether the token says that it is to be found elsewhere.
        is_elsewhere: bool,
    },
    /// There are no credentials.
    MissingToken,
    /// `nbf` or `iat` lies in the future, or is no number.
    NotYetValid {
        /// Which of them.
        claim: &'static str,
        /// Until when.
        seconds_left: Option<u64>,
    },
    /// The request comes from a web page that is not listed.
    OriginDenied,
    /// Nobody can tell whether the token was spent, or remember that it was.
    ReplayStoreUnavailable {
        /// When to try again.
        retry_after: Duration,
        /// Why: for the operator alone.
        fault: StoreFault,
    },
    /// `jti` is missing or no string.
    TokenIdMissing,
    /// The token serves once (RFC 7519 §4.1.7), and has.
    TokenReplayed,
    /// The token is older than `max_token_age`, or does not tell its age.
    TokenTooOld {
        /// Its age.
        seconds: Option<u64>,
    },
    /// `iss` is not the issuer of an active provider.
    UnknownIssuer {
        /// The value of `iss`.
        found: Option<String>,
        /// The issuers that are trusted.
        configured: Strings,
    },
    /// The provider has no such key.
    UnknownKid {
        /// The token's `kid`.
        kid: Option<String>,
        /// What the provider publishes.
        published: Strings,
    },
    /// `alg` is not allowed here.
    UnsupportedAlgorithm {
        /// Its value.
        found: String,
    },
    /// The header demands that something be understood which is not.
    UnsupportedCriticalHeader {
        /// What.
        name: String,
    },
    /// The user is inactive or locked.
    UserInactive {
        /// Its `user_name`: for the operator alone, as what is known here of a user is.
        user: String,
        /// Which of them.
        account_status: AccountStatus,
    },
    /// The token is a service's, and the user is no service account.
    UserNotServiceAccount {
        /// Its `user_name`: for the operator alone.
        user: String,
    },
    /// There is no such user.
    UserUnknown {
        /// The claim that identifies the user.
        claim: String,
        /// The field that it is matched with.
        field: String,
        /// What the directory said besides: for the operator alone.
        cause: Option<String>,
    },
    /// `typ` is not accepted.
    WrongTokenType {
        /// Its value.
        found: Option<String>,
    },
}

/// Why the access policy forbids a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The method has letters in lower case, and a server that does not mind the case would serve it
    /// as one that rules name.
    AmbiguousMethod,
    /// The case of a name or of an MCP method would make another rule apply, or hide the name from
    /// all rules.
    AmbiguousName,
    /// The path can be read in several ways, and so it cannot be said which rule is about it.
    AmbiguousPath,
    /// A rule requires something that the token has in a form in which it is not read.
    Misread {
        /// The rule's name.
        rule: String,
        /// Which line of it.
        line: &'static str,
        /// The claim.
        claim: String,
        /// What stands there.
        found: UnreadList,
    },
    /// No rule is about the request.
    NoRule,
    /// The provider may be used only where a rule names it, and this one does not.
    Restricted {
        /// The rule's name.
        rule: String,
    },
    /// A rule requires something that does not hold.
    Rule {
        /// The rule's name.
        rule: String,
        /// Which line of it.
        line: &'static str,
        /// Whether the token says that what the line is about is to be found elsewhere.
        is_elsewhere: bool,
    },
}

/// Who can do something about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// Whoever sent the request.
    Client,
    /// Whoever runs this Envoy.
    Operator,
    /// Whoever runs the identity provider or the directory of users, or the way to it.
    Provider,
}

/// What a detail says of groups or roles that are too many for a token.
const ELSEWHERE: &str = "elsewhere (_claim_names)";

impl Refusal {
    /// A user could not be looked up because of this fault.
    #[must_use]
    pub(crate) fn directory_unavailable(fault: DirectoryFault) -> Self {
        Self::DirectoryUnavailable { retry_after: ScimLookups::PAUSE, fault }
    }

    /// The reason code: stable, for programs.
    #[must_use]
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::AccessDenied { .. } => "access_denied",
            Self::AudienceMismatch { .. } => "audience_mismatch",
            Self::BadSignature { .. } => "bad_signature",
            Self::BoundToken => "bound_token",
            Self::ClaimMismatch { .. } => "claim_mismatch",
            Self::DirectoryUnavailable { .. } => "directory_unavailable",
            Self::Expired { .. } => "expired",
            Self::GraphToken => "graph_token",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::KeyMismatch(_) => "key_mismatch",
            Self::KeysUnavailable { .. } => "keys_unavailable",
            Self::MalformedAuthorization(_) => "malformed_authorization",
            Self::MalformedToken(_) => "malformed_token",
            Self::McpBodyInvalid(_) => "mcp_body_invalid",
            Self::McpHeaderMismatch(_) => "mcp_header_mismatch",
            Self::MissingAnyClaim { .. } | Self::MissingClaim { .. } => "missing_claim",
            Self::MissingToken => "missing_token",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::OriginDenied => "origin_denied",
            Self::ReplayStoreUnavailable { .. } => "replay_store_unavailable",
            Self::TokenIdMissing => "jti_missing",
            Self::TokenReplayed => "jti_replayed",
            Self::TokenTooOld { .. } => "token_too_old",
            Self::UnknownIssuer { .. } => "unknown_issuer",
            Self::UnknownKid { .. } => "unknown_kid",
            Self::UnsupportedAlgorithm { .. } => "unsupported_algorithm",
            Self::UnsupportedCriticalHeader { .. } => "unsupported_critical_header",
            Self::UserInactive { .. } => "user_inactive",
            Self::UserNotServiceAccount { .. } => "user_not_service_account",
            Self::UserUnknown { .. } => "user_unknown",
            Self::WrongTokenType { .. } => "wrong_token_type",
        }
    }

    /// Who can do something about it.
    #[must_use]
    pub(crate) fn party(&self) -> Party {
        match self {
            Self::DirectoryUnavailable { .. } | Self::KeysUnavailable { .. } => Party::Provider,
            Self::ReplayStoreUnavailable { .. } => Party::Operator,
            _ => Party::Client,
        }
    }

    /// After how many seconds the client should try again, if that may help.
    #[must_use]
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::DirectoryUnavailable { retry_after, .. }
            | Self::KeysUnavailable { retry_after, .. }
            | Self::ReplayStoreUnavailable { retry_after, .. } => {
                Some(seconds_to_wait(*retry_after))
            }
            _ => None,
        }
    }

    /// What harms nobody and helps to find the cause: what the token says of itself beside what is
    /// configured. No claim of a user is among it.
    #[must_use]
    pub(crate) fn details(&self) -> Map<String, Value> {
        let details = match self {
            Self::AccessDenied { denial, call } => with_call(denial.details(), call.as_deref()),
            Self::AudienceMismatch { claim, found, configured } => {
                json!({(claim.name()): found.0, "configured": configured.0})
            }
            Self::BadSignature { kid } => json!({"kid": kid.as_deref().map(clipped)}),
            Self::ClaimMismatch { claim }
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
            Self::UnsupportedAlgorithm { found } => json!({"alg": clipped(found)}),
            Self::UnsupportedCriticalHeader { name } => json!({"crit": clipped(name)}),
            Self::UserUnknown { claim, field, .. } => json!({"claim": claim, "field": field}),
            Self::WrongTokenType { found } => json!({"typ": found.as_deref().map(clipped)}),
            Self::BoundToken
            | Self::GraphToken
            | Self::MalformedAuthorization(_)
            | Self::MissingToken
            | Self::OriginDenied
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

    /// [`Self::details`], what only the operator should know, and what else of the cause clients are
    /// told in words.
    #[must_use]
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
            _ => {}
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

/// A sentence for people. Of what the client chose it has names of members alone, in letters that mean
/// nothing anywhere.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessDenied { denial: Denial::AmbiguousMethod, .. } => {
                "the access policy does not allow a method with lower-case letters"
            }
            Self::AccessDenied { denial: Denial::AmbiguousName, .. } => {
                "the access policy does not allow a name that can be read in several ways"
            }
            Self::AccessDenied { denial: Denial::AmbiguousPath, .. } => {
                "the path can be read in several ways, write it plainly"
            }
            Self::AccessDenied { .. } => "the access policy does not allow this",
            Self::AudienceMismatch { claim: AudienceClaim::ClientId, .. } => {
                "the token was issued to another client"
            }
            Self::AudienceMismatch { claim: AudienceClaim::Audience, .. } => {
                "the token was issued for another audience"
            }
            Self::BadSignature { .. } => "the signature of the token is wrong",
            Self::BoundToken => "the token is bound to a key and came without proof of possession",
            Self::ClaimMismatch { .. } => "a claim of the token has a value that is not accepted",
            Self::DirectoryUnavailable { .. } => {
                "the directory of users is not available, try again later"
            }
            Self::Expired { seconds_ago: Some(_) } => "the token has expired",
            Self::Expired { seconds_ago: None } => "the token does not say when it expires",
            Self::GraphToken => {
                "the token is for Microsoft Graph, request one for this server instead"
            }
            Self::InsufficientScope { .. } => "the token lacks scopes that this needs",
            Self::KeyMismatch(_) => "the key that the token names must not be used with it",
            Self::KeysUnavailable { .. } => {
                "the keys of the identity provider are not available, try again later"
            }
            Self::MalformedAuthorization(fault) => return fault.fmt(f),
            Self::MalformedToken(fault) => return write!(f, "the token is malformed: {fault}"),
            Self::McpBodyInvalid(fault) => {
                return write!(f, "the body cannot be judged by the access policy: {fault}");
            }
            Self::McpHeaderMismatch(fault) => return fault.fmt(f),
            Self::MissingAnyClaim { .. } | Self::MissingClaim { .. } => {
                "the token lacks a claim that is needed here"
            }
            Self::MissingToken => "an access token is needed",
            Self::NotYetValid { .. } => "the token is not valid yet",
            Self::OriginDenied => "this origin is not allowed",
            Self::ReplayStoreUnavailable { .. } => {
                "nobody can tell whether the token was used before, try again later"
            }
            Self::TokenIdMissing => "the token has no jti",
            Self::TokenReplayed => "the token was used before and serves only once",
            Self::TokenTooOld { .. } => "the token is too old",
            Self::UnknownIssuer { .. } => "the issuer of the token is not trusted here",
            Self::UnknownKid { .. } => "the identity provider publishes no key of this kid",
            Self::UnsupportedAlgorithm { .. } => {
                "the signature algorithm of the token is not allowed here"
            }
            Self::UnsupportedCriticalHeader { .. } => {
                "the token uses a critical extension that is not supported"
            }
            Self::UserInactive { .. } => "the user may not be used at present",
            Self::UserNotServiceAccount { .. } => {
                "a service may only use a service account, and this user is none"
            }
            Self::UserUnknown { .. } => "the user of the token is not known here",
            Self::WrongTokenType { .. } => "this type of token is not accepted here",
        })
    }
}

impl From<MalformedToken> for Refusal {
    fn from(fault: MalformedToken) -> Self {
        Self::MalformedToken(fault)
    }
}

impl From<NotSpent> for Refusal {
    fn from(not_spent: NotSpent) -> Self {
        match not_spent {
            NotSpent::AlreadySpent => Self::TokenReplayed,
            NotSpent::Unknown { retry_after, fault } => {
                Self::ReplayStoreUnavailable { retry_after, fault }
            }
        }
    }
}

/// A short list of short strings, for answers and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings(Vec<String>);

impl Strings {
    const MAX_ITEMS: usize = 10;

    /// The first ten of these.
    pub(crate) fn new(values: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(
            values.into_iter().take(Self::MAX_ITEMS).map(|value| clipped(value.as_ref())).collect(),
        )
    }

    /// The strings that a claim is or holds.
    pub(crate) fn from_claim(claim: Option<Json<'_>>) -> Self {
        match claim {
            Some(Json::String(value)) => Self::new([value]),
            Some(Json::Array(values)) => Self::new(values.iter().filter_map(Json::as_str)),
            _ => Self::default(),
        }
    }
}

/// These details, and what the message calls.
fn with_call(mut details: Value, call: Option<&McpCall>) -> Value {
    if let (Some(details), Some(McpCall { method, name })) = (details.as_object_mut(), call) {
        details.insert("mcp_method".to_owned(), clipped(method).into());
        if let Some(name) = name {
            details.insert("mcp_name".to_owned(), clipped(name).into());
        }
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
        _ => Value::Null,
    }
}

fn header_details(fault: &HeaderFault) -> Value {
    let header = fault.header();
    match fault {
        HeaderFault::Differs { found, body, .. } => {
            json!({"header": header, "found": clipped(found), "body": body.as_deref().map(clipped)})
        }
        HeaderFault::Version { found } => json!({"header": header, "found": clipped(found)}),
        _ => json!({"header": header}),
    }
}

/// A text that the client chose, short enough for a log line.
fn clipped(text: &str) -> String {
    const MAX_CHARACTERS: usize = 120;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
