//! A provider whose responses are written by the tests, and a configuration that trusts it.

use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey, claims_at};

use crate::host::{Call, Outcome, SharedData, Vm, log};

/// When each test begins (Unix seconds). No test reads the clock of the machine: a token that is
/// made a second later than its worker would come from the future.
pub const NOW: u64 = 1_800_000_000;

pub const ISSUER: &str = "https://id.example.com";
pub const AUDIENCE: &str = "mcp";

pub fn configuration() -> Value {
    json!({
        "resource": {"url": "https://mcp.example.com/mcp"},
        "providers": [{
            "name": "example",
            "issuer": ISSUER,
            "client_ids": [AUDIENCE],
            "metadata_url": format!("{ISSUER}/.well-known/openid-configuration"),
            "cluster": "provider",
        }],
    })
}

pub fn start(configuration: &Value, shared: &SharedData) -> Vm {
    Vm::start(configuration.to_string().as_bytes(), shared).expect("the configuration is accepted")
}

/// The claims of an ordinary access token, issued when the test begins.
pub fn claims(issuer: &str, audience: &str) -> Value {
    claims_at(NOW, issuer, audience)
}

pub fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::Es256, kid)
}

pub fn token(key: &SigningKey) -> String {
    key.token(&claims(ISSUER, AUDIENCE))
}

/// A tool call with this token.
pub fn request(vm: &Vm, token: &str) -> (u32, Outcome) {
    let authorization = format!("Bearer {token}");
    vm.request(&[
        (":method", b"POST"),
        (":path", b"/mcp"),
        (":authority", b"mcp.example.com"),
        ("authorization", authorization.as_bytes()),
        ("x-mcp-user", b"mallory"),
    ])
}

pub fn respond_with_discovery(vm: &Vm, call: &Call) {
    assert_eq!(call.path(), "/.well-known/openid-configuration");
    let document = json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/jwks")});
    vm.respond(call, "200", &[], document.to_string().as_bytes());
}

pub fn respond_with_key_set(vm: &Vm, call: &Call, keys: &[&SigningKey]) {
    assert_eq!(call.path(), "/jwks");
    vm.respond(call, "200", &[], key_set(keys).as_bytes());
}

pub fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// Lets the plugin fetch this key set.
pub fn fetch(vm: &Vm, keys: &[&SigningKey]) {
    vm.tick();
    respond_with_discovery(vm, &vm.call());
    respond_with_key_set(vm, &vm.call(), keys);
}

#[track_caller]
pub fn assert_forwarded(outcome: &Outcome) {
    let Outcome::Forwarded(fields) = outcome else { panic!("not forwarded: {outcome:?}") };
    let users: Vec<_> = fields.iter().filter(|(name, _)| name == "x-mcp-user").collect();
    assert_eq!(users, [&("x-mcp-user".to_owned(), b"ada".to_vec())]);
    assert!(fields.iter().all(|(name, _)| name != "authorization"));
}

/// Asserts that a request with this token is forwarded at once.
#[track_caller]
pub fn assert_accepted(vm: &Vm, token: &str) {
    let (_, outcome) = request(vm, token);
    assert_forwarded(&outcome);
}

#[track_caller]
pub fn assert_refused(outcome: &Outcome, status: u32, reason: &str) {
    let Outcome::Refused(response) = outcome else { panic!("not refused: {outcome:?}") };
    assert_eq!((response.status, response.json()["reason"].as_str()), (status, Some(reason)));
    assert_eq!(response.header("retry-after").is_some(), status == 503);
    assert_eq!(response.header("www-authenticate").is_some(), status == 401);
}

#[track_caller]
pub fn assert_paused(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Paused), "not paused: {outcome:?}");
}

/// A worker in which one request waits for the response to the first callout.
pub fn waiting() -> (Vm, u32) {
    let vm = start(&configuration(), &SharedData::default());
    let (id, _) = request(&vm, &token(&key("one")));
    vm.tick();
    (vm, id)
}

#[track_caller]
pub fn assert_logged(text: &str) {
    assert!(log().iter().any(|line| line.contains(text)), "no {text:?} in {:#?}", log());
}
