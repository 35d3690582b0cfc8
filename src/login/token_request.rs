//! Token requests of clients (RFC 6749 §4.1.3 and §6), and the requests to the provider that they
//! become.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::callback::ClientCode;
use super::client::ClientDigest;
use super::discovery::{ClientAuthentication, ProviderEndpoints};
use super::error_code::ErrorCode;
use super::parameters::Parameters;
use super::pkce::CodeVerifier;
use super::provider::{LoginProvider, ProviderDigest};
use super::redirect_uri::RedirectUri;
use super::resource::is_same_resource;
use super::response::OAuthError;
use super::visit::Nonce;
use crate::callout::{BodyLimit, CalloutRequest};
use crate::seal::{SealFault, Sealed, Sealer};
use crate::time::UnixTime;

/// The refresh token that a client gets: it seals the provider's.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ClientRefreshToken {
    #[serde(rename = "c")]
    pub client: ClientDigest,
    #[serde(rename = "p")]
    pub provider: ProviderDigest,
    /// URL of the resource.
    #[serde(rename = "r")]
    pub resource: String,
    /// The provider's refresh token.
    #[serde(rename = "t")]
    pub token: String,
}

impl Sealed for ClientRefreshToken {
    const PURPOSE: &'static str = "login refresh token";
    const MAX_LENGTH: usize = 24 * 1024;
    const LIFE: Option<Duration> = Some(Duration::from_secs(90 * 24 * 3600));
}

/// A token request that becomes a request to the provider.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub provider: ProviderDigest,
    pub client: ClientDigest,
    /// URL of the resource.
    pub resource: String,
    pub grant: Grant,
}

/// What the client presents.
#[derive(Clone)]
pub(crate) enum Grant {
    Code {
        code: String,
        verifier: CodeVerifier,
        nonce: Nonce,
        /// Names of scopes at this server that were asked for.
        scopes: Vec<String>,
    },
    Refresh {
        token: String,
    },
}

impl Exchange {
    /// Longest response of a token endpoint that is read.
    pub(super) const RESPONSE_LIMIT: BodyLimit = BodyLimit { bytes: 64 * 1024, setting: "64KiB" };

    /// Reads the form of a token request whose client is known. `client_id` is that of the form.
    ///
    /// # Errors
    ///
    /// The first check that fails. The provider is not asked then.
    pub(crate) fn read(
        form: &Parameters,
        client_id: &str,
        sealer: &Sealer,
        now: UnixTime,
    ) -> Result<Self, OAuthError> {
        let client = ClientDigest::new(client_id);
        let exchange = match required(form, "grant_type")? {
            "authorization_code" => Self::from_code(form, client, sealer, now)?,
            "refresh_token" => Self::from_refresh_token(form, client, sealer, now)?,
            _ => {
                let problem = "grant_type must be authorization_code or refresh_token";
                return Err(OAuthError::new(ErrorCode::UnsupportedGrantType, problem));
            }
        };
        match get(form, "resource")? {
            Some(named) if !is_same_resource(named, &exchange.resource) => {
                let problem = "resource differs from that of the authorization request";
                Err(OAuthError::new(ErrorCode::InvalidTarget, problem))
            }
            _ => Ok(exchange),
        }
    }

    fn from_code(
        form: &Parameters,
        client: ClientDigest,
        sealer: &Sealer,
        now: UnixTime,
    ) -> Result<Self, OAuthError> {
        let code = required(form, "code")?;
        let code: ClientCode = open(sealer, code, now)?;
        let invalid = |problem: &str| Err(OAuthError::new(ErrorCode::InvalidGrant, problem));
        if code.request.client != client {
            return invalid("the code was issued to another client");
        }
        let redirect_uri = required(form, "redirect_uri")?;
        let redirect_uri = RedirectUri::parse(redirect_uri).ok();
        // Identical to that of the authorization request, port included (RFC 6749 §4.1.3).
        let is_same = |uri: &RedirectUri| {
            let root = |uri: &str| uri.trim_end_matches('/').to_owned();
            *uri == code.request.redirect_uri
                || (uri.matches(&code.request.redirect_uri)
                    && root(uri.as_str()) == root(code.request.redirect_uri.as_str()))
        };
        if !redirect_uri.as_ref().is_some_and(is_same) {
            return invalid("redirect_uri differs from that of the authorization request");
        }
        let verifier = required(form, "code_verifier")?;
        if !code.request.code_challenge.is_of(verifier) {
            return invalid("code_verifier does not match code_challenge");
        }
        let ClientCode { request, provider, code, verifier, nonce } = code;
        let grant = Grant::Code { code, verifier, nonce, scopes: request.scopes };
        Ok(Self { provider, client, resource: request.resource, grant })
    }

    fn from_refresh_token(
        form: &Parameters,
        client: ClientDigest,
        sealer: &Sealer,
        now: UnixTime,
    ) -> Result<Self, OAuthError> {
        let token = required(form, "refresh_token")?;
        let token: ClientRefreshToken = open(sealer, token, now)?;
        if token.client != client {
            let problem = "the refresh token was issued to another client";
            return Err(OAuthError::new(ErrorCode::InvalidGrant, problem));
        }
        let ClientRefreshToken { provider, resource, token, .. } = token;
        Ok(Self { provider, client, resource, grant: Grant::Refresh { token } })
    }

