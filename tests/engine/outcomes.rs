//! The outcomes of calls: how responses are read, reported and counted.

use serde_json::{Value, json};
use testkit::SigningKey;

use crate::bodies::open;
use crate::host::{SharedData, Vm};
use crate::provider::{assert_forwarded, configuration, fetch, key, start, token};

const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#;
const OK: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
const ERROR: &[u8] = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}"#;
const SUCCESS: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/json")];
const EVENTS: &[(&str, &str)] = &[(":status", "200"), ("content-type", "text/event-stream")];

fn audited(rules: Value) -> Value {
    let mut document = configuration();
    document["audit"] = json!({"outcomes": true});
    document["access"] = json!({"default": "allow", "rules": rules, "mcp": {"max_body": "1KiB"}});
    document
}

/// Rules that read every message and name no tool.
fn all() -> Value {
    json!([{"name": "all", "match": {"mcp_methods": ["*"]}}])
}

/// Rules that read every message and filter lists.
fn by_name() -> Value {
    json!([
        {"name": "admin", "match": {"mcp_names": ["admin_*"]}, "require": {"roles": ["admin"]}},
        {"name": "all", "match": {"mcp_methods": ["*"]}},
    ])
}

fn vm(document: &Value) -> (Vm, SigningKey) {
    let key = key("one");
    let vm = start(document, &SharedData::default());
    fetch(&vm, &[&key]);
    (vm, key)
}

/// Sends a message that is forwarded.
fn send(vm: &Vm, key: &SigningKey, message: &[u8]) -> u32 {
    let (id, _) = open(vm, "/mcp", &token(key));
    vm.send_body(id, message, true);
    assert_forwarded(&vm.outcome(id));
    id
}

/// The outcome in the filter state, and the JSON-RPC error code.
fn reported(vm: &Vm, id: u32) -> (Option<String>, Option<String>) {
    let state = vm.filter_state(id);
    let find = |name: &str| {
        let prefix = format!("mcp_auth.{name}=");
        state.iter().find_map(|entry| entry.strip_prefix(&prefix).map(str::to_owned))
    };
    (find("outcome"), find("rpc_code"))
}

fn calls(vm: &Vm) -> Vec<(String, u64)> {
    let all = vm.metrics().into_iter();
    let calls = all.filter_map(|(name, count)| {
        Some((name.strip_prefix("mcp_auth_calls.")?.to_owned(), count))
    });
    calls.collect()
}

fn some(outcome: &str) -> (Option<String>, Option<String>) {
    (Some(outcome.to_owned()), None)
}

#[test]
fn a_response_is_reported_at_its_end_and_counted_once() {
    let (vm, key) = vm(&audited(all()));
    let id = send(&vm, &key, CALL);
    assert!(vm.send_response_head(id, SUCCESS, true));
    assert_eq!(reported(&vm, id), some("unknown"));
    let (first, last) = OK.split_at(10);
    // Nothing is held back.
    assert_eq!(vm.send_response_body(id, first, false), first);
    assert_eq!(reported(&vm, id), some("unknown"));
    assert_eq!(vm.send_response_body(id, last, true), OK);
    assert_eq!(reported(&vm, id), some("ok"));
    assert!(calls(&vm).is_empty());
    vm.close(id);
    assert_eq!(calls(&vm), [("method.tools/call.outcome.ok".to_owned(), 1)]);
}

#[test]
fn where_filter_state_cannot_be_replaced_an_outcome_is_reported_when_the_request_ends() {
    for (response, expected) in [
        (OK, some("ok")),
        (ERROR, (Some("rpc_error".to_owned()), Some("-32000".to_owned()))),
        // It breaks off.
        (&OK[..10], some("unknown")),
    ] {
        let (vm, key) = vm(&audited(all()));
        vm.keep_filter_state();
        let id = send(&vm, &key, CALL);
        vm.send_response_head(id, SUCCESS, true);
        vm.send_response_body(id, response, response.len() > 10);
        assert_eq!(reported(&vm, id), (None, None));
        for _ in 0..2 {
            vm.complete(id);
            assert_eq!(reported(&vm, id), expected);
        }
        let total: u64 = calls(&vm).iter().map(|(_, count)| count).sum();
        assert_eq!(total, 1);
    }
}

