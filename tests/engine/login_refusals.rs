//! Logins that are refused, each next to one that succeeds, and the cost of a slow or broken
//! provider, proxy or client.

use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{Outcome, log};
use crate::login_support::{
    Browser, FORM, Gateway, JSON, Location, REDIRECT_URI, assert_error, authorize, code_request,
    endpoints, logged, refresh_request, respond_with_endpoints, responded, text, token_call,
    with_login,
};
use crate::provider::{AUDIENCE, ISSUER, claims};

/// A code that this gateway issued to the client.
fn with_code() -> (Gateway, String, String) {
    Gateway::with_code(&with_login())
}

#[test]
fn an_approval_needs_the_browser_that_opened_the_page() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut victim = Browser::default();
    let page = victim.open(&gateway, &authorize(&client_id, &[]));
    let attacker = Browser::default();
    let provider = ("provider", "example");
    for (browser, fields) in [
        (&attacker, &[][..]),
        (&victim, &[("origin", "https://evil.example")]),
        (&victim, &[("sec-fetch-site", "cross-site")]),
        (&victim, &[("origin", ""), ("sec-fetch-site", "")]),
    ] {
        let id = browser.submit(&gateway, &page, provider, fields);
        assert_eq!(responded(&gateway.vm.outcome(id)).status, 400, "{fields:?}");
        assert!(gateway.vm.calls().is_empty());
    }
    victim.approve(&gateway, &page);
}

#[test]
fn a_callback_needs_the_browser_that_approved() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut attacker = Browser::default();
    let page = attacker.open(&gateway, &authorize(&client_id, &[]));
    let to_provider = attacker.approve(&gateway, &page);
    let mut victim = Browser::default();
    victim.open(&gateway, &authorize(&client_id, &[]));
    for browser in [&victim, &Browser::default()] {
        let response = browser.come_back(&gateway, &to_provider, &[("code", "victims")]);
        assert_eq!(response.status, 400);
        assert!(response.header("location").is_none());
    }
    attacker.return_from_provider(&gateway, &to_provider, &[("code", "own")]);
}

#[test]
fn a_callback_of_another_issuer_is_refused() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut browser = Browser::default();
    let page = browser.open(&gateway, &authorize(&client_id, &[]));
    let to_provider = browser.approve(&gateway, &page);
    let pairs = [("code", "c"), ("iss", "https://evil.example")];
    assert_eq!(browser.come_back(&gateway, &to_provider, &pairs).status, 400);
    let pairs = [("code", "c"), ("iss", ISSUER)];
    browser.return_from_provider(&gateway, &to_provider, &pairs);
}

#[test]
fn an_error_of_the_provider_is_sent_to_the_client() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut browser = Browser::default();
    let page = browser.open(&gateway, &authorize(&client_id, &[]));
    let to_provider = browser.approve(&gateway, &page);
    let pairs = [("error", "access_denied"), ("error_description", "<b>secret</b>")];
    let Location { parameters, .. } = browser.return_from_provider(&gateway, &to_provider, &pairs);
    assert_eq!(parameters["error"], "access_denied");
    assert!(!parameters["error_description"].contains("secret"));
    assert!(!logged("secret"));
}

#[test]
fn a_person_can_cancel() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let mut browser = Browser::default();
    let page = browser.open(&gateway, &authorize(&client_id, &[]));
    let id = browser.submit(&gateway, &page, ("cancel", "1"), &[]);
    let back = Location::of(&responded(&gateway.vm.outcome(id)));
    assert_eq!(
        (back.url.as_str(), back.parameters["error"].as_str()),
        (REDIRECT_URI, "access_denied")
    );
    assert!(gateway.vm.calls().is_empty(), "the provider gets no request");
}

#[test]
fn no_redirect_goes_to_an_unregistered_uri() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    for changes in [
        &[("redirect_uri", "https://evil.example/cb")][..],
        &[("redirect_uri", "http://localhost@evil.example/callback")],
        &[("redirect_uri", "")],
        &[("client_id", "unknown")],
    ] {
        let response = gateway.get(&authorize(&client_id, changes));
        assert_eq!(response.status, 400, "{changes:?}");
        assert!(response.header("location").is_none());
    }
    for (changes, error) in [
        (&[("response_type", "token")][..], "unsupported_response_type"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("resource", "https://other.example/mcp")], "invalid_target"),
        (&[("request", "x")], "request_not_supported"),
    ] {
        let back = Location::of(&gateway.get(&authorize(&client_id, changes)));
        assert_eq!(back.parameters["error"], error, "{changes:?}");
        assert_eq!(back.parameters["iss"], "https://mcp.example.com");
        assert_eq!(back.parameters["state"], "client-state");
    }
    assert_eq!(gateway.get(&authorize(&client_id, &[])).status, 200);
}

