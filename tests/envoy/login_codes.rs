//! Where codes and tokens go, and who can use them: attacks on redirect URIs, codes and refresh
//! tokens, each with its legitimate twin.

use serde_json::json;
use testbed::form_of;

use crate::login_support::{ORIGIN, Scene, approve, assert_dead_end, assert_error, log_in, member};

const EVIL: &str = "https://evil.example";

// Requirement: login-redirect-registered
// Requirement: login-redirect-complete
// Requirement: login-redirect-untrusted
// Requirement: login-redirect-open
// Requirement: login-register-redirect-uris
// Requirement: login-register-response
// Requirement: login-register-errors
// Requirement: login-register-dangerous
// Requirement: login-consent-redirect
#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_sent_only_to_an_allowed_redirect_uri_of_the_client() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    for evil in [
        "https://evil.example/callback",
        "http://localhost@evil.example/",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1:80@evil.example/",
        "https://claude.ai@evil.example/api/mcp/auth_callback",
        "https://claude.ai.evil.example/api/mcp/auth_callback",
        "https://claude.ai/api/mcp/auth_callback/../../evil",
        "https://claude.ai/api/mcp/auth_callback#x",
        "https://claude.ai:444/api/mcp/auth_callback",
        "http://claude.ai/api/mcp/auth_callback",
        "https://CLAUDE.ai/api/mcp/auth_callback",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example/callback",
        "/callback",
        "",
    ] {
        let response = client.register_with(json!({"redirect_uris": [evil]})).await;
        assert_error(&response, 400, "invalid_redirect_uri");
        // A registered client cannot use such a URI either.
        let mut browser = scene.browser();
        let url = client.authorization_url_with(&[("redirect_uri", evil)]);
        let seen = browser.open(&url).await;
        assert_dead_end(&seen, 400);
        assert!(evil.is_empty() || !seen.text.contains(evil), "{seen:?}");
        // An error is not sent to it either, although errors go to the client.
        let url =
            client.authorization_url_with(&[("redirect_uri", evil), ("response_type", "token")]);
        assert_dead_end(&browser.open(&url).await, 400);
    }
    // Their twins.
    for good in [
        "http://localhost/callback",
        "http://127.0.0.1:33418/callback",
        "http://[::1]:1/callback",
        "https://claude.ai/api/mcp/auth_callback",
        "cursor://anysphere.cursor-mcp/oauth/callback",
    ] {
        let response = client.register_with(json!({"redirect_uris": [good, EVIL]})).await;
        assert_eq!(response.status, 201, "{response:?}");
        assert_eq!(response.body["redirect_uris"], json!([good, EVIL]), "{response:?}");
        let mut own = client.clone();
        member(&response, "client_id").clone_into(&mut own.client_id);
        own.redirect_uri = good.to_owned();
        own.code(&approve(&mut scene.browser(), &own, "generic").await);
        // A registered URI that is not allowed is refused when it is used.
        own.redirect_uri = EVIL.to_owned();
        assert_dead_end(&scene.browser().open(&own.authorization_url("mcp.tools")).await, 400);
    }
}

// Requirement: login-redirect-registered
#[tokio::test(flavor = "multi_thread")]
async fn a_loopback_redirect_uri_may_have_another_port_and_no_other_path() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    for (redirect_uri, is_taken) in [
        ("http://127.0.0.1:1/callback", true),
        ("http://127.0.0.1:65535/callback", true),
        ("http://127.0.0.1:33418/callback/", false),
        ("http://127.0.0.1:33418/callback?x", false),
        ("http://localhost:33418/callback", false),
        ("https://127.0.0.1:33418/callback", false),
    ] {
        let mut client = client.for_new_login();
        client.redirect_uri = redirect_uri.to_owned();
        let page = scene.browser().open(&client.authorization_url("mcp.tools")).await;
        assert_eq!(page.asks_for_consent(), is_taken, "{redirect_uri}: {page:?}");
    }
}

/// A redirect URI that already has parameters of a response must not determine their values.
// Requirement: login-redirect-duplicates
#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_a_redirect_uri_cannot_replace_those_of_a_response() {
    let scene = Scene::plain().await;
    let mut client = scene.client().await;
    client.redirect_uri =
        "http://127.0.0.1:1/callback?x=1&iss=https://evil.example&code=c&state=s&error=e"
            .to_owned();
    client.register().await;
    let response = approve(&mut scene.browser(), &client, "generic").await;
    assert_eq!(response.status, None, "{response:?}");
    assert!(response.url.starts_with("http://127.0.0.1:1/callback?x=1&"), "{response:?}");
    assert_eq!(response.parameter("iss").as_deref(), Some(ORIGIN));
    assert_eq!(response.parameter("error"), None);
    assert!(response.parameter("code").is_some_and(|code| code.len() > 20));
}

