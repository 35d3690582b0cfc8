//! The response to a refused request: challenge, header fields and body.

use serde_json::{Value, json};
use testbed::{Port, Response, SigningKey, Stack};

use crate::support::{add_listener, assert_none, assert_refusal, base64url, with};

/// Asserts that the string is a challenge as in RFC 9110 §11.6.1, and returns its parameters in
/// order.
fn parameters(challenge: &str) -> Vec<(String, String)> {
    let rest = challenge.strip_prefix("Bearer ").expect("the challenge has the scheme Bearer");
    let mut parameters = Vec::new();
    for parameter in rest.split(", ") {
        let (name, value) = parameter.split_once('=').expect("a parameter has a name and a value");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.unwrap_or_else(|| panic!("{name} is quoted: {challenge}"));
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !b"\"\\,".contains(&byte);
        assert!(value.bytes().all(is_plain), "{challenge}");
        parameters.push((name.to_owned(), value.to_owned()));
    }
    parameters
}

fn challenge_of(response: &Response) -> &str {
    assert_eq!(response.headers.get_all("www-authenticate").iter().count(), 1, "{response:?}");
    response.header("www-authenticate")
}

fn metadata_url(stack: &Stack) -> String {
    let port = stack.envoy.address().port();
    format!("http://127.0.0.1:{port}/.well-known/oauth-protected-resource/mcp")
}

// Requirement: metadata-by-header
// Requirement: challenge-no-error
#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_to_a_request_without_credentials_has_no_error() {
    let stack = Stack::builder().start().await;
    let response = stack.send_refused(stack.request()).await;
    assert_refusal(&response, "missing_token");
    assert_eq!(
        challenge_of(&response),
        format!("Bearer resource_metadata=\"{}\", scope=\"mcp.tools\"", metadata_url(&stack))
    );
}

