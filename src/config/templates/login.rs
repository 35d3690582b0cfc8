//! What is known about the login at the provider of each template.

use std::collections::BTreeMap;

use super::TemplateName;
use crate::login::{NamedAudience, ScopeNames, TokenKind};

/// What is known about the login at a provider. A field that its configuration gives takes
/// precedence.
#[derive(Debug)]
pub(in crate::config) struct LoginTemplate {
    /// The name that people know the provider by; if there is none, its name in the configuration
    /// is shown.
    pub(in crate::config) label: Option<&'static str>,
    pub(in crate::config) scopes: ScopeNames,
    pub(in crate::config) named_audience: NamedAudience,
    pub(in crate::config) always: Vec<String>,
    pub(in crate::config) token: TokenKind,
    pub(in crate::config) parameters: BTreeMap<String, String>,
}

impl LoginTemplate {
    /// The login of a template.
    pub(in crate::config) fn new(name: TemplateName) -> Self {
        match name {
            TemplateName::EntraId => Self {
                label: Some("Microsoft"),
                named_audience: NamedAudience::ScopesAsUri,
                ..Self::default()
            },
            TemplateName::Okta => Self { label: Some("Okta"), ..Self::default() },
            // Without an audience, Auth0 issues an opaque access token.
            TemplateName::Auth0 => {
                Self { named_audience: NamedAudience::Parameter, ..Self::default() }
            }
            // Google has no scopes for servers of others. It issues a refresh token only with
            // access_type=offline, and after the first login only with prompt=consent.
            TemplateName::Google => Self {
                label: Some("Google"),
                scopes: ScopeNames::Mapped(BTreeMap::new()),
                named_audience: NamedAudience::Nowhere,
                always: strings(["openid", "email", "profile"]),
                token: TokenKind::IdToken,
                parameters: [("access_type", "offline"), ("prompt", "consent")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            },
            // AD FS takes the resource from the prefix of a scope.
            TemplateName::Adfs => Self {
                named_audience: NamedAudience::Scopes,
                always: strings(["openid", "profile"]),
                ..Self::default()
            },
            // With offline_access, Keycloak opens an offline session, which outlives the user's
            // logout.
            TemplateName::Keycloak => {
                Self { always: strings(["openid", "profile"]), ..Self::default() }
            }
            TemplateName::Generic => Self::default(),
        }
    }
}

impl Default for LoginTemplate {
    fn default() -> Self {
        Self {
            label: None,
            scopes: ScopeNames::Prefixed(String::new()),
            named_audience: NamedAudience::Nowhere,
            always: strings(["openid", "profile", "offline_access"]),
            token: TokenKind::AccessToken,
            parameters: BTreeMap::new(),
        }
    }
}

fn strings<const N: usize>(strings: [&str; N]) -> Vec<String> {
    strings.map(str::to_owned).to_vec()
}
