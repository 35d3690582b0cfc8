//! What Envoy's access log prints for a request, in the format of the example.

use serde_json::{Value, json};
use testbed::Stack;

use crate::host_crypto::forbid;
use crate::support::{SOON, with};

/// The line for this path; the caller sends one request to it.
async fn line(stack: &Stack, path: &str) -> Value {
    let path_member = format!("\"path\":\"{path}\"");
    stack.envoy.await_log(&path_member, SOON).await;
    let log = stack.envoy.log();
    let line = log.lines().find(|line| line.contains(&path_member)).expect("awaited");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// What that line says about the response.
async fn logged(stack: &Stack, path: &str) -> Value {
    let line = line(stack, path).await;
    json!(["status", "user", "provider", "reason"].map(|name| line[name].clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_has_user_provider_and_reason() {
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["exempt"] = json!([{"path": "/exempt"}]);
            configuration["access"] = json!({
                "default": "allow",
                "rules": [{
                    "match": {"paths": ["/denied"]},
                    "require": {"roles": ["missing role"]},
                }],
            });
        })
        .alone()
        .start()
        .await;
    let claims = stack.claims();
    let token = |name: &str, value: &str| stack.provider.token(&with(&claims, name, value));
    let good = stack.token();
    let cases = [
        ("/allowed", Some(good.clone()), json!([200, "ada@example.com", "demo", null])),
        ("/denied", Some(good), json!([403, "ada@example.com", "demo", "access_denied"])),
        ("/audience", Some(token("aud", "other")), json!([401, null, "demo", "audience_mismatch"])),
        (
            "/issuer",
            Some(token("iss", "https://x.example")),
            json!([401, null, null, "unknown_issuer"]),
        ),
        ("/none", None, json!([401, null, null, "missing_token"])),
        ("/exempt", None, json!([200, null, null, null])),
    ];
    for (path, token, expected) in cases {
        let request = stack.client().get(stack.envoy.url(path));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        stack.send(request).await;
        assert_eq!(logged(&stack, path).await, expected, "{path}");
    }
}

/// A user may be able to choose the name that the provider vouches for.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_name_cannot_forge_another_field_or_line() {
    let stack = Stack::builder().alone().start().await;
    for (index, name) in [
        "x reason=- user=admin",
        "x\",\"user\":\"admin\",\"status\":\"500",
        "x\\\",\"user\":\"admin",
        "ada\n{\"path\":\"/forged\",\"user\":\"root\"}",
        "x\u{85}\u{2028}\u{202e}\u{9b}31m",
        "-",
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{index}");
        let token = stack.provider.token(&with(&stack.claims(), "email", name));
        stack.send(stack.client().get(stack.envoy.url(&path)).bearer_auth(token)).await;
        let request = stack.server.requests().pop().expect("the request reached the server");
        // As in the identity headers.
        let [user] = request.header("x-mcp-user")[..] else { panic!("{request:?}") };
        let user = String::from_utf8(user.to_vec()).unwrap();
        assert!(user.is_ascii());
        let members = line(&stack, &path).await.as_object().unwrap().len();
        assert_eq!(members, 7, "{name}");
        assert_eq!(logged(&stack, &path).await, json!([200, user, "demo", null]), "{name}");
    }
    assert!(!stack.envoy.log().lines().any(|line| line.starts_with("{\"path\":\"/forged")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_query_is_not_in_the_access_log() {
    let stack = Stack::builder().alone().start().await;
    let token = stack.token();
    let url = stack.envoy.url(&format!("/query?access_token={token}"));
    stack.send(stack.client().get(url)).await;
    let expected = json!([400, null, null, "malformed_authorization"]);
    assert_eq!(logged(&stack, "/query").await, expected);
    assert!(!stack.envoy.log().contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_may_not_set_filter_state_still_works() {
    let stack = Stack::builder()
        .edit(|bootstrap| forbid(bootstrap, "proxy_set_property"))
        .alone()
        .start()
        .await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    assert_eq!(stack.call("a.b.c").await.status, 401);
    let good = stack.client().get(stack.envoy.url("/good")).bearer_auth(stack.token());
    assert_eq!(good.send().await.unwrap().status(), 200);
    assert_eq!(logged(&stack, "/good").await, json!([200, null, null, null]));
}