    /// The request to the provider's token endpoint. Holds secrets.
    #[must_use]
    pub(crate) fn request(
        &self,
        provider: &LoginProvider,
        endpoints: &ProviderEndpoints,
        redirect_uri: &str,
    ) -> CalloutRequest {
        let mut form = form_urlencoded::Serializer::new(String::new());
        match &self.grant {
            Grant::Code { code, verifier, .. } => form
                .append_pair("grant_type", "authorization_code")
                .append_pair("code", code)
                .append_pair("redirect_uri", redirect_uri)
                .append_pair("code_verifier", verifier.as_str()),
            Grant::Refresh { token } => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token)
            }
        };
        let mut request =
            endpoints.token.request("POST", "application/json", Self::RESPONSE_LIMIT.bytes);
        let media_type = "application/x-www-form-urlencoded".to_owned();
        request.fields.push(("content-type", media_type));
        match (&provider.client_secret, endpoints.authentication) {
            (Some(secret), ClientAuthentication::Basic) => {
                let credentials = credentials(&provider.client_id, secret.expose());
                request.fields.push(("authorization", format!("Basic {credentials}")));
            }
            (Some(secret), ClientAuthentication::Post) => {
                form.append_pair("client_id", &provider.client_id)
                    .append_pair("client_secret", secret.expose());
            }
            (None, _) => {
                form.append_pair("client_id", &provider.client_id);
            }
        }
        request.body = Some(form.finish().into_bytes());
        request
    }
}

impl Grant {
    /// The parts that only the provider may see.
    #[must_use]
    pub(super) fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Code { code, verifier, .. } => vec![code, verifier.as_str()],
            Self::Refresh { token } => vec![token],
        }
    }
}

/// The gateway's credentials for HTTP Basic. Id and secret are form-encoded first (RFC 6749
/// §2.3.1).
pub(super) fn credentials(id: &str, secret: &str) -> String {
    let encoded =
        |string: &str| form_urlencoded::byte_serialize(string.as_bytes()).collect::<String>();
    STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)))
}

fn open<T: Sealed>(sealer: &Sealer, sealed: &str, now: UnixTime) -> Result<T, OAuthError> {
    sealer.open(sealed, now).map_err(|fault| {
        let problem = match fault {
            SealFault::NotOurs => {
                "the code or token was not issued by this server, or its secret has changed"
            }
            SealFault::Expired => "the code or token has expired",
        };
        OAuthError::new(ErrorCode::InvalidGrant, problem)
    })
}

fn get<'a>(form: &'a Parameters, name: &'static str) -> Result<Option<&'a str>, OAuthError> {
    form.get(name)
        .map_err(|_| OAuthError::new(ErrorCode::InvalidRequest, format!("{name} is repeated")))
}

