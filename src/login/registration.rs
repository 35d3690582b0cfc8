//! Dynamic client registration (RFC 7591). Nothing is stored: the `client_id` is the sealed client.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{ClientName, RegisteredClient};
use super::error_code::ErrorCode;
use super::redirect_uri::{RedirectPolicy, RedirectUri};
use super::response::{OAuthError, json_response};
use crate::response::Response;
use crate::seal::{Randomness, Sealer};
use crate::time::UnixTime;

/// The members of a registration request that are read. Others are ignored (RFC 7591 §2).
#[derive(Debug, Deserialize)]
struct RegistrationRequest {
    redirect_uris: Option<Vec<String>>,
    client_name: Option<Value>,
}

/// The response to a registration (RFC 7591 §3.2.1).
#[derive(Debug, Serialize)]
struct RegistrationResponse<'a> {
    client_id: String,
    client_id_issued_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<&'a str>,
    /// The client's own, as received: some clients compare them.
    redirect_uris: &'a [String],
    token_endpoint_auth_method: &'static str,
    grant_types: [&'static str; 2],
    response_types: [&'static str; 1],
}

/// The response to a registration request.
pub(crate) fn register(
    body: &[u8],
    policy: &RedirectPolicy,
    sealer: &Sealer,
    now: UnixTime,
    random: &mut Randomness,
) -> Response {
    match registered(body, policy, sealer, now, random) {
        Ok(response) => response,
        Err(error) => error.response(400),
    }
}

fn registered(
    body: &[u8],
    policy: &RedirectPolicy,
    sealer: &Sealer,
    now: UnixTime,
    random: &mut Randomness,
) -> Result<Response, OAuthError> {
    let request: RegistrationRequest = serde_json::from_slice(body).map_err(|_| {
        let problem = "the body must be a JSON object whose redirect_uris is a list of strings";
        OAuthError::new(ErrorCode::InvalidClientMetadata, problem)
    })?;
    let redirect_uris = request.redirect_uris.unwrap_or_default();
    let parsed = redirect_uris.iter().filter_map(|uri| RedirectUri::parse(uri).ok());
    let allowed: Vec<RedirectUri> = parsed.filter(|uri| policy.allows(uri)).collect();
    if allowed.is_empty() {
        let problem = "none of redirect_uris is allowed here; the operator of this server can \
                       allow them in login.redirect_uris";
        return Err(OAuthError::new(ErrorCode::InvalidRedirectUri, problem));
    }
    let name = request.client_name.as_ref().and_then(Value::as_str).and_then(ClientName::new);
    let client = RegisteredClient { redirect_uris: allowed, name };
    let client_id = sealer.seal(&client, now, random).map_err(|_| {
        let problem = "redirect_uris are too many or too long";
        OAuthError::new(ErrorCode::InvalidClientMetadata, problem)
    })?;
    Ok(json_response(
        201,
        &RegistrationResponse {
            client_id,
            client_id_issued_at: now.as_secs(),
            client_name: client.name.as_ref().map(ClientName::as_str),
            redirect_uris: &redirect_uris,
            token_endpoint_auth_method: "none",
            grant_types: ["authorization_code", "refresh_token"],
            response_types: ["code"],
        },
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::seal::Secret;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn sealer() -> Sealer {
        Sealer::new(Secret::parse(&"A".repeat(43)).unwrap(), None)
    }

    fn policy() -> RedirectPolicy {
        RedirectPolicy { allows_loopback: true, uris: vec![] }
    }

    fn send(body: &Value) -> (u16, Value) {
        let random = &mut Randomness::from_seed([1; 32]);
        let response = register(body.to_string().as_bytes(), &policy(), &sealer(), NOW, random);
        (response.status, serde_json::from_slice(&response.body).unwrap())
    }

    // Requirement: login-register-unknown-metadata
    // Requirement: login-register-response
    #[test]
    fn the_response_has_the_clients_metadata_and_an_id_with_the_allowed_uris() {
        let uris = ["http://localhost:1/cb", "https://elsewhere.example/cb", "javascript:x"];
        let (status, response) = send(&json!({
            "redirect_uris": uris, "client_name": "Claude", "token_endpoint_auth_method": "client_secret_basic",
        }));
        assert_eq!(status, 201);
        assert_eq!(response["redirect_uris"], json!(uris));
        assert_eq!(response["token_endpoint_auth_method"], "none");
        assert_eq!(response["grant_types"], json!(["authorization_code", "refresh_token"]));
        let client_id = response["client_id"].as_str().unwrap();
        let client: RegisteredClient = sealer().open(client_id, NOW).unwrap();
        assert_eq!(client.redirect_uris, [RedirectUri::parse(uris[0]).unwrap()]);
        assert_eq!(client.name, ClientName::new("Claude"));
    }

    #[test]
    fn a_client_id_never_expires() {
        let (_, response) = send(&json!({"redirect_uris": ["http://localhost/cb"]}));
        let later = UnixTime::from_secs(NOW.as_secs() * 2);
        let client_id = response["client_id"].as_str().unwrap();
        assert!(sealer().open::<RegisteredClient>(client_id, later).is_ok());
    }

    // Requirement: login-register-redirect-uris
    #[test]
    fn a_client_without_an_allowed_redirect_uri_is_refused() {
        for body in [
            json!({}),
            json!({"redirect_uris": []}),
            json!({"redirect_uris": ["https://elsewhere.example/cb"]}),
        ] {
            let (status, response) = send(&body);
            assert_eq!(
                (status, &response["error"]),
                (400, &json!("invalid_redirect_uri")),
                "{body}"
            );
        }
    }

    #[test]
    fn invalid_metadata_are_refused() {
        let long = |n: usize| format!("http://localhost/{}", "x".repeat(n));
        for body in [
            json!([]),
            json!("x"),
            json!({"redirect_uris": "http://localhost/cb"}),
            json!({"redirect_uris": [1]}),
            json!({"redirect_uris": [long(900), long(901)]}),
        ] {
            let (status, response) = send(&body);
            assert_eq!(
                (status, &response["error"]),
                (400, &json!("invalid_client_metadata")),
                "{body}"
            );
        }
    }
}
