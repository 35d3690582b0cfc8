//! How an identity is derived from a provider's tokens.

use std::rc::Rc;

use crate::claim::{ClaimPath, ListClaim};
use crate::json::Object;

/// The claims of a provider's tokens that form an identity.
#[derive(Clone, Debug)]
pub(crate) struct IdentityRules {
    /// The name of the provider.
    pub provider: Rc<str>,
    /// The first one present identifies the user.
    pub user_claims: Vec<ClaimPath>,
    /// The first one present identifies the user of a service's token.
    pub service_user_claims: Vec<ClaimPath>,
    /// Whether a token without a user claim and without `sub` is a service's. Some providers issue
    /// such tokens to people, so only the operator can decide this.
    pub userless_is_service: bool,
    /// The field of the user record that the claim is compared with.
    pub user_field: String,
    /// The first one present holds the scopes.
    pub scope_claims: Vec<ClaimPath>,
    /// These hold scopes too.
    pub permission_claims: Vec<ClaimPath>,
    /// All of these hold roles.
    pub roles_claims: Vec<ListClaim>,
    /// The claim that holds the groups.
    pub groups_claim: ListClaim,
    /// Whether tokens belong to users or services.
    pub client_type: ClientTypeRule,
    /// The scopes that an identity may have, if they are limited.
    pub auth_scopes: Option<Vec<String>>,
    /// Signs of a service's token, in addition to those that hold for any provider.
    pub service_signs: Vec<ServiceSign>,
}

impl IdentityRules {
    /// The claims that identify a user or a service; the first one present is used.
    pub(crate) fn user_claims_of(&self, client_type: ClientType) -> &[ClaimPath] {
        match client_type {
            ClientType::Service => &self.service_user_claims,
            ClientType::User => &self.user_claims,
        }
    }

    /// Whether a token is a service's because it names no user. A claim that is present names one,
    /// whatever its value.
    pub(crate) fn makes_a_service_of(&self, claims: &Object) -> bool {
        self.userless_is_service
            && !claims.contains_key("sub")
            && self.user_claims.iter().all(|path| path.find(claims).is_none())
    }
}

/// Whether a token belongs to a user or to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientType {
    /// A program acting for itself.
    Service,
    /// A person.
    User,
}

impl ClientType {
    /// The spelling in headers and configuration.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::User => "user",
        }
    }
}

/// How the type of a client is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientTypeRule {
    /// By the claims of the token.
    Auto,
    /// All tokens of the provider are of this type.
    Fixed(ClientType),
}

/// A sign that a client obtained a token for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServiceSign {
    /// This claim is the client id between two strings, ignoring case.
    NamedAfterClient {
        claim: ClaimPath,
        /// The string before the client id.
        before: &'static str,
        /// The string after the client id.
        after: &'static str,
    },
    /// `sub` equals this claim.
    SubjectIs(ClaimPath),
}
