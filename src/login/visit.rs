//! The visit at the provider: from the approval on the page to the callback.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::authorization_request::ClientRequest;
use super::browser::BrowserId;
use super::discovery::ProviderEndpoints;
use super::pkce::CodeVerifier;
use super::provider::{LoginProvider, ProviderDigest};
use crate::seal::{Randomness, Sealed, Sealer, TooLarge};
use crate::time::UnixTime;

/// What a page asks a person to approve, sealed into its form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingLogin {
    #[serde(rename = "q")]
    pub request: ClientRequest,
    /// The browser that the page was made for.
    #[serde(rename = "b")]
    pub browser: BrowserId,
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
}

impl Sealed for PendingLogin {
    const PURPOSE: &'static str = "login page";
    const MAX_LENGTH: usize = 12 * 1024;
    const LIFE: Option<Duration> = Some(Duration::from_secs(600));
}

/// The `state` of an authorization request to a provider.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VisitState {
    #[serde(rename = "q")]
    pub request: ClientRequest,
    #[serde(rename = "b")]
    pub browser: BrowserId,
    #[serde(rename = "p")]
    pub provider: ProviderDigest,
    #[serde(rename = "v")]
    pub verifier: CodeVerifier,
    #[serde(rename = "n")]
    pub nonce: Nonce,
    /// Whether the provider's response has to name its issuer (RFC 9207 §2.4).
    #[serde(rename = "i")]
    pub requires_iss: bool,
}

impl Sealed for VisitState {
    const PURPOSE: &'static str = "login state";
    const MAX_LENGTH: usize = 12 * 1024;
    const LIFE: Option<Duration> = Some(Duration::from_secs(600));
}

/// The `nonce` of an authorization request, which the resulting ID token repeats (OpenID Connect
/// Core §3.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Nonce(String);

impl Nonce {
    fn new(random: &mut Randomness) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random.bytes::<16>()))
    }

    /// Whether the claim `nonce` repeats it.
    #[must_use]
    pub(crate) fn is_repeated_by(&self, claim: Option<&str>) -> bool {
        claim == Some(&self.0)
    }
}

/// A login that a person approved: a provider was chosen.
#[derive(Clone, Debug)]
pub(crate) struct ApprovedLogin {
    pub pending: PendingLogin,
}

impl ApprovedLogin {
    /// The URL that sends the browser to the provider.
    ///
    /// # Errors
    ///
    /// What the client sent is too large to be sealed.
    pub(crate) fn authorization_url(
        self,
        provider: &LoginProvider,
        endpoints: &ProviderEndpoints,
        redirect_uri: &str,
        sealer: &Sealer,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Result<String, TooLarge> {
        let PendingLogin { request, browser, login_hint } = self.pending;
        let verifier = CodeVerifier::new(random);
        let challenge = verifier.challenge();
        let nonce = Nonce::new(random);
        let scope = scope(provider, &request.scopes);
        let state = VisitState {
            request,
            browser,
            provider: provider.digest(),
            verifier,
            nonce: nonce.clone(),
            requires_iss: endpoints.announces_iss,
        };
        let state = sealer.seal(&state, now, random)?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &scope)
            .append_pair("state", &state)
            .append_pair("nonce", &nonce.0)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256");
        let mut parameters = provider.parameters.clone();
        parameters.extend(login_hint.map(|hint| ("login_hint".to_owned(), hint)));
        query.extend_pairs(&parameters);
        let separator = if endpoints.authorization.contains('?') { '&' } else { '?' };
        Ok(format!("{}{separator}{}", endpoints.authorization, query.finish()))
    }
}

