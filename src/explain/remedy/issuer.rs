//! Tokens whose issuer is not configured.

use http::Uri;

use super::super::setup::Written;
use super::super::words::either;
use super::{Case, Remedy};
use crate::provider::Provider;

/// The hosts of Entra ID's issuers: version 1 and version 2.
const ENTRA: [&str; 2] = ["sts.windows.net", "login.microsoftonline.com"];
/// The tenant of all personal accounts.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

pub(super) fn unknown(case: &Case<'_>, found: Option<&str>) -> Remedy {
    let Some(found) = found else {
        return Remedy::new(
            "The token does not name its issuer: it has no `iss` that is a string.",
            "Send the access token of one of the configured providers. Tokens that a client makes \
             for itself, such as client assertions, are not accepted.",
        );
    };
    let switched_off =
        case.resource.and_then(|resource| case.setup.switched_off(resource, case.claims));
    if let Some(written) = switched_off {
        return Remedy::new(
            format!(
                "The provider of this token is configured but inactive: its issuer is {found:?}."
            ),
            format!("Remove `{}`, or set it to true.", written.path("active")),
        );
    }
    if let Some(remedy) = accepted_elsewhere(case, found) {
        return remedy;
    }
    let Some(provider) = nearest(case, found) else { return unknown_issuer(case, found) };
    let written = case.setup.written(provider);
    let difference = Difference { found, issuers: &provider.issuers, written };
    difference.remedy().unwrap_or_else(|| unknown_issuer(case, found))
}

/// An issuer and the provider that its token was probably meant for.
struct Difference<'a> {
    found: &'a str,
    /// The issuers of the provider.
    issuers: &'a [String],
    written: Option<Written<'a>>,
}

impl Difference<'_> {
    /// `None` if the difference is not a usual fault.
    fn remedy(&self) -> Option<Remedy> {
        if is_entra(self.found) {
            return Some(self.entra());
        }
        if let Some(remedy) = self.spelling() {
            return Some(remedy);
        }
        match self.template() {
            "okta" => Some(self.okta()),
            "auth0" => Some(self.domain()),
            "keycloak" => Some(self.keycloak()),
            "adfs" => Some(self.adfs()),
            _ => self.scheme_or_port(),
        }
    }

    /// Tenants and versions of Entra ID.
    fn entra(&self) -> Remedy {
        let found = self.found;
        let tenant_of = |issuer: &str| {
            let uri: Option<Uri> = issuer.parse().ok();
            let path = uri.map(|uri| uri.path().to_owned()).unwrap_or_default();
            path.split('/').nth(1).unwrap_or_default().to_ascii_lowercase()
        };
        let (tenant, configured) = (tenant_of(found), tenant_of(self.first()));
        if tenant == configured {
            return self.entra_version();
        }
        if tenant == PERSONAL {
            return Remedy::new(
                "The token is from a personal Microsoft account, which does not belong to your \
                 tenant.",
                format!("Have the user sign in with the account of the tenant {configured}."),
            );
        }
        Remedy::new(
            format!(
                "The token is from another tenant: {tenant}. The configured tenant is {configured}."
            ),
            format!(
                "If that tenant is yours, correct `{}`; otherwise have the client sign in to \
                 https://login.microsoftonline.com/{configured}, not to /common or another tenant.",
                self.at("tenant")
            ),
        )
    }

    fn entra_version(&self) -> Remedy {
        let version = |issuer: &str| if host(issuer) == ENTRA[0] { 1 } else { 2 };
        let (found, token, other) = (self.found, version(self.found), version(self.first()));
        Remedy::new(
            format!(
                "The tenant is right, but the token is of version {token} (issuer {found:?}), and \
                 only the issuer of version {other} is configured. Which version an API gets is \
                 set in its registration, not by the client."
            ),
            format!(
                "Add {found:?} to `{}` (`template: entra_id` does so by itself); or set \
                 `requestedAccessTokenVersion` to {other} in the manifest of the API's registration.",
                self.at("additional_issuers")
            ),
        )
    }

    /// Issuers that are the same to people, but not to the plugin.
    fn spelling(&self) -> Option<Remedy> {
        let found = self.found;
        let plain = |issuer: &str| issuer.trim_end_matches('/').to_owned();
        if let Some(twin) = self.issuers.iter().find(|issuer| plain(issuer) == plain(found)) {
            let template = self.template();
            let fix = if template != "generic" && self.gives("issuer") {
                format!(
                    "Remove `{}`: the template {template} knows the right one.",
                    self.at("issuer")
                )
            } else {
                self.write_exactly()
            };
            return Some(Remedy::new(
                format!(
                    "The token's issuer is {found:?}, but {twin:?} is configured: they differ \
                     only by the slash at the end."
                ),
                fix,
            ));
        }
        let twin = self.issuers.iter().find(|issuer| issuer.eq_ignore_ascii_case(found))?;
        Some(Remedy::new(
            format!(
                "The token's issuer is {found:?}, but {twin:?} is configured: they differ only by \
                 capital letters."
            ),
            self.write_exactly(),
        ))
    }

    fn okta(&self) -> Remedy {
        let (found, configured) = (self.found, either(self.issuers));
        if !found.contains("/oauth2/") {
            return Remedy::new(
                format!(
                    "The token is from Okta's org authorization server ({found:?}), whose access \
                     tokens only Okta can verify. A custom one is configured, {configured}."
                ),
                "Have the client use the custom authorization server: its token endpoint is the \
                 configured issuer and `/v1/token`.",
            );
        }
        if host(found) == host(self.first()) {
            return Remedy::new(
                format!(
                    "The token is from another authorization server of the same Okta domain: \
                     {found:?}, but {configured} is configured."
                ),
                format!(
                    "Set `{}` to {:?}, or have the client use the configured one.",
                    self.at("authorization_server"),
                    found.rsplit('/').next().unwrap_or_default()
                ),
            );
        }
        self.domain()
    }

    /// Custom domains of Okta and Auth0.
    fn domain(&self) -> Remedy {
        let found = self.found;
        Remedy::new(
            format!(
                "The token was requested under another domain: its issuer is {found:?}, but {} is \
                 configured. A custom domain has its own issuer.",
                either(self.issuers)
            ),
            format!(
                "Use one domain everywhere: set `{}` to {:?}, or have the client use the \
                 configured one.",
                self.at("domain"),
                host(found)
            ),
        )
    }

    fn keycloak(&self) -> Remedy {
        let (found, configured) = (self.found, either(self.issuers));
        if realm(found).is_some() && realm(found) == realm(self.first()) {
            return Remedy::new(
                format!(
                    "The realm is right, but the client called Keycloak under another address: \
                     the token's issuer is {found:?}, but {configured} is configured."
                ),
                format!(
                    "Set Keycloak's `hostname` (option KC_HOSTNAME) so that all tokens have one \
                     issuer; or, if the address is right, write `{}: [{found:?}]`.",
                    self.at("additional_issuers")
                ),
            );
        }
        Remedy::new(
            format!(
                "The token is from another realm: its issuer is {found:?}, but {configured} is \
                 configured."
            ),
            format!(
                "Have the client log in to the configured realm, or change `{}`.",
                self.at("realm")
            ),
        )
    }

    fn adfs(&self) -> Remedy {
        let found = self.found;
        Remedy::new(
            format!(
                "The federation service has an unusual identifier: the token's issuer is \
                 {found:?}, but {} is configured.",
                either(self.issuers)
            ),
            format!(
                "Compare it with `Get-AdfsProperties`, Identifier, and write `{}: [{found:?}]`.",
                self.at("additional_issuers")
            ),
        )
    }

    fn scheme_or_port(&self) -> Option<Remedy> {
        let path = |issuer: &str| issuer.parse::<Uri>().map(|uri| uri.path().to_owned()).ok();
        let is_same =
            |issuer: &String| host(issuer) == host(self.found) && path(issuer) == path(self.found);
        self.issuers.iter().any(is_same).then(|| {
            Remedy::new(
                format!(
                    "The token's issuer is {:?}, but {} is configured: they differ by the scheme \
                     or the port.",
                    self.found,
                    either(self.issuers)
                ),
                self.write_exactly(),
            )
        })
    }

    fn write_exactly(&self) -> String {
        format!("Set `{}` to exactly {:?}.", self.at("issuer"), self.found)
    }

    fn first(&self) -> &str {
        self.issuers.first().map(String::as_str).unwrap_or_default()
    }

    /// The path of a field of the provider.
    fn at(&self, field: &str) -> String {
        self.written.map(|written| written.path(field)).unwrap_or_default()
    }

    fn gives(&self, field: &str) -> bool {
        self.written.is_some_and(|written| written.has(field))
    }

    fn template(&self) -> &str {
        self.written.map_or("generic", |written| written.template())
    }
}