#[test]
fn a_request_that_does_not_match_its_code_causes_no_callout() {
    let (gateway, client_id, code) = with_code();
    let other = gateway.register();
    let good = code_request(&client_id, &code);
    for (name, value, error) in [
        ("client_id", other.as_str(), "invalid_grant"),
        ("code", "forged", "invalid_grant"),
        ("redirect_uri", "http://localhost:7777/other", "invalid_grant"),
        ("code_verifier", "aBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "invalid_grant"),
        ("grant_type", "client_credentials", "unsupported_grant_type"),
    ] {
        let mut pairs = good.to_vec();
        pairs.retain(|(own, _)| *own != name);
        pairs.push((name, value));
        let response = gateway.token_request(&pairs);
        assert_error(&response, 400, error);
    }
    let mut pairs = good.to_vec();
    pairs.retain(|(own, _)| *own != "client_id");
    pairs.push(("client_id", "unknown"));
    assert_error(&gateway.token_request(&pairs), 401, "invalid_client");
    assert!(gateway.vm.calls().is_empty());
    gateway.vm.advance(Duration::from_secs(60));
    assert_error(&gateway.token_request(&good), 400, "invalid_grant");
}

#[test]
fn ten_thousand_forged_codes_cost_no_callout() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    for index in 0..10_000 {
        let forged = format!("forged-{index}");
        gateway.token_request(&code_request(&client_id, &forged));
    }
    assert!(gateway.vm.calls().is_empty());
}

