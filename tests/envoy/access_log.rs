//! What Envoy's access log prints of a request, in the format of the example.

use serde_json::json;
use testbed::Stack;

use crate::host_crypto::capabilities;
use crate::support::{SOON, with};

/// The end of the line about this answer, which the caller made the only one on its path.
async fn line(stack: &Stack, path: &str) -> String {
    stack.envoy.await_log(&format!(" {path} "), SOON).await;
    let log = stack.envoy.log();
    let line = log.lines().find(|line| line.contains(&format!(" {path} "))).expect("awaited");
    let (_, end) = line.split_once(&format!(" {path} ")).expect("found by it");
    end.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_tells_user_provider_and_reason() {
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["exempt"] = json!([{"path": "/exempt"}]);
            configuration["access"] = json!({
                "default": "allow",
                "rules": [{
                    "match": {"paths": ["/denied"]},
                    "require": {"roles": ["nobody has it"]},
                }],
            });
        })
        .start()
        .await;
    let claims = stack.claims();
    let token = |name: &str, value: &str| stack.provider.token(&with(&claims, name, value));
    let good = stack.token();
    let hostile = token("email", "ada\n2026 GET /forged 200 user=root");
    let cases = [
        ("/allowed", Some(good.clone()), "200 user=ada@example.com provider=demo reason=-"),
        (
            "/encoded",
            Some(hostile),
            "200 user=ada%0A2026 GET /forged 200 user=root provider=demo reason=-",
        ),
        ("/denied", Some(good), "403 user=ada@example.com provider=demo reason=access_denied"),
        (
            "/audience",
            Some(token("aud", "other")),
            "401 user=- provider=demo reason=audience_mismatch",
        ),
        (
            "/issuer",
            Some(token("iss", "https://x.example")),
            "401 user=- provider=- reason=unknown_issuer",
        ),
        ("/none", None, "401 user=- provider=- reason=missing_token"),
        ("/exempt", None, "200 user=- provider=- reason=-"),
    ];
    for (path, token, expected) in cases {
        let request = stack.client().get(stack.envoy.url(path));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        stack.send(request).await;
        assert_eq!(line(&stack, path).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_query_is_not_in_the_access_log() {
    let stack = Stack::builder().start().await;
    let token = stack.token();
    let url = stack.envoy.url(&format!("/query?access_token={token}"));
    stack.send(stack.client().get(url)).await;
    let expected = "400 user=- provider=- reason=malformed_authorization";
    assert_eq!(line(&stack, "/query").await, expected);
    assert!(!stack.envoy.log().contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_may_not_set_filter_state_serves_all_the_same() {
    let mut capabilities = capabilities();
    assert!(capabilities.remove("proxy_set_property").is_some());
    let stack = Stack::builder()
        .edit(move |bootstrap| {
            bootstrap.plugin()["capability_restriction_config"] =
                json!({ "allowed_capabilities": capabilities });
        })
        .start()
        .await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    assert_eq!(stack.call("a.b.c").await.status, 401);
    let good = stack.client().get(stack.envoy.url("/good")).bearer_auth(stack.token());
    assert_eq!(good.send().await.unwrap().status(), 200);
    assert_eq!(line(&stack, "/good").await, "200 user=- provider=- reason=-");
}
