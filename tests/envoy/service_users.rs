//! `service_user_claim`: the user claim of services, for providers whose service tokens have no
//! `sub`.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, Stack};

use crate::support::{
    add_providers, assert_refusal, assert_tokens_refused, claims_of, static_provider, with, without,
};

/// A stack with additional static providers, all of which find users by `upn`: `people` does not
/// configure services, `duende` does, and so does `fixed`, although its tokens are people's.
async fn start(key: &SigningKey, users: Value) -> Stack {
    let people = json!({"user_claim": "upn"});
    let duende = with(&people, "service_user_claim", "client_id");
    let fixed = with(&duende, "client_type", "user");
    let services = with(&duende, "client_type", "service");
    let providers = [
        static_provider("people", &[key], people),
        static_provider("duende", &[key], duende),
        static_provider("fixed", &[key], fixed),
        static_provider("services", &[key], services),
    ];
    Stack::builder()
        .configure(move |configuration| {
            configuration["providers"][0]["user_field"] = json!("user_name");
            add_providers(configuration, providers);
            if !users.is_null() {
                configuration["users"] = users;
            }
        })
        .start()
        .await
}

/// A client-credentials token as Duende IdentityServer issues it: without `sub`.
fn machine(provider: &str) -> Value {
    with(&without(&claims_of(provider), "sub"), "client_id", "nightly")
}

fn person(provider: &str) -> Value {
    with(&with(&claims_of(provider), "client_id", "desk"), "upn", "ada")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_sub_belongs_to_a_service_where_configured() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let stack = start(&key, Value::Null).await;
    let marked = with(&with(&machine("duende"), "sub", "nightly"), "upn", "somebody");
    for (name, claims, user, client_type) in [
        ("a machine", machine("duende"), "nightly", "service"),
        ("a service with the claim", marked, "nightly", "service"),
        ("a person", person("duende"), "ada", "user"),
        ("a person without sub", without(&person("duende"), "sub"), "ada", "user"),
        ("a provider of services only", with(&person("services"), "sub", "x"), "desk", "service"),
        ("a provider of people only", person("fixed"), "ada", "user"),
    ] {
        let response = stack.call(&key.token(&claims)).await;
        let seen = response.whoami();
        assert_eq!(seen["x-mcp-user"], user, "{name}: {response:?}");
        assert_eq!(seen["x-mcp-client-type"], client_type, "{name}: {response:?}");
    }
    let unnamed = without(&person("duende"), "upn");
    let refused = [
        // As newer versions of Keycloak issue it to people.
        ("a person without sub and user, elsewhere", machine("people")),
        ("a person without user", unnamed.clone()),
        ("a person whose sub is null", with(&unnamed, "sub", Value::Null)),
        ("a person whose sub is empty", with(&unnamed, "sub", "")),
        ("a person whose user is null", with(&machine("duende"), "upn", Value::Null)),
        ("a machine where all are people", machine("fixed")),
        ("a machine without client", without(&machine("duende"), "client_id")),
    ]
    .map(|(name, claims)| (name, key.token(&claims), "missing_claim"));
    assert_tokens_refused(&stack, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_sub_may_use_only_service_accounts() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let users = json!({"records": [
        {"user_name": "ada"},
        {"user_name": "nightly", "web_service_access_only": true},
        {"user_name": "desk"},
    ]});
    let stack = start(&key, users).await;
    let response = stack.call(&key.token(&machine("duende"))).await;
    assert_eq!(response.whoami()["x-mcp-user"], "nightly", "{response:?}");
    let desk = key.token(&with(&machine("duende"), "client_id", "desk"));
    assert_refusal(&stack.call(&desk).await, "user_not_service_account");
    let other = key.token(&with(&machine("duende"), "client_id", "other"));
    assert_refusal(&stack.call(&other).await, "user_unknown");
}
