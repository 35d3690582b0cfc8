//! AD FS: ID tokens and access tokens have different issuers.

use serde_json::{Value, json};
use testbed::{IdentityProvider, SigningKey, Stack, now};

use super::{Published, assert_identities, called, start};
use crate::support::{assert_tokens_refused, with, without};

const HOST: &str = "fs.contoso.com";
const API: &str = "microsoft:identityserver:6a7f0000-0000-4000-8000-000000000000";
const CLIENT: &str = "c11e0000-0000-4000-8000-000000000000";

async fn provider() -> IdentityProvider {
    let base = format!("https://{HOST}/adfs");
    Published {
        metadata_path: "/adfs/.well-known/openid-configuration".to_owned(),
        metadata: json!({
            "issuer": base,
            "authorization_endpoint": format!("{base}/oauth2/authorize/"),
            "token_endpoint": format!("{base}/oauth2/token/"),
            "jwks_uri": format!("{base}/discovery/keys"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "client_secret_basic", "private_key_jwt", "windows_client_authentication"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "subject_types_supported": ["pairwise"],
            "scopes_supported": ["openid", "email", "profile", "allatclaims", "user_impersonation"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
            "access_token_issuer": format!("http://{HOST}/adfs/services/trust"),
            "claims_supported": ["aud", "iss", "iat", "exp", "auth_time", "nonce", "sub", "upn"],
            "microsoft_multi_refresh_token": true,
            "userinfo_endpoint": format!("{base}/userinfo"),
            "capabilities": ["kdf_ver2"],
            "end_session_endpoint": format!("{base}/oauth2/logout"),
            "frontchannel_logout_supported": true,
        }),
        key_set_path: "/adfs/discovery/keys".to_owned(),
        edit_keys: |keys| {
            for key in keys {
                key["x5t"] = key["kid"].clone();
            }
        },
    }
    .start()
    .await
}

async fn start_with(fields: Value) -> Stack {
    let mut configured = json!({
        "name": "adfs",
        "template": "adfs",
        "host": HOST,
        "client_ids": [API],
        "clusters": {HOST: "identity_provider"},
    });
    for (name, value) in fields.as_object().expect("they are an object") {
        configured[name] = value.clone();
    }
    start(provider().await, json!([configured])).await
}

fn token(key: &SigningKey, claims: &Value) -> String {
    key.sign(&json!({"typ": "JWT", "alg": "RS256", "x5t": key.kid(), "kid": key.kid()}), claims)
}

fn user() -> Value {
    let now = now();
    json!({
        "aud": API,
        "iss": format!("http://{HOST}/adfs/services/trust"),
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3540,
        "upn": "ada@contoso.com",
        "unique_name": "CONTOSO\\ada",
        "groups": ["CONTOSO\\ops"],
        "apptype": "Public",
        "appid": CLIENT,
        "authmethod": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        "auth_time": "2026-03-24T07:30:55.566Z",
        "ver": "1.0",
        "scp": "openid mcp.tools",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_of_their_own_issuer_pass() {
    let stack = start_with(json!({})).await;
    let key = stack.provider.key();
    let identity = json!({
        "x-mcp-user": "ada@contoso.com",
        "x-mcp-provider": "adfs",
        "x-mcp-client-id": CLIENT,
        "x-mcp-client-type": "user",
        "x-mcp-scopes": "openid mcp.tools",
        "x-mcp-groups": "CONTOSO\\ops",
    });
    assert_identities(&stack, [("user", token(&key, &user()), user(), identity)]).await;
    let paths = ["/adfs/.well-known/openid-configuration", "/adfs/discovery/keys"];
    assert_eq!(called(&stack.provider), paths.map(|path| (HOST.to_owned(), path.to_owned())));

    let issued_by = |issuer: String| token(&key, &with(&user(), "iss", issuer));
    let mut id_token = with(&user(), "iss", format!("https://{HOST}/adfs"));
    id_token["aud"] = json!(CLIENT);
    id_token["sub"] = json!("Jq3bmadeup");
    let https = format!("https://{HOST}/adfs/services/trust");
    let other = "http://fs.fabrikam.com/adfs/services/trust".to_owned();
    let refused = [
        ("an ID token", token(&key, &id_token), "audience_mismatch"),
        ("https before the issuer", issued_by(https), "unknown_issuer"),
        ("another server", issued_by(other), "unknown_issuer"),
        ("no upn", token(&key, &without(&user(), "upn")), "missing_claim"),
        (
            "for userinfo",
            token(&key, &with(&user(), "aud", "urn:microsoft:userinfo")),
            "audience_mismatch",
        ),
    ];
    assert_tokens_refused(&stack, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_have_an_audience_of_their_own() {
    let api = "microsoft:identityserver:6a7f0000-0000-4000-8000-00000000000f";
    let stack = start_with(json!({"client_ids": [api], "client_type": "service"})).await;
    let mut claims = with(&user(), "aud", api);
    for name in ["upn", "unique_name", "groups", "scp"] {
        claims = without(&claims, name);
    }
    claims["apptype"] = json!("Confidential");
    let identity = json!({
        "x-mcp-user": CLIENT,
        "x-mcp-provider": "adfs",
        "x-mcp-client-id": CLIENT,
        "x-mcp-client-type": "service",
    });
    let token = token(&stack.provider.key(), &claims);
    assert_identities(&stack, [("service", token, claims, identity)]).await;
}
