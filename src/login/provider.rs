//! How people log in at one provider through the gateway.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::callout::{Clusters, Endpoint};

/// A provider at which people can log in.
#[derive(Clone, Debug)]
pub(crate) struct LoginProvider {
    /// Its name, which the redirect URI ends with.
    pub name: String,
    /// The label of its button.
    pub label: String,
    /// Its issuer, which its metadata document and its responses name.
    pub issuer: String,
    /// Its metadata document.
    pub metadata: Endpoint,
    /// Clusters for its token endpoint.
    pub clusters: Clusters,
    /// The gateway's client id there.
    pub client_id: String,
    /// The gateway's secret there; `None` for a public client.
    pub client_secret: Option<ClientSecret>,
    pub scopes: ScopeNames,
    /// Where an audience of the resource is named.
    pub named_audience: NamedAudience,
    /// Scopes that every login requests from it.
    pub always: Vec<String>,
    /// Which of its tokens the client gets.
    pub token: TokenKind,
    /// Further parameters for its authorization endpoint.
    pub parameters: BTreeMap<String, String>,
}

/// Identifies a provider in sealed values: a digest of its name, its issuer and the gateway's client
/// id there. What one provider gave is never sent to another that has taken over its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProviderDigest(String);

/// Which of a provider's tokens the client gets; never the other one instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    AccessToken,
    IdToken,
}

/// The names of this server's scopes at the provider.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum ScopeNames {
    /// As here, with this in front of each that does not begin with it.
    Prefixed(String),
    /// By name; others are not asked for.
    Mapped(BTreeMap<String, String>),
}

/// Where a provider learns for which audience it issues a token. All name the first audience that
/// the resource accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedAudience {
    /// Nowhere: its own configuration or the scopes decide.
    Nowhere,
    /// In front of each scope.
    Scopes,
    /// In front of each scope, as a URI (Entra ID): the first audience that is one.
    ScopesAsUri,
    /// In the parameter `audience`.
    Parameter,
}

/// The gateway's secret at a provider. It is sent to the token endpoint, and never written
/// elsewhere.
#[derive(Clone)]
pub(crate) struct ClientSecret(String);

impl LoginProvider {
    /// Its identifier in sealed values.
    #[must_use]
    pub(crate) fn digest(&self) -> ProviderDigest {
        let mut digest = Sha256::new();
        for part in [&self.name, &self.issuer, &self.client_id] {
            digest.update(part.len().to_string());
            digest.update(":");
            digest.update(part);
        }
        ProviderDigest(URL_SAFE_NO_PAD.encode(digest.finalize()))
    }
}

impl ScopeNames {
    /// The name of a scope at the provider; `None` if it is not requested there.
    #[must_use]
    pub(crate) fn at_provider(&self, scope: &str) -> Option<String> {
        match self {
            Self::Prefixed(prefix) if scope.starts_with(prefix) => Some(scope.to_owned()),
            Self::Prefixed(prefix) => Some(format!("{prefix}{scope}")),
            Self::Mapped(names) => names.get(scope).cloned(),
        }
    }

    /// The name here of a scope of the provider: the first of these names that it may have, or what
    /// is left without the prefix.
    #[must_use]
    pub(crate) fn here<'a>(
        &'a self,
        scope: &'a str,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Option<&'a str> {
        let known = names.find(|name| self.at_provider(name).as_deref() == Some(scope));
        known.or_else(|| match self {
            Self::Prefixed(prefix) => scope.strip_prefix(prefix.as_str()),
            Self::Mapped(names) => {
                names.iter().find(|(_, there)| *there == scope).map(|(here, _)| here.as_str())
            }
        })
    }
}

impl NamedAudience {
    /// Where the audience is named if the configuration gives the names of scopes, or the
    /// parameter.
    #[must_use]
    pub(crate) fn unless_given(self, has_scopes: bool, has_parameter: bool) -> Self {
        let is_given = match self {
            Self::Nowhere => true,
            Self::Scopes | Self::ScopesAsUri => has_scopes,
            Self::Parameter => has_parameter,
        };
        if is_given { Self::Nowhere } else { self }
    }
}

