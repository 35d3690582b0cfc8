//! Bound sessions: behaviour that a real Envoy shows only by chance, or never.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::SigningKey;

use crate::bodies::{ALLOWED, with_rules};
use crate::host::{Fields, Outcome, SharedData, Vm};
use crate::provider::{
    AUDIENCE, ISSUER, assert_paused, assert_refused, claims, configuration, fetch, key,
    respond_with_discovery, respond_with_key_set, start,
};

const ID: &[u8] = b"3f0c1f5d";
const SESSION: &str = "mcp-session-id";

fn bound() -> Value {
    let mut configuration = configuration();
    configuration["secret"] = json!({"env": "SECRET"});
    configuration["sessions"] = json!({"bind": true});
    configuration
}

fn token(key: &SigningKey, subject: &str) -> String {
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["sub"] = json!(subject);
    key.token(&claims)
}

/// Sends the head of a request with these additional header fields.
fn send(vm: &Vm, token: &str, fields: &[(&str, &[u8])], is_whole: bool) -> (u32, Outcome) {
    let authorization = format!("Bearer {token}");
    let ordinary: [(&str, &[u8]); 5] = [
        (":method", b"POST"),
        (":path", b"/mcp"),
        (":authority", b"mcp.example.com"),
        ("content-type", b"application/json"),
        ("authorization", authorization.as_bytes()),
    ];
    let all: Vec<_> = ordinary.into_iter().chain(fields.iter().copied()).collect();
    if is_whole { vm.request(&all) } else { vm.open(&all) }
}

fn sessions(fields: &Fields) -> Vec<&[u8]> {
    let ids = fields.iter().filter(|(name, _)| name == SESSION);
    ids.map(|(_, value)| value.as_slice()).collect()
}

/// The session ids that the server gets.
#[track_caller]
fn received(outcome: &Outcome) -> Vec<&[u8]> {
    let Outcome::Forwarded(fields) = outcome else { panic!("not forwarded: {outcome:?}") };
    sessions(fields)
}

/// The session id that the client gets if the server returns this one.
#[track_caller]
fn given(vm: &Vm, id: u32) -> Vec<u8> {
    let outcome = vm.respond_from_upstream(id, &[(":status", b"200"), (SESSION, ID)]);
    let Outcome::Forwarded(fields) = outcome else { panic!("no response: {outcome:?}") };
    let ids = sessions(&fields);
    assert_eq!(ids.len(), 1, "{fields:?}");
    ids[0].to_vec()
}

/// A worker that has the keys, and a session of `ada`.
fn with_session(configuration: &Value) -> (Vm, SigningKey, Vec<u8>) {
    let key = key("one");
    let vm = start(configuration, &SharedData::default());
    fetch(&vm, &[&key]);
    let (id, _) = send(&vm, &token(&key, "ada"), &[], true);
    let session = given(&vm, id);
    (vm, key, session)
}

#[test]
fn a_session_is_bound_alike_with_a_cached_and_a_new_token() {
    let (vm, key, session) = with_session(&bound());
    let (ada, bob) = (token(&key, "ada"), token(&key, "bob"));
    for _ in 0..3 {
        let (_, outcome) = send(&vm, &ada, &[(SESSION, &session)], true);
        assert_eq!(received(&outcome), [ID]);
        let (_, outcome) = send(&vm, &bob, &[(SESSION, &session)], true);
        assert_refused(&outcome, 404, "session_mismatch");
    }
    let calls = vm.crypto_calls();
    send(&vm, &ada, &[(SESSION, &session)], true);
    assert_eq!(vm.crypto_calls(), calls, "the token is cached");
}

#[test]
fn a_request_that_waits_for_keys_is_bound_once_they_arrive() {
    let (_, key, session) = with_session(&bound());
    let vm = start(&bound(), &SharedData::default());
    let (ada, bob) = (token(&key, "ada"), token(&key, "bob"));
    let [one, other] = [&ada, &bob].map(|token| {
        let (id, outcome) = send(&vm, token, &[(SESSION, &session)], true);
        assert_paused(&outcome);
        id
    });
    vm.tick();
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    assert_eq!(received(&vm.outcome(one)), [ID]);
    assert_refused(&vm.outcome(other), 404, "session_mismatch");
    assert_eq!(given(&vm, one), session);
}

