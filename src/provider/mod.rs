//! The trusted identity providers.

mod accepted;
mod claim_rules;
mod identity_rules;
mod map;
mod token_id_rule;

use std::ops::Index;

pub(crate) use accepted::{AcceptedProviders, AcceptedTokens};
pub(crate) use claim_rules::{ClaimRules, TokenTypes, Validity};
pub(crate) use identity_rules::{ClientType, ClientTypeRule, IdentityRules, ServiceSign};
pub(crate) use map::{ProviderId, ProviderMap};
pub(crate) use token_id_rule::TokenIdRule;

use crate::claim::{ClaimPath, RequiredClaim};
use crate::jose::Algorithm;
use crate::keys::KeySource;

/// An identity provider.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    /// The name of the provider in headers, logs and metrics.
    pub name: String,
    /// Accepted values of `iss`, the provider's own issuer first.
    pub issuers: Vec<String>,
    /// Algorithms allowed for its tokens.
    pub algorithms: Vec<Algorithm>,
    /// The required type, audience and time of its tokens.
    pub claim_rules: ClaimRules,
    /// Further claims that its tokens must have.
    pub required_claims: Vec<RequiredClaim>,
    /// Claims of which its tokens must have one that is not empty; no condition if there are none.
    pub required_any_claim: Vec<ClaimPath>,
    /// What is required of `jti`.
    pub token_id_rule: TokenIdRule,
    /// The claims that form the identity.
    pub identity_rules: IdentityRules,
    /// Whether its tokens are accepted only where an access rule names it.
    pub restrict_to_policies: bool,
    /// Where its keys come from.
    pub key_source: KeySource,
}

/// The active providers, in the order of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Providers(ProviderMap<Provider>);

impl Providers {
    pub(crate) fn new(providers: Vec<Provider>) -> Self {
        Self(ProviderMap::new(providers))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Provider> + Clone {
        self.0.values()
    }

    /// All providers with their ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (ProviderId, &Provider)> + Clone {
        self.0.entries()
    }

    /// The provider of this name.
    #[must_use]
    pub(crate) fn id(&self, name: &str) -> Option<ProviderId> {
        self.entries().find(|(_, provider)| provider.name == name).map(|(id, _)| id)
    }

    /// A table with one value for each provider.
    #[must_use]
    pub(crate) fn map<T>(&self, value: impl FnMut(&Provider) -> T) -> ProviderMap<T> {
        self.0.map(value)
    }
}

impl Index<ProviderId> for Providers {
    type Output = Provider;

    fn index(&self, id: ProviderId) -> &Provider {
        &self.0[id]
    }
}
