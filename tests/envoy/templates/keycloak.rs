//! Keycloak: roles in nested objects, and an audience that a mapper must add.

use serde_json::{Value, json};
use testbed::{Algorithm, IdentityProvider, SigningKey, now};

use super::{Published, assert_identities, called, jwt, start};
use crate::support::{assert_tokens_accepted, assert_tokens_refused, with, without};

const HOST: &str = "sso.example.com";
const CLIENT: &str = "Agent-1";

fn issuer(realm: &str) -> String {
    format!("https://{HOST}/realms/{realm}")
}

async fn provider() -> IdentityProvider {
    let issuer = issuer("Acme%20Corp");
    let endpoints = format!("{issuer}/protocol/openid-connect");
    Published {
        metadata_path: "/realms/Acme%20Corp/.well-known/openid-configuration".to_owned(),
        metadata: json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{endpoints}/auth"),
            "token_endpoint": format!("{endpoints}/token"),
            "introspection_endpoint": format!("{endpoints}/token/introspect"),
            "userinfo_endpoint": format!("{endpoints}/userinfo"),
            "end_session_endpoint": format!("{endpoints}/logout"),
            "jwks_uri": format!("{endpoints}/certs"),
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "acr_values_supported": ["0", "1"],
            "response_types_supported": ["code", "none", "id_token", "token"],
            "subject_types_supported": ["public", "pairwise"],
            "id_token_signing_alg_values_supported": ["PS384", "RS384", "EdDSA", "ES384", "HS256", "RS256"],
            "registration_endpoint": format!("{issuer}/clients-registrations/openid-connect"),
            "claims_supported": ["aud", "sub", "iss", "auth_time", "name", "email", "acr"],
            "scopes_supported": ["openid", "email", "profile", "roles", "mcp.tools"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "backchannel_logout_supported": true,
        }),
        key_set_path: "/realms/Acme%20Corp/protocol/openid-connect/certs".to_owned(),
        edit_keys: |keys| {
            // A realm also publishes an encryption key.
            let mut encryption = keys[0].clone();
            encryption["kid"] = json!("encryption");
            encryption["use"] = json!("enc");
            encryption["alg"] = json!("RSA-OAEP");
            keys.insert(0, encryption);
        },
    }
    .start()
    .await
}

fn user() -> Value {
    let now = now();
    json!({
        "exp": now + 240,
        "iat": now - 60,
        "auth_time": now - 90,
        "jti": "onrtac:4e1b0000-0000-4000-8000-000000000000",
        "iss": issuer("Acme%20Corp"),
        "aud": ["incident-mcp", "account"],
        "sub": "0b1d0000-0000-4000-8000-000000000000",
        "typ": "Bearer",
        "azp": CLIENT,
        "sid": "5e550000-0000-4000-8000-000000000000",
        "acr": "1",
        "allowed-origins": ["https://agent.example.com"],
        "realm_access": {"roles": ["default-roles-acme corp", "offline_access", "itil"]},
        "resource_access": {
            "incident-mcp": {"roles": ["incident-writer"]},
            "account": {"roles": ["manage-account", "view-profile"]},
        },
        "scope": "openid email profile mcp.tools",
        "email_verified": false,
        "name": "Ada Lovelace",
        "preferred_username": "ada",
        "given_name": "Ada",
        "family_name": "Lovelace",
        "email": "ada@example.com",
    })
}

