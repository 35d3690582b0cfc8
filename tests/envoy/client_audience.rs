//! `audience_claim: client_id`, for providers whose access tokens have no `aud`.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, Stack};

use crate::support::{
    add_providers, assert_tokens_accepted, assert_tokens_refused, claims_of, issuer_of,
    static_provider, with, without,
};

/// A stack with one additional static provider, `pool`, whose tokens are accepted by the client
/// `agent`, and two with the issuer of `shared`: `web` is selected by `aud`, `jobs` by the client.
async fn start(key: &SigningKey) -> Stack {
    let by_client = |client: &str| json!({"audience_claim": "client_id", "client_ids": [client]});
    let shared = json!({"issuer": issuer_of("shared"), "client_ids": ["web-api"]});
    let jobs = with(&by_client("nightly"), "issuer", issuer_of("shared"));
    let providers = [
        static_provider("pool", &[key], by_client("agent")),
        static_provider("web", &[key], shared),
        static_provider("jobs", &[key], jobs),
    ];
    Stack::builder()
        .configure(move |configuration| {
            add_providers(configuration, providers);
            configuration["errors"] = json!({"details": "full"});
        })
        .start()
        .await
}

/// The claims of an access token as Amazon Cognito issues it.
fn claims(provider: &str, client: &str) -> Value {
    let claims = with(&without(&claims_of(provider), "aud"), "token_use", "access");
    with(&claims, "client_id", client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_aud_passes_by_its_client_id_where_configured() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let stack = start(&key).await;
    let valid = claims("pool", "agent");
    let named = |claim: &str| with(&without(&valid, "client_id"), claim, "agent");
    let accepted = [
        ("client_id", valid.clone()),
        ("azp", named("azp")),
        ("appid", named("appid")),
        ("cid", named("cid")),
        ("azp and client_id agree", with(&valid, "azp", "agent")),
        ("an accepted audience as well", with(&valid, "aud", "agent")),
    ]
    .map(|(name, claims)| (name, key.token(&claims)));
    assert_tokens_accepted(&stack, accepted).await;
    let response = stack.call(&key.token(&valid)).await;
    assert_eq!(response.whoami()["x-mcp-client-id"], "agent", "{response:?}");

    let refused = [
        ("another client", claims("pool", "other")),
        ("no client", without(&valid, "client_id")),
        ("a client that is not a string", with(&valid, "client_id", json!(["agent"]))),
        ("two that differ", with(&valid, "azp", "other")),
        ("two that differ, reversed", with(&claims("pool", "other"), "azp", "agent")),
        ("three, the last of which differs", with(&with(&valid, "azp", "agent"), "cid", "other")),
        // RFC 7519 §4.1.3: its `aud` names another audience.
        ("the audience of another API", with(&valid, "aud", "https://other.example")),
        ("an empty list of audiences", with(&valid, "aud", json!([]))),
        // Its `aud` is the client, but it has no `client_id`.
        ("an ID token", with(&without(&valid, "client_id"), "aud", "agent")),
    ]
    .map(|(name, claims)| (name, key.token(&claims), "audience_mismatch"));
    assert_tokens_refused(&stack, refused).await;

    // `audience_claim` does not apply to tokens of other providers.
    let without_audience = without(&with(&stack.claims(), "client_id", Stack::AUDIENCE), "aud");
    let token = stack.provider.token(&without_audience);
    assert_tokens_refused(&stack, [("by default", token, "audience_mismatch")]).await;
    let response = stack.call(&key.token(&claims("pool", "other"))).await;
    assert_eq!(
        response.body["details"],
        json!({"client_id": ["other"], "configured": ["agent"]}),
        "{response:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audience_or_the_client_selects_one_of_two_providers_of_an_issuer() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let stack = start(&key).await;
    let web = with(&with(&claims("shared", "nightly"), "aud", "web-api"), "azp", "nightly");
    for (name, claims, provider) in [
        ("by its audience", with(&claims("shared", "browser"), "aud", "web-api"), "web"),
        ("by its client", claims("shared", "nightly"), "jobs"),
        ("by its audience, whatever its client", web, "web"),
    ] {
        // The second request uses the token cache.
        for _ in 0..2 {
            let response = stack.call(&key.token(&claims)).await;
            assert_eq!(response.whoami()["x-mcp-provider"], provider, "{name}: {response:?}");
        }
    }
    let refused = [
        ("neither", claims("shared", "browser")),
        ("its client, and another audience", with(&claims("shared", "nightly"), "aud", "x")),
    ]
    .map(|(name, claims)| (name, key.token(&claims), "audience_mismatch"));
    assert_tokens_refused(&stack, refused).await;
}