// Requirement: metadata-by-header
// Requirement: token-error-handling
// Requirement: challenge-once
#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_to_a_bad_token_names_the_error_first() {
    let stack = Stack::builder().start().await;
    let response = stack.call_refused("a.b.c").await;
    assert_refusal(&response, "malformed_token");
    let description = response.body["error_description"].as_str().unwrap();
    assert_eq!(
        parameters(challenge_of(&response)),
        [
            ("error", "invalid_token"),
            ("error_description", description),
            ("resource_metadata", &metadata_url(&stack)),
            ("scope", "mcp.tools"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

// Requirement: error-codes
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_gets_no_challenge() {
    let stack = Stack::builder().start().await;
    let request = stack.request().header("authorization", "Basic YTpi");
    let response = stack.send_refused(request).await;
    assert_refusal(&response, "malformed_authorization");
    assert!(!response.headers.contains_key("www-authenticate"));
}

/// A resource and its scopes, and the parameters that the challenge then has.
const RESOURCES: [(&str, &[&str], &str, Option<&str>); 8] = [
    (
        "https://mcp.example.com/mcp",
        &["incident.read", "incident.write"],
        "https://mcp.example.com/.well-known/oauth-protected-resource/mcp",
        Some("incident.read incident.write"),
    ),
    (
        "https://mcp.example.com",
        &[],
        "https://mcp.example.com/.well-known/oauth-protected-resource",
        None,
    ),
    (
        "https://mcp.example.com/",
        &["a"],
        "https://mcp.example.com/.well-known/oauth-protected-resource",
        Some("a"),
    ),
    (
        "https://mcp.example.com:8443/a/b/mcp",
        &[],
        "https://mcp.example.com:8443/.well-known/oauth-protected-resource/a/b/mcp",
        None,
    ),
    (
        "https://mcp.example.com/mcp/",
        &[],
        "https://mcp.example.com/.well-known/oauth-protected-resource/mcp/",
        None,
    ),
    (
        "https://mcp.example.com/mcp?tenant=1",
        &[],
        "https://mcp.example.com/.well-known/oauth-protected-resource/mcp?tenant=1",
        None,
    ),
    (
        "http://127.0.0.1:10000/mcp",
        &["https://scopes.example/x.read"],
        "http://127.0.0.1:10000/.well-known/oauth-protected-resource/mcp",
        Some("https://scopes.example/x.read"),
    ),
    (
        "http://[::1]:10000/mcp",
        &[],
        "http://[::1]:10000/.well-known/oauth-protected-resource/mcp",
        None,
    ),
];

// Requirement: metadata-slash-after-host
// Requirement: scope-in-challenge
// Requirement: challenge-parameters
#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_has_the_metadata_url_and_the_scopes_of_the_resource() {
    let ports = RESOURCES.map(|_| Port::free());
    let numbers = ports.each_ref().map(Port::number);
    let stack = Stack::builder()
        .edit(move |bootstrap| {
            for (port, (url, scopes, ..)) in numbers.into_iter().zip(RESOURCES) {
                add_listener(bootstrap, port, |configuration| {
                    configuration["resource"] = json!({"url": url, "scopes_supported": scopes});
                });
            }
        })
        .start()
        .await;
    let mut faults = Vec::new();
    for (port, (url, _, metadata_url, scope)) in ports.iter().zip(RESOURCES) {
        let request = Response::mcp_call(stack.client(), &format!("http://{}/mcp", port.address()));
        let response = stack.send_refused(request).await;
        let scope = scope.map(|scope| format!(", scope=\"{scope}\"")).unwrap_or_default();
        let expected = format!("Bearer resource_metadata=\"{metadata_url}\"{scope}");
        if challenge_of(&response) != expected {
            faults.push(format!("{url}: {}", challenge_of(&response)));
        }
    }
    assert_none(&faults);
}

/// Values that could break out of a quoted string or a header line.
const HOSTILE: [&str; 8] = [
    "\"",
    "\\",
    "\", scope=\"admin",
    "x\", resource_metadata=\"https://evil.example",
    "\r\nset-cookie: a=b",
    "\u{0}\u{7f}",
    "Zoë 🔑",
    "%22",
];

// Requirement: scope-consistency
// Requirement: challenge-once
// Requirement: challenge-characters
#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_contains_nothing_that_the_client_chose() {
    let stack = Stack::builder()
        .configure(|configuration| configuration["errors"] = json!({"details": "full"}))
        .start()
        .await;
    let key = stack.provider.key();
    let claims = with(&stack.claims(), "scope", "mcp.admin");
    for hostile in HOSTILE {
        let header = |name: &str| key.sign(&with(&key.header(), name, hostile), &claims);
        let claim = |name: &str| key.token(&with(&claims, name, hostile));
        for (token, reason) in [
            (header("kid"), "unknown_kid"),
            (header("typ"), "wrong_token_type"),
            (header("alg"), "unsupported_algorithm"),
            (header("crit"), "unsupported_critical_header"),
            (claim("iss"), "unknown_issuer"),
            (claim("aud"), "audience_mismatch"),
            (format!("{}.{}.x", base64url(hostile), base64url(hostile)), "malformed_token"),
        ] {
            let response = stack.call_refused(&token).await;
            assert_refusal(&response, reason);
            let names: Vec<_> =
                parameters(challenge_of(&response)).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["error", "error_description", "resource_metadata", "scope"]);
            assert!(!response.headers.contains_key("set-cookie"), "{response:?}");
            // The scope is what the server supports, whatever the token holds.
            assert!(challenge_of(&response).ends_with("scope=\"mcp.tools\""), "{response:?}");
        }
    }
}

