//! Tokens that pass, and the identity that the server receives.

use serde_json::{Value, json};
use testbed::{
    Algorithm, ConfigurationForm, Document, IdentityProvider, SigningKey, Stack, random_id,
};

use crate::support::{
    add_providers, assert_none, assert_tokens_accepted, assert_tokens_refused, base64url,
    claims_of, signed, static_provider, with, without,
};

/// Starts Envoy with a provider that publishes two keys for each algorithm, one with `alg` and one
/// without. Returns the keys to sign tokens with.
async fn start_with_all_algorithms(workers: usize) -> (Stack, Vec<SigningKey>) {
    let rsa = SigningKey::generate(Algorithm::Rs256, "rsa");
    let mut published = Vec::new();
    for algorithm in Algorithm::ALL {
        let key = match algorithm.name().starts_with(['R', 'P']) {
            true => rsa.with_algorithm(algorithm),
            false => SigningKey::generate(algorithm, "other"),
        };
        published.push(key.with_kid(algorithm.name()));
        published.push(key.with_kid(format!("{algorithm} without alg")));
    }
    let mut minting = published.clone();
    // RFC 9864 gives Ed25519 a second name: a key published under one name signs under the other.
    for key in &published[..4] {
        let other = [Algorithm::EdDsa, Algorithm::Ed25519]
            .into_iter()
            .find(|other| *other != key.algorithm())
            .expect("there are two");
        minting.push(key.with_algorithm(other));
    }
    let provider = IdentityProvider::start().await;
    provider.set_keys(published);
    provider.edit(Document::KeySet, |document| {
        for key in document["keys"].as_array_mut().expect("there are keys") {
            if key["kid"].as_str().is_some_and(|kid| kid.ends_with("without alg")) {
                *key = without(key, "alg");
            }
        }
    });
    (Stack::builder().workers(workers).provider(provider).start().await, minting)
}

