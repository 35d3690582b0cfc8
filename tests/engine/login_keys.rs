//! Tokens that are issued while keys change, or while the keys or the directory are unavailable.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::SigningKey;

use crate::host::log;
use crate::login_support::{
    Gateway, assert_error, code_request, is_waiting, logged, refresh_request, respond_with_tokens,
    responded, text, with_login,
};
use crate::provider::{AUDIENCE, ISSUER, claims, key, request, respond_with_key_set, token};

/// Redeems a code for which the provider issues a token signed by this key. Returns the stream.
fn redeem(gateway: &Gateway, client_id: &str, code: &str, by: &SigningKey) -> u32 {
    let id = gateway.open_token(&code_request(client_id, code));
    respond_with_tokens(&gateway.vm, &json!({"access_token": token(by)}));
    id
}

#[test]
fn a_token_with_a_new_key_waits_for_the_key() {
    let (gateway, client_id, code) = Gateway::with_code(&with_login());
    let new = key("two");
    gateway.vm.advance(Duration::from_secs(31));
    let id = redeem(&gateway, &client_id, &code, &new);
    assert!(is_waiting(&gateway, id));
    gateway.vm.tick();
    let call = gateway.vm.call();
    respond_with_key_set(&gateway.vm, &call, &[&gateway.key, &new]);
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 200);
}

/// Causes a fetch by a token with an unknown `kid`, after which a cool-down begins.
fn begin_cooldown(gateway: &Gateway) {
    gateway.vm.advance(Duration::from_secs(31));
    request(&gateway.vm, &token(&key("forged")));
    gateway.vm.tick();
    respond_with_key_set(&gateway.vm, &gateway.vm.call(), &[&gateway.key]);
    request(&gateway.vm, &token(&key("forged")));
    gateway.vm.tick();
    assert!(gateway.vm.calls().is_empty(), "the cool-down has begun");
}

#[test]
fn a_cooldown_caused_by_a_forged_token_does_not_stop_a_login_with_a_new_key() {
    let (gateway, client_id, code) = Gateway::with_code(&with_login());
    begin_cooldown(&gateway);
    let new = key("two");
    let id = redeem(&gateway, &client_id, &code, &new);
    assert!(is_waiting(&gateway, id));
    gateway.vm.tick();
    respond_with_key_set(&gateway.vm, &gateway.vm.call(), &[&gateway.key, &new]);
    let response = responded(&gateway.vm.outcome(id));
    assert_eq!(response.status, 200, "{}", text(&response));
}

#[test]
fn a_key_that_replaced_one_of_the_same_kid_is_fetched_too() {
    let (gateway, client_id, code) = Gateway::with_code(&with_login());
    begin_cooldown(&gateway);
    let new = key("one");
    let id = redeem(&gateway, &client_id, &code, &new);
    assert!(is_waiting(&gateway, id));
    gateway.vm.tick();
    respond_with_key_set(&gateway.vm, &gateway.vm.call(), &[&new]);
    assert_eq!(responded(&gateway.vm.outcome(id)).status, 200);
}

#[test]
fn an_issued_token_causes_one_fetch_of_the_keys() {
    let (gateway, client_id, code) = Gateway::with_code(&with_login());
    begin_cooldown(&gateway);
    let id = redeem(&gateway, &client_id, &code, &key("nowhere"));
    gateway.vm.tick();
    respond_with_key_set(&gateway.vm, &gateway.vm.call(), &[&gateway.key]);
    let response = responded(&gateway.vm.outcome(id));
    assert_error(&response, 400, "invalid_grant");
    assert!(text(&response).contains("unknown_kid"));
    gateway.vm.tick();
    assert!(gateway.vm.calls().is_empty());
    // Tokens in requests still cause no fetch.
    request(&gateway.vm, &token(&key("forged")));
    gateway.vm.tick();
    assert!(gateway.vm.calls().is_empty());
}

/// A token by this key is issued for a refresh token, and the keys cannot be fetched then.
fn refresh_without_new_keys(by: &SigningKey, in_cooldown: bool) {
    let (gateway, client_id, code) = Gateway::with_code(&with_login());
    let tokens = json!({"access_token": gateway.token(), "refresh_token": "p-1"});
    let issued = gateway.exchange(&client_id, &code, &tokens).json();
    let refresh = refresh_request(&client_id, issued["refresh_token"].as_str().unwrap());
    if in_cooldown {
        begin_cooldown(&gateway);
    }
    let redeem = || {
        let id = gateway.open_token(&refresh);
        respond_with_tokens(&gateway.vm, &json!({"access_token": token(by)}));
        id
    };
    let id = redeem();
    assert!(is_waiting(&gateway, id));
    gateway.vm.tick();
    // Metadata may be first.
    while let Some(call) = gateway.vm.calls().first() {
        gateway.vm.fail(call);
    }
    let response = responded(&gateway.vm.outcome(id));
    assert_error(&response, 503, "temporarily_unavailable");
    assert!(response.header("retry-after").is_some(), "{response:?}");
    assert!(logged("cannot be verified at the moment: keys_unavailable"), "{:?}", log());
    // Nor while the next fetch is not due.
    let response = responded(&gateway.vm.outcome(redeem()));
    assert_error(&response, 503, "temporarily_unavailable");
}

