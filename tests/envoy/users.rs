//! Users: which record a token's user claim finds, and what happens without one.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, Stack};

use crate::support::{
    add_providers, assert_refusal, assert_tokens_refused, claims_of, static_provider, with, without,
};

/// A stack with these users and two additional static providers: `staff` finds users by number, and
/// `agents` by the client's id and the field `client`.
async fn start(users: Value) -> (Stack, SigningKey) {
    start_with(users, Value::Null).await
}

async fn start_with(users: Value, access: Value) -> (Stack, SigningKey) {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let staff = json!({"user_claim": "number", "user_field": "employee_number"});
    let agents = json!({"user_claim": "client_id", "user_field": "client"});
    let providers =
        [static_provider("staff", &[&key], staff), static_provider("agents", &[&key], agents)];
    let stack = Stack::builder()
        .alone()
        .configure(move |configuration| {
            configuration["providers"][0]["user_field"] = json!("email");
            add_providers(configuration, providers);
            configuration["users"] = users;
            configuration["errors"] = json!({"details": "full"});
            if !access.is_null() {
                configuration["access"] = access;
            }
        })
        .start()
        .await;
    (stack, key)
}

fn users(unknown: &str) -> Value {
    json!({"unknown": unknown, "records": [
        {
            "user_name": "ada", "email": "ada@example.com", "employee_number": "1815",
            "client": "ada-desk", "roles": ["itil", "admin"], "groups": ["ops"],
        },
        {"user_name": "bob", "email": "bob@example.com", "active": false},
        {"user_name": "eve", "email": "eve@example.com", "locked": true},
        {
            "user_name": "robot", "email": "robot@example.com", "client": "nightly",
            "roles": ["importer"], "web_service_access_only": true,
        },
    ]})
}

/// Sends the token, and returns the identity headers that the MCP server got.
async fn identity(stack: &Stack, token: &str) -> Value {
    let response = stack.call(token).await;
    assert_eq!(response.status, 200, "{response:?}");
    json!(stack.server.requests().pop().unwrap().identity())
}

fn email(stack: &Stack, email: &str) -> String {
    stack.provider.token(&with(&stack.claims(), "email", email))
}

