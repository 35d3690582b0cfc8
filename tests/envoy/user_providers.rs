//! Records that only tokens of some providers match.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, Stack};

use crate::support::{add_providers, assert_refusal, claims_of, static_provider, with};

/// Sends the token twice, and returns the user and roles that the MCP server saw.
async fn seen(stack: &Stack, token: &str) -> (Value, Value) {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let response = stack.call(token).await;
        assert_eq!(response.status, 200, "{response:?}\n{}", stack.envoy.log_of_all());
        let identity = json!(stack.server.requests().pop().unwrap().identity());
        seen.push((identity["x-mcp-user"].clone(), identity["x-mcp-roles"].clone()));
    }
    assert_eq!(seen[0], seen[1]);
    seen.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tokens_of_its_providers_match_a_record() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let names = ["staff", "guests", "partners"];
    let providers = names.map(|name| static_provider(name, &[&key], json!({"user_claim": "sub"})));
    let stack = Stack::builder()
        .alone()
        .configure(|configuration| {
            add_providers(configuration, providers);
            configuration["users"] = json!({"records": [
                {"user_name": "ada", "roles": ["admin"], "provider": "staff"},
                {"user_name": "ada", "roles": ["reader"], "provider": ["guests", "demo"]},
                {"user_name": "bob", "roles": ["itil"]},
            ]});
        })
        .start()
        .await;
    let token = |provider: &str, user: &str| key.token(&with(&claims_of(provider), "sub", user));
    let expected = |user: &str, role: &str| (json!(user), json!(role));
    assert_eq!(seen(&stack, &token("staff", "ada")).await, expected("ada", "admin"));
    assert_eq!(seen(&stack, &token("guests", "ada")).await, expected("ada", "reader"));
    let before = stack.server.count();
    for _ in 0..2 {
        let refused = stack.call(&token("partners", "ada")).await;
        assert_refusal(&refused, "user_unknown");
    }
    assert_eq!(stack.server.count(), before);
    let log = stack.envoy.log();
    assert!(log.contains("its `provider` does not name the provider of this token"), "{log}");
    for provider in names {
        assert_eq!(seen(&stack, &token(provider, "bob")).await, expected("bob", "itil"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_records_and_unknown_providers_are_refused() {
    let log = Stack::builder()
        .configure(|configuration| {
            configuration["users"] = json!({"records": [
                {"user_name": "ada", "provider": "demo"},
                {"user_name": "ada"},
                {"user_name": "bob", "provider": ["demo", "absent"]},
                {"user_name": "eve", "provider": true},
            ]});
        })
        .expect_refusal()
        .await;
    for fault in [
        "users.records[1].user_name: is also that of users.records[0]",
        "users.records[2].provider: there is no provider \"absent\"",
        "users.records[3].provider: expected a name, or a list of names",
    ] {
        assert!(log.contains(fault), "{fault}: {log}");
    }
}