fn required<'a>(form: &'a Parameters, name: &'static str) -> Result<&'a str, OAuthError> {
    let missing = || OAuthError::new(ErrorCode::InvalidRequest, format!("{name} is missing"));
    get(form, name)?.ok_or_else(missing)
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Code { .. } => "Code(_)",
            Self::Refresh { .. } => "Refresh(_)",
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::discovery::tests::provider;
    use super::super::provider::ClientSecret;
    use super::super::visit::tests::{NOW, client_request, endpoints, sealer};
    use super::*;
    use crate::seal::Randomness;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CALLBACK: &str = "https://mcp.example.com/oauth/callback/example";

    fn nonce() -> Nonce {
        serde_json::from_str("\"nonce\"").unwrap()
    }

    fn code() -> String {
        let random = &mut Randomness::from_seed([9; 32]);
        let code = ClientCode {
            request: client_request(),
            provider: provider().digest(),
            code: "provider's code".to_owned(),
            verifier: CodeVerifier::new(random),
            nonce: nonce(),
        };
        sealer().seal(&code, NOW, random).unwrap()
    }

    fn refresh_token() -> String {
        let token = ClientRefreshToken {
            client: ClientDigest::new("client"),
            provider: provider().digest(),
            resource: client_request().resource,
            token: "provider's token".to_owned(),
        };
        sealer().seal(&token, NOW, &mut Randomness::from_seed([9; 32])).unwrap()
    }

    fn read_at(
        pairs: &[(&str, &str)],
        client: &str,
        now: UnixTime,
    ) -> Result<Exchange, &'static str> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let form = Parameters::parse(form.as_bytes()).unwrap();
        Exchange::read(&form, client, &sealer(), now).map_err(|error| error.code.as_str())
    }

    fn with_code(changes: &[(&str, &str)]) -> Result<Exchange, &'static str> {
        let code = code();
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", "http://localhost:7/cb"),
            ("code_verifier", VERIFIER),
        ];
        for (name, value) in changes {
            pairs.retain(|(own, _)| own != name);
            pairs.push((name, value));
        }
        read_at(&pairs, "client", NOW)
    }

    #[test]
    fn a_code_is_exchanged_by_its_client_with_its_verifier() {
        let exchange = with_code(&[]).unwrap();
        assert_eq!(exchange.provider, provider().digest());
        assert_eq!(exchange.resource, "https://mcp.example.com/mcp");
        assert!(with_code(&[("resource", "https://mcp.example.com/mcp")]).is_ok());
    }

    // Requirement: login-code-short
    #[test]
    fn a_code_is_refused_if_another_parameter_is_missing_or_wrong() {
        for (changes, error) in [
            (&[("code_verifier", "")][..], "invalid_request"),
            (&[("code_verifier", &"a".repeat(43))], "invalid_grant"),
            (&[("redirect_uri", "")], "invalid_request"),
            (&[("redirect_uri", "http://localhost:8/cb")], "invalid_grant"),
            (&[("redirect_uri", "http://localhost:7/other")], "invalid_grant"),
            (&[("code", "")], "invalid_request"),
            (&[("code", "forged")], "invalid_grant"),
            (&[("code", &refresh_token())], "invalid_grant"),
            (&[("resource", "https://other.example/mcp")], "invalid_target"),
            (&[("grant_type", "")], "invalid_request"),
            (&[("grant_type", "client_credentials")], "unsupported_grant_type"),
            (&[("grant_type", "password")], "unsupported_grant_type"),
        ] {
            assert_eq!(with_code(changes).unwrap_err(), error, "{changes:?}");
        }
        let code = code();
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", "http://localhost:7/cb"),
            ("code_verifier", VERIFIER),
        ];
        assert_eq!(read_at(&pairs, "other client", NOW).unwrap_err(), "invalid_grant");
        let late = NOW + Duration::from_secs(60);
        assert_eq!(read_at(&pairs, "client", late).unwrap_err(), "invalid_grant");
    }

    // Requirement: login-refresh-expiry
    #[test]
    fn a_refresh_token_belongs_to_its_client_for_90_days() {
        let token = refresh_token();
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        assert!(read_at(&pairs, "client", NOW).is_ok());
        assert_eq!(read_at(&pairs, "other", NOW).unwrap_err(), "invalid_grant");
        let days = |days: u64| NOW + Duration::from_secs(days * 24 * 3600);
        assert!(read_at(&pairs, "client", days(89)).is_ok());
        assert_eq!(read_at(&pairs, "client", days(90)).unwrap_err(), "invalid_grant");
        let code = code();
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", code.as_str())];
        assert_eq!(read_at(&pairs, "client", NOW).unwrap_err(), "invalid_grant");
    }

    #[test]
    fn a_repeated_parameter_is_refused() {
        for name in ["grant_type", "code", "redirect_uri", "code_verifier", "resource"] {
            let code = code();
            let pairs = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", "http://localhost:7/cb"),
                ("code_verifier", VERIFIER),
                ("resource", "https://mcp.example.com/mcp"),
                (name, "x"),
            ];
            assert_eq!(read_at(&pairs, "client", NOW).unwrap_err(), "invalid_request", "{name}");
        }
    }

    /// The form and the credentials that a provider gets.
    fn sent(
        provider: &LoginProvider,
        authentication: ClientAuthentication,
    ) -> (Vec<(String, String)>, Option<String>) {
        let endpoints = ProviderEndpoints { authentication, ..endpoints() };
        let request = with_code(&[]).unwrap().request(provider, &endpoints, CALLBACK);
        let field = |name| request.fields.iter().find(|(own, _)| *own == name);
        assert_eq!(field(":path").unwrap().1, "/token");
        let body = request.body.as_deref().unwrap();
        let form = form_urlencoded::parse(body).into_owned().collect();
        (form, field("authorization").map(|(_, value)| value.clone()))
    }

    #[test]
    fn the_gateway_authenticates_with_a_method_that_the_provider_supports() {
        let (form, credentials) = sent(&provider(), ClientAuthentication::Basic);
        let expected = STANDARD.encode("gateway:s3cret%3A%2B");
        assert_eq!(credentials, Some(format!("Basic {expected}")));
        let names = |form: &[(String, String)]| {
            form.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&form), ["grant_type", "code", "redirect_uri", "code_verifier"]);
        let (form, credentials) = sent(&provider(), ClientAuthentication::Post);
        assert_eq!(credentials, None);
        assert!(form.contains(&("client_secret".to_owned(), "s3cret:+".to_owned())));
        let public = LoginProvider { client_secret: None, ..provider() };
        let (form, credentials) = sent(&public, ClientAuthentication::Basic);
        assert_eq!(credentials, None);
        assert!(form.contains(&("client_id".to_owned(), "gateway".to_owned())));
        assert!(!names(&form).contains(&"client_secret".to_owned()));
    }

    #[test]
    fn no_secret_is_printed() {
        let printed = format!("{:?} {:?}", with_code(&[]).unwrap(), ClientSecret::new("s3".into()));
        for secret in ["provider's code", "s3"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