async fn assert_all_pass(stack: &Stack, keys: &[SigningKey]) {
    let mut faults = Vec::new();
    for key in keys {
        let claims = stack.claims();
        let identity = json!({
            "x-mcp-user": claims["email"],
            "x-mcp-user-field": "user_name",
            "x-mcp-subject": claims["sub"],
            "x-mcp-issuer": claims["iss"],
            "x-mcp-provider": "demo",
            "x-mcp-client-id": claims["client_id"],
            "x-mcp-client-type": "user",
            "x-mcp-scopes": claims["scope"],
            "x-mcp-token-id": claims["jti"],
            "x-mcp-token-expires": claims["exp"].to_string(),
        });
        let response = stack.call(&key.token(&claims)).await;
        if response.status != 200 || *response.whoami() != identity {
            faults.push(format!("{key:?}: {response:?}"));
        }
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_pass_and_identify_the_caller() {
    let (stack, keys) = start_with_all_algorithms(1).await;
    assert_all_pass(&stack, &keys).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_pass_on_each_of_two_workers() {
    let (stack, keys) = start_with_all_algorithms(2).await;
    // Each request is a new connection, which the kernel gives to either worker.
    for _ in 0..3 {
        assert_all_pass(&stack, &keys).await;
    }
    let served = stack.envoy.connections_per_worker().await;
    assert_eq!(served.len(), 2, "{served:?}");
    assert_eq!(served.iter().sum::<u64>(), 3 * 26, "{served:?}");
    assert!(served.iter().all(|&connections| connections > 0), "{served:?}");
    assert_eq!(stack.provider.count(Document::KeySet), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_keys_of_3072_and_4096_bits_pass() {
    let keys = [3072, 4096]
        .map(|bits| SigningKey::generate_rsa(Algorithm::Rs256, format!("rsa-{bits}"), bits));
    let provider = static_provider("large", &keys.each_ref(), json!({}));
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    let cases = keys.map(|key| (key.kid().to_owned(), key.token(&claims_of("large"))));
    assert_tokens_accepted(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_holds_a_session() {
    let stack = Stack::builder().workers(2).start().await;
    let claims = stack.claims();
    let session = stack.session(&stack.provider.token(&claims)).await.unwrap();
    assert_eq!(session.tools().await.unwrap(), ["add", "whoami"]);
    assert_eq!(session.call("add", json!({"a": 2, "b": 3})).await.unwrap(), "5");
    let identity = session.whoami().await.unwrap();
    assert_eq!(identity["x-mcp-user"], claims["email"]);
    assert_eq!(identity["x-mcp-token-id"], claims["jti"]);
    session.close().await;
    let requests = stack.server.requests();
    assert!(requests.len() >= 4, "{requests:?}");
    for request in requests {
        assert_eq!(request.identity()["x-mcp-user"], "ada@example.com", "{request:?}");
        assert!(request.header("authorization").is_empty(), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_cannot_open_a_session_with_a_bad_token() {
    let stack = Stack::builder().start().await;
    let expired = with(&stack.claims(), "exp", testbed::now() - 1000);
    assert!(stack.session(&stack.provider.token(&expired)).await.is_err());
    assert!(stack.session("abc").await.is_err());
    assert_eq!(stack.server.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_means_the_same_as_a_struct_and_as_a_json_string() {
    for form in [ConfigurationForm::Struct, ConfigurationForm::StringValue] {
        let stack = Stack::builder()
            .form(form)
            .configure(|configuration| {
                // A Struct has only floating-point numbers: integers must come back unchanged.
                configuration["providers"][0]["required_claims"] =
                    json!({"level": [3, 4], "ratio": 0.5, "flag": true, "tenant": "Zoë"});
                configuration["identity"] = json!({"claims_to_headers": [
                    {"claim": ["address", "country"], "header": "x-country"},
                ]});
            })
            .start()
            .await;
        let mut claims = stack.claims();
        claims["level"] = json!(3);
        claims["ratio"] = json!(0.5);
        claims["flag"] = json!(true);
        claims["tenant"] = json!("Zoë");
        claims["address"] = json!({"country": "UK"});
        let response = stack.call(&stack.provider.token(&claims)).await;
        assert_eq!(response.status, 200, "{form:?}: {response:?}");
        assert_eq!(stack.server.requests()[0].header("x-country"), [b"UK"], "{form:?}");
        let cases = [
            ("level 5", with(&claims, "level", 5)),
            ("level as a string", with(&claims, "level", "3")),
            ("ratio 0.25", with(&claims, "ratio", 0.25)),
            ("flag false", with(&claims, "flag", false)),
            ("tenant Zoe", with(&claims, "tenant", "Zoe")),
        ]
        .map(|(name, claims)| (name, stack.provider.token(&claims), "claim_mismatch"));
        assert_tokens_refused(&stack, cases).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_pass_with_any_spelling_of_their_type() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let mut cases =
        vec![("none".to_owned(), key.sign(&without(&key.header(), "typ"), &stack.claims()))];
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt", "JWT", "jwt"] {
        let header = with(&key.header(), "typ", typ);
        cases.push((typ.to_owned(), key.sign(&header, &stack.claims())));
    }
    assert_tokens_accepted(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheme_is_bearer_in_any_case_and_with_any_number_of_spaces() {
    let stack = Stack::builder().start().await;
    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR    "] {
        let value = format!("{scheme}{}", stack.token());
        let response = stack.send(stack.request().header("authorization", value)).await;
        assert_eq!(response.status, 200, "{scheme}: {response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_claims_and_header_members_are_ignored() {
    let stack = Stack::builder().start().await;
    let key = stack.provider.key();
    let claims = stack.claims();
    let stranger = SigningKey::generate(Algorithm::Rs256, key.kid());
    let header = |name: &str, value: Value| key.sign(&with(&key.header(), name, value), &claims);
    let spaced = signed(
        &key,
        &base64url(format!(" {}\n", key.header())),
        &base64url(format!("\t{claims:#}\r\n")),
    );
    let cases = [
        ("other audiences", key.token(&with(&claims, "aud", json!(["x", Stack::AUDIENCE])))),
        (
            "a deeply nested claim",
            key.token(&with(&claims, "deep", json!({"a": [{"b": [[1, null]]}]}))),
        ),
        ("a claim with an empty name", key.token(&with(&claims, "", "x"))),
        ("a null claim", key.token(&with(&claims, "nbf_", Value::Null))),
        ("no jti", key.token(&without(&claims, "jti"))),
        ("no iat", key.token(&without(&claims, "iat"))),
        ("an unknown header member", header("x", json!({"y": 1}))),
        ("b64 true", header("b64", json!(true))),
        ("a nonce and a valid signature", header("nonce", json!(random_id()))),
        ("an embedded jwk, which is ignored", header("jwk", stranger.public_jwk())),
        ("a jku, which is ignored", header("jku", json!("http://[::1]/"))),
        ("an x5c, which is ignored", header("x5c", json!(["AAAA"]))),
        ("white space around the JSON", spaced),
    ];
    assert_tokens_accepted(&stack, cases).await;
    assert_eq!(stack.provider.count(Document::KeySet), 1);
}
