//! The provider's response to an exchange: a token for the client, or an error.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::error_code::ErrorCode;
use super::provider::{ClientSecret, LoginProvider};
use super::redaction::Secrets;
use super::resource::LoginResource;
use super::response::{OAuthError, json_response, unavailable};
use super::token_request::{ClientRefreshToken, Exchange, Grant, credentials};
use crate::callout::{CalloutFault, CalloutResponse};
use crate::response::Response;
use crate::seal::{Randomness, Sealer};
use crate::time::UnixTime;

/// A token that a provider issued. The client gets it once it has been judged like that of a
/// request.
pub(crate) struct IssuedToken {
    token: String,
    /// URL of the resource that it is for.
    resource: String,
    /// `None` if the client gets none.
    refresh_token: Option<ClientRefreshToken>,
    /// Names of scopes at this server: those that the provider granted, or those that were
    /// requested if it named none (RFC 6749 §5.1); empty if neither is known.
    scopes: Vec<String>,
}

/// Why the client gets no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExchangeFault {
    /// The provider no longer accepts the code or refresh token: the person has to log in again.
    Grant { error: String },
    /// The provider does not accept the gateway. The operator has to fix that.
    Gateway { error: String },
    /// The provider limits how often the gateway may ask (RFC 6585 §4).
    TooOften { error: String },
    /// There was no usable response.
    Callout(CalloutFault),
    /// The response is not a token response, or lacks the token.
    NoToken { member: &'static str },
    /// The ID token does not repeat the nonce of the authorization request.
    Nonce,
}

/// The members of a token response that matter (RFC 6749 §5.1).
#[derive(Deserialize)]
struct TokenResponse {
    access_token: Option<String>,
    id_token: Option<String>,
    refresh_token: Option<String>,
    scope: Option<String>,
}

impl IssuedToken {
    /// Reads the provider's response to an exchange for this resource.
    ///
    /// # Errors
    ///
    /// There is no token for the client.
    pub(crate) fn from_response(
        response: Result<CalloutResponse, CalloutFault>,
        exchange: Exchange,
        provider: &LoginProvider,
        asked_for: &LoginResource,
    ) -> Result<Self, ExchangeFault> {
        let response = response.map_err(ExchangeFault::Callout)?;
        let secret = provider.client_secret.as_ref().map(ClientSecret::expose);
        let credentials = secret.map(|secret| credentials(&provider.client_id, secret));
        let of_grant = exchange.grant.secrets().into_iter();
        let secrets = Secrets::new(of_grant.chain(secret).chain(credentials.as_deref()));
        if matches!(response.status, Some(400..=499)) {
            return Err(fault_of_error(&response, &secrets));
        }
        let response = CalloutResponse::checked(Some(response), &[200], Exchange::RESPONSE_LIMIT)
            .map_err(|fault| without_secrets(fault, &secrets))
            .map_err(ExchangeFault::Callout)?;
        let member = provider.token.member();
        let response: TokenResponse = serde_json::from_slice(&response.body)
            .map_err(|_| ExchangeFault::NoToken { member })?;
        let Exchange { provider: name, client, resource, grant } = exchange;
        if let (Grant::Code { nonce, .. }, Some(id_token)) = (&grant, &response.id_token)
            && !nonce.is_repeated_by(claim(id_token, "nonce").as_deref())
        {
            return Err(ExchangeFault::Nonce);
        }
        let token = match provider.token {
            super::provider::TokenKind::AccessToken => response.access_token,
            super::provider::TokenKind::IdToken => response.id_token,
        };
        let token = token.ok_or(ExchangeFault::NoToken { member })?;
        let (earlier, asked) = match grant {
            Grant::Refresh { token } => (Some(token), Vec::new()),
            Grant::Code { scopes, .. } => (None, scopes),
        };
        // A provider that does not rotate refresh tokens returns none, and the old one stays valid.
        let refresh_token = response.refresh_token.or(earlier).map(|token| ClientRefreshToken {
            client,
            provider: name,
            resource: resource.clone(),
            token,
        });
        let scopes = response.scope.map_or(asked, |scope| {
            let here = |scope| provider.scopes.here(scope, asked_for.scope_names());
            scope.split(' ').filter_map(here).map(str::to_owned).collect()
        });
        Ok(Self { token, resource, refresh_token, scopes })
    }