/// A client of the token endpoint must not get tokens of the gateway itself.
// Requirement: login-token-errors
// Requirement: login-token-password
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_secret_is_used_only_for_codes_and_refresh_tokens_of_its_logins() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let own = client.client_id.as_str();
    for (grant, client_id, status, error) in [
        ("client_credentials", "gateway", 401, "invalid_client"),
        ("client_credentials", own, 400, "unsupported_grant_type"),
        ("password", own, 400, "unsupported_grant_type"),
        ("urn:ietf:params:oauth:grant-type:token-exchange", own, 400, "unsupported_grant_type"),
        ("urn:ietf:params:oauth:grant-type:jwt-bearer", own, 400, "unsupported_grant_type"),
        ("urn:ietf:params:oauth:grant-type:device_code", own, 400, "unsupported_grant_type"),
        ("authorization_code", "gateway", 401, "invalid_client"),
        ("authorization_code", own, 400, "invalid_grant"),
        ("refresh_token", "gateway", 401, "invalid_client"),
        ("refresh_token", own, 400, "invalid_grant"),
    ] {
        let form = form_of(&[
            ("grant_type", grant),
            ("client_id", client_id),
            ("code", "provider-code-x"),
            ("refresh_token", "provider-refresh-x"),
            ("redirect_uri", &client.redirect_uri),
            ("code_verifier", client.verifier()),
            ("scope", "mcp.tools"),
            ("username", "ada"),
            ("password", "x"),
        ]);
        let response = client.post_form("token_endpoint", &form).await;
        assert_error(&response, status, error);
    }
    assert!(scene.has_made_no_token_request());
    log_in(&mut scene.browser(), &client, "generic").await;
}

/// The attacker has the code: from a log, from the browser's history, or from another app on the
/// machine.
// Requirement: login-pkce-required
// Requirement: login-pkce-verify
// Requirement: login-code-bound
// Requirement: login-resource-unknown
// Requirement: login-resource-of-token
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_code_is_refused_without_the_verifier_of_its_client() {
    let scene = Scene::plain().await;
    let (victim, attacker) = (scene.client().await, scene.client().await);
    let code = victim.code(&approve(&mut scene.browser(), &victim, "generic").await);
    assert_error(&attacker.redeem(&code).await, 400, "invalid_grant");
    for (changes, error) in [
        (&[("code_verifier", attacker.verifier())][..], "invalid_grant"),
        (&[("code_verifier", "")], "invalid_request"),
        (&[("redirect_uri", "http://127.0.0.1:1/callback")], "invalid_grant"),
        (&[("redirect_uri", "")], "invalid_request"),
        (&[("resource", "https://other.example/mcp")], "invalid_target"),
    ] {
        assert_error(&victim.redeem_with(&code, changes).await, 400, error);
    }
    assert!(scene.has_made_no_token_request(), "a wrong try must not spend the provider's code");
    assert_eq!(victim.redeem(&code).await.status, 200, "the twin");
}

/// The attacker puts their own code into the victim's response.
// Requirement: login-pkce-verify
#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_another_login_of_the_same_client_is_refused() {
    let scene = Scene::plain().await;
    let victim = scene.client().await;
    let attacker = victim.for_new_login();
    let code = attacker.code(&approve(&mut scene.browser(), &attacker, "generic").await);
    assert_error(&victim.redeem(&code).await, 400, "invalid_grant");
    assert_eq!(attacker.redeem(&code).await.status, 200, "the twin");
}

// Requirement: login-code-once
#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_accepted_once_even_if_it_is_sent_twice_at_the_same_time() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let code = client.code(&approve(&mut scene.browser(), &client, "generic").await);
    let (one, two) = tokio::join!(client.redeem(&code), client.redeem(&code));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400], "{one:?} {two:?}");
    assert_error(&client.redeem(&code).await, 400, "invalid_grant");
}

// Requirement: login-refresh-bound
// Requirement: login-resource-of-token
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_valid_only_for_its_client_and_resource() {
    let scene = Scene::plain().await;
    let (client, other) = (scene.client().await, scene.client().await);
    let issued = log_in(&mut scene.browser(), &client, "generic").await;
    let refresh_token = member(&issued, "refresh_token");
    let asked = scene.only().token_requests().len();
    assert_error(&other.refresh(refresh_token).await, 400, "invalid_grant");
    let elsewhere = [("resource", "https://other.example/mcp")];
    assert_error(&client.refresh_with(refresh_token, &elsewhere).await, 400, "invalid_target");
    // A code is not a refresh token, nor the other way round.
    let code = client.for_new_login();
    let spare = code.code(&approve(&mut scene.browser(), &code, "generic").await);
    assert_error(&code.refresh(&spare).await, 400, "invalid_grant");
    assert_error(&client.redeem(refresh_token).await, 400, "invalid_grant");
    // The provider's own code and token are not accepted at all.
    for secret in scene.only().secrets() {
        assert_error(&client.refresh(&secret).await, 400, "invalid_grant");
    }
    assert_eq!(scene.only().token_requests().len(), asked);
    assert_eq!(client.refresh(refresh_token).await.status, 200, "the twin");
}