#[test]
fn a_request_that_waits_for_its_message_keeps_its_session() {
    let (vm, key, session) = with_session(&with_rules(bound()));
    let (ada, bob) = (token(&key, "ada"), token(&key, "bob"));
    // A stolen session is refused before any of the body is read.
    let (_, outcome) = send(&vm, &bob, &[(SESSION, &session)], false);
    assert_refused(&outcome, 404, "session_mismatch");
    let (id, outcome) = send(&vm, &ada, &[(SESSION, &session)], false);
    assert_paused(&outcome);
    vm.send_body(id, ALLOWED, true);
    assert_eq!(received(&vm.outcome(id)), [ID]);
    assert_eq!(given(&vm, id), session);
    // A request that is judged again is checked again in full.
    let (id, outcome) = send(&vm, &ada, &[(SESSION, &session)], false);
    assert_paused(&outcome);
    vm.advance(Duration::from_secs(3600));
    vm.send_body(id, ALLOWED, true);
    assert_refused(&vm.outcome(id), 401, "expired");
}

#[test]
fn a_head_that_is_forwarded_first_keeps_its_session() {
    let (vm, key, session) = with_session(&with_rules(bound()));
    vm.hand_over_late();
    let ada = token(&key, "ada");
    let (id, _) = send(&vm, &ada, &[(SESSION, &session)], false);
    vm.send_body(id, ALLOWED, true);
    for _ in 0..3 {
        vm.tick();
    }
    assert_eq!(received(&vm.outcome(id)), [ID]);
    assert_eq!(given(&vm, id), session);
    let (id, outcome) = send(&vm, &ada, &[(SESSION, &session)], false);
    assert_eq!(received(&outcome), [ID], "its body has not come");
    assert_eq!(given(&vm, id), session);
    vm.send_body(id, ALLOWED, true);
    assert_eq!(received(&vm.outcome(id)), [ID]);
}

#[test]
fn only_responses_to_forwarded_requests_are_read() {
    let (vm, key, session) = with_session(&bound());
    let (ada, bob) = (token(&key, "ada"), token(&key, "bob"));
    let (id, _) = send(&vm, &bob, &[(SESSION, &session)], true);
    assert!(!vm.reads_response(id), "it was refused");
    let (id, _) = send(&vm, &ada, &[], true);
    assert!(vm.reads_response(id));
    given(&vm, id);
    assert!(!vm.reads_response(id), "its head has come");
    let (id, _) = send(&vm, &ada, &[], true);
    vm.close(id);
    assert!(!vm.reads_response(id), "it has ended");
    let (vm, key) = (start(&configuration(), &SharedData::default()), key);
    fetch(&vm, &[&key]);
    let (id, _) = send(&vm, &ada, &[], true);
    assert!(!vm.reads_response(id), "sessions are not bound");
}

#[test]
fn a_response_that_cannot_be_changed_does_not_reach_the_client() {
    let (vm, key, _) = with_session(&bound());
    let (id, _) = send(&vm, &token(&key, "ada"), &[], true);
    vm.keep_response_head(id);
    let outcome = vm.respond_from_upstream(id, &[(":status", b"200"), (SESSION, ID)]);
    let Outcome::Refused(response) = outcome else { panic!("{outcome:?}") };
    assert_eq!(response.status, 500);
    // Without an id there is nothing to change.
    let (id, _) = send(&vm, &token(&key, "ada"), &[], true);
    vm.keep_response_head(id);
    let outcome = vm.respond_from_upstream(id, &[(":status", b"200")]);
    assert!(matches!(outcome, Outcome::Forwarded(_)), "{outcome:?}");
}

#[test]
fn session_ids_are_removed_from_trailers() {
    let left = |configuration: &Value| {
        let key = key("one");
        let vm = start(configuration, &SharedData::default());
        fetch(&vm, &[&key]);
        let (id, _) = send(&vm, &token(&key, "ada"), &[], false);
        vm.set_trailers(id, &[(SESSION, "a"), ("Mcp_Session_Id", "b"), ("x-checksum", "c")]);
        vm.send_trailers(id);
        vm.trailers(id).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(left(&bound()), ["x-checksum"]);
    assert_eq!(left(&configuration()), [SESSION, "Mcp_Session_Id", "x-checksum"]);
}