#[test]
fn a_token_that_would_be_refused_is_not_issued() {
    let for_others = |gateway: &Gateway| {
        let mut claims = claims(ISSUER, AUDIENCE);
        claims["aud"] = json!("other");
        gateway.key.token(&claims)
    };
    let expired = |gateway: &Gateway| {
        let mut claims = claims(ISSUER, AUDIENCE);
        claims["exp"] = json!(1_000_000_000);
        gateway.key.token(&claims)
    };
    let opaque = |_: &Gateway| "0123456789".to_owned();
    type Sealed<'a> = &'a dyn Fn(&Gateway) -> String;
    let cases: [(Sealed<'_>, &str); 3] =
        [(&for_others, "audience_mismatch"), (&expired, "expired"), (&opaque, "malformed_token")];
    for (token, reason) in cases {
        let (gateway, client_id, code) = with_code();
        let token = token(&gateway);
        let tokens = json!({"access_token": token});
        let response = gateway.exchange(&client_id, &code, &tokens);
        assert_error(&response, 400, "invalid_grant");
        let description = response.json()["error_description"].as_str().unwrap().to_owned();
        assert!(description.contains(reason), "{description}");
        assert!(logged(reason) && !logged(&token), "{:?}", log());
    }
}

#[test]
fn rules_and_scopes_do_not_apply_to_the_login() {
    let mut configuration = with_login();
    configuration["access"] = json!({"rules": [{"require": {"scopes": ["admin"]}}]});
    let gateway = Gateway::start_with(&configuration);
    let client_id = gateway.register();
    let code = gateway.code(&client_id);
    let tokens = json!({"access_token": gateway.token()});
    assert_eq!(gateway.exchange(&client_id, &code, &tokens).status, 200);
}

#[test]
fn an_unknown_user_is_refused_at_the_login() {
    let mut configuration = with_login();
    configuration["users"] = json!({"records": [{"user_name": "grace"}]});
    let gateway = Gateway::start_with(&configuration);
    let client_id = gateway.register();
    let code = gateway.code(&client_id);
    let response = gateway.exchange(&client_id, &code, &json!({"access_token": gateway.token()}));
    assert_error(&response, 400, "invalid_grant");
    assert!(text(&response).contains("user_unknown"));
}

#[test]
fn a_single_use_token_is_not_spent_at_the_login() {
    let mut configuration = with_login();
    configuration["providers"][0]["jti"] = json!("single_use");
    let gateway = Gateway::start_with(&configuration);
    let client_id = gateway.register();
    let code = gateway.code(&client_id);
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["jti"] = json!("once");
    let token = gateway.key.token(&claims);
    let response = gateway.exchange(&client_id, &code, &json!({"access_token": token}));
    assert_eq!(response.status, 200, "{response:?}");
    crate::provider::assert_accepted(&gateway.vm, &token);
}

#[test]
fn faults_of_the_provider_and_of_the_gateway_are_503_and_never_invalid_client() {
    for (status, body) in [
        ("401", json!({"error": "invalid_client", "error_description": "p-code"})),
        ("400", json!({"error": "invalid_scope"})),
        ("500", json!({"error": "server_error"})),
        ("200", json!({"token_type": "Bearer"})),
        ("302", json!({})),
    ] {
        let (gateway, client_id, code) = with_code();
        let id = gateway.open_token(&code_request(&client_id, &code));
        let call = token_call(&gateway.vm);
        gateway.vm.respond(&call, status, &[], body.to_string().as_bytes());
        let response = responded(&gateway.vm.outcome(id));
        assert_error(&response, 503, "temporarily_unavailable");
        assert!(logged("login failed: step=token") && !logged("p-code"), "{:?}", log());
    }
    let (gateway, client_id, code) = with_code();
    let id = gateway.open_token(&code_request(&client_id, &code));
    gateway.vm.respond(&token_call(&gateway.vm), "400", &[], br#"{"error":"invalid_grant"}"#);
    assert_error(&responded(&gateway.vm.outcome(id)), 400, "invalid_grant");
}

#[test]
fn a_callout_to_a_provider_that_does_not_respond_is_given_up() {
    let (gateway, client_id, code) = with_code();
    let id = gateway.open_token(&code_request(&client_id, &code));
    gateway.vm.fail(&token_call(&gateway.vm));
    assert_error(&responded(&gateway.vm.outcome(id)), 503, "temporarily_unavailable");

    let id = gateway.open_token(&code_request(&client_id, &code));
    let call = token_call(&gateway.vm);
    gateway.vm.advance(Duration::from_secs(8));
    gateway.vm.tick();
    assert_error(&responded(&gateway.vm.outcome(id)), 503, "temporarily_unavailable");
    gateway.vm.respond(&call, "200", &[], b"{}");
}

#[test]
fn a_metadata_document_of_another_issuer_is_not_used() {
    let (gateway, client_id, _) = with_code();
    let mut browser = Browser::default();
    let fresh = Gateway::start();
    let page = browser.open(&fresh, &authorize(&client_id, &[]));
    let id = browser.submit(&fresh, &page, ("provider", "example"), &[]);
    let mut document: Value = endpoints();
    document["issuer"] = json!("https://evil.example");
    fresh.vm.respond(&fresh.vm.call(), "200", &[], document.to_string().as_bytes());
    assert_eq!(responded(&fresh.vm.outcome(id)).status, 503);
    drop(gateway);
}

#[test]
fn a_body_is_read_up_to_64_kib() {
    let gateway = Gateway::start();
    let long = vec![b'x'; 64 * 1024 + 1];
    for (path, content_type) in [("/oauth/token", FORM), ("/oauth/register", JSON)] {
        let response = gateway.post(path, content_type, &long);
        assert_eq!(response.status, 413, "{path}");
    }
    let response = gateway.post("/oauth/register", JSON, &long[..64 * 1024]);
    assert_eq!(response.status, 400);
}

#[test]
fn a_registration_is_json() {
    let gateway = Gateway::start();
    let metadata = json!({"redirect_uris": [REDIRECT_URI]}).to_string();
    for (content_type, status) in
        [(JSON, 201), ("Application/JSON; charset=utf-8", 201), ("text/plain", 400), (FORM, 400)]
    {
        let response = gateway.post("/oauth/register", content_type, metadata.as_bytes());
        assert_eq!(response.status, status, "{content_type}");
    }
}

#[test]
fn a_client_that_never_sends_its_form_is_ended() {
    let gateway = Gateway::start();
    let (id, outcome) = gateway.vm.open(&[
        (":method", b"POST"),
        (":path", b"/oauth/register"),
        (":authority", b"mcp.example.com"),
    ]);
    assert!(matches!(outcome, Outcome::Paused));
    gateway.vm.send_body(id, b"{", false);
    gateway.vm.advance(Duration::from_secs(9));
    gateway.vm.tick();
    assert!(matches!(gateway.vm.outcome(id), Outcome::Paused));
    gateway.vm.advance(Duration::from_secs(1));
    gateway.vm.tick();
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 408);
}

#[test]
fn a_proxy_that_withholds_forms_gets_500_and_the_log_names_the_option() {
    let gateway = Gateway::start();
    gateway.vm.hand_over_late();
    for (path, content_type) in [("/oauth/register", JSON), ("/oauth/token", FORM)] {
        let id = gateway.open_post(path, content_type, b"{}");
        gateway.vm.advance(Duration::from_millis(600));
        gateway.vm.tick();
        assert_eq!(responded(&gateway.vm.outcome(id)).status, 500, "{path}");
        assert!(logged("does not deliver a request body while its head is held back"));
    }
}

#[test]
fn refresh_tokens_belong_to_their_client() {
    let (gateway, client_id, code) = with_code();
    let tokens = json!({"access_token": gateway.token(), "refresh_token": "p"});
    let body = gateway.exchange(&client_id, &code, &tokens).json();
    let token = body["refresh_token"].as_str().unwrap();
    let other = gateway.register();
    assert_error(&gateway.token_request(&refresh_request(&other, token)), 400, "invalid_grant");
    gateway.open_token(&refresh_request(&client_id, token));
    token_call(&gateway.vm);
}

#[test]
fn with_another_secret_clients_must_register_again() {
    let client_id = Gateway::start().register();
    let mut configuration = with_login();
    configuration["secret"] = json!({"env": "OTHER_SECRET"});
    let gateway = Gateway::start_with(&configuration);
    assert_eq!(gateway.get(&authorize(&client_id, &[])).status, 400);
    let request = code_request(&client_id, "x");
    assert_error(&gateway.token_request(&request), 401, "invalid_client");
    configuration["secret"]["previous_env"] = json!("SECRET");
    let gateway = Gateway::start_with(&configuration);
    assert_eq!(gateway.get(&authorize(&client_id, &[])).status, 200);
}

#[test]
fn pages_visits_and_codes_are_valid_for_their_lifetime_only() {
    let seconds = Duration::from_secs;
    for (age, is_alive) in [(seconds(599), true), (seconds(600), false)] {
        let gateway = Gateway::start();
        let client_id = gateway.register();
        let mut browser = Browser::default();
        let page = browser.open(&gateway, &authorize(&client_id, &[]));
        gateway.vm.advance(age);
        let id = browser.submit(&gateway, &page, ("provider", "example"), &[]);
        respond_with_endpoints(&gateway.vm);
        let status = if is_alive { 303 } else { 400 };
        assert_eq!(responded(&gateway.vm.outcome(id)).status, status, "page after {age:?}");

        let page = browser.open(&gateway, &authorize(&client_id, &[]));
        let to_provider = browser.approve(&gateway, &page);
        gateway.vm.advance(age);
        let response = browser.come_back(&gateway, &to_provider, &[("code", "c")]);
        assert_eq!(response.status, status, "visit after {age:?}");
        assert_eq!(response.header("location").is_some(), is_alive);
    }
    for (age, is_alive) in [(seconds(59), true), (seconds(60), false)] {
        let (gateway, client_id, code) = with_code();
        gateway.vm.advance(age);
        let id = gateway.open_token(&code_request(&client_id, &code));
        assert_eq!(matches!(gateway.vm.outcome(id), Outcome::Paused), is_alive, "{age:?}");
        assert_eq!(gateway.vm.calls().is_empty(), !is_alive, "the provider is asked: {age:?}");
    }
}

#[test]
fn a_page_in_a_frame_is_refused() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    let path = authorize(&client_id, &[]);
    for (dest, mode, status) in [
        ("document", "navigate", 200),
        ("iframe", "navigate", 400),
        ("frame", "navigate", 400),
        ("empty", "cors", 400),
    ] {
        let fields = [
            (":method", "GET"),
            (":path", &path),
            (":authority", crate::login_support::HOST),
            ("sec-fetch-dest", dest),
            ("sec-fetch-mode", mode),
        ];
        let fields = fields.map(|(name, value)| (name, value.as_bytes()));
        let response = responded(&gateway.vm.request(&fields).1);
        assert_eq!(response.status, status, "{dest} {mode}");
    }
}
