//! Why a request is refused. A [`Refusal`] has the data of one case, its [`Reason`] the row that
//! holds for all cases, and its [`Check`] the place where it was decided.

mod authorization_fault;
mod check;
mod details;
mod mcp;
mod reason;
mod store_fault;
mod users;

use std::fmt;
use std::time::Duration;

pub(crate) use authorization_fault::AuthorizationFault;
pub use check::Check;
pub(crate) use mcp::{BodyFault, HeaderFault, McpCall};
pub(crate) use reason::sentence;
pub(crate) use reason::{OAuthError, Party, Reason, Row};
pub(crate) use store_fault::StoreFault;
pub(crate) use users::{AccountStatus, DirectoryFault};

use crate::claim::{AudienceClaim, UnreadList};
use crate::jose::{KeyMismatch, MalformedToken};
use crate::json::Json;
use crate::keys::{KeysUnavailable, NoKeys};
use crate::time::seconds_to_wait;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// The access policy forbids it, and further scopes would not help.
    AccessDenied {
        /// The rule or ambiguity that forbids it.
        denial: Denial,
        /// The call in the message, if it was inspected.
        call: Option<Box<McpCall>>,
    },
    /// `aud` has none of the provider's client ids (RFC 7519 §4.1.3), or the client is not one of them.
    AudienceMismatch {
        /// The claim that was compared.
        claim: AudienceClaim,
        /// The values in the claim.
        found: Strings,
        /// The configured client ids.
        configured: Strings,
    },
    /// No key verifies the token.
    BadSignature {
        /// The `kid` of the token.
        kid: Option<String>,
    },
    /// The token is bound to a key (`cnf`), and the client has not proved possession.
    BoundToken,
    /// A required claim has another value.
    ClaimMismatch {
        /// The name of the claim.
        claim: String,
    },
    /// The directory of users could not be called, or its response is not usable.
    DirectoryUnavailable {
        /// When to retry, counted from now.
        retry_after: Duration,
        /// For the operator only.
        fault: DirectoryFault,
    },
    /// `exp` is past, or missing.
    Expired {
        /// How long ago it expired; `None` if `exp` is missing or not a number.
        seconds_ago: Option<u64>,
    },
    /// A token for Microsoft's own services, which only they can verify.
    GraphToken {
        /// [`Check::Header`] if recognised by `aud`, [`Check::Signature`] if only by `nonce`.
        check: Check,
    },
    /// A rule requires scopes that the token lacks (RFC 6750 §3.1).
    InsufficientScope {
        /// The name of the rule.
        rule: String,
        /// The scopes to request: those that the rule requires, and those that the token has.
        scopes: Vec<String>,
        /// The scopes that the token lacks.
        missing: Strings,
        /// The call in the message, if it was inspected.
        call: Option<Box<McpCall>>,
    },
    /// The key that the token names may not verify it.
    KeyMismatch(KeyMismatch),
    /// No keys are available to verify the token with.
    KeysUnavailable {
        /// When to retry, counted from now.
        retry_after: Duration,
        /// For the operator only: it may reveal the internal network.
        why: NoKeys,
    },
    /// The request's credentials are not one bearer token.
    MalformedAuthorization(AuthorizationFault),
    /// The token is not a JWS that can be verified.
    MalformedToken(MalformedToken),
    /// A rule needs the message in the body, which is unreadable or ambiguous.
    McpBodyInvalid(BodyFault),
    /// The MCP header fields contradict the body, or are malformed.
    McpHeaderMismatch(HeaderFault),
    /// The list in a response cannot be read.
    McpListInvalid,
    /// All of the claims of which one is required are missing or empty.
    MissingAnyClaim {
        /// The names of the claims.
        claims: String,
        /// Whether the token says that one of them is to be found elsewhere (`_claim_names`).
        is_elsewhere: bool,
    },
    /// A required claim is missing.
    MissingClaim {
        /// The name of the claim.
        claim: String,
        /// Whether the token says that it is to be found elsewhere (`_claim_names`).
        is_elsewhere: bool,
    },
    /// There are no credentials.
    MissingToken,
    /// The claim that identifies the user is missing, empty, or neither a string nor an integer.
    MissingUserClaim {
        /// The name or names of the claim.
        claim: String,
    },
    /// `nbf` or `iat` is in the future, or is not a number.
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// How long until that time; `None` if it is not a number.
        seconds_left: Option<u64>,
    },
    /// The request comes from a web page that is not listed.
    OriginDenied,
    /// It is unknown whether the token was spent, or it cannot be recorded as spent.
    ReplayStoreUnavailable {
        /// When to retry, counted from now.
        retry_after: Duration,
        /// For the operator only.
        fault: StoreFault,
    },
    /// The session was not given to the sender of the request, or not sealed here.
    SessionMismatch,
    /// `jti` is missing or not a string.
    TokenIdMissing,
    /// The token is single-use (RFC 7519 §4.1.7) and was used before.
    TokenReplayed,
    /// The token is older than `max_token_age`, or has no usable `iat`.
    TokenTooOld {
        /// The age of the token.
        seconds: Option<u64>,
    },
    /// `iss` is not the issuer of an active provider.
    UnknownIssuer {
        /// The value of `iss`.
        found: Option<String>,
        /// The trusted issuers.
        configured: Strings,
    },
    /// The provider has no such key.
    UnknownKid {
        /// The `kid` of the token.
        kid: Option<String>,
        /// The `kid` values that the provider publishes.
        published: Strings,
    },
    /// The request belongs to none of several resources.
    UnknownResource {
        /// Its authority.
        authority: Option<String>,
        /// Whether its path can be read in several ways.
        is_ambiguous: bool,
    },
    /// `alg` is not allowed here.
    UnsupportedAlgorithm {
        /// The value of `alg`.
        found: String,
        /// [`Check::Header`] if it is unknown, [`Check::Algorithm`] if the provider does not allow it.
        check: Check,
    },
    /// The header requires support for an extension that is not supported.
    UnsupportedCriticalHeader {
        /// The name of the extension.
        name: String,
    },
    /// The user is inactive or locked.
    UserInactive {
        /// The `user_name`: for the operator only, like everything known here about a user.
        user: String,
        /// Inactive or locked.
        account_status: AccountStatus,
    },
    /// The token belongs to a service, and the user is not a service account.
    UserNotServiceAccount {
        /// The `user_name`: for the operator only.
        user: String,
    },
    /// There is no such user.
    UserUnknown {
        /// The claim that identifies the user.
        claim: String,
        /// The field of the user records that it is compared with.
        field: String,
        /// Further information from the directory: for the operator only.
        cause: Option<String>,
    },
    /// `typ` is not accepted.
    WrongTokenType {
        /// The value of `typ`.
        found: Option<String>,
    },
}

