//! Consents that a browser remembers, in a sealed cookie.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::authorization_request::ClientRequest;
use crate::seal::Sealed;
use crate::time::UnixTime;

/// Whether people are asked each time.
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
    /// Most consents of one browser; the oldest is forgotten for a new one.
    const MAX_COUNT: usize = 16;

    /// Whether this request at this provider was approved while the configuration was this one.
    /// Scopes beyond those of the earlier request need a new consent.
    #[must_use]
    pub(crate) fn cover(
        &self,
        request: &ClientRequest,
        provider: &str,
        configuration: &str,
        now: UnixTime,
    ) -> bool {
        let digest = digest(request, provider, configuration);
        self.0.iter().any(|consent| consent.digest == digest && consent.is_alive(now))
    }

    /// Adds the consent to a request.
    pub(crate) fn add(
        &mut self,
        request: &ClientRequest,
        provider: &str,
        configuration: &str,
        now: UnixTime,
    ) {
        let digest = digest(request, provider, configuration);
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

/// Client, redirect URI, resource, scopes, provider and configuration.
fn digest(request: &ClientRequest, provider: &str, configuration: &str) -> String {
    let ClientRequest { client, redirect_uri, resource, scopes, .. } = request;
    // Nothing here can fail to serialise.
    let parts =
        serde_json::to_vec(&(client, redirect_uri, resource, scopes, provider, configuration));
    let digest = Sha256::digest(parts.unwrap_or_default());
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::client::ClientDigest;
    use super::super::redirect_uri::RedirectUri;
    use super::super::visit::tests::{NOW, client_request, sealer};
    use super::*;
    use crate::seal::Randomness;

    #[test]
    fn a_consent_covers_the_same_request_for_90_days() {
        let mut consents = Consents::default();
        let request = client_request();
        assert!(!consents.cover(&request, "entra", "v1", NOW));
        consents.add(&request, "entra", "v1", NOW);
        let days = |days: u64| NOW + Duration::from_secs(days * 24 * 3600);
        assert!(consents.cover(&request, "entra", "v1", days(89)));
        assert!(!consents.cover(&request, "entra", "v1", days(90)));
        let other_state = ClientRequest { state: None, ..request };
        assert!(consents.cover(&other_state, "entra", "v1", NOW));
    }

    #[test]
    fn a_consent_covers_nothing_else() {
        let mut consents = Consents::default();
        let request = client_request();
        consents.add(&request, "entra", "v1", NOW);
        let uri = |uri| RedirectUri::parse(uri).unwrap();
        for (other, provider, configuration) in [
            (request.clone(), "google", "v1"),
            (request.clone(), "entra", "v2"),
            (ClientRequest { client: ClientDigest::new("x"), ..request.clone() }, "entra", "v1"),
            (
                ClientRequest { redirect_uri: uri("http://localhost:7/x"), ..request.clone() },
                "entra",
                "v1",
            ),
            (
                ClientRequest { resource: "https://x.example".into(), ..request.clone() },
                "entra",
                "v1",
            ),
            (
                ClientRequest { scopes: vec!["read".into(), "write".into()], ..request },
                "entra",
                "v1",
            ),
        ] {
            assert!(!consents.cover(&other, provider, configuration, NOW), "{other:?}");
        }
    }

    #[test]
    fn a_full_cookie_forgets_the_oldest_consent_and_still_fits() {
        let mut consents = Consents::default();
        let request = |state: usize| ClientRequest {
            client: ClientDigest::new(&state.to_string()),
            ..client_request()
        };
        for index in 0..=Consents::MAX_COUNT {
            consents.add(&request(index), "entra", "v1", NOW);
        }
        assert!(!consents.cover(&request(0), "entra", "v1", NOW));
        assert!(consents.cover(&request(1), "entra", "v1", NOW));
        assert!(sealer().seal(&consents, NOW, &mut Randomness::from_seed([1; 32])).is_ok());
    }
}
