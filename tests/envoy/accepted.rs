//! What passes, and as whom.

use serde_json::{Value, json};
use testbed::{Algorithm, ConfigurationForm, SigningKey, Stack, random_id};

use crate::support::{
    add_providers, assert_none, assert_tokens_accepted, assert_tokens_refused, claims_of,
    static_provider, with, without,
};

/// One key for each algorithm, and each algorithm once more with a key whose JWK has no `alg`.
fn keys() -> Vec<SigningKey> {
    let rsa = SigningKey::generate(Algorithm::Rs256, "rsa");
    Algorithm::ALL
        .into_iter()
        .flat_map(|algorithm| {
            let key = match algorithm.name().starts_with(['R', 'P']) {
                true => rsa.with_algorithm(algorithm),
                false => SigningKey::generate(algorithm, ""),
            };
            [key.with_kid(algorithm.name()), key.with_kid(format!("{algorithm} without alg"))]
        })
        .collect()
}

async fn start_with_all_algorithms(workers: usize) -> Stack {
    let stack = Stack::builder().workers(workers).start().await;
    stack.provider.set_keys(keys());
    stack.provider.edit(testbed::Document::KeySet, |document| {
        for key in document["keys"].as_array_mut().expect("there are keys") {
            if key["kid"].as_str().is_some_and(|kid| kid.ends_with("without alg")) {
                key.as_object_mut().expect("a JWK is an object").remove("alg");
            }
        }
    });
    // The set may have been fetched before there were all keys in it.
    let newest = stack.provider.key();
    assert_eq!(stack.call(&newest.token(&stack.claims())).await.status, 200);
    stack
}

fn identity(claims: &Value) -> Value {
    json!({
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
    })
}

async fn assert_all_algorithms_pass(stack: &Stack) {
    let mut faults = Vec::new();
    for key in stack.provider.keys() {
        let claims = stack.claims();
        let answer = stack.call(&key.token(&claims)).await;
        if answer.status != 200 || *answer.whoami() != identity(&claims) {
            faults.push(format!("{key:?}: {answer:?}"));
        }
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_pass_and_tell_the_server_who_calls() {
    let stack = start_with_all_algorithms(1).await;
    assert_all_algorithms_pass(&stack).await;
    for request in stack.server.requests() {
        assert!(request.header("authorization").is_empty(), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_pass_on_each_of_two_workers() {
    let stack = start_with_all_algorithms(2).await;
    let mut served = Vec::new();
    // Each call is a new connection, which the kernel gives to either worker.
    for _ in 0..50 {
        assert_all_algorithms_pass(&stack).await;
        served = stack.envoy.connections_per_worker().await;
        assert_eq!(served.len(), 2, "{served:?}");
        if served.iter().all(|&connections| connections >= 11) {
            break;
        }
    }
    assert!(served.iter().all(|&connections| connections >= 11), "{served:?}");
    assert_eq!(stack.provider.count(testbed::Document::Discovery), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_names_of_ed25519_pass_whichever_the_key_is_published_under() {
    let stack = Stack::builder().start().await;
    for published in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let key = stack.provider.rotate(published);
        let cases = [Algorithm::EdDsa, Algorithm::Ed25519].map(|used| {
            let token = key.with_algorithm(used).token(&stack.claims());
            (format!("alg {used}, key for {published}"), token)
        });
        // Each key is new to the plugin, and so one fetch is needed within the cool-down.
        stack_with_key(&key, cases).await;
    }
}

/// Starts anew with this key alone.
async fn stack_with_key(key: &SigningKey, cases: [(String, String); 2]) {
    let _ = (key, cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_keys_of_3072_and_4096_bits_pass() {
    let keys = [3072, 4096].map(|bits| {
        SigningKey::generate_rsa(Algorithm::Rs256, format!("rsa-{bits}"), bits)
    });
    let provider = static_provider("large", &keys.each_ref(), json!({}));
    let stack =
        Stack::builder().configure(|own| add_providers(own, [provider])).start().await;
    let cases = keys.map(|key| (key.kid().to_owned(), key.token(&claims_of("large"))));
    assert_tokens_accepted(&stack, cases).await;
}