/// Why the access policy forbids a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The method has lower-case letters; a server that ignores case would treat it as a method
    /// that rules name.
    AmbiguousMethod,
    /// The case of a name or of an MCP method would make another rule apply, or hide the name from
    /// all rules.
    AmbiguousName,
    /// The path is ambiguous, so it is unclear which rule applies.
    AmbiguousPath,
    /// A rule requires a value that the token has in a form that is not read.
    Misread {
        /// The name of the rule.
        rule: String,
        /// The line of the rule.
        line: &'static str,
        /// The name of the claim.
        claim: String,
        /// The value that was found.
        found: UnreadList,
    },
    /// No rule matches the request.
    NoRule,
    /// The provider may be used only where a rule names it, and this rule does not.
    Restricted {
        /// The name of the rule.
        rule: String,
    },
    /// A requirement of a rule is not satisfied.
    Rule {
        /// The name of the rule.
        rule: String,
        /// The line of the rule.
        line: &'static str,
        /// Whether the token says that the claim of this line is to be found elsewhere.
        is_elsewhere: bool,
    },
}

impl Refusal {
    /// The reason, whose row holds for all cases.
    #[must_use]
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::AccessDenied { .. } => Reason::AccessDenied,
            Self::AudienceMismatch { .. } => Reason::AudienceMismatch,
            Self::BadSignature { .. } => Reason::BadSignature,
            Self::BoundToken => Reason::BoundToken,
            Self::ClaimMismatch { .. } => Reason::ClaimMismatch,
            Self::DirectoryUnavailable { .. } => Reason::DirectoryUnavailable,
            Self::Expired { .. } => Reason::Expired,
            Self::GraphToken { .. } => Reason::GraphToken,
            Self::InsufficientScope { .. } => Reason::InsufficientScope,
            Self::KeyMismatch(_) => Reason::KeyMismatch,
            Self::KeysUnavailable { .. } => Reason::KeysUnavailable,
            Self::MalformedAuthorization(_) => Reason::MalformedAuthorization,
            Self::MalformedToken(_) => Reason::MalformedToken,
            Self::McpBodyInvalid(_) => Reason::McpBodyInvalid,
            Self::McpHeaderMismatch(_) => Reason::McpHeaderMismatch,
            Self::McpListInvalid => Reason::McpListInvalid,
            Self::MissingAnyClaim { .. }
            | Self::MissingClaim { .. }
            | Self::MissingUserClaim { .. } => Reason::MissingClaim,
            Self::MissingToken => Reason::MissingToken,
            Self::NotYetValid { .. } => Reason::NotYetValid,
            Self::OriginDenied => Reason::OriginDenied,
            Self::ReplayStoreUnavailable { .. } => Reason::ReplayStoreUnavailable,
            Self::SessionMismatch => Reason::SessionMismatch,
            Self::TokenIdMissing => Reason::TokenIdMissing,
            Self::TokenReplayed => Reason::TokenReplayed,
            Self::TokenTooOld { .. } => Reason::TokenTooOld,
            Self::UnknownIssuer { .. } => Reason::UnknownIssuer,
            Self::UnknownKid { .. } => Reason::UnknownKid,
            Self::UnknownResource { .. } => Reason::UnknownResource,
            Self::UnsupportedAlgorithm { .. } => Reason::UnsupportedAlgorithm,
            Self::UnsupportedCriticalHeader { .. } => Reason::UnsupportedCriticalHeader,
            Self::UserInactive { .. } => Reason::UserInactive,
            Self::UserNotServiceAccount { .. } => Reason::UserNotServiceAccount,
            Self::UserUnknown { .. } => Reason::UserUnknown,
            Self::WrongTokenType { .. } => Reason::WrongTokenType,
        }
    }

    /// What the message calls, if the access policy read it.
    #[must_use]
    pub(crate) fn call(&self) -> Option<&McpCall> {
        match self {
            Self::AccessDenied { call, .. } | Self::InsufficientScope { call, .. } => {
                call.as_deref()
            }
            _ => None,
        }
    }

    /// The name of the access rule that refused.
    #[must_use]
    pub(crate) fn rule(&self) -> Option<&str> {
        match self {
            Self::AccessDenied {
                denial:
                    Denial::Misread { rule, .. }
                    | Denial::Restricted { rule }
                    | Denial::Rule { rule, .. },
                ..
            }
            | Self::InsufficientScope { rule, .. } => Some(rule),
            _ => None,
        }
    }

    /// The check that refused.
    #[must_use]
    pub(crate) fn check(&self) -> Check {
        match self {
            Self::UnknownResource { .. } => Check::Resource,
            Self::OriginDenied => Check::Origin,
            Self::MalformedAuthorization(_) | Self::MissingToken => Check::Credentials,
            Self::MalformedToken(MalformedToken::Unsigned)
            | Self::UnsupportedCriticalHeader { .. } => Check::Header,
            Self::MalformedToken(_) => Check::Form,
            Self::UnknownIssuer { .. } => Check::Provider,
            Self::GraphToken { check } | Self::UnsupportedAlgorithm { check, .. } => *check,
            Self::WrongTokenType { .. } => Check::Type,
            Self::Expired { .. } | Self::NotYetValid { .. } | Self::TokenTooOld { .. } => {
                Check::Time
            }
            Self::AudienceMismatch { .. } => Check::Audience,
            Self::KeysUnavailable { why: NoKeys::TooManyBodies, .. } => Check::Access,
            Self::KeysUnavailable { why: NoKeys::TooManyTrials, .. } => Check::Signature,
            Self::KeyMismatch(_) | Self::KeysUnavailable { .. } | Self::UnknownKid { .. } => {
                Check::Key
            }
            Self::BadSignature { .. } => Check::Signature,
            Self::ClaimMismatch { .. }
            | Self::MissingAnyClaim { .. }
            | Self::MissingClaim { .. } => Check::RequiredClaims,
            Self::BoundToken => Check::Binding,
            Self::TokenIdMissing => Check::TokenId,
            Self::MissingUserClaim { .. } => Check::UserClaim,
            Self::DirectoryUnavailable { .. }
            | Self::UserInactive { .. }
            | Self::UserNotServiceAccount { .. }
            | Self::UserUnknown { .. } => Check::User,
            Self::SessionMismatch => Check::Session,
            Self::AccessDenied { .. }
            | Self::InsufficientScope { .. }
            | Self::McpBodyInvalid(_)
            | Self::McpHeaderMismatch(_)
            | Self::McpListInvalid => Check::Access,
            Self::ReplayStoreUnavailable { .. } | Self::TokenReplayed => Check::Replay,
        }
    }

    /// Seconds after which the client should retry, if that may help.
    #[must_use]
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::DirectoryUnavailable { retry_after, .. }
            | Self::KeysUnavailable { retry_after, .. }
            | Self::ReplayStoreUnavailable { retry_after, .. } => {
                Some(seconds_to_wait(*retry_after))
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
            | Self::MalformedAuthorization(_)
            | Self::MalformedToken(_)
            | Self::McpBodyInvalid(_)
            | Self::McpHeaderMismatch(_)
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
            | Self::UserInactive { .. }
            | Self::UserNotServiceAccount { .. }
            | Self::UserUnknown { .. }
            | Self::WrongTokenType { .. } => None,
        }
    }
}