#[test]
fn a_response_may_end_with_its_head_or_with_trailers() {
    let (vm, key) = vm(&audited(all()));
    let id = send(&vm, &key, CALL);
    vm.send_response_head(id, SUCCESS, false);
    assert_eq!(reported(&vm, id), some("unknown"));
    let id = send(&vm, &key, CALL);
    vm.send_response_head(id, SUCCESS, true);
    vm.send_response_body(id, ERROR, false);
    assert_eq!(reported(&vm, id), some("unknown"));
    vm.send_response_trailers(id);
    assert_eq!(reported(&vm, id), (Some("rpc_error".to_owned()), Some("-32000".to_owned())));
}

#[test]
fn a_stream_is_reported_as_soon_as_its_response_has_passed() {
    for rules in [all(), by_name()] {
        let (vm, key) = vm(&audited(rules));
        let id = send(&vm, &key, CALL);
        assert!(vm.send_response_head(id, EVENTS, true));
        let event = [b"data: ", OK, b"\n\n"].concat();
        let all = [b": hello\n\n", &*event].concat();
        assert_eq!(vm.send_response_body(id, b": hello\n\n", false), b": hello\n\n");
        assert_eq!(reported(&vm, id), some("unknown"));
        assert_eq!(vm.send_response_body(id, &event, false), all);
        assert_eq!(reported(&vm, id), some("ok"));
        // The client disconnects before the end.
        vm.close(id);
        assert_eq!(calls(&vm), [("method.tools/call.outcome.ok".to_owned(), 1)]);
    }
}

#[test]
fn a_call_without_a_response_has_the_outcome_unknown() {
    for rules in [all(), by_name()] {
        let (vm, key) = vm(&audited(rules));
        let id = send(&vm, &key, CALL);
        // The server may carry out the call, whatever its client does.
        assert_eq!(reported(&vm, id), some("unknown"));
        vm.close(id);
        assert_eq!(calls(&vm), [("method.tools/call.outcome.unknown".to_owned(), 1)]);
    }
}

/// Anything after it may be the response to another request.
#[test]
fn only_a_request_has_a_result() {
    let notification = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let event = [b"data: ", OK, b"\n\n"].concat();
    let accepted: &[(&str, &str)] = &[(":status", "202"), ("content-length", "0")];
    let (vm, key) = vm(&audited(all()));
    let id = send(&vm, &key, notification);
    vm.send_response_head(id, accepted, false);
    assert_eq!(reported(&vm, id), some("ok"));
    // The twin: a request that is accepted and gets no result.
    let id = send(&vm, &key, CALL);
    vm.send_response_head(id, accepted, false);
    assert_eq!(reported(&vm, id), some("unknown"));
    let id = send(&vm, &key, notification);
    vm.send_response_head(id, EVENTS, true);
    vm.send_response_body(id, &event, true);
    assert_eq!(reported(&vm, id), some("unknown"));

    let authorization = format!("Bearer {}", token(&key));
    let (id, outcome) = vm.request(&[
        (":method", b"GET"),
        (":path", b"/mcp"),
        (":authority", b"mcp.example.com"),
        ("authorization", authorization.as_bytes()),
    ]);
    assert_forwarded(&outcome);
    vm.send_response_head(id, EVENTS, true);
    assert_eq!(vm.send_response_body(id, &event, true), event);
    assert_eq!(reported(&vm, id), some("unknown"));
    // The twin: the same stream in response to a call.
    let id = send(&vm, &key, CALL);
    vm.send_response_head(id, EVENTS, true);
    vm.send_response_body(id, &event, true);
    assert_eq!(reported(&vm, id), some("ok"));
}

#[test]
fn a_held_list_is_read_once() {
    let list = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let tools = br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"admin_b"}]}}"#;
    let (vm, key) = vm(&audited(by_name()));
    let id = send(&vm, &key, list);
    assert_eq!(reported(&vm, id), (None, None));
    vm.send_response_head(id, SUCCESS, true);
    let (first, last) = tools.split_at(40);
    assert_eq!(vm.send_response_body(id, first, false), b"");
    // It may still be refused.
    assert_eq!(reported(&vm, id), (None, None));
    let shown = vm.send_response_body(id, last, true);
    assert!(!shown.is_empty() && !String::from_utf8(shown).unwrap().contains("admin_b"));
    assert_eq!(reported(&vm, id), some("ok"));

    let id = send(&vm, &key, list);
    vm.send_response_head(id, SUCCESS, true);
    vm.send_response_body(id, b"no list", true);
    assert_eq!(reported(&vm, id), (None, None));
    assert!(vm.filter_state(id).contains(&"mcp_auth.reason=mcp_list_invalid".to_owned()));
    vm.close(id);
    assert_eq!(calls(&vm), [("method.tools/list.outcome.refused".to_owned(), 1)]);
}