/// A token of a provider that other resources accept.
fn accepted_elsewhere(case: &Case<'_>, found: &str) -> Option<Remedy> {
    let config = &case.setup.config;
    let mut providers = config.providers.iter();
    let provider = providers.find(|own| own.issuers.iter().any(|issuer| issuer == found))?;
    let resource = case.resource?;
    let (position, _) = case.setup.written_resource(resource)?;
    let label = config.resources[resource].label.as_ref()?;
    Some(Remedy::new(
        format!(
            "The token is from the provider {:?}, whose tokens are not accepted at the resource \
             {:?}.",
            provider.name,
            label.id()
        ),
        format!(
            "If they should be, add {:?} to `resources[{position}].providers`. If not, have the \
             client log in at a provider that the metadata of this server names.",
            provider.name
        ),
    ))
}

fn unknown_issuer(case: &Case<'_>, found: &str) -> Remedy {
    let configured = case.setup.config.issuers(case.resource);
    Remedy::new(
        format!(
            "The token was issued by {found:?}, which is not among the configured issuers, {}. They \
             are compared exactly.",
            either(&configured)
        ),
        "If you trust that issuer, add a provider with it to `providers`, or add it to \
         `additional_issuers` of the provider that it belongs to. If not, have the client request \
         its token from a configured provider.",
    )
}

/// The provider that the token was probably meant for.
fn nearest<'a>(case: &'a Case<'_>, found: &str) -> Option<&'a Provider> {
    let all = || case.setup.config.providers.iter();
    let host_of = host(found);
    let has = |provider: &&Provider, fits: &dyn Fn(&str) -> bool| {
        provider.issuers.iter().any(|issuer| fits(issuer))
    };
    all()
        .find(|provider| {
            has(provider, &|issuer| issuer.trim_end_matches('/') == found.trim_end_matches('/'))
        })
        .or_else(|| all().find(|provider| has(provider, &|issuer| host(issuer) == host_of)))
        .or_else(|| all().find(|provider| is_entra(found) && has(provider, &is_entra)))
        .or_else(|| all().next().filter(|_| all().count() == 1 && !is_entra(found)))
}

fn is_entra(issuer: &str) -> bool {
    ENTRA.contains(&host(issuer).as_str())
}

/// The host of an issuer, in lower case; empty if it is not a URL.
fn host(issuer: &str) -> String {
    let uri: Option<Uri> = issuer.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).filter(|_| issuer.contains("://"));
    host.map(str::to_ascii_lowercase).unwrap_or_default()
}

fn realm(issuer: &str) -> Option<&str> {
    issuer.split_once("/realms/").map(|(_, realm)| realm)
}
