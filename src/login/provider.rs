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
    /// What its button says.
    pub label: String,
    /// Its issuer, which its metadata document and its responses name.
    pub issuer: String,
    /// Its metadata document.
    pub metadata: Endpoint,
    /// Clusters for its token endpoint.
    pub clusters: Clusters,
    /// The gateway's client id there.
    pub client_id: String,
    /// The gateway's secret there; none for a public client.
    pub client_secret: Option<ClientSecret>,
    pub scopes: ScopeNames,
    /// Scopes asked of it each time.
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

/// What the scopes of this server are called at the provider.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum ScopeNames {
    /// As here, with this in front of each that does not begin with it.
    Prefixed(String),
    /// By name; others are not asked for.
    Mapped(BTreeMap<String, String>),
}

/// The gateway's secret at a provider. It is never written anywhere but to the token endpoint.
#[derive(Clone)]
pub(crate) struct ClientSecret(String);

impl LoginProvider {
    /// What identifies it in sealed values.
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
    /// The name of a scope at the provider; none if it is not asked for there.
    #[must_use]
    pub(crate) fn at_provider(&self, scope: &str) -> Option<String> {
        match self {
            Self::Prefixed(prefix) if scope.starts_with(prefix) => Some(scope.to_owned()),
            Self::Prefixed(prefix) => Some(format!("{prefix}{scope}")),
            Self::Mapped(names) => names.get(scope).cloned(),
        }
    }

    /// The name here of a scope of the provider.
    #[must_use]
    pub(crate) fn here<'a>(&'a self, scope: &'a str) -> Option<&'a str> {
        match self {
            Self::Prefixed(prefix) => scope.strip_prefix(prefix.as_str()),
            Self::Mapped(names) => {
                names.iter().find(|(_, there)| *there == scope).map(|(here, _)| here.as_str())
            }
        }
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
}