fn service() -> Value {
    let mut claims = user();
    for name in ["auth_time", "sid", "name", "given_name", "family_name", "email"] {
        claims = without(&claims, name);
    }
    // User names are in lower case; client ids may not be.
    claims["preferred_username"] = json!("service-account-agent-1");
    claims["clientHost"] = json!("203.0.113.7");
    claims["clientAddress"] = json!("203.0.113.7");
    claims["client_id"] = json!(CLIENT);
    claims["scope"] = json!("mcp.tools");
    claims["jti"] = json!("trrtcc:4e1b0000-0000-4000-8000-000000000000");
    claims
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn users_and_service_accounts_pass_with_the_roles_of_realm_and_server() {
    let configured = json!([{
        "name": "keycloak",
        "template": "keycloak",
        "host": HOST,
        "realm": "Acme Corp",
        "client_ids": ["incident-mcp"],
        "clusters": {HOST: "identity_provider"},
    }]);
    let stack = start(provider().await, configured).await;
    let key = stack.provider.key();
    let identity = json!({
        "x-mcp-user": "ada",
        "x-mcp-subject": "0b1d0000-0000-4000-8000-000000000000",
        "x-mcp-provider": "keycloak",
        "x-mcp-client-id": CLIENT,
        "x-mcp-client-type": "user",
        "x-mcp-scopes": "openid email profile mcp.tools",
        "x-mcp-roles": "default-roles-acme corp,offline_access,itil,incident-writer",
        "x-mcp-token-id": "onrtac:4e1b0000-0000-4000-8000-000000000000",
    });
    let mut service_identity = identity.clone();
    for (name, value) in [
        ("x-mcp-user", "service-account-agent-1"),
        ("x-mcp-client-type", "service"),
        ("x-mcp-scopes", "mcp.tools"),
        ("x-mcp-token-id", "trrtcc:4e1b0000-0000-4000-8000-000000000000"),
    ] {
        service_identity[name] = json!(value);
    }
    // A user who has taken the name of another client's account is still a user.
    let lookalike = with(&user(), "preferred_username", "service-account-other");
    let lookalike_identity = with(&identity, "x-mcp-user", "service-account-other");
    let no_roles = without(&without(&user(), "realm_access"), "resource_access");
    let no_roles_identity = without(&identity, "x-mcp-roles");
    let in_groups = with(&user(), "groups", json!(["/ops", "/ops/night"]));
    let in_groups_identity = with(&identity, "x-mcp-groups", "/ops,/ops/night");
    let cases = [
        ("user", user(), identity),
        ("service account", service(), service_identity),
        ("a name like a service account's", lookalike, lookalike_identity),
        ("no roles", no_roles, no_roles_identity),
        ("groups by a mapper", in_groups, in_groups_identity),
    ]
    .map(|(name, claims, identity)| (name, jwt(&key, &claims), claims, identity));
    assert_identities(&stack, cases).await;
    let paths = ["/.well-known/openid-configuration", "/protocol/openid-connect/certs"];
    let expected = paths.map(|path| (HOST.to_owned(), format!("/realms/Acme%20Corp{path}")));
    assert_eq!(called(&stack.provider), expected);

    // Lightweight tokens may lack the claim.
    let nothing_said = jwt(&key, &without(&user(), "typ"));
    assert_tokens_accepted(&stack, [("no typ claim", nothing_said)]).await;

    let mut id_token = with(&user(), "typ", "ID");
    id_token["aud"] = json!("incident-mcp");
    let refresh = {
        let header = json!({"typ": "JWT", "alg": "HS512", "kid": "made-up"});
        key.sign(&header, &with(&user(), "typ", "Refresh"))
    };
    let to_encrypt = SigningKey::generate(Algorithm::Rs256, "encryption");
    let issued_by = |realm: &str| jwt(&key, &with(&user(), "iss", issuer(realm)));
    let refused = [
        ("no audience mapper", jwt(&key, &with(&user(), "aud", "account")), "audience_mismatch"),
        ("an ID token", jwt(&key, &id_token), "claim_mismatch"),
        ("a refresh token", refresh, "unsupported_algorithm"),
        ("another realm", issued_by("master"), "unknown_issuer"),
        ("the realm without percent-encoding", issued_by("Acme Corp"), "unknown_issuer"),
        ("the encryption key", jwt(&to_encrypt, &user()), "key_mismatch"),
        ("no profile scope", jwt(&key, &without(&user(), "preferred_username")), "missing_claim"),
    ];
    assert_tokens_refused(&stack, refused).await;
}