impl LoginProvider {
    /// The provider's settings for a resource that accepts these audiences.
    #[must_use]
    pub(crate) fn for_audiences(&self, audiences: &[String]) -> Self {
        let mut asked = self.clone();
        let first = audiences.first().map(String::as_str).unwrap_or_default();
        match self.named_audience {
            NamedAudience::Nowhere => {}
            NamedAudience::Scopes => asked.scopes = ScopeNames::Prefixed(format!("{first}/")),
            NamedAudience::ScopesAsUri => {
                let uri = audiences.iter().find(|audience| audience.contains("://"));
                let uri = uri.cloned().unwrap_or_else(|| format!("api://{first}"));
                asked.scopes = ScopeNames::Prefixed(format!("{uri}/"));
            }
            NamedAudience::Parameter => {
                asked.parameters.insert("audience".to_owned(), first.to_owned());
            }
        }
        asked
    }
}

impl ClientSecret {
    #[must_use]
    pub(crate) fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret, for the token endpoint alone.
    #[must_use]
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(_)")
    }
}

impl TokenKind {
    /// The member of a token response that holds it.
    #[must_use]
    pub(crate) fn member(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::IdToken => "id_token",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::discovery::tests::provider;
    use super::*;

    #[test]
    fn a_scope_gets_its_prefix_once() {
        let names = ScopeNames::Prefixed("api://mcp/".to_owned());
        for scope in ["mcp.tools", "api://mcp/mcp.tools"] {
            assert_eq!(names.at_provider(scope).as_deref(), Some("api://mcp/mcp.tools"));
        }
        let bare = ScopeNames::Prefixed(String::new());
        assert_eq!(bare.at_provider("mcp.tools").as_deref(), Some("mcp.tools"));
    }

    #[test]
    fn a_scope_has_the_name_that_the_resource_gives_it() {
        let names = ScopeNames::Prefixed("api://mcp/".to_owned());
        for (known, expected) in [
            (&["read"][..], "read"),
            (&["api://mcp/read", "read"], "api://mcp/read"),
            (&["read", "api://mcp/read"], "read"),
            (&["api://other/read"], "read"),
            (&[], "read"),
        ] {
            let here = names.here("api://mcp/read", known.iter().copied());
            assert_eq!(here, Some(expected), "{known:?}");
        }
        assert_eq!(names.here("openid", ["openid"].into_iter()), None);
        let mapped = ScopeNames::Mapped([("read".to_owned(), "api://mcp/read".to_owned())].into());
        assert_eq!(mapped.here("api://mcp/read", ["read"].into_iter()), Some("read"));
        assert_eq!(mapped.here("api://mcp/write", ["read"].into_iter()), None);
    }

    #[test]
    fn a_provider_is_asked_for_the_audience_of_the_resource() {
        const GUID: &str = "6a7f0000-0000-4000-8000-000000000000";
        let audiences = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let scope = |named_audience, all: &[&str]| {
            let provider = LoginProvider { named_audience, ..provider() };
            let asked = provider.for_audiences(&audiences(all));
            assert!(asked.parameters.is_empty());
            asked.scopes.at_provider("read").unwrap()
        };
        for (named, all, expected) in [
            (NamedAudience::Nowhere, &["api://a"][..], "api://mcp/read".to_owned()),
            (
                NamedAudience::Scopes,
                &["https://a.example", "b"],
                "https://a.example/read".to_owned(),
            ),
            (
                NamedAudience::ScopesAsUri,
                &[GUID, "https://a.example"],
                "https://a.example/read".to_owned(),
            ),
            (NamedAudience::ScopesAsUri, &[GUID, "b"], format!("api://{GUID}/read")),
        ] {
            assert_eq!(scope(named, all), expected, "{named:?} {all:?}");
        }
        let auth0 = LoginProvider { named_audience: NamedAudience::Parameter, ..provider() };
        let asked = auth0.for_audiences(&audiences(&["https://a.example/mcp", "b"]));
        assert_eq!(asked.parameters["audience"], "https://a.example/mcp");
        assert_eq!(asked.scopes.at_provider("read").as_deref(), Some("api://mcp/read"));
    }
}
