//! The provider's response to an authorization request, and the code that the client gets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::authorization_request::ClientRequest;
use super::browser::Browser;
use super::error_code::ErrorCode;
use super::parameters::Parameters;
use super::pkce::CodeVerifier;
use super::provider::{LoginProvider, ProviderDigest};
use super::visit::{Nonce, VisitState};
use crate::seal::{SealFault, Sealed, Sealer};
use crate::time::UnixTime;

/// The authorization code that a client gets: it seals the provider's, which is exchanged only when
/// the client redeems this one. So this one is single-use, as the provider's is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClientCode {
    #[serde(rename = "q")]
    pub request: ClientRequest,
    #[serde(rename = "p")]
    pub provider: ProviderDigest,
    /// The provider's code.
    #[serde(rename = "k")]
    pub code: String,
    #[serde(rename = "v")]
    pub verifier: CodeVerifier,
    #[serde(rename = "n")]
    pub nonce: Nonce,
}

impl ClientCode {
    /// How long it can be redeemed.
    pub(super) const LIFE: Duration = Duration::from_secs(60);
}

impl Sealed for ClientCode {
    const PURPOSE: &'static str = "login code";
    const MAX_LENGTH: usize = 16 * 1024;
    const LIFE: Option<Duration> = Some(Self::LIFE);
}

/// A provider's response that belongs to a request of this browser.
#[derive(Debug)]
pub(crate) enum Callback {
    /// The person logged in.
    Code(Box<ClientCode>),
    /// The provider ended it.
    Error { request: ClientRequest, code: ErrorCode },
}

/// Why a callback cannot be returned to a client. It is shown to the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallbackFault {
    /// The query cannot be read, repeats a parameter, or has neither code nor error.
    Malformed,
    /// `state` is missing, or was not made here for this provider.
    State,
    /// The login took too long.
    Expired,
    /// Another browser started it.
    OtherBrowser,
    /// `iss` is missing though announced, or names another issuer (RFC 9207 §2.4).
    Issuer,
    /// The provider's code is too long to be sealed.
    CodeTooLong,
}

impl Callback {
    /// Maximum length of a provider's code in bytes.
    const MAX_CODE: usize = 6 * 1024;

