//! The checks that a request passes, said once, in their order.

use serde::Serialize;

/// A check of a request. The first that fails refuses it; those after it are not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// `Origin` is allowed.
    Origin,
    /// One bearer token is the only credential.
    Credentials,
    /// The token is a JWS of two JSON objects, within `max_token_size`.
    Form,
    /// Its algorithm is known, it is signed, and it requires no unknown extension.
    Header,
    /// Its `iss` picks a provider.
    Provider,
    /// The provider allows its `alg`.
    Algorithm,
    /// The provider allows its `typ`.
    Type,
    /// `exp`, `nbf`, `iat`.
    Time,
    /// `aud`.
    Audience,
    /// The provider has a key for it.
    Key,
    /// A key verifies it.
    Signature,
    /// `required_claims`, `required_any_claim`.
    RequiredClaims,
    /// It is not bound to a key (`cnf`).
    Binding,
    /// `jti` is there, where it must be.
    TokenId,
    /// The claim that identifies the user.
    UserClaim,
    /// The user is known and active.
    User,
    /// The access rules.
    Access,
    /// A single-use token was not used before.
    Replay,
}

impl Check {
    /// All of them, in their order.
    pub const ALL: [Self; 18] = [
        Self::Origin,
        Self::Credentials,
        Self::Form,
        Self::Header,
        Self::Provider,
        Self::Algorithm,
        Self::Type,
        Self::Time,
        Self::Audience,
        Self::Key,
        Self::Signature,
        Self::RequiredClaims,
        Self::Binding,
        Self::TokenId,
        Self::UserClaim,
        Self::User,
        Self::Access,
        Self::Replay,
    ];

    /// Its name, in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Credentials => "credentials",
            Self::Form => "form",
            Self::Header => "header",
            Self::Provider => "provider",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::Time => "time",
            Self::Audience => "audience",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::RequiredClaims => "required claims",
            Self::Binding => "binding",
            Self::TokenId => "token id",
            Self::UserClaim => "user claim",
            Self::User => "user",
            Self::Access => "access",
            Self::Replay => "replay",
        }
    }
}
