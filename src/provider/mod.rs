//! The trusted identity providers.

mod claim_rules;
mod identity_rules;
mod map;
mod token_id_rule;

use std::ops::Index;

pub(crate) use claim_rules::{ClaimRules, TokenTypes};
pub(crate) use identity_rules::{ClientType, ClientTypeRule, IdentityRules, ServiceSign};
pub(crate) use map::{ProviderId, ProviderMap};
pub(crate) use token_id_rule::TokenIdRule;

use crate::claim::{ClaimPath, RequiredClaim};
use crate::jose::Algorithm;
use crate::json::{Json, Object};
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

    /// A table with one value for each provider.
    #[must_use]
    pub(crate) fn map<T>(&self, value: impl FnMut(&Provider) -> T) -> ProviderMap<T> {
        self.0.map(value)
    }

    /// The provider that these claims select: by `iss`, compared exactly, and among several with
    /// the same issuer by `aud`, or by the client where that is compared instead.
    #[must_use]
    pub(crate) fn for_token(&self, claims: &Object) -> Option<(ProviderId, &Provider)> {
        let issuer = claims.get("iss").and_then(Json::as_str)?;
        let mut of_issuer = self
            .0
            .entries()
            .filter(|(_, provider)| provider.issuers.iter().any(|accepted| accepted == issuer));
        let first = of_issuer.clone().next();
        of_issuer.find(|(_, provider)| provider.claim_rules.names_audience(claims)).or(first)
    }

    /// All accepted issuers.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &str> {
        self.iter().flat_map(|provider| &provider.issuers).map(String::as_str)
    }

    /// The issuers of all providers, without duplicates.
    pub(crate) fn authorization_servers(&self) -> impl Iterator<Item = &str> {
        let first_issuer = |provider: &Provider| provider.issuers.first().cloned();
        self.iter().enumerate().filter_map(move |(index, provider)| {
            let issuer = provider.issuers.first()?;
            let is_first =
                !self.iter().take(index).any(|other| first_issuer(other).as_ref() == Some(issuer));
            is_first.then_some(issuer.as_str())
        })
    }
}

impl Index<ProviderId> for Providers {
    type Output = Provider;

    fn index(&self, id: ProviderId) -> &Provider {
        &self.0[id]
    }
}
