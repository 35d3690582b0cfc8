//! Tokens of an issuer that no provider has.

use http::Uri;

use super::super::words::either;
use super::{Case, Remedy};
use crate::provider::Provider;

/// Where Entra ID's issuers are: those of version 1, and of version 2.
const ENTRA: [&str; 2] = ["sts.windows.net", "login.microsoftonline.com"];
/// The tenant of all personal accounts.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

pub(super) fn unknown(case: &Case<'_>, found: Option<&str>) -> Remedy {
    let Some(found) = found else {
        return Remedy::new(
            "The token does not say who issued it: it has no `iss` that is text.",
            "Send the access token of one of the configured providers. Tokens that a client makes \
             for itself, such as client assertions, are something else.",
        );
    };
    if let Some(written) = case.setup.switched_off(case.claims) {
        return Remedy::new(
            format!(
                "The provider of this token is configured and switched off: its issuer is {found:?}."
            ),
            format!("Remove `{}`, or set it to true.", written.path("active")),
        );
    }
    let Some(provider) = nearest(case, found) else { return unknown_issuer(case, found) };
    let written = case.setup.written(provider);
    let at = |field: &str| written.map(|written| written.path(field)).unwrap_or_default();
    let issuers: Vec<&str> = provider.issuers.iter().map(String::as_str).collect();
    let template = written.map_or("generic", |written| written.template());
    let is_given = |field: &str| written.is_some_and(|written| written.has(field));

    if ENTRA.contains(&host(found).as_str()) {
        return entra(found, &issuers, &at);
    }
    if let Some(twin) =
        issuers.iter().find(|issuer| issuer.trim_end_matches('/') == found.trim_end_matches('/'))
    {
        let fix = if template != "generic" && is_given("issuer") {
            format!("Remove `{}`: the template {template} knows the right one.", at("issuer"))
        } else {
            format!("Write `{}` exactly so: {found:?}.", at("issuer"))
        };
        return Remedy::new(
            format!(
                "The token's issuer is {found:?}, and {twin:?} is configured: they differ by the slash at the end."
            ),
            fix,
        );
    }
    if let Some(twin) = issuers.iter().find(|issuer| issuer.eq_ignore_ascii_case(found)) {
        return Remedy::new(
            format!(
                "The token's issuer is {found:?}, and {twin:?} is configured: they differ by capital letters."
            ),
            format!("Write `{}` exactly so: {found:?}.", at("issuer")),
        );
    }
    match template {
        "okta" if !found.contains("/oauth2/") => Remedy::new(
            format!(
                "The token is of Okta's org authorization server ({found:?}), whose access tokens \
                 nobody but Okta may verify. Configured is a custom one, {}.",
                either(&provider.issuers)
            ),
            "Let the client use the custom authorization server: its token endpoint is the \
             configured issuer and `/v1/token`.",
        ),
        "okta" if host(found) == host(issuers.first().unwrap_or(&"")) => Remedy::new(
            format!(
                "The token is of another authorization server of the same Okta: {found:?}; \
                 configured is {}.",
                either(&provider.issuers)
            ),
            format!(
                "Set `{}` to {:?}, or let the client use the configured one.",
                at("authorization_server"),
                found.rsplit('/').next().unwrap_or_default()
            ),
        ),
        "okta" | "auth0" => Remedy::new(
            format!(
                "The token was asked for under another domain: its issuer is {found:?}, configured \
                 is {}. A custom domain makes an issuer of its own.",
                either(&provider.issuers)
            ),
            format!(
                "Use one domain for all: set `{}` to {:?}, or let the client ask under the \
                 configured one.",
                at("domain"),
                host(found)
            ),
        ),
        "keycloak"
            if realm(found).is_some()
                && realm(found) == issuers.first().and_then(|issuer| realm(issuer)) =>
        {
            Remedy::new(
                format!(
                    "The realm is right, but the client called Keycloak under another address: the \
                     token's issuer is {found:?}, configured is {}.",
                    either(&provider.issuers)
                ),
                format!(
                    "Set Keycloak's `hostname` (option KC_HOSTNAME) so that all tokens have one \
                     issuer; or, if the address is right, write `{}: [{found:?}]`.",
                    at("additional_issuers")
                ),
            )
        }
        "keycloak" => Remedy::new(
            format!(
                "The token is of another realm: its issuer is {found:?}, configured is {}.",
                either(&provider.issuers)
            ),
            format!("Let the client log in to the configured realm, or change `{}`.", at("realm")),
        ),
        "adfs" => Remedy::new(
            format!(
                "The federation service has another identifier than usual: the token's issuer is \
                 {found:?}, configured is {}.",
                either(&provider.issuers)
            ),
            format!(
                "Compare it with `Get-AdfsProperties`, Identifier, and write `{}: [{found:?}]`.",
                at("additional_issuers")
            ),
        ),
        _ if same_but_scheme_and_port(found, &issuers) => Remedy::new(
            format!(
                "The token's issuer is {found:?}, configured is {}: they differ by the scheme or the \
                 port.",
                either(&provider.issuers)
            ),
            format!("Write `{}` exactly so: {found:?}.", at("issuer")),
        ),
        _ => unknown_issuer(case, found),
    }
}