    /// The token to judge.
    #[must_use]
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// URL of the resource that it is for.
    #[must_use]
    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    /// The response to the client, once the token was found valid until `expires`.
    #[must_use]
    pub(crate) fn response(
        self,
        expires: UnixTime,
        sealer: &Sealer,
        now: UnixTime,
        random: &mut Randomness,
    ) -> Response {
        let mut body = serde_json::Map::new();
        body.insert("access_token".to_owned(), Value::from(self.token));
        body.insert("token_type".to_owned(), Value::from("Bearer"));
        body.insert("expires_in".to_owned(), Value::from(expires.since(now).as_secs()));
        // An empty value is no scope (RFC 6749 §3.3).
        if !self.scopes.is_empty() {
            body.insert("scope".to_owned(), Value::from(self.scopes.join(" ")));
        }
        // One that is too long to be sealed is left out: the client then asks for a new login.
        let sealed = self.refresh_token.and_then(|token| sealer.seal(&token, now, random).ok());
        if let Some(sealed) = sealed {
            body.insert("refresh_token".to_owned(), Value::from(sealed));
        }
        json_response(200, &body)
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuedToken(_)")
    }
}

impl ExchangeFault {
    /// Pause before a client should try again.
    const PAUSE: Duration = Duration::from_secs(5);

    /// The response to the client (RFC 6749 §5.2). A fault of the gateway is never `invalid_client`:
    /// the client would discard its registration.
    #[must_use]
    pub(crate) fn response(&self) -> Response {
        match self {
            Self::Grant { .. } => {
                let problem = "the identity provider no longer accepts this code or refresh \
                               token; log in again";
                OAuthError::new(ErrorCode::InvalidGrant, problem).response(400)
            }
            Self::Nonce => {
                let problem = "the identity provider's ID token belongs to another login";
                OAuthError::new(ErrorCode::InvalidGrant, problem).response(400)
            }
            Self::Gateway { .. } => unavailable(
                "the identity provider does not accept this gateway; the gateway's operator finds \
                 the cause in the log",
                Self::PAUSE,
            ),
            Self::TooOften { .. } => {
                unavailable("the identity provider is asked too often at the moment", Self::PAUSE)
            }
            Self::Callout(_) | Self::NoToken { .. } => {
                unavailable("the identity provider returned no token; try again", Self::PAUSE)
            }
        }
    }

    /// Whether the operator must fix it.
    #[must_use]
    pub(crate) fn is_of_operator(&self) -> bool {
        !matches!(self, Self::Grant { .. })
    }
}

/// What an error response of a token endpoint means (RFC 6749 §5.2).
fn fault_of_error(response: &CalloutResponse, secrets: &Secrets<'_>) -> ExchangeFault {
    /// Codes after which a new login helps; the last three are OpenID Connect's, which Entra ID uses
    /// here too.
    const GRANT_ERRORS: [&str; 4] =
        ["invalid_grant", "interaction_required", "login_required", "consent_required"];
    let body: Option<Value> = serde_json::from_slice(&response.body).ok();
    let string = |name: &str| body.as_ref().and_then(|body| body.get(name)?.as_str());
    let code = string("error").unwrap_or("no error code");
    // A policy denies it to the person; with 401, Auth0 says the same of a wrong client secret.
    let is_denied = code == "access_denied" && response.status != Some(401);
    let is_of_grant = is_denied || GRANT_ERRORS.contains(&code);
    let error = match string("error_description") {
        Some(description) => format!("{code}: {description}"),
        None => format!("{code} (status {})", response.status.unwrap_or_default()),
    };
    let error = secrets.redact(&error);
    match response.status {
        _ if is_of_grant => ExchangeFault::Grant { error },
        Some(429) => ExchangeFault::TooOften { error },
        _ => ExchangeFault::Gateway { error },
    }
}

/// A fault of a token endpoint without what its response says, which may hold tokens. Envoy's own
/// reports of failed connections stay.
fn without_secrets(fault: CalloutFault, secrets: &Secrets<'_>) -> CalloutFault {
    match fault {
        CalloutFault::Status { status, body } if matches!(status, Some(502..=504)) => {
            CalloutFault::Status { status, body: secrets.redact(&body) }
        }
        CalloutFault::Status { status, .. } => CalloutFault::Status { status, body: String::new() },
        CalloutFault::Redirect { status, .. } => {
            CalloutFault::Redirect { status, location: String::new() }
        }
        CalloutFault::Dispatch { .. } | CalloutFault::NoResponse | CalloutFault::TooLong(_) => {
            fault
        }
    }
}

/// A string claim of a token that came directly from its issuer, over TLS (OpenID Connect Core
/// §3.1.3.7, item 6).
fn claim(token: &str, name: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    Some(claims.get(name)?.as_str()?.to_owned())
}

