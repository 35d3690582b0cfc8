use std::time::Duration;

use crate::host::{SharedData, log};
use crate::provider::{
    assert_refused, claims, configuration, fetch, key, request, respond_with_key_set, start, token,
};

fn refusals() -> Vec<String> {
    log().into_iter().filter(|line| line.starts_with("refused: ")).collect()
}

// Requirement: token-storage
#[test]
fn a_refusal_is_logged_with_reason_provider_and_what_was_seen_but_never_the_token() {
    let vm = start(&configuration(), &SharedData::default());
    fetch(&vm, &[&key("one")]);
    let token = token(&key("one").with_kid("one\"\n]"));
    request(&vm, &token);
    vm.tick();
    respond_with_key_set(&vm, &vm.call(), &[&key("one")]);
    vm.advance(Duration::from_secs(30));
    request(&vm, &token);
    vm.tick();
    vm.fail(&vm.call());
    request(&vm, &key("one").token(&claims("https://elsewhere.example.com/\r\n", "mcp")));
    assert_eq!(
        refusals(),
        [
            "refused: reason=unknown_kid provider=example details={\"kid\":\"one\\\"\\n]\",\
             \"published\":[\"one\"]}",
            "refused: reason=keys_unavailable provider=example details={\"cause\":\"fetching keys \
             from https://id.example.com/jwks failed: no response (timeout, reset or no connection)\",\
             \"retry_after\":1}",
            "refused: reason=unknown_issuer provider=- details={\"configured\":\
             [\"https://id.example.com\"],\"iss\":\"https://elsewhere.example.com/\\r\\n\"}",
        ]
    );
    let signature = token.rsplit('.').next().unwrap();
    assert!(log().iter().all(|line| !line.contains(signature)));
}

#[test]
fn the_line_about_malformed_credentials_says_what_is_wrong_with_them() {
    let vm = start(&configuration(), &SharedData::default());
    for (path, authorization, fault) in [
        ("/mcp", "Bearer a, Bearer b", "there is more than one set of credentials"),
        ("/mcp?access_token=a", "Bearer b", "the query must not hold an access token"),
        ("/mcp", "Basic YTpi", "the Authorization scheme is not Bearer"),
        ("/mcp", "Bearer", "the Authorization header holds no token"),
    ] {
        let (_, outcome) = vm.request(&[
            (":method", b"POST"),
            (":path", path.as_bytes()),
            (":authority", b"mcp.example.com"),
            ("authorization", authorization.as_bytes()),
        ]);
        assert_refused(&outcome, 400, "malformed_authorization");
        let line = format!(
            "refused: reason=malformed_authorization provider=- details={{\"fault\":\"{fault}\"}}"
        );
        assert_eq!(refusals().last(), Some(&line));
    }
}

#[test]
fn a_flood_of_refusals_is_summarised() {
    let vm = start(&configuration(), &SharedData::default());
    for _ in 0..1000 {
        request(&vm, "no token");
    }
    assert_eq!(refusals().len(), 100);
    vm.advance(Duration::from_secs(1));
    request(&vm, "no token");
    let lines = refusals();
    assert_eq!(lines.len(), 102);
    assert_eq!(lines[100], "refused: 900 more requests (log rate limit)");
}
