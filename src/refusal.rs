//! Why a request is refused. A [`Refusal`] carries the data of one case, its [`Reason`] has the one row
//! of what holds for all cases, and a [`Check`] is the place of the decision where it was made.

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
use crate::keys::NoKeys;
use crate::time::seconds_to_wait;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// The access policy forbids it, and more scope would not help.
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
    GraphToken {
        /// [`Check::Header`] by its `aud`, [`Check::Signature`] by its `nonce` alone.
        check: Check,
    },
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
    /// A required claim is missing.
    MissingClaim {
        /// Its name.
        claim: String,
        /// Whether the token says that it is to be found elsewhere.
        is_elsewhere: bool,
    },
    /// There are no credentials.
    MissingToken,
    /// The claim that identifies the user is missing, empty, or neither a string nor an integer.
    MissingUserClaim {
        /// Its name, or names.
        claim: String,
    },
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
        /// [`Check::Header`] if it is unknown, [`Check::Algorithm`] if the provider does not allow it.
        check: Check,
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

impl Refusal {
    /// The reason, of which there is one row.
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
            Self::MissingAnyClaim { .. }
            | Self::MissingClaim { .. }
            | Self::MissingUserClaim { .. } => Reason::MissingClaim,
            Self::MissingToken => Reason::MissingToken,
            Self::NotYetValid { .. } => Reason::NotYetValid,
            Self::OriginDenied => Reason::OriginDenied,
            Self::ReplayStoreUnavailable { .. } => Reason::ReplayStoreUnavailable,
            Self::TokenIdMissing => Reason::TokenIdMissing,
            Self::TokenReplayed => Reason::TokenReplayed,
            Self::TokenTooOld { .. } => Reason::TokenTooOld,
            Self::UnknownIssuer { .. } => Reason::UnknownIssuer,
            Self::UnknownKid { .. } => Reason::UnknownKid,
            Self::UnsupportedAlgorithm { .. } => Reason::UnsupportedAlgorithm,
            Self::UnsupportedCriticalHeader { .. } => Reason::UnsupportedCriticalHeader,
            Self::UserInactive { .. } => Reason::UserInactive,
            Self::UserNotServiceAccount { .. } => Reason::UserNotServiceAccount,
            Self::UserUnknown { .. } => Reason::UserUnknown,
            Self::WrongTokenType { .. } => Reason::WrongTokenType,
        }
    }

    /// The check that refused.
    #[must_use]
    pub(crate) fn check(&self) -> Check {
        match self {
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
            Self::AccessDenied { .. }
            | Self::InsufficientScope { .. }
            | Self::McpBodyInvalid(_)
            | Self::McpHeaderMismatch(_) => Check::Access,
            Self::ReplayStoreUnavailable { .. } | Self::TokenReplayed => Check::Replay,
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
            | Self::MissingAnyClaim { .. }
            | Self::MissingClaim { .. }
            | Self::MissingToken
            | Self::MissingUserClaim { .. }
            | Self::NotYetValid { .. }
            | Self::OriginDenied
            | Self::TokenIdMissing
            | Self::TokenReplayed
            | Self::TokenTooOld { .. }
            | Self::UnknownIssuer { .. }
            | Self::UnknownKid { .. }
            | Self::UnsupportedAlgorithm { .. }
            | Self::UnsupportedCriticalHeader { .. }
            | Self::UserInactive { .. }
            | Self::UserNotServiceAccount { .. }
            | Self::UserUnknown { .. }
            | Self::WrongTokenType { .. } => None,
        }
    }
}

/// What the client is told: the meaning of the reason, or something more precise. Of what the client
/// chose it has names of members alone, in letters that mean nothing anywhere.
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
            | Self::MissingAnyClaim { .. }
            | Self::MissingClaim { .. }
            | Self::MissingToken
            | Self::MissingUserClaim { .. }
            | Self::NotYetValid { .. }
            | Self::OriginDenied
            | Self::ReplayStoreUnavailable { .. }
            | Self::TokenIdMissing
            | Self::TokenReplayed
            | Self::TokenTooOld { .. }
            | Self::UnknownIssuer { .. }
            | Self::UnknownKid { .. }
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

impl From<MalformedToken> for Refusal {
    fn from(fault: MalformedToken) -> Self {
        Self::MalformedToken(fault)
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