impl fmt::Display for ExchangeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant { error } => write!(f, "the provider refused the grant: {error}"),
            Self::Gateway { error } => write!(
                f,
                "the provider refused the gateway's request: {error}; check client_id, \
                 client_secret_env and the redirect URI"
            ),
            Self::TooOften { error } => {
                write!(f, "the provider limits how often the gateway may ask: {error}")
            }
            Self::Callout(fault) => fault.fmt(f),
            Self::NoToken { member } => {
                write!(f, "the token endpoint's response has no usable {member}")
            }
            Self::Nonce => f.write_str("the ID token does not repeat the nonce of the login"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::ClientDigest;
    use super::super::discovery::tests::provider;
    use super::super::pkce::CodeVerifier;
    use super::super::provider::TokenKind;
    use super::super::resource::tests::resource;
    use super::super::visit::tests::{NOW, sealer};
    use super::*;

    fn exchange(grant: Grant) -> Exchange {
        Exchange {
            provider: provider().digest(),
            client: ClientDigest::new("client"),
            resource: "https://mcp.example.com/mcp".to_owned(),
            grant,
        }
    }

    fn code() -> Grant {
        Grant::Code {
            code: "code".to_owned(),
            verifier: CodeVerifier::new(&mut Randomness::from_seed([1; 32])),
            nonce: serde_json::from_value(json!("n-1")).unwrap(),
            scopes: vec!["read".to_owned()],
        }
    }

    fn refresh() -> Grant {
        Grant::Refresh { token: "old".to_owned() }
    }

    /// The gateway's credentials, as they are in a request.
    fn basic() -> String {
        let provider = provider();
        credentials(&provider.client_id, provider.client_secret.unwrap().expose())
    }

    fn id_token(claims: &Value) -> String {
        format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn read_as(
        provider: &LoginProvider,
        grant: Grant,
        status: u16,
        body: &Value,
    ) -> Result<IssuedToken, ExchangeFault> {
        let body = body.to_string().into_bytes();
        let response = CalloutResponse {
            status: Some(status),
            body_length: body.len(),
            body,
            ..CalloutResponse::default()
        };
        IssuedToken::from_response(Ok(response), exchange(grant), provider, &resource())
    }

    fn read(grant: Grant, status: u16, body: &Value) -> Result<IssuedToken, ExchangeFault> {
        read_as(&provider(), grant, status, body)
    }

    fn handed_on(issued: IssuedToken) -> Value {
        let expires = NOW + Duration::from_secs(3000);
        let response =
            issued.response(expires, &sealer(), NOW, &mut Randomness::from_seed([1; 32]));
        assert_eq!(response.status, 200);
        assert!(response.headers.contains(&("cache-control", "no-store".into())));
        serde_json::from_slice(&response.body).unwrap()
    }

    fn refresh_token(body: &Value) -> Option<String> {
        let sealed = body.get("refresh_token")?.as_str()?;
        Some(sealer().open::<ClientRefreshToken>(sealed, NOW).unwrap().token)
    }

    // Requirement: login-token-no-store
    #[test]
    fn the_client_gets_the_providers_token_with_its_own_lifetime_and_a_sealed_refresh_token() {
        let issued = read(
            code(),
            200,
            &json!({
                "access_token": "a.b.c", "token_type": "Bearer", "expires_in": 9999,
                "refresh_token": "new", "scope": "openid api://mcp/read",
            }),
        );
        let body = handed_on(issued.unwrap());
        assert_eq!(body["access_token"], "a.b.c");
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["expires_in"], 3000);
        assert_eq!(body["scope"], "read");
        assert_eq!(refresh_token(&body).as_deref(), Some("new"));
        assert!(!body.to_string().contains("new"), "it is sealed");
    }

    #[test]
    fn the_scope_of_a_token_is_the_granted_or_else_the_requested_one() {
        for (grant, scope, named) in [
            (code(), Some("openid api://mcp/write"), Some("write")),
            (code(), Some("openid"), None),
            (code(), None, Some("read")),
            (refresh(), None, None),
        ] {
            let mut response = json!({"access_token": "a.b.c"});
            if let Some(scope) = scope {
                response["scope"] = json!(scope);
            }
            let body = handed_on(read(grant, 200, &response).unwrap());
            assert_eq!(body.get("scope").and_then(Value::as_str), named, "{scope:?}");
        }
    }

    #[test]
    fn without_a_new_refresh_token_the_old_one_stays_valid() {
        for (grant, given, kept) in [
            (refresh(), None, Some("old")),
            (refresh(), Some("new"), Some("new")),
            (code(), None, None),
        ] {
            let mut response = json!({"access_token": "a.b.c"});
            if let Some(given) = given {
                response["refresh_token"] = json!(given);
            }
            let body = handed_on(read(grant, 200, &response).unwrap());
            assert_eq!(refresh_token(&body).as_deref(), kept);
        }
    }

    #[test]
    fn the_other_kind_of_token_is_never_issued_instead() {
        let of = |token| LoginProvider { token, ..provider() };
        let id_token = id_token(&json!({"nonce": "n-1"}));
        for (kind, body, has_token) in [
            (TokenKind::AccessToken, json!({"id_token": id_token}), false),
            (TokenKind::IdToken, json!({"access_token": "opaque"}), false),
            (TokenKind::IdToken, json!({"access_token": "opaque", "id_token": id_token}), true),
        ] {
            let issued = read_as(&of(kind), code(), 200, &body);
            assert_eq!(issued.is_ok(), has_token, "{body}");
        }
    }

    #[test]
    fn an_id_token_repeats_the_nonce_of_its_login() {
        for (grant, claims, is_taken) in [
            (code(), json!({"nonce": "n-1"}), true),
            (code(), json!({"nonce": "n-2"}), false),
            (code(), json!({}), false),
            (refresh(), json!({}), true),
        ] {
            let body = json!({"access_token": "a.b.c", "id_token": id_token(&claims)});
            let issued = read(grant, 200, &body);
            assert_eq!(issued.is_ok(), is_taken, "{claims}");
        }
        let body = json!({"access_token": "a.b.c", "id_token": "no token"});
        assert_eq!(read(code(), 200, &body).err(), Some(ExchangeFault::Nonce));
    }

    #[test]
    fn no_secret_that_a_provider_repeats_is_logged() {
        let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{}.x", "a".repeat(60));
        for (grant, status, body) in [
            (code(), 400, json!({"error": "invalid_grant", "error_description": "no 'code'"})),
            (refresh(), 400, json!({"error": "invalid_grant", "error_description": "no old"})),
            (code(), 401, json!({"error": "invalid_client", "error_description": "bad s3cret:+"})),
            (code(), 400, json!({"error": format!("bad {jwt}")})),
            (code(), 201, json!({"access_token": "opaque"})),
            (code(), 500, json!({"error": "code"})),
            (code(), 503, json!({"error": jwt})),
            (code(), 502, json!({"error": "upstream got 'code'"})),
            (refresh(), 504, json!({"error": "upstream got old"})),
            (code(), 401, json!({"error": format!("no {}", basic())})),
            (code(), 401, json!({"error": "client_secret=s3cret%3A%2B"})),
            (code(), 503, json!({"error": "client_secret=s3cret%3a%2b"})),
        ] {
            let line = read(grant, status, &body).err().unwrap().to_string();
            let line = line.replace("error code", "");
            let secrets = ["'code'", "old", "s3cret", "opaque", "aaaaaaa", "\"code", &basic()];
            for secret in secrets {
                assert!(!line.contains(secret), "{line}");
            }
        }
        let helpful = json!({"error": "invalid_client", "error_description": "AADSTS7000215: no"});
        let line = read(code(), 401, &helpful).err().unwrap().to_string();
        assert!(line.contains("AADSTS7000215: no"), "{line}");
    }

    #[test]
    fn a_rate_limit_of_the_provider_is_not_blamed_on_the_gateways_registration() {
        let line = |status| read(code(), status, &json!("x")).err().unwrap().to_string();
        assert!(line(429).contains("limits how often") && !line(429).contains("client_secret_env"));
        assert!(line(404).contains("client_secret_env"));
    }

    #[test]
    fn each_error_of_a_provider_blames_the_right_party() {
        for (status, body, status_here, error) in [
            (
                400,
                json!({"error": "invalid_grant", "error_description": "AADSTS54005"}),
                400,
                "invalid_grant",
            ),
            (400, json!({"error": "interaction_required"}), 400, "invalid_grant"),
            (403, json!({"error": "access_denied"}), 400, "invalid_grant"),
            (401, json!({"error": "access_denied"}), 503, "temporarily_unavailable"),
            (429, json!({"error": "too_many_requests"}), 503, "temporarily_unavailable"),
            (401, json!({"error": "invalid_client"}), 503, "temporarily_unavailable"),
            (400, json!({"error": "invalid_scope"}), 503, "temporarily_unavailable"),
            (404, json!("x"), 503, "temporarily_unavailable"),
            (500, json!({"error": "invalid_grant"}), 503, "temporarily_unavailable"),
            (200, json!({"token_type": "Bearer"}), 503, "temporarily_unavailable"),
            (200, json!([]), 503, "temporarily_unavailable"),
        ] {
            let fault = read(code(), status, &body).err().unwrap();
            let response = fault.response();
            let passed_on: Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(
                (response.status, &passed_on["error"]),
                (status_here, &json!(error)),
                "{body}"
            );
            let has_pause = response.headers.iter().any(|(name, _)| *name == "retry-after");
            assert_eq!(has_pause, status_here == 503, "{body}");
        }
        let silent = IssuedToken::from_response(
            Err(CalloutFault::NoResponse),
            exchange(code()),
            &provider(),
            &resource(),
        );
        assert_eq!(silent.err().unwrap().response().status, 503);
    }
}
