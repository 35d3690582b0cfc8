//! The formats of a refusal's body.

use serde_json::{Value, json};
use testbed::Stack;

use crate::support::with;

async fn start(errors: Value) -> Stack {
    Stack::builder()
        .configure(move |configuration| {
            configuration["errors"] = errors;
            configuration["access"] =
                json!({"rules": [{"name": "all", "require": {"scopes": ["b"]}}]});
        })
        .start()
        .await
}

// Requirement: error-code-range
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn each_format_has_the_configured_detail_in_its_own_shape() {
    let expired = "the token has expired";
    let scopes = "the token lacks required scopes";
    let anything = "the access token is not accepted";
    let lacking = "the access token lacks scopes";
    let servicenow = |detail: &str| {
        json!({
            "error": {"message": "User Not Authenticated", "detail": detail}, "status": "failure",
        })
    };
    let json_rpc = |code: u16, message: &str| json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    for (format, details, bodies) in [
        ("servicenow", "none", [servicenow(anything), servicenow(lacking)]),
        (
            "servicenow",
            "reason",
            [
                with(&servicenow(expired), "reason", "expired"),
                with(&servicenow(scopes), "reason", "insufficient_scope"),
            ],
        ),
        ("json_rpc", "none", [json_rpc(401, anything), json_rpc(403, lacking)]),
        (
            "json_rpc",
            "reason",
            [(401, expired, "expired"), (403, scopes, "insufficient_scope")].map(
                |(code, message, reason)| {
                    let mut body = json_rpc(code, message);
                    body["error"]["data"] = json!({"reason": reason});
                    body
                },
            ),
        ),
        (
            "json_rpc",
            "full",
            [
                (401, expired, json!({"reason": "expired", "details": {"seconds_ago": 0}})),
                (
                    403,
                    scopes,
                    json!({
                        "reason": "insufficient_scope",
                        "details": {"rule": "all", "missing": ["b"]},
                    }),
                ),
            ]
            .map(|(code, message, data)| {
                let mut body = json_rpc(code, message);
                body["error"]["data"] = data;
                body
            }),
        ),
    ] {
        let stack = start(json!({"format": format, "details": details})).await;
        let past = with(&stack.claims(), "exp", testbed::now() - 1000);
        for (token, status, mut expected) in
            [(stack.provider.token(&past), 401), (stack.token(), 403)]
                .into_iter()
                .zip(bodies)
                .map(|((token, status), body)| (token, status, body))
        {
            let response = stack.call_refused(&token).await;
            assert_eq!(response.status, status);
            assert_eq!(response.header("content-type"), "application/json");
            assert!(response.header("www-authenticate").starts_with("Bearer error=\""));
            let mut body = response.body.clone();
            // The number of seconds since expiry varies, so it is not compared.
            for body in [&mut body, &mut expected] {
                if let Some(seconds) = body.pointer_mut("/error/data/details/seconds_ago") {
                    assert!(seconds.is_u64());
                    *seconds = Value::Null;
                }
            }
            assert_eq!(body, expected, "{format} {details}");
        }
    }
}
