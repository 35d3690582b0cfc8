//! Which providers' tokens are accepted at a resource, and for which audiences.

use super::{Provider, ProviderId, ProviderMap, Providers};
use crate::claim::ListClaim;
use crate::json::{Json, Object};

/// The providers whose tokens a resource accepts.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedProviders {
    /// In the order in which the metadata document lists their issuers.
    order: Vec<ProviderId>,
    /// `None` for a provider whose tokens are not accepted.
    tokens: ProviderMap<Option<AcceptedTokens>>,
}

/// Which tokens of a provider a resource accepts.
#[derive(Clone, Debug, Default)]
pub(crate) struct AcceptedTokens {
    /// Accepted values of `aud`, or of the client id where that is compared.
    pub audiences: Vec<String>,
    /// Claims that hold roles for these audiences alone.
    pub audience_roles: Vec<ListClaim>,
}

impl AcceptedProviders {
    /// The providers in `order`, each with its entry in `tokens`.
    #[must_use]
    pub(crate) fn new(
        providers: &Providers,
        order: Vec<ProviderId>,
        mut tokens: impl FnMut(ProviderId, &Provider) -> AcceptedTokens,
    ) -> Self {
        let mut ids = providers.entries().map(|(id, _)| id);
        let tokens = providers.map(|provider| {
            let id = ids.next().filter(|id| order.contains(id))?;
            Some(tokens(id, provider))
        });
        Self { order, tokens }
    }

    /// The tokens of this provider that are accepted, if any.
    #[must_use]
    pub(crate) fn get(&self, id: ProviderId) -> Option<&AcceptedTokens> {
        self.tokens[id].as_ref()
    }

    /// The accepted providers, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ProviderId> + Clone {
        self.order.iter().copied()
    }

    /// The provider that a token with these claims selects: by `iss`, compared exactly, and among
    /// several with the same issuer by `aud`, or by the client where that is compared instead.
    #[must_use]
    pub(crate) fn for_token<'a>(
        &'a self,
        providers: &'a Providers,
        claims: &Object,
    ) -> Option<(ProviderId, &'a Provider, &'a AcceptedTokens)> {
        let issuer = claims.get("iss").and_then(Json::as_str)?;
        let mut of_issuer = self.ids().filter_map(|id| {
            let provider = &providers[id];
            let is_its = provider.issuers.iter().any(|accepted| accepted == issuer);
            Some((id, provider, self.get(id).filter(|_| is_its)?))
        });
        let first = of_issuer.next()?;
        let mut others = of_issuer.peekable();
        let names_audience = |(_, provider, tokens): &(_, &Provider, &AcceptedTokens)| {
            provider.claim_rules.names_audience(claims, &tokens.audiences)
        };
        if others.peek().is_none() || names_audience(&first) {
            return Some(first);
        }
        others.find(names_audience).or(Some(first))
    }

    /// All issuers whose tokens are accepted.
    pub(crate) fn issuers<'a>(&self, providers: &'a Providers) -> impl Iterator<Item = &'a str> {
        self.ids().flat_map(|id| &providers[id].issuers).map(String::as_str)
    }

    /// The issuer of each provider, once.
    pub(crate) fn authorization_servers<'a>(
        &self,
        providers: &'a Providers,
    ) -> impl Iterator<Item = &'a str> {
        let mut seen = Vec::new();
        let issuers = self.ids().filter_map(|id| providers[id].issuers.first());
        issuers.map(String::as_str).filter(move |issuer| {
            let is_new = !seen.contains(issuer);
            seen.push(issuer);
            is_new
        })
    }
}
