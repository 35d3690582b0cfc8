//! A token that does not match a user cannot get that user's name: not by the value of a claim, not
//! through the directory, and not for a newly created user.

use serde_json::{Value, json};
use testbed::{Algorithm, ScimDirectory, SigningKey, Stack};

use crate::support::{
    add_providers, assert_refusal, assert_vm_lives, claims_of, static_provider, with,
    with_directory,
};

fn found_by_email(configuration: &mut Value) {
    let provider = &mut configuration["providers"][0];
    provider["user_claim"] = json!("email");
    provider["user_field"] = json!("email");
}

fn email(stack: &Stack, email: &str) -> String {
    stack.provider.token(&with(&stack.claims(), "email", email))
}

/// Sends the token twice, since the cached result must be the same, and returns the user that the
/// MCP server saw.
async fn user(stack: &Stack, token: &str) -> String {
    let mut users = Vec::new();
    for _ in 0..2 {
        let response = stack.call(token).await;
        assert_eq!(response.status, 200, "{response:?}\n{}", stack.envoy.log_of_all());
        let identity = json!(stack.server.requests().pop().unwrap().identity());
        users.push(identity["x-mcp-user"].as_str().unwrap().to_owned());
    }
    assert_eq!(users[0], users[1]);
    users.pop().unwrap()
}

/// Sends the token twice, and asserts that it is refused as `user_unknown`, that it does not reach
/// the MCP server, and that the log has the cause and the response does not.
async fn assert_unknown_user(stack: &Stack, token: &str, cause: &str) {
    let before = stack.server.count();
    for _ in 0..2 {
        let logged = stack.envoy.log().len();
        let response = stack.call(token).await;
        assert_refusal(&response, "user_unknown");
        let log = stack.envoy.log().split_off(logged);
        assert!(log.contains(cause), "{cause}: {log}");
        assert!(!response.text.contains("cause"), "{response:?}");
    }
    assert_eq!(stack.server.count(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_unknown_user_is_allowed_under_the_name_of_an_unmatched_record() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let agents = json!({"user_claim": "client_id"});
    let agents = static_provider("agents", &[&key], agents);
    let stack = Stack::builder()
        .configure(found_by_email)
        .configure(move |configuration| {
            add_providers(configuration, [agents]);
            configuration["users"] = json!({"unknown": "allow", "records": [
                {"user_name": "ada", "email": "ada@example.com", "roles": ["itil"]},
                {"user_name": "bob", "email": "bob@example.com", "active": false},
                {"user_name": "eve", "email": "eve@example.com", "locked": true},
                {"user_name": "boss", "email": "boss@example.com", "provider": "demo"},
            ]});
            configuration["errors"] = json!({"details": "full"});
        })
        .alone()
        .start()
        .await;
    for name in ["ada", "bob", "eve", "boss"] {
        let cause = format!(r#"the value is the user_name of the record of \"{name}\""#);
        assert_unknown_user(&stack, &email(&stack, name), &cause).await;
    }
    // The same holds for a service, and for the record of another provider.
    let agent = |name: &str| {
        let claims = with(&claims_of("agents"), "client_id", name);
        key.token(&with(&claims, "sub", name))
    };
    assert_unknown_user(&stack, &agent("boss"), r#"the record of \"boss\" has this value, but"#)
        .await;

    assert_eq!(user(&stack, &email(&stack, "ada@example.com")).await, "ada");
    assert_eq!(user(&stack, &email(&stack, "boss@example.com")).await, "boss");
    for stranger in ["stranger@example.com", "Ada", "adam", "robot"] {
        assert_eq!(user(&stack, &email(&stack, stranger)).await, stranger);
    }
    assert_eq!(user(&stack, &agent("robot")).await, "robot");
    let locked = stack.call_refused(&email(&stack, "eve@example.com")).await;
    assert_refusal(&locked, "user_inactive");
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_directory_cannot_have_the_name_of_a_record() {
    let directory = ScimDirectory::start().await;
    for (name, email) in
        [("root", "other@example.com"), ("bob", "bob@example.com"), ("keeper", "k@example.com")]
    {
        directory.add_user(json!({"userName": name, "emails": [{"value": email}]})).await;
    }
    let users = json!({"unknown": "allow", "records": [
        {"user_name": "root", "email": "root@example.com", "locked": true},
    ]});
    let stack =
        with_directory(Stack::builder().alone().configure(found_by_email), &directory, users)
            .start()
            .await;
    let found = email(&stack, "other@example.com");
    assert_unknown_user(&stack, &found, r#"has the name of the record of \"root\""#).await;
    assert_unknown_user(&stack, &email(&stack, "root"), r#"user_name of the record of \"root\""#)
        .await;
    // An unknown user is not allowed under the name of a user of the directory either.
    let keeper = email(&stack, "keeper");
    assert_unknown_user(&stack, &keeper, "it is the userName of another user").await;

    assert_eq!(user(&stack, &email(&stack, "bob@example.com")).await, "bob");
    assert_eq!(user(&stack, &email(&stack, "k@example.com")).await, "keeper");
    assert_eq!(user(&stack, &email(&stack, "stranger@example.com")).await, "stranger@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_user_is_created_under_the_name_of_a_record() {
    let directory = ScimDirectory::start().await;
    let users = json!({
        "unknown": "provision",
        "provision": {"fields": {"user_name": "preferred_username"}},
        "records": [{"user_name": "root", "email": "root@example.com", "active": false}],
    });
    let stack =
        with_directory(Stack::builder().alone().configure(found_by_email), &directory, users)
            .start()
            .await;
    let token = |name: &str| {
        let claims = with(&stack.claims(), "email", format!("{name}@elsewhere.example"));
        stack.provider.token(&with(&claims, "preferred_username", name))
    };
    assert_unknown_user(&stack, &token("root"), "cannot be created").await;
    assert_eq!(directory.gateway.count("POST"), 0);
    assert_eq!(user(&stack, &token("grace")).await, "grace");
    assert_eq!(directory.users().await.len(), 1);
}
