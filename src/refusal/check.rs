//! The checks of a request, in their order.

use serde::Serialize;

/// A check of a request. The first that fails refuses the request; later ones are not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Host and path are those of a resource, where there are several.
    Resource,
    /// `Origin` is allowed.
    Origin,
    /// One bearer token is the only credential.
    Credentials,
    /// The token is a JWS of two JSON objects, within `max_token_size`.
    Form,
    /// Its algorithm is known, it is signed, and it requires no unknown extension.
    Header,
    /// Its `iss` selects a provider.
    Provider,
    /// The provider allows its `alg`.
    Algorithm,
    /// The provider allows its `typ`.
    Type,
    /// `exp`, `nbf` and `iat` are within bounds.
    Time,
    /// `aud` names a client id.
    Audience,
    /// The provider has a key for the token.
    Key,
    /// A key verifies it.
    Signature,
    /// `required_claims` and `required_any_claim` hold.
    RequiredClaims,
    /// It is not bound to a key (`cnf`).
    Binding,
    /// `jti` is present where it is required.
    TokenId,
    /// The claim that identifies the user is usable.
    UserClaim,
    /// The user is known and active.
    User,
    /// Its session was given to this user.
    Session,
    /// The access rules allow the request.
    Access,
    /// A single-use token was not used before.
    Replay,
}

impl Check {
    /// All checks, in their order.
    pub const ALL: [Self; 20] = [
        Self::Resource,
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
        Self::Session,
        Self::Access,
        Self::Replay,
    ];

    /// The name of the check in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
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
            Self::Session => "session",
            Self::Access => "access",
            Self::Replay => "replay",
        }
    }
}