#[test]
fn keys_that_cannot_be_fetched_cost_no_client_its_refresh_token() {
    for in_cooldown in [false, true] {
        refresh_without_new_keys(&key("two"), in_cooldown);
        // The key that has this `kid` now may have replaced the one that is known.
        refresh_without_new_keys(&key("one"), in_cooldown);
    }
}

/// The reason is not that there are no keys at all.
#[test]
fn the_log_says_that_newer_keys_were_not_fetched_in_time() {
    // The fetch is still running at the deadline.
    for in_cooldown in [false, true] {
        let (gateway, client_id, code) = Gateway::with_code(&with_login());
        if in_cooldown {
            begin_cooldown(&gateway);
        } else {
            gateway.vm.advance(Duration::from_secs(31));
        }
        let id = redeem(&gateway, &client_id, &code, &key("two"));
        gateway.vm.tick();
        assert_eq!(gateway.vm.calls().len(), 1, "a fetch runs");
        for _ in 0..2 {
            gateway.vm.advance(Duration::from_secs(8));
            gateway.vm.tick();
        }
        assert_error(&responded(&gateway.vm.outcome(id)), 503, "temporarily_unavailable");
        assert_newer_keys_missed();
    }
    // No place is free to wait for it.
    let (gateway, client_id, code) = Gateway::with_code(&with_login());
    begin_cooldown(&gateway);
    let id = gateway.open_token(&code_request(&client_id, &code));
    let tokens = json!({"access_token": token(&key("two"))});
    gateway.vm.advance(Duration::from_secs(31));
    while is_waiting(&gateway, request(&gateway.vm, &token(&key("forged"))).0) {}
    respond_with_tokens(&gateway.vm, &tokens);
    assert_error(&responded(&gateway.vm.outcome(id)), 503, "temporarily_unavailable");
    assert_newer_keys_missed();
}

#[track_caller]
fn assert_newer_keys_missed() {
    assert!(logged("the token may need newer keys than the current ones"), "{:?}", log());
    assert!(!logged("the first fetch of keys has not completed yet"), "{:?}", log());
}

#[test]
fn if_keys_cannot_be_fetched_the_code_is_not_used_and_the_provider_gets_no_request() {
    let gateway = Gateway::start();
    let client_id = gateway.register();
    gateway.vm.advance(Duration::from_secs(30 * 24 * 3600));
    gateway.vm.tick();
    // The metadata document, and then the last known URL of the keys.
    for _ in 0..2 {
        gateway.vm.fail(&gateway.vm.call());
    }
    let code = gateway.code(&client_id);
    let response = gateway.token_request(&code_request(&client_id, &code));
    assert_error(&response, 503, "temporarily_unavailable");
    assert!(gateway.vm.calls().iter().all(|call| call.path() != "/token"));
    assert!(logged("login failed: step=token provider=example: keys_unavailable"), "{:?}", log());
    // Once the keys are back, the same code is accepted.
    gateway.vm.advance(Duration::from_secs(6));
    gateway.vm.tick();
    crate::provider::respond_with_discovery(&gateway.vm, &gateway.vm.call());
    respond_with_key_set(&gateway.vm, &gateway.vm.call(), &[&gateway.key]);
    let mut still_valid = claims(ISSUER, AUDIENCE);
    still_valid["exp"] = json!(still_valid["exp"].as_u64().unwrap() + 31 * 24 * 3600);
    let tokens = json!({"access_token": gateway.key.token(&still_valid)});
    assert_eq!(gateway.exchange(&client_id, &code, &tokens).status, 200);
}

/// A configuration in which users are looked up in a directory.
fn with_directory() -> Value {
    let mut configuration = with_login();
    let scim = json!({"url": "https://directory.example.com/scim/v2", "cluster": "directory"});
    configuration["users"] = json!({"scim": scim});
    configuration
}

#[test]
fn if_the_directory_is_unavailable_the_refresh_token_is_not_used() {
    let (gateway, client_id, code) = Gateway::with_code(&with_directory());
    let users = json!({"totalResults": 1, "Resources": [{"userName": "ada"}]}).to_string();
    let id = gateway.open_token(&code_request(&client_id, &code));
    let tokens = json!({"access_token": gateway.token(), "refresh_token": "p-1"});
    respond_with_tokens(&gateway.vm, &tokens);
    gateway.vm.tick();
    gateway.vm.respond(&gateway.vm.call(), "200", &[], users.as_bytes());
    let issued = responded(&gateway.vm.outcome(id)).json();
    let refresh = refresh_request(&client_id, issued["refresh_token"].as_str().unwrap());

    let mut of_bob = claims(ISSUER, AUDIENCE);
    of_bob["sub"] = json!("bob");
    request(&gateway.vm, &gateway.key.token(&of_bob));
    gateway.vm.tick();
    gateway.vm.fail(&gateway.vm.call());
    let response = gateway.token_request(&refresh);
    assert_error(&response, 503, "temporarily_unavailable");
    assert!(logged("login failed: step=refresh provider=example: directory_unavailable"));
    assert!(gateway.vm.calls().iter().all(|call| call.path() != "/token"));
    // The directory may be available again later.
    gateway.vm.advance(Duration::from_secs(5));
    assert!(is_waiting(&gateway, gateway.open_token(&refresh)));
    assert!(gateway.vm.calls().iter().any(|call| call.path() == "/token"));
}
