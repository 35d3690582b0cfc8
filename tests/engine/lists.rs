//! Heads of responses with lists, while it is not known whether the proxy delivers bodies meanwhile.

use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{LocalResponse, Outcome, SharedData, Vm};
use crate::provider::{assert_forwarded, configuration, fetch, key, start, token};

const REVISION: &str = "2026-07-28";
const HEAD: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/json")];
const LIST: &[u8] = br#"{"id":1,"result":{"tools":[{"name":"a"},{"name":"admin_a"}]}}"#;
const SHOWN: &[u8] = br#"{"id":1,"result":{"tools":[{"name":"a"}]}}"#;
const UNREADABLE: &[u8] = br#"{"id":1,"result":{"Tools":[]}}"#;

/// A worker that reads messages in header fields, so that no body of a request shows how Envoy
/// delivers it.
fn by_headers() -> Value {
    let mut document = configuration();
    document["access"] = json!({
        "default": "allow",
        "rules": [
            {"name": "admin", "match": {"mcp_names": ["admin_*"]}, "require": {"roles": ["admin"]}},
            {"name": "all", "match": {"mcp_methods": ["*"]}},
        ],
        "mcp": {
            "inspect": "headers", "upstream_validates_headers": true,
            "protocol_versions": [REVISION], "max_body": "1KiB",
        },
    });
    document
}

struct Case {
    vm: Vm,
    token: String,
}

impl Case {
    fn new() -> Self {
        let key = key("one");
        let vm = start(&by_headers(), &SharedData::default());
        fetch(&vm, &[&key]);
        let token = token(&key);
        Self { vm, token }
    }

    /// Sends a message that is forwarded, and the head of its response. Returns whether this goes on.
    fn ask(&self, method: &str) -> (u32, bool) {
        let authorization = format!("Bearer {}", self.token);
        let mut fields: Vec<(&str, &[u8])> = vec![
            (":method", b"POST"),
            (":path", b"/mcp"),
            (":authority", b"mcp.example.com"),
            ("content-type", b"application/json"),
            ("authorization", authorization.as_bytes()),
            ("mcp-protocol-version", REVISION.as_bytes()),
            ("mcp-method", method.as_bytes()),
        ];
        if method == "tools/call" {
            fields.push(("mcp-name", b"a"));
        }
        let (id, outcome) = self.vm.open(&fields);
        assert_forwarded(&outcome);
        (id, self.vm.send_response_head(id, HEAD, true))
    }

    fn wait(&self, time: Duration) {
        self.vm.advance(time);
        self.vm.tick();
    }

    /// Asks for a list whose body comes only once its head is forwarded.
    #[track_caller]
    fn ask_without_the_option(&self) -> u32 {
        let (id, goes_on) = self.ask("tools/list");
        assert!(!goes_on);
        self.wait(Duration::from_millis(90));
        assert!(!self.vm.is_response_resumed(id));
        self.wait(Duration::from_millis(10));
        assert!(self.vm.is_response_resumed(id));
        id
    }
}

#[track_caller]
fn assert_502(outcome: &Outcome) {
    let is_502 = matches!(outcome, Outcome::Refused(LocalResponse { status: 502, .. }));
    assert!(is_502, "{outcome:?}");
}

#[test]
fn the_first_list_that_cannot_be_read_is_a_502() {
    let case = Case::new();
    let (id, goes_on) = case.ask("tools/list");
    assert!(!goes_on);
    assert!(case.vm.tick_period().unwrap() <= Duration::from_millis(20));
    assert_eq!(case.vm.send_response_body(id, UNREADABLE, true), b"");
    assert_502(&case.vm.outcome(id));
    // It is known from now on, however late a body comes.
    for (method, body, expected) in [
        ("tools/list", LIST, Some(SHOWN)),
        ("tools/list", UNREADABLE, None),
        ("x/y", LIST, Some(SHOWN)),
    ] {
        let (id, goes_on) = case.ask(method);
        assert!(!goes_on);
        case.wait(Duration::from_secs(60));
        assert!(!case.vm.is_response_resumed(id));
        let forwarded = case.vm.send_response_body(id, body, true);
        match expected {
            Some(expected) => assert_eq!(forwarded, expected),
            None => assert_502(&case.vm.outcome(id)),
        }
    }
}

#[test]
fn a_list_that_is_too_long_is_a_502_before_its_end() {
    let case = Case::new();
    let (id, _) = case.ask("tools/list");
    let long = [LIST, &[b' '; 2000]].concat();
    assert_eq!(case.vm.send_response_body(id, &long, false), b"");
    assert_502(&case.vm.outcome(id));
}

#[test]
fn without_bodies_no_head_is_held_back_for_long() {
    let case = Case::new();
    for _ in 0..2 {
        let id = case.ask_without_the_option();
        assert_eq!(case.vm.send_response_body(id, LIST, true), SHOWN);
    }
    let id = case.ask_without_the_option();
    let forwarded = String::from_utf8(case.vm.send_response_body(id, UNREADABLE, true)).unwrap();
    assert!(forwarded.contains("mcp_list_invalid"), "{forwarded}");
    // Three were enough.
    let (id, goes_on) = case.ask("tools/list");
    assert!(goes_on);
    assert_eq!(case.vm.send_response_body(id, LIST, true), SHOWN);
}

#[test]
fn slow_bodies_are_no_proof_once_one_has_arrived() {
    let case = Case::new();
    for _ in 0..2 {
        case.ask_without_the_option();
    }
    let (id, _) = case.ask("tools/list");
    assert_eq!(case.vm.send_response_body(id, LIST, true), SHOWN);
    for _ in 0..5 {
        let (id, goes_on) = case.ask("tools/list");
        assert!(!goes_on);
        case.wait(Duration::from_secs(1));
        assert_eq!(case.vm.send_response_body(id, LIST, true), SHOWN);
    }
}

#[test]
fn only_lists_are_held_back_to_find_out() {
    let case = Case::new();
    for method in ["tools/call", "x/y"] {
        let (id, goes_on) = case.ask(method);
        assert!(goes_on, "{method}");
        let result = br#"{"id":1,"result":{"content":[]}}"#;
        assert_eq!(case.vm.send_response_body(id, result, true), result, "{method}");
    }
    // One whose client leaves shows nothing.
    let (id, _) = case.ask("tools/list");
    case.vm.close(id);
    case.wait(Duration::from_secs(1));
    case.ask_without_the_option();
}

#[test]
fn a_head_that_cannot_lose_its_length_is_not_forwarded() {
    let case = Case::new();
    let (id, _) = case.ask("tools/list");
    case.vm.keep_response_head(id);
    case.wait(Duration::from_secs(1));
    assert!(!case.vm.is_response_resumed(id));
    let outcome = case.vm.outcome(id);
    assert!(matches!(outcome, Outcome::Refused(LocalResponse { status: 500, .. })), "{outcome:?}");
}