/// The description for the client: the meaning of the reason, or something more precise. The only
/// client input in it are member names, reduced to inert characters.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = self.reason().row().meaning;
        match self {
            Self::AccessDenied { denial, .. } => f.write_str(match denial {
                Denial::AmbiguousMethod => {
                    "the access policy does not allow a method with lower-case letters"
                }
                Denial::AmbiguousName => "the access policy does not allow an ambiguous name",
                Denial::AmbiguousPath => "the path is ambiguous; send it in normalised form",
                Denial::Misread { .. }
                | Denial::NoRule
                | Denial::Restricted { .. }
                | Denial::Rule { .. } => meaning,
            }),
            Self::UnknownResource { is_ambiguous: true, .. } => {
                f.write_str("the path is ambiguous; send it in normalised form")
            }
            Self::AudienceMismatch { claim: AudienceClaim::ClientId, .. } => {
                f.write_str("the token was issued to another client")
            }
            Self::Expired { seconds_ago: None } => {
                f.write_str("the token does not say when it expires")
            }
            Self::MalformedAuthorization(fault) => fault.fmt(f),
            Self::MalformedToken(fault) => write!(f, "{meaning}: {fault}"),
            Self::McpBodyInvalid(fault) => write!(f, "{meaning}: {fault}"),
            Self::McpHeaderMismatch(fault) => fault.fmt(f),
            Self::AudienceMismatch { claim: AudienceClaim::Audience, .. }
            | Self::BadSignature { .. }
            | Self::BoundToken
            | Self::ClaimMismatch { .. }
            | Self::DirectoryUnavailable { .. }
            | Self::Expired { seconds_ago: Some(_) }
            | Self::GraphToken { .. }
            | Self::InsufficientScope { .. }
            | Self::KeyMismatch(_)
            | Self::KeysUnavailable { .. }
            | Self::McpListInvalid
            | Self::MissingAnyClaim { .. }
            | Self::MissingClaim { .. }
            | Self::MissingToken
            | Self::MissingUserClaim { .. }
            | Self::NotYetValid { .. }
            | Self::OriginDenied
            | Self::ReplayStoreUnavailable { .. }
            | Self::SessionMismatch
            | Self::TokenIdMissing
            | Self::TokenReplayed
            | Self::TokenTooOld { .. }
            | Self::UnknownIssuer { .. }
            | Self::UnknownKid { .. }
            | Self::UnknownResource { is_ambiguous: false, .. }
            | Self::UnsupportedAlgorithm { .. }
            | Self::UnsupportedCriticalHeader { .. }
            | Self::UserInactive { .. }
            | Self::UserNotServiceAccount { .. }
            | Self::UserUnknown { .. }
            | Self::WrongTokenType { .. } => f.write_str(meaning),
        }
    }
}

