//! Auth0: a slash at the end of the issuer, permissions, two token profiles.

use serde_json::{Value, json};
use testbed::{IdentityProvider, Stack, now};

use super::{Published, assert_identities, called, jwt, start};
use crate::support::{assert_tokens_refused, with, without};

const ISSUER: &str = "https://dev-made-up.eu.auth0.com/";
const API: &str = "https://mcp.example.com/mcp";
const CLIENT: &str = "awZmadeUpClientId";

async fn provider() -> IdentityProvider {
    Published {
        metadata_path: "/.well-known/openid-configuration".to_owned(),
        metadata: json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}authorize"),
            "token_endpoint": format!("{ISSUER}oauth/token"),
            "device_authorization_endpoint": format!("{ISSUER}oauth/device/code"),
            "userinfo_endpoint": format!("{ISSUER}userinfo"),
            "mfa_challenge_endpoint": format!("{ISSUER}mfa/challenge"),
            "jwks_uri": format!("{ISSUER}.well-known/jwks.json"),
            "registration_endpoint": format!("{ISSUER}oidc/register"),
            "revocation_endpoint": format!("{ISSUER}oauth/revoke"),
            "scopes_supported": ["openid", "profile", "offline_access", "email"],
            "response_types_supported": ["code", "token", "id_token", "code token"],
            "code_challenge_methods_supported": ["S256", "plain"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "RS384", "PS256"],
        }),
        key_set_path: "/.well-known/jwks.json".to_owned(),
        edit_keys: |keys| {
            for key in keys {
                key["x5t"] = json!("made-up-thumbprint");
            }
        },
    }
    .start()
    .await
}

async fn start_with(fields: Value) -> Stack {
    let mut configured = json!({
        "name": "auth0",
        "template": "auth0",
        "domain": "dev-made-up.eu.auth0.com",
        "client_ids": [API],
        "clusters": {"dev-made-up.eu.auth0.com": "identity_provider"},
    });
    for (name, value) in fields.as_object().expect("they are an object") {
        configured[name] = value.clone();
    }
    start(provider().await, json!([configured])).await
}

fn user() -> Value {
    let now = now();
    json!({
        "iss": ISSUER,
        "sub": "auth0|6553da60madeup",
        "aud": [API, format!("{ISSUER}userinfo")],
        "iat": now - 60,
        "exp": now + 86340,
        "scope": "openid profile email read:incidents",
        "azp": CLIENT,
        "permissions": ["read:incidents", "write:incidents"],
    })
}

fn service() -> Value {
    let now = now();
    json!({
        "iss": ISSUER,
        "sub": format!("{CLIENT}@clients"),
        "aud": API,
        "iat": now - 60,
        "exp": now + 86340,
        "scope": "read:incidents",
        "gty": "client-credentials",
        "azp": CLIENT,
    })
}

/// The token profile of RFC 9068: neither `azp` nor `gty`.
fn rfc9068(claims: &Value) -> Value {
    let mut claims = without(claims, "azp");
    claims.as_object_mut().expect("they are an object").remove("gty");
    claims["client_id"] = json!(CLIENT);
    claims["jti"] = json!("73WakrmadeUp");
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_machines_pass_with_tokens_of_both_profiles() {
    let stack = start_with(json!({})).await;
    let key = stack.provider.key();
    let identity = json!({
        "x-mcp-user": "auth0|6553da60madeup",
        "x-mcp-subject": "auth0|6553da60madeup",
        "x-mcp-provider": "auth0",
        "x-mcp-client-id": CLIENT,
        "x-mcp-client-type": "user",
        "x-mcp-scopes": "openid profile email read:incidents write:incidents",
    });
    let machine = format!("{CLIENT}@clients");
    let service_identity = json!({
        "x-mcp-user": machine,
        "x-mcp-subject": machine,
        "x-mcp-provider": "auth0",
        "x-mcp-client-id": CLIENT,
        "x-mcp-client-type": "service",
        "x-mcp-scopes": "read:incidents",
    });
    let with_id = |identity: &Value| with(identity, "x-mcp-token-id", "73WakrmadeUp");
    let person = user();
    let [person_9068, robot, robot_9068] = [rfc9068(&person), service(), rfc9068(&service())];
    let cases = [
        ("user", jwt(&key, &person), person, identity.clone()),
        ("machine", jwt(&key, &robot), robot, service_identity.clone()),
        ("user, RFC 9068", key.token(&person_9068), person_9068, with_id(&identity)),
        ("machine, RFC 9068", key.token(&robot_9068), robot_9068, with_id(&service_identity)),
    ];
    assert_identities(&stack, cases).await;
    let host = "dev-made-up.eu.auth0.com".to_owned();
    let paths = ["/.well-known/openid-configuration", "/.well-known/jwks.json"];
    assert_eq!(called(&stack.provider), paths.map(|path| (host.clone(), path.to_owned())));

    let bare_issuer = with(&user(), "iss", ISSUER.trim_end_matches('/'));
    let other_tenant = with(&user(), "iss", ISSUER.replace("dev", "prod"));
    let userinfo_alone = with(&user(), "aud", json!([format!("{ISSUER}userinfo")]));
    let opaque = "opaque_made-up_token".to_owned();
    // Without an audience, Auth0 issues an encrypted token for itself: five segments.
    let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..bWFkZQ.dXA.bWFkZXVw".to_owned();
    let refused = [
        ("an issuer without its slash", jwt(&key, &bare_issuer), "unknown_issuer"),
        ("another tenant", jwt(&key, &other_tenant), "unknown_issuer"),
        ("for userinfo alone", jwt(&key, &userinfo_alone), "audience_mismatch"),
        ("an ID token", jwt(&key, &with(&user(), "aud", CLIENT)), "audience_mismatch"),
        ("no audience requested: encrypted", encrypted, "malformed_token"),
        ("no audience requested: opaque", opaque, "malformed_token"),
    ];
    assert_tokens_refused(&stack, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_count_as_scopes_unless_a_scope_claim_is_given() {
    let stack = start_with(json!({"scope_claim": "scope"})).await;
    let response = stack.call(&jwt(&stack.provider.key(), &user())).await;
    assert_eq!(response.whoami()["x-mcp-scopes"], "openid profile email read:incidents");
    // With `scope_claim`, the permissions do not count as scopes.
    let stack = start_with(json!({"scope_claim": "permissions"})).await;
    let response = stack.call(&jwt(&stack.provider.key(), &user())).await;
    assert_eq!(response.whoami()["x-mcp-scopes"], "read:incidents write:incidents");
}
