//! Okta: `scp` is an array, `cid` the client.

use serde_json::{Value, json};
use testbed::{IdentityProvider, SigningKey, now};

use super::{Published, assert_identities, called, start};
use crate::support::{assert_tokens_refused, with, without};

const ISSUER: &str = "https://dev-1234567.okta.com/oauth2/aus9o8wvmadeUp";
const CLIENT: &str = "0oa1madeup";

async fn provider() -> IdentityProvider {
    Published {
        metadata_path: "/oauth2/aus9o8wvmadeUp/.well-known/openid-configuration".to_owned(),
        metadata: json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/v1/authorize"),
            "token_endpoint": format!("{ISSUER}/v1/token"),
            "userinfo_endpoint": format!("{ISSUER}/v1/userinfo"),
            "registration_endpoint": "https://dev-1234567.okta.com/oauth2/v1/clients",
            "jwks_uri": format!("{ISSUER}/v1/keys"),
            "response_types_supported": ["code", "id_token", "code id_token", "code token"],
            "response_modes_supported": ["query", "fragment", "form_post", "okta_post_message"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["mcp.tools", "openid", "profile", "email", "offline_access"],
            "claims_supported": ["ver", "jti", "iss", "aud", "iat", "exp", "cid", "uid", "scp", "sub"],
            "code_challenge_methods_supported": ["S256"],
            "dpop_signing_alg_values_supported": ["RS256", "ES256"],
        }),
        key_set_path: "/oauth2/aus9o8wvmadeUp/v1/keys".to_owned(),
        edit_keys: |_| {},
    }
    .start()
    .await
}

/// Okta's access tokens have no `typ`.
fn token(key: &SigningKey, claims: &Value) -> String {
    key.sign(&json!({"kid": key.kid(), "alg": "RS256"}), claims)
}

fn user() -> Value {
    let now = now();
    json!({
        "ver": 1,
        "jti": "AT.madeup-madeup",
        "iss": ISSUER,
        "aud": "api://incident-tools",
        "iat": now - 60,
        "exp": now + 3540,
        "cid": CLIENT,
        "uid": "00u1madeup",
        "scp": ["openid", "profile", "mcp.tools"],
        "auth_time": now - 120,
        "sub": "ada@example.com",
        "groups": ["Everyone", "ops"],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_custom_authorization_server_pass_and_others_do_not() {
    let configured = json!([{
        "name": "okta",
        "template": "okta",
        "domain": "dev-1234567.okta.com",
        "authorization_server": "aus9o8wvmadeUp",
        "client_ids": ["api://incident-tools"],
        "clusters": {"dev-1234567.okta.com": "identity_provider"},
    }]);
    let stack = start(provider().await, configured).await;
    let key = stack.provider.key();
    let identity = json!({
        "x-mcp-user": "ada@example.com",
        "x-mcp-subject": "ada@example.com",
        "x-mcp-provider": "okta",
        "x-mcp-client-id": CLIENT,
        "x-mcp-client-type": "user",
        "x-mcp-scopes": "openid profile mcp.tools",
        "x-mcp-groups": "Everyone,ops",
        "x-mcp-token-id": "AT.madeup-madeup",
    });
    let mut service = without(&without(&without(&user(), "uid"), "groups"), "auth_time");
    service["sub"] = json!(CLIENT);
    service["scp"] = json!(["mcp.tools"]);
    let mut service_identity = without(&identity, "x-mcp-groups");
    for (name, value) in [
        ("x-mcp-user", CLIENT),
        ("x-mcp-subject", CLIENT),
        ("x-mcp-client-type", "service"),
        ("x-mcp-scopes", "mcp.tools"),
    ] {
        service_identity[name] = json!(value);
    }
    let cases = [("user", user(), identity), ("service", service, service_identity)]
        .map(|(name, claims, identity)| (name, token(&key, &claims), claims, identity));
    assert_identities(&stack, cases).await;

    let issued_by = |issuer: &str| token(&key, &with(&user(), "iss", issuer));
    let mut id_token = with(&user(), "aud", CLIENT);
    id_token["preferred_username"] = json!("ada@example.com");
    let org = "https://dev-1234567.okta.com";
    let refused = [
        ("the org authorization server", issued_by(org), "unknown_issuer"),
        ("another server", issued_by(&format!("{org}/oauth2/default")), "unknown_issuer"),
        ("a slash more", issued_by(&format!("{ISSUER}/")), "unknown_issuer"),
        ("another tenant", issued_by(&ISSUER.replace("dev-1", "dev-2")), "unknown_issuer"),
        ("another API", token(&key, &with(&user(), "aud", "api://default")), "audience_mismatch"),
        ("an ID token", token(&key, &id_token), "audience_mismatch"),
        ("no subject", token(&key, &without(&user(), "sub")), "missing_claim"),
    ];
    assert_tokens_refused(&stack, refused).await;
    let host = "dev-1234567.okta.com".to_owned();
    let paths = ["/.well-known/openid-configuration", "/v1/keys"];
    let expected = paths.map(|path| (host.clone(), format!("/oauth2/aus9o8wvmadeUp{path}")));
    assert_eq!(called(&stack.provider), expected);
}
