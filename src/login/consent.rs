//! Consents that a browser remembers, in a sealed cookie.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Login;
use super::authorization_request::ClientRequest;
use super::client::{ClientDigest, ConfiguredClient};
use super::provider::LoginProvider;
use super::resource::LoginResource;
use crate::seal::Sealed;
use crate::time::UnixTime;

/// How often people are asked for consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsentMode {
    Always,
    Remember,
}

/// The consents that a browser holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Consents(Vec<Consent>);

impl Sealed for Consents {
    const PURPOSE: &'static str = "login consents";
    const MAX_LENGTH: usize = 3072;
    const LIFE: Option<Duration> = Some(Consent::LIFE);
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Consent {
    #[serde(rename = "d")]
    digest: String,
    /// Unix seconds.
    #[serde(rename = "t")]
    given: u64,
}

impl Consent {
    const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
}

impl Consents {
    /// Maximum number of consents of one browser; a new one evicts the oldest.
    const MAX_COUNT: usize = 16;

    /// Whether this request was approved on this basis. Other scopes need a new consent.
    #[must_use]
    pub(super) fn cover(
        &self,
        request: &ClientRequest,
        basis: &ConsentBasis<'_>,
        now: UnixTime,
    ) -> bool {
        let digest = basis.digest(request);
        self.0.iter().any(|consent| consent.digest == digest && consent.is_alive(now))
    }

    /// Adds the consent to a request.
    pub(super) fn add(&mut self, request: &ClientRequest, basis: &ConsentBasis<'_>, now: UnixTime) {
        let digest = basis.digest(request);
        self.0.retain(|consent| consent.digest != digest && consent.is_alive(now));
        if self.0.len() >= Self::MAX_COUNT {
            self.0.remove(0);
        }
        self.0.push(Consent { digest, given: now.as_secs() });
    }
}

impl Consent {
    fn is_alive(&self, now: UnixTime) -> bool {
        now < UnixTime::from_secs(self.given) + Self::LIFE
    }
}

/// The configuration of client, resource and provider for which a consent was given. The consent is
/// void once one of them changes.
pub(super) struct ConsentBasis<'a> {
    /// `None` if the client is not configured.
    client: Option<&'a ConfiguredClient>,
    resource: &'a LoginResource,
    provider: &'a LoginProvider,
}

impl Login {
    /// The basis of a consent to this request.
    pub(super) fn consent_basis<'a>(
        &'a self,
        request: &ClientRequest,
        resource: &'a LoginResource,
        provider: &'a LoginProvider,
    ) -> ConsentBasis<'a> {
        let is_it = |own: &&ConfiguredClient| ClientDigest::new(&own.client_id) == request.client;
        ConsentBasis { client: self.clients.iter().find(is_it), resource, provider }
    }
}