#[test]
fn a_refused_response_is_logged_alike_where_filter_state_cannot_be_replaced() {
    let list = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let bad = br#"data: {"jsonrpc":"2.0","id":2,"result":{"tools":[],"tools":[]}}"#;
    let event = |message: &[u8]| [b"data: ", message, b"\n\n", bad, b"\n\n"].concat();
    let log = |keeps: bool, message: &[u8], head, body: &[u8]| {
        let (vm, key) = vm(&audited(by_name()));
        if keeps {
            vm.keep_filter_state();
        }
        let id = send(&vm, &key, message);
        vm.send_response_head(id, head, true);
        vm.send_response_body(id, body, true);
        vm.complete(id);
        assert!(vm.filter_state(id).contains(&"mcp_auth.reason=mcp_list_invalid".to_owned()));
        (vm.filter_state(id), calls(&vm))
    };
    for (message, head, body) in [
        (&list[..], SUCCESS, b"no list".to_vec()),
        (list, EVENTS, event(b"{}")),
        (CALL, EVENTS, event(b"{}")),
        (CALL, EVENTS, event(OK)),
        (CALL, EVENTS, event(ERROR)),
    ] {
        let kept = log(true, message, head, &body);
        assert_eq!(kept, log(false, message, head, &body));
    }
}

#[test]
fn the_response_to_a_call_passes_the_filter_and_is_read() {
    let (vm, key) = vm(&audited(by_name()));
    let long = [OK, &[b' '; 2000][..]].concat();
    for (body, outcome) in [(OK, "ok"), (&*long, "unknown")] {
        let id = send(&vm, &key, CALL);
        vm.send_response_head(id, SUCCESS, true);
        let (first, last) = body.split_at(20);
        vm.send_response_body(id, first, false);
        assert_eq!(vm.send_response_body(id, last, true), body);
        assert_eq!(reported(&vm, id), some(outcome));
    }
}

#[test]
fn refused_calls_are_counted_by_their_method() {
    let (vm, key) = vm(&audited(by_name()));
    let (id, _) = open(&vm, "/mcp", &token(&key));
    let call = String::from_utf8(CALL.to_vec()).unwrap().replace("whoami", "admin_reset");
    vm.send_body(id, call.as_bytes(), true);
    open(&vm, "/mcp", "a.b");
    assert_eq!(reported(&vm, id), (None, None));
    vm.close(id);
    assert_eq!(
        calls(&vm),
        [
            ("method.none.outcome.refused".to_owned(), 1),
            ("method.tools/call.outcome.refused".to_owned(), 1),
        ]
    );
}

#[test]
fn a_method_that_a_client_makes_up_is_not_a_label() {
    let (vm, key) = vm(&audited(all()));
    for method in ["x", "tools/call.outcome.ok", "TOOLS/LIST"] {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string();
        let id = send(&vm, &key, message.as_bytes());
        vm.close(id);
    }
    assert_eq!(calls(&vm), [("method.other.outcome.unknown".to_owned(), 3)]);
}

#[test]
fn responses_are_not_read_where_outcomes_are_not_enabled() {
    let mut document = audited(all());
    document["audit"] = json!({});
    let (vm, key) = vm(&document);
    let id = send(&vm, &key, CALL);
    assert!(vm.send_response_head(id, SUCCESS, true));
    assert_eq!(vm.send_response_body(id, OK, true), OK);
    assert_eq!(reported(&vm, id), (None, None));
    vm.close(id);
    assert!(calls(&vm).is_empty());
}

#[test]
fn calls_of_several_servers_are_counted_separately() {
    let mut document = audited(all());
    document.as_object_mut().unwrap().remove("resource");
    document["resources"] = json!([
        {"id": "one", "url": "https://mcp.example.com/mcp"},
        {"id": "two", "url": "https://mcp.example.com/two"},
    ]);
    document["providers"][0]["client_ids"] = json!(["mcp"]);
    let (vm, key) = vm(&document);
    let id = send(&vm, &key, CALL);
    assert!(vm.filter_state(id).contains(&"mcp_auth.resource=one".to_owned()));
    vm.close(id);
    open(&vm, "/two", "a.b");
    assert_eq!(
        calls(&vm),
        [
            ("method.none.outcome.refused.resource.two".to_owned(), 1),
            ("method.tools/call.outcome.unknown.resource.one".to_owned(), 1),
        ]
    );
}