/// Tenants and versions of Entra ID. `issuers` are those that are configured.
fn entra(found: &str, issuers: &[&str], at: &dyn Fn(&str) -> String) -> Remedy {
    let tenant_of = |issuer: &str| {
        let uri: Option<Uri> = issuer.parse().ok();
        let path = uri.map(|uri| uri.path().to_owned()).unwrap_or_default();
        path.split('/').nth(1).unwrap_or_default().to_ascii_lowercase()
    };
    let tenant = tenant_of(found);
    let configured = issuers.first().map(|issuer| tenant_of(issuer)).unwrap_or_default();
    let version = |issuer: &str| if host(issuer) == ENTRA[0] { 1 } else { 2 };
    if tenant == configured {
        let (token, other) = (version(found), issuers.first().map_or(2, |issuer| version(issuer)));
        return Remedy::new(
            format!(
                "The tenant is right, but the token is of version {token} (issuer {found:?}), and \
                 only the issuer of version {other} is configured. Which version an API gets is set \
                 at its registration, not by the client."
            ),
            format!(
                "Add {found:?} to `{}` (`template: entra_id` does so by itself); or set \
                 `requestedAccessTokenVersion` to {other} in the manifest of the API's registration.",
                at("additional_issuers")
            ),
        );
    }
    if tenant == PERSONAL {
        return Remedy::new(
            "The token is of a personal Microsoft account, which belongs to no tenant of yours.",
            format!("Let the user sign in with the account of the tenant {configured}."),
        );
    }
    Remedy::new(
        format!("The token is of another tenant: {tenant}. Configured is the tenant {configured}."),
        format!(
            "If that tenant is yours, correct `{}`; else let the client sign in to \
             https://login.microsoftonline.com/{configured}, not to /common or another tenant.",
            at("tenant")
        ),
    )
}

fn unknown_issuer(case: &Case<'_>, found: &str) -> Remedy {
    let configured: Vec<String> =
        case.setup.config.providers.issuers().map(str::to_owned).collect();
    Remedy::new(
        format!(
            "The token was issued by {found:?}, and that is none of the configured issuers, {}. They \
             are compared to the letter.",
            either(&configured)
        ),
        "If you trust that issuer, add a provider with it to `providers`, or add it to \
         `additional_issuers` of the one that it belongs to. If not, let the client ask a configured \
         provider for its token.",
    )
}

/// The provider that the token was probably meant for.
fn nearest<'a>(case: &'a Case<'_>, found: &str) -> Option<&'a Provider> {
    let all = || case.setup.config.providers.iter();
    let host_of = host(found);
    let has = |provider: &&Provider, fits: &dyn Fn(&str) -> bool| {
        provider.issuers.iter().any(|issuer| fits(issuer))
    };
    let is_entra = |issuer: &str| ENTRA.contains(&host(issuer).as_str());
    all()
        .find(|provider| {
            has(provider, &|issuer| issuer.trim_end_matches('/') == found.trim_end_matches('/'))
        })
        .or_else(|| all().find(|provider| has(provider, &|issuer| host(issuer) == host_of)))
        .or_else(|| all().find(|provider| is_entra(found) && has(provider, &is_entra)))
        .or_else(|| all().next().filter(|_| all().count() == 1 && !is_entra(found)))
}

fn same_but_scheme_and_port(found: &str, issuers: &[&str]) -> bool {
    let path = |issuer: &str| issuer.parse::<Uri>().map(|uri| uri.path().to_owned()).ok();
    issuers.iter().any(|issuer| host(issuer) == host(found) && path(issuer) == path(found))
}

/// The host of an issuer, in lower case; empty when it is no URL.
fn host(issuer: &str) -> String {
    let uri: Option<Uri> = issuer.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).filter(|_| issuer.contains("://"));
    host.map(str::to_ascii_lowercase).unwrap_or_default()
}

fn realm(issuer: &str) -> Option<&str> {
    issuer.split_once("/realms/").map(|(_, realm)| realm)
}
