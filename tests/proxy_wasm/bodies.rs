use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{Outcome, SharedData, Vm};
use crate::provider::{
    assert_forwarded, assert_paused, configuration, fetch, key, respond_with_discovery,
    respond_with_key_set, start, token,
};

const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// A configuration whose access rules read messages.
fn reading() -> Value {
    let mut document = configuration();
    document["access"] = json!({
        "default": "allow",
        "rules": [{"match": {"mcp_names": ["add"]}, "require": {"roles": ["adder"]}}],
    });
    document
}

fn open(vm: &Vm, token: &str) -> (u32, Outcome) {
    let authorization = format!("Bearer {token}");
    vm.open(&[
        (":method", b"POST"),
        (":path", b"/mcp"),
        (":authority", b"mcp.example.com"),
        ("authorization", authorization.as_bytes()),
        ("content-type", b"application/json"),
    ])
}

#[test]
fn a_head_waits_for_a_body_that_rules_read_and_is_forwarded_with_it() {
    let vm = start(&reading(), &SharedData::default());
    let key = key("one");
    fetch(&vm, &[&key]);
    let (id, outcome) = open(&vm, &token(&key));
    assert_paused(&outcome);
    assert!(!vm.stops_with_body(id));
    assert_eq!(vm.send_body(id, &PING[..9], false), b"");
    assert_eq!(vm.send_body(id, &PING[9..], true), PING);
    assert_forwarded_once(&vm, id);
}

#[test]
fn an_unread_body_is_held_back_at_the_client_while_its_request_waits() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    let (id, outcome) = open(&vm, &token(&key));
    assert_paused(&outcome);
    assert!(vm.stops_with_body(id));
    vm.tick();
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    assert_forwarded_once(&vm, id);
}

#[test]
fn bytes_received_from_a_withheld_body_make_its_head_go_first() {
    let vm = start(&reading(), &SharedData::default());
    vm.hand_over_late();
    let key = key("one");
    fetch(&vm, &[&key]);
    let (id, _) = open(&vm, &token(&key));
    assert_eq!(vm.send_body(id, PING, true), b"");
    vm.advance(Duration::from_millis(20));
    vm.tick();
    assert_eq!(vm.passed(id), PING);
}

#[test]
fn trailers_that_only_the_plugin_may_set_are_removed() {
    let vm = start(&reading(), &SharedData::default());
    let key = key("one");
    fetch(&vm, &[&key]);
    let (id, _) = open(&vm, &token(&key));
    vm.set_trailers(id, &[("x-mcp-user", "mallory"), ("grpc-status", "0")]);
    vm.send_body(id, PING, false);
    assert_eq!(vm.send_trailers(id), PING);
    assert_eq!(vm.trailers(id), [("grpc-status".to_owned(), b"0".to_vec())]);
}

#[track_caller]
fn assert_forwarded_once(vm: &Vm, id: u32) {
    assert_forwarded(&vm.outcome(id));
    vm.close(id);
}