// Requirement: token-storage
#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_reason_and_neither_breaks_lines_nor_holds_the_token() {
    let stack = Stack::builder().alone().start().await;
    let key = stack.provider.key();
    let mut tokens = Vec::new();
    for hostile in HOSTILE {
        let hostile = format!("{hostile}\n[critical] forged line");
        tokens.push(key.with_kid(&hostile).token(&stack.claims()));
        tokens.push(key.token(&with(&stack.claims(), "iss", hostile)));
    }
    tokens.push(key.token(&with(&stack.claims(), "aud", "other")));
    for token in &tokens {
        stack.call_refused(token).await;
    }
    for reason in ["unknown_kid", "unknown_issuer", "audience_mismatch"] {
        stack.envoy.await_log(reason, crate::support::SOON).await;
    }
    let log = stack.envoy.log();
    assert!(!log.lines().any(|line| line.starts_with("[critical]")), "{log}");
    for token in &tokens {
        for segment in token.split('.') {
            assert!(!log.contains(segment), "{segment} in {log}");
        }
    }
    let line = log.lines().find(|line| line.contains("audience_mismatch")).unwrap();
    assert!(line.contains("demo") && line.contains("other"), "{line}");
    assert!(!line.contains("ada"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_says_when_to_retry_while_keys_are_missing() {
    let mut provider = testbed::IdentityProvider::start().await;
    provider.stop().await;
    let stack = Stack::builder().provider(provider).start().await;
    for _ in 0..3 {
        let response = stack.call_refused(&stack.token()).await;
        assert_refusal(&response, "keys_unavailable");
        let seconds: u64 = response.header("retry-after").parse().unwrap();
        assert!((1..=5).contains(&seconds), "{response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one flow from start to end")]
async fn responses_have_the_configured_detail() {
    let ports = ["none", "reason", "full"].map(|details| (details, Port::free()));
    let numbers = ports.each_ref().map(|(details, port)| (*details, port.number()));
    let stack = Stack::builder()
        .edit(move |bootstrap| {
            for (details, port) in numbers {
                add_listener(bootstrap, port, |configuration| {
                    configuration["errors"] = json!({"format": "oauth", "details": details});
                });
            }
        })
        .start()
        .await;
    let key = stack.provider.key();
    let stranger = SigningKey::generate(key.algorithm(), key.kid());
    let claims = stack.claims();
    let tokens = [
        ("malformed_token", "a.b.c".to_owned()),
        ("expired", key.token(&with(&claims, "exp", 1))),
        ("audience_mismatch", key.token(&with(&claims, "aud", "other"))),
        ("unknown_issuer", key.token(&with(&claims, "iss", "https://other.example"))),
        ("bad_signature", stranger.token(&claims)),
        ("missing_claim", key.token(&with(&claims, "email", Value::Null))),
    ];
    for (details, port) in &ports {
        let mut all = Vec::new();
        for (reason, token) in &tokens {
            let url = format!("http://{}/mcp", port.address());
            let request = Response::mcp_call(stack.client(), &url).bearer_auth(token);
            let response = stack.send_refused(request).await;
            assert_eq!(response.status, 401, "{response:?}");
            assert_eq!(response.body["error"], "invalid_token", "{response:?}");
            for secret in ["ada", token] {
                assert!(!response.text.contains(secret), "{secret} in {response:?}");
            }
            if *details != "none" {
                assert_refusal(&response, reason);
            }
            all.push(response);
        }
        let members = |response: &Response| -> Vec<String> {
            response.body.as_object().unwrap().keys().cloned().collect()
        };
        match *details {
            "none" => {
                // Nothing in the responses distinguishes the causes.
                for response in &all {
                    assert_eq!(members(response), ["error", "error_description"]);
                    assert_eq!(response.text, all[0].text);
                    assert_eq!(challenge_of(response), challenge_of(&all[0]));
                }
            }
            "reason" => {
                for response in &all {
                    assert_eq!(members(response), ["error", "error_description", "reason"]);
                }
            }
            _ => {
                let audience = &all[2];
                assert!(audience.text.contains("other"), "{audience:?}");
                assert!(audience.text.contains(Stack::AUDIENCE), "{audience:?}");
                assert!(all[3].text.contains("https://other.example"), "{:?}", all[3]);
            }
        }
    }
}
