//! A company whose people are in Entra ID and whose machines are in its own Keycloak, as in the
//! examples for Kubernetes.

use testbed::{Bootstrap, IdentityProvider};

use super::{ENTRA, KeyHost, SSO, Site, TlsEnvoy, assert_certificates_matter, employee};
use crate::support::with;

pub(super) struct Company {
    pub(super) site: Site,
    pub(super) entra: IdentityProvider,
    keycloak: IdentityProvider,
    /// The user that Keycloak's tokens name.
    keycloak_user: &'static str,
}

impl Company {
    pub(super) async fn new(keycloak_user: &'static str) -> Self {
        let site = Site::new().await;
        let (entra, keycloak) = (site.entra().await, site.keycloak("acme").await);
        Self { site, entra, keycloak, keycloak_user }
    }

    pub(super) fn token_of_entra(&self) -> String {
        self.entra.token(&employee(&self.entra))
    }

    fn token_of_keycloak(&self) -> String {
        let claims = self.keycloak.claims("incident-mcp");
        self.keycloak.token(&with(&claims, "preferred_username", self.keycloak_user))
    }

    /// Asserts that requests pass with a token of each provider, and not without one.
    pub(super) async fn assert_requests_need_a_token(&self, gate: &TlsEnvoy) {
        gate.assert_is_closed(&self.site.server).await;
        gate.assert_passes(&self.token_of_entra(), "ada@example.com", "entra").await;
        gate.assert_passes(&self.token_of_keycloak(), self.keycloak_user, "keycloak").await;
    }

    /// Asserts that keys of each provider are fetched only from a host with a valid certificate.
    pub(super) async fn assert_certificates_matter(&self, example: impl Fn(&Site) -> Bootstrap) {
        let Self { site, entra, keycloak, .. } = self;
        let hosts = [
            (ENTRA, &site.public, entra, self.token_of_entra()),
            (SSO, &site.company, keycloak, self.token_of_keycloak()),
        ]
        .map(|(host, authority, provider, token)| KeyHost {
            host,
            authority,
            provider,
            token,
        });
        assert_certificates_matter(site, || example(site), &hosts).await;
    }
}