    /// Reads a callback of this provider.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub(crate) fn read(
        query: &[u8],
        provider: &LoginProvider,
        browser: &Browser,
        sealer: &Sealer,
        now: UnixTime,
    ) -> Result<Self, CallbackFault> {
        let parameters = Parameters::parse(query).map_err(|_| CallbackFault::Malformed)?;
        let get = |name| parameters.get(name).map_err(|_| CallbackFault::Malformed);
        let state = get("state")?.ok_or(CallbackFault::State)?;
        let state: VisitState = sealer.open(state, now).map_err(|fault| match fault {
            SealFault::NotOurs => CallbackFault::State,
            SealFault::Expired => CallbackFault::Expired,
        })?;
        if state.provider != provider.digest() {
            return Err(CallbackFault::State);
        }
        if browser.id.as_ref() != Some(&state.browser) {
            return Err(CallbackFault::OtherBrowser);
        }
        match get("iss")? {
            Some(iss) if iss != provider.issuer => return Err(CallbackFault::Issuer),
            None if state.requires_iss => return Err(CallbackFault::Issuer),
            _ => {}
        }
        let VisitState { request, provider, verifier, nonce, .. } = state;
        match (get("code")?, get("error")?) {
            (Some(code), None) if code.len() > Self::MAX_CODE => Err(CallbackFault::CodeTooLong),
            (Some(code), None) => {
                let code = code.to_owned();
                let code = ClientCode { request, provider, code, verifier, nonce };
                Ok(Self::Code(Box::new(code)))
            }
            (None, Some(error)) => {
                Ok(Self::Error { request, code: ErrorCode::from_provider(error) })
            }
            _ => Err(CallbackFault::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::browser::BrowserId;
    use super::super::discovery::tests::provider;
    use super::super::visit::tests::{NOW, client_request, endpoints, sealer};
    use super::super::visit::{ApprovedLogin, PendingLogin};
    use super::*;
    use crate::seal::Randomness;

    fn browser(seed: u8) -> Browser {
        let id = BrowserId::new(&mut Randomness::from_seed([seed; 32]));
        Browser {
            id: Some(id),
            is_navigation: true,
            is_from_own_page: false,
            is_own_initiative: false,
        }
    }

    fn state(requires_iss: bool) -> String {
        let mut endpoints = endpoints();
        endpoints.announces_iss = requires_iss;
        let browser = browser(1).id.unwrap();
        let pending = PendingLogin { request: client_request(), browser, login_hint: None };
        let url = ApprovedLogin { pending }.authorization_url(
            &provider(),
            &endpoints,
            "https://mcp.example.com/oauth/callback/example",
            &sealer(),
            NOW,
            &mut Randomness::from_seed([2; 32]),
        );
        let url = url.unwrap();
        let (_, query) = url.split_once('?').unwrap();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == "state").unwrap().1.into_owned()
    }

    fn read_at(
        query: &[(&str, &str)],
        browser: &Browser,
        now: UnixTime,
    ) -> Result<Callback, CallbackFault> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        Callback::read(query.as_bytes(), &provider(), browser, &sealer(), now)
    }

    fn read(query: &[(&str, &str)]) -> Result<Callback, CallbackFault> {
        read_at(query, &browser(1), NOW)
    }

    const ISSUER: &str = "https://id.example.com";

    #[test]
    fn a_code_is_accepted_with_everything_that_its_exchange_needs() {
        let state = state(true);
        let callback = read(&[("code", "abc"), ("state", &state), ("iss", ISSUER)]).unwrap();
        let Callback::Code(code) = callback else { panic!("{callback:?}") };
        assert_eq!((code.code.as_str(), &code.provider), ("abc", &provider().digest()));
        assert_eq!(code.request, client_request());
        assert!(sealer().seal(&*code, NOW, &mut Randomness::from_seed([1; 32])).is_ok());
    }

    #[test]
    fn an_announced_issuer_must_be_present_and_right() {
        for (requires_iss, iss, result) in [
            (true, Some(ISSUER), Ok(())),
            (false, Some(ISSUER), Ok(())),
            (false, None, Ok(())),
            (true, None, Err(CallbackFault::Issuer)),
            (true, Some("https://evil.example"), Err(CallbackFault::Issuer)),
            (false, Some("https://evil.example"), Err(CallbackFault::Issuer)),
            (false, Some("https://id.example.com/"), Err(CallbackFault::Issuer)),
        ] {
            let state = state(requires_iss);
            let mut query = vec![("code", "abc"), ("state", state.as_str())];
            query.extend(iss.map(|iss| ("iss", iss)));
            assert_eq!(read(&query).map(drop), result, "{requires_iss} {iss:?}");
        }
    }

    #[test]
    fn a_callback_in_another_browser_is_refused() {
        let state = state(false);
        let query = [("code", "abc"), ("state", state.as_str())];
        assert!(read(&query).is_ok());
        assert_eq!(read_at(&query, &browser(2), NOW).unwrap_err(), CallbackFault::OtherBrowser);
        let unknown = Browser { id: None, ..browser(1) };
        assert_eq!(read_at(&query, &unknown, NOW).unwrap_err(), CallbackFault::OtherBrowser);
    }

    // Requirement: login-consent-state
    #[test]
    fn a_state_is_valid_at_its_provider_for_ten_minutes() {
        let state = state(false);
        let query = [("code", "abc"), ("state", state.as_str())];
        let late = NOW + Duration::from_secs(600);
        assert_eq!(read_at(&query, &browser(1), late).unwrap_err(), CallbackFault::Expired);
        let query = format!("code=abc&state={state}");
        for other in [
            LoginProvider { name: "other".to_owned(), ..provider() },
            // Another provider now has the name.
            LoginProvider { issuer: "https://other.example".to_owned(), ..provider() },
            LoginProvider { client_id: "other".to_owned(), ..provider() },
        ] {
            let callback = Callback::read(query.as_bytes(), &other, &browser(1), &sealer(), NOW);
            assert_eq!(callback.unwrap_err(), CallbackFault::State, "{other:?}");
        }
        for state in ["", "x", "AAAA"] {
            assert_eq!(read(&[("code", "a"), ("state", state)]).unwrap_err(), CallbackFault::State);
        }
    }

    #[test]
    fn an_error_reaches_the_client_as_a_code() {
        let state = state(false);
        let callback = read(&[("error", "access_denied"), ("state", &state)]).unwrap();
        assert!(matches!(callback, Callback::Error { code: ErrorCode::AccessDenied, .. }));
        for query in [
            &[("error", "access_denied"), ("code", "abc"), ("state", state.as_str())][..],
            &[("state", state.as_str())],
            &[("code", "a"), ("code", "b"), ("state", state.as_str())],
        ] {
            assert_eq!(read(query).unwrap_err(), CallbackFault::Malformed, "{query:?}");
        }
        let long = "x".repeat(7000);
        let fault = read(&[("code", &long), ("state", &state)]).unwrap_err();
        assert_eq!(fault, CallbackFault::CodeTooLong);
    }
}