/// A token that the client got for itself.
fn service(key: &SigningKey, client: &str) -> String {
    let claims = with(&claims_of("agents"), "client_id", client);
    key.token(&with(&claims, "sub", client))
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_groups_of_record_and_token_are_joined() {
    let (stack, _) = start(users("reject")).await;
    let found = identity(&stack, &stack.token()).await;
    assert_eq!(found["x-mcp-user"], "ada");
    assert_eq!(found["x-mcp-user-field"], "email");
    assert_eq!(found["x-mcp-roles"], "itil,admin");
    assert_eq!(found["x-mcp-groups"], "ops");
    let claims = with(&stack.claims(), "roles", json!(["mcp", "itil", "mcp"]));
    let claims = with(&claims, "groups", json!("dev"));
    let joined = identity(&stack, &stack.provider.token(&claims)).await;
    assert_eq!(joined["x-mcp-roles"], "itil,admin,mcp");
    assert_eq!(joined["x-mcp-groups"], "ops,dev");
}

#[tokio::test(flavor = "multi_thread")]
async fn access_rules_see_the_roles_of_record_and_token() {
    let access = json!({"rules": [{"require": {"roles": ["itil"], "groups": ["dev"]}}]});
    let (stack, _) = start_with(users("allow"), access).await;
    let group = |claims: &Value| stack.provider.token(&with(claims, "groups", json!(["dev"])));
    assert_eq!(stack.call(&group(&stack.claims())).await.status, 200);
    assert_refusal(&stack.call_refused(&stack.token()).await, "access_denied");
    let stranger = group(&with(&stack.claims(), "email", "stranger@example.com"));
    assert_refusal(&stack.call_refused(&stranger).await, "access_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_is_checked_after_the_claims_and_before_the_access_rules() {
    let access = json!({"default": "deny", "rules": []});
    let (stack, _) = start_with(users("reject"), access).await;
    let stranger = with(&stack.claims(), "email", "stranger@example.com");
    assert_tokens_refused(
        &stack,
        [
            ("unknown", stack.provider.token(&stranger), "user_unknown"),
            ("known", stack.token(), "access_denied"),
            ("expired", stack.provider.token(&with(&stranger, "exp", 1)), "expired"),
            ("none", stack.provider.token(&without(&stranger, "email")), "missing_claim"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_record_is_refused_and_case_matters() {
    let (stack, _) = start(users("reject")).await;
    for value in ["Ada@example.com", "ADA@EXAMPLE.COM", "ada@example.com ", "ada", "ada@example"] {
        let response = stack.call_refused(&email(&stack, value)).await;
        assert_refusal(&response, "user_unknown");
        assert_eq!(response.body["details"], json!({"claim": "email", "field": "email"}));
        assert!(!response.text.contains(value.trim()) || value == "ada", "{}", response.text);
    }
    let log = stack.envoy.log();
    assert!(log.contains(r#"reason=user_unknown provider=demo details={"claim":"email""#), "{log}");
    assert!(!log.contains("Ada@example.com"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inactive_and_a_locked_user_are_refused() {
    for unknown in ["reject", "allow"] {
        let (stack, _) = start(users(unknown)).await;
        for (value, details) in [
            ("bob@example.com", r#"{"standing":"inactive","user":"bob"}"#),
            ("eve@example.com", r#"{"standing":"locked","user":"eve"}"#),
        ] {
            let response = stack.call_refused(&email(&stack, value)).await;
            assert_refusal(&response, "user_inactive");
            assert!(response.body["details"].is_null(), "{response:?}");
            let line = format!("reason=user_inactive provider=demo details={details}");
            assert!(stack.envoy.log().contains(&line), "{}", stack.envoy.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_needs_a_web_service_access_only_user() {
    let (stack, key) = start(users("reject")).await;
    let robot = identity(&stack, &service(&key, "nightly")).await;
    assert_eq!(robot["x-mcp-user"], "robot");
    assert_eq!(robot["x-mcp-client-type"], "service");
    assert_eq!(robot["x-mcp-roles"], "importer");
    let refused = stack.call_refused(&service(&key, "ada-desk")).await;
    assert_refusal(&refused, "user_not_service_account");
    assert!(refused.body["details"].is_null(), "{refused:?}");
    // The services of a provider that does not mark them look like users.
    let user = identity(&stack, &email(&stack, "robot@example.com")).await;
    assert_eq!(
        (&user["x-mcp-user"], &user["x-mcp-client-type"]),
        (&json!("robot"), &json!("user"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_unknown_allow_the_value_of_the_claim_is_the_user() {
    let (stack, key) = start(users("allow")).await;
    let stranger = identity(&stack, &email(&stack, "stranger@example.com")).await;
    assert_eq!(stranger["x-mcp-user"], "stranger@example.com");
    assert_eq!(stranger["x-mcp-user-field"], "email");
    assert_eq!(stranger["x-mcp-roles"], Value::Null);
    assert_eq!(identity(&stack, &service(&key, "other")).await["x-mcp-user"], "other");
    assert_eq!(identity(&stack, &stack.token()).await["x-mcp-user"], "ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_find_one_record_by_different_claims_and_fields() {
    let (stack, key) = start(users("reject")).await;
    assert_eq!(identity(&stack, &stack.token()).await["x-mcp-user"], "ada");
    // An integer becomes decimal text.
    for number in [json!(1815), json!("1815")] {
        let token = key.token(&with(&claims_of("staff"), "number", number));
        let found = identity(&stack, &token).await;
        assert_eq!(
            (&found["x-mcp-user"], &found["x-mcp-provider"]),
            (&json!("ada"), &json!("staff"))
        );
    }
    let staff = |value: Value| key.token(&with(&claims_of("staff"), "number", value));
    assert_tokens_refused(
        &stack,
        [
            ("another number", staff(json!(1816)), "user_unknown"),
            ("leading zero", staff(json!("01815")), "user_unknown"),
            ("the value of another field", staff(json!("ada@example.com")), "user_unknown"),
            ("a fraction", staff(json!(1815.0)), "missing_claim"),
            ("a list", staff(json!(["1815"])), "missing_claim"),
        ],
    )
    .await;
}
