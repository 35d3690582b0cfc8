//! What would fail at a login, and what to register at the providers.

use serde_json::Value;

use super::outside::{Callout, CalloutError, Outside};
use super::setup::{Setup, Written};
use crate::callout::{CalloutRequest, CalloutResponse};
use crate::keys::KeySource;
use crate::login::{DiscoveryFault, Login, LoginProvider, ProviderEndpoints, ScopeNames};
use crate::provider::Provider;

/// Faults and warnings about the login of a configuration.
#[derive(Debug, Default)]
pub struct LoginReport {
    /// What prevents all logins at a provider.
    pub faults: Vec<String>,
    /// What may go wrong.
    pub warnings: Vec<String>,
    /// What to do at the providers.
    pub notes: Vec<String>,
}

/// Where the login responds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginAddress {
    /// The issuer's host, with the port unless it is the default one.
    pub host: String,
    /// The same with the default port, if the issuer has that.
    pub with_default_port: Option<String>,
    /// Whether it responds under every other host, too.
    pub responds_everywhere: bool,
    /// The paths of its endpoints.
    pub paths: Vec<String>,
}

impl Setup {
    /// Where the login responds, if there is one.
    #[must_use]
    pub fn login_address(&self) -> Option<LoginAddress> {
        let login = self.config.login.as_ref()?;
        Some(LoginAddress {
            host: login.issuer.authority().to_owned(),
            with_default_port: login.issuer.with_default_port(),
            responds_everywhere: login.has_any_authority,
            paths: login.endpoint_paths(),
        })
    }

    /// Whether people log in through the gateway.
    #[must_use]
    pub fn has_login(&self) -> bool {
        self.config.login.is_some()
    }

    /// What to register at the providers at which people log in, and what would fail. Their
    /// metadata is read if there is an outside.
    pub fn login_report(&self, mut outside: Option<&mut (dyn Outside + '_)>) -> LoginReport {
        let mut report = LoginReport::default();
        let Some(login) = &self.config.login else { return report };
        for (provider, entry) in self.config.providers.iter().zip(login.providers.values()) {
            let Some(entry) = entry else { continue };
            let written = self.written(provider);
            let at = written.map_or_else(String::new, |written| written.path("login"));
            report.notes.push(registration(&at, login, entry));
            report.warnings.extend(scope_warnings(&at, entry, written));
            let Some(outside) = outside.as_deref_mut() else { continue };
            let Some(document) = report.discover(&at, provider, entry, outside) else { continue };
            report.faults.extend(missing_pkce(&at, &document));
            report.warnings.extend(missing_refresh(&at, &document, entry));
        }
        report
    }
}

impl LoginReport {
    /// The provider's metadata document, if it is usable.
    fn discover(
        &mut self,
        at: &str,
        provider: &Provider,
        entry: &LoginProvider,
        outside: &mut dyn Outside,
    ) -> Option<Value> {
        let KeySource::Remote(source) = &provider.key_source else { return None };
        let CalloutRequest { cluster, fields, .. } = ProviderEndpoints::request(entry);
        let callout = Callout {
            url: entry.metadata.to_string(),
            cluster,
            fields: fields.into_iter().filter(|(name, _)| !name.starts_with(':')).collect(),
            timeout: source.settings.timeout,
            max_body: ProviderEndpoints::LIMIT.bytes,
        };
        let reply = match outside.call(&callout) {
            Ok(reply) => reply,
            // A missing cluster is reported with all others.
            Err(CalloutError::NoCluster) => return None,
            Err(why) => {
                let url = &callout.url;
                self.warnings.push(format!("{at}: {url} could not be read from here: {why}"));
                return None;
            }
        };
        let response = CalloutResponse {
            status: Some(reply.status),
            location: reply.location,
            body_length: reply.body.len(),
            body: reply.body,
            ..CalloutResponse::default()
        };
        let document = serde_json::from_slice(&response.body).ok();
        match ProviderEndpoints::from_response(Some(response), entry) {
            Ok(_) => document,
            Err(DiscoveryFault::Callout(fault)) => {
                self.warnings.push(format!("{at}: {}: {fault}", callout.url));
                None
            }
            Err(fault) => {
                self.faults.push(format!("{at}: {fault}"));
                None
            }
        }
    }
}

fn registration(at: &str, login: &Login, provider: &LoginProvider) -> String {
    let kind = match provider.client_secret {
        Some(_) => "with a secret",
        None => "as a public client with PKCE",
    };
    format!(
        "{at}: at the provider, client {:?} needs this redirect URI, {kind}: {}",
        provider.client_id,
        login.redirect_uri(provider)
    )
}

/// Scopes under names that the provider would take for those of another API.
fn scope_warnings(at: &str, entry: &LoginProvider, written: Option<Written<'_>>) -> Vec<String> {
    let template = written.map_or("generic", |written| written.template());
    let mut warnings = Vec::new();
    if let (ScopeNames::Mapped(names), "entra_id" | "adfs") = (&entry.scopes, template) {
        let bare = names.iter().filter(|(_, there)| !there.contains('/'));
        warnings.extend(bare.map(|(here, there)| {
            format!(
                "{at}.scopes.{here}: {there:?} has no resource in front, such as api://…/{there}: the \
                 provider takes it for a scope of another API"
            )
        }));
    }
    let all = entry.always.iter().map(String::as_str);
    let mapped = match &entry.scopes {
        ScopeNames::Mapped(names) => names.values().map(String::as_str).collect(),
        ScopeNames::Prefixed(_) => Vec::new(),
    };
    if all.chain(mapped).any(|scope| scope.ends_with("/.default")) {
        warnings.push(format!(
            "{at}: a scope that ends with /.default means everything that a service may do, and \
             cannot be requested together with others: name the scopes that people need"
        ));
    }
    warnings
}

/// The warning that the provider does not support the only method of PKCE that is used.
fn missing_pkce(at: &str, document: &Value) -> Option<String> {
    let methods = document.get("code_challenge_methods_supported")?.as_array()?;
    let has_s256 = methods.iter().any(|method| method == "S256");
    (!has_s256).then(|| {
        format!(
            "{at}: the provider's metadata does not list S256 in code_challenge_methods_supported"
        )
    })
}

/// The warning that the provider would issue no refresh token.
fn missing_refresh(at: &str, document: &Value, entry: &LoginProvider) -> Option<String> {
    let list = |name: &str| document.get(name).and_then(Value::as_array);
    let lacks = |name: &str, value: &str| {
        list(name).is_some_and(|values| !values.iter().any(|own| own == value))
    };
    let asks = entry.always.iter().any(|scope| scope == "offline_access");
    let offers = !lacks("scopes_supported", "offline_access") && list("scopes_supported").is_some();
    let cause = if lacks("grant_types_supported", "refresh_token") {
        "the provider's metadata does not list refresh_token in grant_types_supported"
    } else if asks && lacks("scopes_supported", "offline_access") {
        "the provider's metadata does not list offline_access in scopes_supported"
    } else if !asks && offers && !entry.parameters.contains_key("access_type") {
        "offline_access is not in `always`"
    } else {
        return None;
    };
    Some(format!(
        "{at}: {cause}, so there may be no refresh token: people then log in again whenever a token \
         expires"
    ))
}
