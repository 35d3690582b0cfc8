//! Requests of web pages.

use serde_json::json;
use testbed::Stack;

use crate::support::{assert_none, assert_refusal, faults_of_refusal, named};

const APP: &str = "https://app.example.com";
const LOCAL: &str = "http://localhost:6274";

async fn start() -> Stack {
    Stack::builder()
        .configure(|configuration| configuration["allowed_origins"] = json!([APP, LOCAL]))
        .start()
        .await
}

// Requirement: origin
#[tokio::test(flavor = "multi_thread")]
async fn a_listed_origin_and_a_request_without_origin_pass() {
    let stack = start().await;
    for origin in [APP, LOCAL] {
        let request = stack.request().bearer_auth(stack.token()).header("origin", origin);
        assert_eq!(stack.send(request).await.status, 200, "{origin}");
    }
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    // An allowed origin does not replace a token.
    let response = stack.send_refused(stack.request().header("origin", APP)).await;
    assert_refusal(&response, "missing_token");
}

// Requirement: origin
#[tokio::test(flavor = "multi_thread")]
async fn other_origins_are_refused_whatever_the_token() {
    let stack = start().await;
    let mut faults = Vec::new();
    for origins in [
        &["https://evil.example"][..],
        &["http://app.example.com"],
        &["https://app.example.com:8443"],
        &["https://app.example.com/"],
        &["https://app.example.com.evil.example"],
        &["https://evil.example/https://app.example.com"],
        &["https://sub.app.example.com"],
        &["http://localhost"],
        &["http://localhost:62740"],
        &["null"],
        &["*"],
        &[""],
        &["https://evil.example", APP],
        &[APP, "https://evil.example"],
        &["https://app.example.com https://evil.example"],
        &["https://app.example.com, https://evil.example"],
    ] {
        let forms = [
            ("a good token", stack.request().bearer_auth(stack.token())),
            ("a bad token", stack.request().bearer_auth("a.b.c")),
            ("no token", stack.request()),
        ];
        for (name, request) in forms {
            let request =
                origins.iter().fold(request, |request, origin| request.header("origin", *origin));
            let response = stack.send_refused(request).await;
            let faults_of_case = faults_of_refusal(&response, "origin_denied");
            faults.extend(named(&format!("{origins:?} with {name}"), faults_of_case));
        }
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_a_request_like_any_other() {
    let stack = start().await;
    let preflight = |origin: &str| {
        stack
            .client()
            .request("OPTIONS".parse().unwrap(), stack.url())
            .header("origin", origin)
            .header("access-control-request-method", "POST")
    };
    let response = stack.send_refused(preflight(APP)).await;
    assert_refusal(&response, "missing_token");
    let response = stack.send_refused(preflight("https://evil.example")).await;
    assert_refusal(&response, "origin_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_origin_passes_where_none_is_listed() {
    let stack = Stack::builder().start().await;
    for origin in ["https://anything.example", "null"] {
        let request = stack.request().bearer_auth(stack.token()).header("origin", origin);
        let response = stack.send(request).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
}
