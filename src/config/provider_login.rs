//! `login` of a provider: how people log in there through the gateway.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Faults;
use super::environment::{Environment, variable};
use super::field::{Field, Reader, UnknownFields, refuse_unknown};
use super::scopes::check_scope;
use super::templates::LoginTemplate;
use crate::keys::{KeySource, Start};
use crate::login::{ClientSecret, LoginProvider, ScopeNames, TokenKind, is_own_parameter};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawProviderLogin {
    /// The gateway's client id at the provider. Its redirect URI there is the login's issuer and
    /// path, followed by /callback/ and the provider's name.
    pub(super) client_id: Field<String>,
    /// The environment variable that holds the gateway's secret there. Default: none, a public
    /// client; PKCE is used either way.
    pub(super) client_secret_env: Field<String>,
    /// The scopes of this server: an object that maps each scope to its name at the provider, or a
    /// list of scopes that have the same name there. Default: the template's; `generic` asks for
    /// each under its own name.
    pub(super) scopes: Field<RawScopeNames>,
    /// Scopes that every login requests from the provider. Default: what the template has, for
    /// most `[openid, profile, offline_access]`.
    pub(super) always: Field<Vec<String>>,
    /// Which of the provider's tokens the client gets. Default: `access_token`; `id_token` for
    /// `google`.
    pub(super) token: Field<RawTokenKind>,
    /// Further parameters for the provider's authorization endpoint, in addition to those of the
    /// template; one that is given here takes precedence. Default: the template's.
    pub(super) parameters: Field<BTreeMap<String, String>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected an object of strings, or a list of strings")]
pub(super) enum RawScopeNames {
    /// For each name here, the name at the provider.
    Mapped(BTreeMap<String, String>),
    /// Names that are the same at the provider.
    Same(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawTokenKind {
    /// The access token.
    AccessToken,
    /// The ID token, for providers whose access tokens are not JWTs.
    IdToken,
}

/// The other settings of a provider that its login depends on.
pub(super) struct OfProvider<'a> {
    /// `None` if the field is faulty; the same applies to the next two.
    pub(super) name: Option<&'a str>,
    pub(super) issuer: Option<&'a str>,
    pub(super) key_source: Option<&'a KeySource>,
    pub(super) template: LoginTemplate,
}

/// How people log in at a provider.
pub(super) fn provider_login(
    mut raw: RawProviderLogin,
    provider: OfProvider<'_>,
    path: &str,
    environment: Environment<'_>,
    faults: &mut Faults,
) -> Option<LoginProvider> {
    refuse_unknown(&format!("{path}."), &raw.unknown, faults);
    let mut reader = Reader::new(path, faults);
    let source = match provider.key_source {
        Some(KeySource::Remote(source)) => match &source.start {
            Start::Metadata(metadata) => Some((metadata.clone(), source.clusters.clone())),
            Start::KeySet(_) => None,
        },
        Some(KeySource::Static(_)) | None => None,
    };
    if source.is_none() && provider.key_source.is_some() {
        reader.faults.add(path, "needs metadata_url, which names the provider's endpoints");
    }
    let client_id = reader.required("client_id", &mut raw.client_id);
    if client_id.as_ref().is_some_and(String::is_empty) {
        reader.fault("client_id", "must not be empty");
    }
    let client_secret = client_secret(&mut raw.client_secret_env, environment, &mut reader);
    let given_scopes = reader.optional("scopes", &mut raw.scopes);
    let has_scopes = given_scopes.is_some();
    let scopes = given_scopes.map_or(provider.template.scopes, ScopeNames::from);
    if let ScopeNames::Mapped(names) = &scopes {
        for (here, there) in names {
            check_scope(here, &reader.at("scopes"), reader.faults);
            check_scope(there, &reader.at(&format!("scopes.{here}")), reader.faults);
        }
    }
    let always = reader.optional("always", &mut raw.always).unwrap_or(provider.template.always);
    for (index, scope) in always.iter().enumerate() {
        check_scope(scope, &reader.at(&format!("always[{index}]")), reader.faults);
    }
    let token = match reader.optional("token", &mut raw.token) {
        None => provider.template.token,
        Some(RawTokenKind::AccessToken) => TokenKind::AccessToken,
        Some(RawTokenKind::IdToken) => TokenKind::IdToken,
    };
    if token == TokenKind::IdToken && !always.iter().any(|scope| scope == "openid") {
        reader.fault("always", "must include openid: without it there is no ID token");
    }
    let given = given_parameters(&mut raw.parameters, &mut reader);
    let named_audience = provider.template.named_audience;
    let named_audience = named_audience.unless_given(has_scopes, given.contains_key("audience"));
    let mut parameters = provider.template.parameters;
    parameters.extend(given);
    let (metadata, clusters) = source?;
    let name = provider.name?;
    Some(LoginProvider {
        name: name.to_owned(),
        label: provider.template.label.unwrap_or(name).to_owned(),
        issuer: provider.issuer?.to_owned(),
        metadata,
        clusters,
        client_id: client_id?,
        client_secret,
        scopes,
        named_audience,
        always,
        token,
        parameters,
    })
}

impl From<RawScopeNames> for ScopeNames {
    fn from(raw: RawScopeNames) -> Self {
        Self::Mapped(match raw {
            RawScopeNames::Same(names) => {
                names.into_iter().map(|name| (name.clone(), name)).collect()
            }
            RawScopeNames::Mapped(names) => names,
        })
    }
}

fn client_secret(
    raw: &mut Field<String>,
    environment: Environment<'_>,
    reader: &mut Reader<'_>,
) -> Option<ClientSecret> {
    let name = reader.optional("client_secret_env", raw)?;
    let path = reader.at("client_secret_env");
    let secret = variable(&name, &path, environment, reader.faults)?;
    let secret = secret.trim_end();
    if secret.is_empty() {
        reader.fault("client_secret_env", format!("the environment variable {name:?} is empty"));
        return None;
    }
    Some(ClientSecret::new(secret.to_owned()))
}

/// Parameters of the authorization request that the gateway does not set itself.
fn given_parameters(
    raw: &mut Field<BTreeMap<String, String>>,
    reader: &mut Reader<'_>,
) -> BTreeMap<String, String> {
    let given = reader.optional("parameters", raw).unwrap_or_default();
    for name in given.keys() {
        if is_own_parameter(name) {
            reader.fault(&format!("parameters.{name}"), "is set by the gateway itself");
        }
    }
    given
}
