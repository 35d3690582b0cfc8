//! `envoy/providers.yaml`: tokens of six vendors.

use serde_json::{Value, json};
use testbed::{CertificateAuthority, IdentityProvider};

use super::{ENTRA, KeyHost, Site, Vendor, assert_certificates_matter, employee, host_and_path};
use crate::support::assert_refusal;

const FILE: &str = "providers.yaml";

/// A running provider of the file.
struct Running {
    name: &'static str,
    key_host: &'static str,
    is_of_company: bool,
    provider: IdentityProvider,
    /// The claims of a token that passes.
    claims: Value,
    user: &'static str,
}

impl Running {
    fn authority<'a>(&self, site: &'a Site) -> &'a CertificateAuthority {
        if self.is_of_company { &site.company } else { &site.public }
    }

    fn token(&self) -> String {
        self.provider.token(&self.claims)
    }
}

/// All providers of the file except Entra ID: name, issuer, URL of the keys, audience, whether the
/// company's authority issued its certificate, the claim that names the user, and its value.
const OTHERS: [(&str, &str, &str, &str, bool, &str, &str); 5] = [
    (
        "okta",
        "https://acme.okta.com/oauth2/default",
        "https://acme.okta.com/oauth2/default/v1/keys",
        "api://incident-tools",
        false,
        "sub",
        "ada@okta",
    ),
    (
        "auth0",
        "https://acme.eu.auth0.com/",
        "https://acme.eu.auth0.com/.well-known/jwks.json",
        "https://mcp.example.com/mcp",
        false,
        "sub",
        "auth0|ada",
    ),
    (
        "google",
        "https://accounts.google.com",
        "https://www.googleapis.com/oauth2/v3/certs",
        "1234567890-abc.apps.googleusercontent.com",
        false,
        "email",
        "ada@google.example",
    ),
    (
        "keycloak",
        "https://sso.example.com/realms/acme",
        "https://sso.example.com/realms/acme/protocol/openid-connect/certs",
        "incident-mcp",
        true,
        "preferred_username",
        "ada@keycloak",
    ),
    (
        "adfs",
        "https://fs.contoso.com/adfs",
        "https://fs.contoso.com/adfs/discovery/keys",
        "https://mcp.example.com/mcp",
        true,
        "upn",
        "ada@contoso.com",
    ),
];

async fn all(site: &Site) -> Vec<Running> {
    let entra = site.entra().await;
    let claims = employee(&entra);
    let mut all = vec![Running {
        name: "entra",
        key_host: ENTRA,
        is_of_company: false,
        provider: entra,
        claims,
        user: "ada@example.com",
    }];
    for (name, issuer, jwks_url, audience, is_of_company, claim, user) in OTHERS {
        let metadata = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let authority = if is_of_company { &site.company } else { &site.public };
        let provider =
            site.provider(Vendor { issuer, metadata_url: &metadata, jwks_url, authority }).await;
        let mut claims = provider.claims(audience);
        claims[claim] = json!(user);
        if name == "google" {
            claims["email_verified"] = json!(true);
            claims["hd"] = json!("example.com");
        }
        let (key_host, _) = host_and_path(jwks_url);
        all.push(Running { name, key_host, is_of_company, provider, claims, user });
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_each_provider_pass_under_its_name() {
    let site = Site::new().await;
    let all = all(&site).await;
    let gate = site.start(site.example(FILE)).await;
    gate.assert_is_closed(&site.server).await;
    for running in &all {
        gate.assert_passes(&running.token(), running.user, running.name).await;
        // No key of another provider verifies.
        let stranger = all.iter().find(|other| other.name != running.name).unwrap();
        let forged = stranger.provider.key().with_kid(running.provider.key().kid());
        assert_refusal(&gate.call(&forged.token(&running.claims)).await, "bad_signature");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_an_invalid_certificate_is_not_trusted() {
    let site = Site::new().await;
    let all = all(&site).await;
    let of_keys = all.iter().map(|running| (running, running.key_host));
    // Google's discovery document is on another host than its keys.
    let google = all.iter().find(|running| running.name == "google").unwrap();
    for hosts in [of_keys.collect(), vec![(google, "accounts.google.com")]] {
        let hosts: Vec<_> = hosts
            .into_iter()
            .map(|(running, host)| {
                let (authority, token) = (running.authority(&site), running.token());
                KeyHost { host, authority, provider: &running.provider, token }
            })
            .collect();
        assert_certificates_matter(&site, || site.example(FILE), &hosts).await;
    }
}
