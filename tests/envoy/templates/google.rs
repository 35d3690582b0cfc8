//! Google: ID tokens, two spellings of the issuer, keys on another host.

use serde_json::{Value, json};
use testbed::{IdentityProvider, Stack, StackBuilder, now};

use super::{Published, assert_identities, builder, called, jwt};
use crate::support::{SOON, assert_tokens_refused, with, without};

const CLIENT: &str = "1234567890-madeup.apps.googleusercontent.com";

async fn provider() -> IdentityProvider {
    Published {
        metadata_path: "/.well-known/openid-configuration".to_owned(),
        metadata: json!({
            "issuer": "https://accounts.google.com",
            "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
            "device_authorization_endpoint": "https://oauth2.googleapis.com/device/code",
            "token_endpoint": "https://oauth2.googleapis.com/token",
            "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
            "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
            "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
            "response_types_supported": ["code", "token", "id_token", "code token", "none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile"],
            "claims_supported": ["aud", "email", "email_verified", "exp", "iat", "iss", "name", "sub"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }),
        key_set_path: "/oauth2/v3/certs".to_owned(),
        edit_keys: |_| {},
    }
    .start()
    .await
}

async fn start_with(fields: Value) -> Stack {
    builder_with(fields).await.start().await
}

async fn builder_with(fields: Value) -> StackBuilder {
    let mut configured = json!({
        "name": "google",
        "template": "google",
        "client_ids": [CLIENT],
        "clusters": {
            "accounts.google.com": "identity_provider",
            "www.googleapis.com": "identity_provider",
        },
    });
    for (name, value) in fields.as_object().expect("they are an object") {
        configured[name] = value.clone();
    }
    builder(provider().await, json!([configured]))
}

fn user() -> Value {
    let now = now();
    json!({
        "iss": "https://accounts.google.com",
        "azp": CLIENT,
        "aud": CLIENT,
        "sub": "110169484474386276334",
        "hd": "example.com",
        "email": "ada@example.com",
        "email_verified": true,
        "at_hash": "HK6E_made-up",
        "name": "Ada Lovelace",
        "picture": "https://lh3.googleusercontent.com/a/made-up",
        "given_name": "Ada",
        "family_name": "Lovelace",
        "iat": now - 60,
        "exp": now + 3540,
    })
}

fn identity() -> Value {
    json!({
        "x-mcp-user": "ada@example.com",
        "x-mcp-subject": "110169484474386276334",
        "x-mcp-provider": "google",
        "x-mcp-client-id": CLIENT,
        "x-mcp-client-type": "user",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn verified_users_pass_under_both_spellings_of_the_issuer() {
    let stack = start_with(json!({})).await;
    let key = stack.provider.key();
    let short = with(&user(), "iss", "accounts.google.com");
    let private = without(&user(), "hd");
    let service_account = json!({
        "aud": CLIENT,
        "azp": "102345678901234567890",
        "email": "agent@made-up.iam.gserviceaccount.com",
        "email_verified": true,
        "exp": now() + 3540,
        "iat": now() - 60,
        "iss": "https://accounts.google.com",
        "sub": "102345678901234567890",
    });
    let service = json!({
        "x-mcp-user": "agent@made-up.iam.gserviceaccount.com",
        "x-mcp-subject": "102345678901234567890",
        "x-mcp-provider": "google",
        "x-mcp-client-id": "102345678901234567890",
        "x-mcp-client-type": "service",
    });
    let cases = [
        ("long issuer", user(), identity()),
        ("short issuer", short, identity()),
        ("a private account", private, identity()),
        ("a service account", service_account, service),
    ]
    .map(|(name, claims, identity)| (name, jwt(&key, &claims), claims, identity));
    assert_identities(&stack, cases).await;
    assert_eq!(
        called(&stack.provider),
        [
            ("accounts.google.com", "/.well-known/openid-configuration"),
            ("www.googleapis.com", "/oauth2/v3/certs"),
        ]
        .map(|(host, path)| (host.to_owned(), path.to_owned()))
    );

    let verified = |value: Value| jwt(&key, &with(&user(), "email_verified", value));
    let issued_by = |issuer: &str| jwt(&key, &with(&user(), "iss", issuer));
    let access_token = "ya29.a0made-up".to_owned();
    let refused = [
        ("an e-mail address that is not verified", verified(json!(false)), "claim_mismatch"),
        ("email_verified as a string", verified(json!("true")), "claim_mismatch"),
        ("no email_verified", jwt(&key, &without(&user(), "email_verified")), "missing_claim"),
        ("no e-mail address", jwt(&key, &without(&user(), "email")), "missing_claim"),
        ("another client", jwt(&key, &with(&user(), "aud", "other")), "audience_mismatch"),
        ("a third spelling", issued_by("http://accounts.google.com"), "unknown_issuer"),
        ("a fourth", issued_by("https://accounts.google.com/"), "unknown_issuer"),
        ("an access token, which is not a JWT", access_token, "malformed_token"),
    ];
    assert_tokens_refused(&stack, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_domain_may_be_required_and_adds_to_what_the_template_requires() {
    let stack = start_with(json!({"required_claims": {"hd": "example.com"}})).await;
    let key = stack.provider.key();
    assert_identities(&stack, [("member", jwt(&key, &user()), user(), identity())]).await;
    let unverified = with(&user(), "email_verified", false);
    let refused = [
        ("another domain", jwt(&key, &with(&user(), "hd", "example.org")), "claim_mismatch"),
        ("a private account", jwt(&key, &without(&user(), "hd")), "missing_claim"),
        ("not verified", jwt(&key, &unverified), "claim_mismatch"),
    ];
    assert_tokens_refused(&stack, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subject_as_user_needs_no_verified_address() {
    let stack = start_with(json!({"user_claim": "sub"})).await;
    let claims = with(&user(), "email_verified", false);
    let expected = with(&identity(), "x-mcp-user", "110169484474386276334");
    let token = jwt(&stack.provider.key(), &claims);
    assert_identities(&stack, [("by subject", token, claims, expected)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_of_the_keys_needs_a_cluster_of_its_own() {
    let clusters = json!({"accounts.google.com": "identity_provider"});
    let stack = builder_with(json!({"clusters": clusters})).await.alone().start().await;
    let token = jwt(&stack.provider.key(), &user());
    assert_tokens_refused(&stack, [("no keys", token, "keys_unavailable")]).await;
    stack.envoy.await_log("www.googleapis.com", SOON).await;
}
