//! How an identity is read out of a provider's tokens.

use std::rc::Rc;

use crate::claim::{ClaimPath, ListClaim};
use crate::json::Object;

/// Which claims of a provider's tokens say whom they stand for.
#[derive(Clone, Debug)]
pub(crate) struct IdentityRules {
    /// The provider's name.
    pub provider: Rc<str>,
    /// The first that is there identifies the user.
    pub user_claims: Vec<ClaimPath>,
    /// The same for tokens that stand for services.
    pub service_user_claims: Vec<ClaimPath>,
    /// Whether a token that has no claim of a user, and no `sub`, is a service's. Some providers
    /// issue such tokens to people: only the operator can say that this one does not.
    pub userless_is_service: bool,
    /// The field of the user record that the claim is matched with.
    pub user_field: String,
    /// The first that is there holds the scopes.
    pub scope_claims: Vec<ClaimPath>,
    /// These hold scopes too.
    pub permission_claims: Vec<ClaimPath>,
    /// All of these hold roles.
    pub roles_claims: Vec<ListClaim>,
    /// Holds the groups.
    pub groups_claim: ListClaim,
    /// Whether tokens stand for users or services.
    pub client_type: ClientTypeRule,
    /// The scopes that an identity may have, if they are limited.
    pub auth_scopes: Option<Vec<String>>,
    /// What tells tokens of services, besides what does so at any provider.
    pub service_signs: Vec<ServiceSign>,
}

impl IdentityRules {
    /// The claims that identify a user or a service; the first that is there does.
    pub(crate) fn user_claims_of(&self, client_type: ClientType) -> &[ClaimPath] {
        match client_type {
            ClientType::Service => &self.service_user_claims,
            ClientType::User => &self.user_claims,
        }
    }

    /// Whether a token is a service's because it names no user at all. A claim that is there names
    /// one, whatever its value.
    pub(crate) fn makes_a_service_of(&self, claims: &Object) -> bool {
        self.userless_is_service
            && !claims.contains_key("sub")
            && self.user_claims.iter().all(|path| path.find(claims).is_none())
    }
}

/// Whether a token stands for a user or for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientType {
    /// A program on its own behalf.
    Service,
    /// A person.
    User,
}

impl ClientType {
    /// As headers and configuration spell it.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::User => "user",
        }
    }
}

/// How the type of a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientTypeRule {
    /// By the claims of the token.
    Auto,
    /// All tokens of the provider are of this type.
    Fixed(ClientType),
}

/// What tells that a client got a token for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServiceSign {
    /// This claim is the client id between two texts, case aside.
    NamedAfterClient {
        /// The claim.
        claim: ClaimPath,
        /// What stands before the client id.
        before: &'static str,
        /// What stands after it.
        after: &'static str,
    },
    /// `sub` is the same as this claim.
    SubjectIs(ClaimPath),
}