/// The scopes to request from a provider: those of every login, and the client's under their names
/// there.
fn scope(provider: &LoginProvider, scopes: &[String]) -> String {
    let asked = scopes.iter().filter_map(|scope| provider.scopes.at_provider(scope));
    let mut all: Vec<String> = Vec::new();
    for scope in provider.always.iter().cloned().chain(asked) {
        if !all.contains(&scope) {
            all.push(scope);
        }
    }
    all.join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::super::client::ClientDigest;
    use super::super::discovery::ClientAuthentication;
    use super::super::discovery::tests::provider;
    use super::super::pkce::CodeChallenge;
    use super::super::redirect_uri::RedirectUri;
    use super::*;
    use crate::seal::Secret;

    pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    pub(crate) fn sealer() -> Sealer {
        Sealer::new(Secret::parse(&"A".repeat(43)).unwrap(), None)
    }

    pub(crate) fn client_request() -> ClientRequest {
        ClientRequest {
            client: ClientDigest::new("client"),
            redirect_uri: RedirectUri::parse("http://localhost:7/cb").unwrap(),
            state: Some("client state".to_owned()),
            code_challenge: CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
                .unwrap(),
            resource: "https://mcp.example.com/mcp".to_owned(),
            scopes: vec!["read".to_owned()],
        }
    }

    pub(crate) fn endpoints() -> ProviderEndpoints {
        ProviderEndpoints {
            authorization: "https://id.example.com/authorize?x=1".to_owned(),
            token: provider().clusters.endpoint("https://id.example.com/token").unwrap(),
            authentication: ClientAuthentication::Basic,
            announces_iss: true,
        }
    }

    fn visit(login_hint: Option<&str>) -> (String, BTreeMap<String, String>) {
        let random = &mut Randomness::from_seed([5; 32]);
        let pending = PendingLogin {
            request: client_request(),
            browser: BrowserId::new(random),
            login_hint: login_hint.map(str::to_owned),
        };
        let mut provider = provider();
        provider.parameters = [("prompt".to_owned(), "select_account".to_owned())].into();
        let url = ApprovedLogin { pending }
            .authorization_url(
                &provider,
                &endpoints(),
                "https://mcp.example.com/oauth/callback/example",
                &sealer(),
                NOW,
                random,
            )
            .unwrap();
        let (base, query) = url.split_once('?').unwrap();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        (base.to_owned(), query)
    }

    // Requirement: login-pkce-of-own
    #[test]
    fn the_request_to_the_provider_has_pkce_state_and_nonce_and_no_resource() {
        let (base, query) = visit(Some("ada@example.com"));
        assert_eq!(base, "https://id.example.com/authorize");
        let value = |name: &str| query.get(name).map(String::as_str);
        for (name, expected) in [
            ("x", Some("1")),
            ("response_type", Some("code")),
            ("client_id", Some("gateway")),
            ("redirect_uri", Some("https://mcp.example.com/oauth/callback/example")),
            ("scope", Some("openid offline_access api://mcp/read")),
            ("code_challenge_method", Some("S256")),
            ("prompt", Some("select_account")),
            ("login_hint", Some("ada@example.com")),
            ("resource", None),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
        let state: VisitState = sealer().open(value("state").unwrap(), NOW).unwrap();
        assert_eq!(state.request, client_request());
        assert_eq!(value("code_challenge"), Some(state.verifier.challenge().as_str()));
        assert!(state.nonce.is_repeated_by(value("nonce")));
        assert!(state.requires_iss);
        assert_eq!(visit(None).1.get("login_hint"), None);
    }

    #[test]
    fn a_login_hint_of_the_client_replaces_the_configured_one() {
        for (hint, expected) in [(Some("ada"), "ada"), (None, "configured")] {
            let mut provider = provider();
            provider.parameters = [("login_hint".to_owned(), "configured".to_owned())].into();
            let random = &mut Randomness::from_seed([5; 32]);
            let login_hint = hint.map(str::to_owned);
            let browser = BrowserId::new(random);
            let pending = PendingLogin { request: client_request(), browser, login_hint };
            let url = ApprovedLogin { pending }
                .authorization_url(
                    &provider,
                    &endpoints(),
                    "https://x.example",
                    &sealer(),
                    NOW,
                    random,
                )
                .unwrap();
            let query = url.split_once('?').unwrap().1;
            let hints = form_urlencoded::parse(query.as_bytes());
            let hints: Vec<_> = hints.filter(|(name, _)| name == "login_hint").collect();
            assert_eq!(hints, [("login_hint".into(), expected.into())]);
        }
    }

    #[test]
    fn no_value_of_the_client_is_readable_in_the_state() {
        let (_, query) = visit(None);
        assert!(
            !query.values().any(|value| value.contains("localhost") || value == "client state")
        );
    }
}
