//! What each template knows about logging in at its provider.

use std::collections::BTreeMap;

use super::TemplateName;
use crate::login::{ScopeNames, TokenKind};

/// What is known about the login at a provider. A field that its configuration gives takes
/// precedence.
#[derive(Debug)]
pub(in crate::config) struct LoginTemplate {
    /// What people call it; none where its name in the configuration says it better.
    pub(in crate::config) label: Option<&'static str>,
    pub(in crate::config) scopes: ScopeNames,
    pub(in crate::config) always: Vec<String>,
    pub(in crate::config) token: TokenKind,
    pub(in crate::config) parameters: BTreeMap<String, String>,
}

impl LoginTemplate {
    /// The login of a template. `audiences` are the provider's `client_ids`.
    pub(in crate::config) fn new(name: TemplateName, audiences: &[String]) -> Self {
        let first = audiences.first().map(String::as_str).unwrap_or_default();
        match name {
            TemplateName::EntraId => Self {
                label: Some("Microsoft"),
                scopes: ScopeNames::Prefixed(format!("{}/", application_id_uri(audiences))),
                ..Self::default()
            },
            TemplateName::Okta => Self { label: Some("Okta"), ..Self::default() },
            // Without an audience, Auth0 issues an opaque access token.
            TemplateName::Auth0 => Self {
                parameters: [("audience".to_owned(), first.to_owned())].into(),
                ..Self::default()
            },
            // Google has no scopes of other people's servers. It gives a refresh token only for
            // access_type=offline, and after the first time only with prompt=consent.
            TemplateName::Google => Self {
                label: Some("Google"),
                scopes: ScopeNames::Mapped(BTreeMap::new()),
                always: strings(["openid", "email", "profile"]),
                token: TokenKind::IdToken,
                parameters: [("access_type", "offline"), ("prompt", "consent")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            },
            // The resource is named by what is ahead of a scope.
            TemplateName::Adfs => Self {
                scopes: ScopeNames::Prefixed(format!("{first}/")),
                always: strings(["openid", "profile"]),
                ..Self::default()
            },
            // With offline_access, Keycloak opens a session that never ends by itself.
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
            always: strings(["openid", "profile", "offline_access"]),
            token: TokenKind::AccessToken,
            parameters: BTreeMap::new(),
        }
    }
}

/// The Application ID URI, which Entra ID wants ahead of a scope: the first audience that is a URI,
/// or the default one of the application.
fn application_id_uri(audiences: &[String]) -> String {
    let uri = audiences.iter().find(|audience| audience.contains("://"));
    uri.cloned().unwrap_or_else(|| {
        format!("api://{}", audiences.first().map(String::as_str).unwrap_or_default())
    })
}

fn strings<const N: usize>(strings: [&str; N]) -> Vec<String> {
    strings.map(str::to_owned).to_vec()
}