impl ConsentBasis<'_> {
    /// Identifies a consent to this request: client, redirect URI, scopes, resource and provider.
    fn digest(&self, request: &ClientRequest) -> String {
        let ClientRequest { client, redirect_uri, scopes, .. } = request;
        let configured = self.client.map(|own| (&own.redirect_uris, &own.name));
        let LoginResource {
            url,
            name,
            providers: _,
            audiences,
            scopes_supported,
            known_scopes,
            shares_tokens_with,
        } = self.resource;
        let audiences: Vec<_> = audiences.values().collect();
        let resource = (url, name, audiences, scopes_supported, known_scopes, shares_tokens_with);
        let LoginProvider { client_id, scopes: names, always, token, parameters, .. } =
            self.provider;
        let LoginProvider { name, issuer, .. } = self.provider;
        let provider = (name, issuer, client_id, names, always, token.member(), parameters);
        // Nothing here can fail to serialise.
        let parts =
            serde_json::to_vec(&(client, redirect_uri, scopes, configured, resource, provider));
        let digest = Sha256::digest(parts.unwrap_or_default());
        URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::client::ClientName;
    use super::super::discovery::tests::provider;
    use super::super::provider::{ScopeNames, TokenKind};
    use super::super::redirect_uri::RedirectUri;
    use super::super::visit::tests::{NOW, client_request, sealer};
    use super::*;
    use crate::seal::Randomness;

    /// The configuration of client, resource and provider.
    #[derive(Clone)]
    struct Configured {
        client: Option<ConfiguredClient>,
        resource: LoginResource,
        provider: LoginProvider,
    }

    impl Configured {
        fn new() -> Self {
            let client = ConfiguredClient {
                client_id: "client".to_owned(),
                redirect_uris: vec![uri("http://localhost:7/cb")],
                name: None,
            };
            let resource = LoginResource {
                url: "https://mcp.example.com/mcp".to_owned(),
                name: None,
                providers: vec![],
                audiences: BTreeMap::new(),
                scopes_supported: vec!["read".to_owned()],
                known_scopes: ["read".to_owned()].into(),
                shares_tokens_with: vec![],
            };
            Self { client: Some(client), resource, provider: provider() }
        }

        fn changed(change: impl FnOnce(&mut Self)) -> Self {
            let mut configured = Self::new();
            change(&mut configured);
            configured
        }

        fn basis(&self) -> ConsentBasis<'_> {
            let Self { client, resource, provider } = self;
            ConsentBasis { client: client.as_ref(), resource, provider }
        }
    }

    fn uri(uri: &str) -> RedirectUri {
        RedirectUri::parse(uri).unwrap()
    }

    #[test]
    fn a_consent_covers_the_same_request_for_90_days() {
        let mut consents = Consents::default();
        let (request, configured) = (client_request(), Configured::new());
        let basis = configured.basis();
        assert!(!consents.cover(&request, &basis, NOW));
        consents.add(&request, &basis, NOW);
        let days = |days: u64| NOW + Duration::from_secs(days * 24 * 3600);
        assert!(consents.cover(&request, &basis, days(89)));
        assert!(!consents.cover(&request, &basis, days(90)));
        let other_state = ClientRequest { state: None, ..request };
        assert!(consents.cover(&other_state, &basis, NOW));
    }

    #[test]
    fn a_consent_covers_no_other_request() {
        let mut consents = Consents::default();
        let (request, configured) = (client_request(), Configured::new());
        consents.add(&request, &configured.basis(), NOW);
        for other in [
            ClientRequest { client: ClientDigest::new("x"), ..request.clone() },
            ClientRequest { redirect_uri: uri("http://localhost:7/x"), ..request.clone() },
            ClientRequest { scopes: vec!["read".into(), "write".into()], ..request.clone() },
        ] {
            assert!(!consents.cover(&other, &configured.basis(), NOW), "{other:?}");
        }
    }

    type Change = Box<dyn FnOnce(&mut Configured)>;

    #[test]
    fn a_consent_is_void_once_the_client_resource_or_provider_is_reconfigured() {
        let mut consents = Consents::default();
        let (request, configured) = (client_request(), Configured::new());
        consents.add(&request, &configured.basis(), NOW);
        let changes: [(&str, Change); 16] = [
            ("client removed", Box::new(|own| own.client = None)),
            (
                "client.name",
                Box::new(|own| own.client.as_mut().unwrap().name = ClientName::new("x")),
            ),
            (
                "client.redirect_uris",
                Box::new(|own| {
                    own.client.as_mut().unwrap().redirect_uris.push(uri("https://x.example/"))
                }),
            ),
            ("resource.url", Box::new(|own| own.resource.url = String::from("https://x.example"))),
            ("resource.name", Box::new(|own| own.resource.name = Some(String::from("x")))),
            (
                "resource.audiences",
                Box::new(|own| {
                    let provider = crate::provider::ProviderId::from_index(0);
                    own.resource.audiences.insert(provider, vec!["x".to_owned()]);
                }),
            ),
            (
                "scopes_supported",
                Box::new(|own| own.resource.scopes_supported.push(String::from("x"))),
            ),
            ("known_scopes", Box::new(|own| own.resource.known_scopes = ["x".to_owned()].into())),
            (
                "shared audience",
                Box::new(|own| {
                    own.resource.shares_tokens_with.push(String::from("https://x.example"))
                }),
            ),
            ("provider.name", Box::new(|own| own.provider.name = String::from("x"))),
            (
                "provider.issuer",
                Box::new(|own| own.provider.issuer = String::from("https://x.example")),
            ),
            ("provider.client_id", Box::new(|own| own.provider.client_id = String::from("x"))),
            (
                "provider.scopes",
                Box::new(|own| own.provider.scopes = ScopeNames::Mapped(BTreeMap::new())),
            ),
            ("provider.always", Box::new(|own| own.provider.always.push(String::from("x")))),
            ("provider.token", Box::new(|own| own.provider.token = TokenKind::IdToken)),
            (
                "provider.parameters",
                Box::new(|own| {
                    own.provider.parameters = [(String::from("x"), String::from("y"))].into()
                }),
            ),
        ];
        for (what, change) in changes {
            let changed = Configured::changed(change);
            assert!(!consents.cover(&request, &changed.basis(), NOW), "{what}");
        }
        assert!(consents.cover(&request, &Configured::new().basis(), NOW), "the twin");
    }

    #[test]
    fn a_full_cookie_drops_the_oldest_consent_and_still_fits() {
        let mut consents = Consents::default();
        let configured = Configured::new();
        let request = |state: usize| ClientRequest {
            client: ClientDigest::new(&state.to_string()),
            ..client_request()
        };
        for index in 0..=Consents::MAX_COUNT {
            consents.add(&request(index), &configured.basis(), NOW);
        }
        assert!(!consents.cover(&request(0), &configured.basis(), NOW));
        assert!(consents.cover(&request(1), &configured.basis(), NOW));
        assert!(sealer().seal(&consents, NOW, &mut Randomness::from_seed([1; 32])).is_ok());
    }
}