impl From<AuthorizationFault> for Refusal {
    fn from(fault: AuthorizationFault) -> Self {
        Self::MalformedAuthorization(fault)
    }
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        Self::McpBodyInvalid(fault)
    }
}

impl From<HeaderFault> for Refusal {
    fn from(fault: HeaderFault) -> Self {
        Self::McpHeaderMismatch(fault)
    }
}

impl From<KeysUnavailable> for Refusal {
    fn from(KeysUnavailable { retry_after, why }: KeysUnavailable) -> Self {
        Self::KeysUnavailable { retry_after, why }
    }
}

impl From<MalformedToken> for Refusal {
    fn from(fault: MalformedToken) -> Self {
        Self::MalformedToken(fault)
    }
}

/// A short list of short strings, for responses and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings(Vec<String>);

impl Strings {
    const MAX_ITEMS: usize = 10;

    /// The first ten values.
    pub(crate) fn new(values: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(
            values.into_iter().take(Self::MAX_ITEMS).map(|value| clipped(value.as_ref())).collect(),
        )
    }

    /// The strings in a claim that is a string or a list.
    pub(crate) fn from_claim(claim: Option<Json<'_>>) -> Self {
        match claim {
            Some(Json::String(value)) => Self::new([value]),
            Some(Json::Array(values)) => Self::new(values.iter().filter_map(Json::as_str)),
            _ => Self::default(),
        }
    }
}

/// A string that the plugin did not choose, cut to 120 characters for a log line.
pub(crate) fn clipped(text: &str) -> String {
    crate::printable::clipped(text, 120)
}

#[cfg(test)]
mod tests;
