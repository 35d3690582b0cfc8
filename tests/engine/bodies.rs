//! Requests whose bodies are judged: the order of events, and hosts that misbehave.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::SigningKey;

use crate::host::{LocalResponse, Outcome, SharedData, Vm};
use crate::provider::{
    AUDIENCE, ISSUER, assert_forwarded, assert_paused, assert_refused, claims, configuration,
    fetch, key, start,
};
use crate::replay::{single_use, token_with};

pub const FORBIDDEN: &[u8] = br#"{"id":1,"method":"tools/call","params":{"name":"add"}}"#;
pub const ALLOWED: &[u8] = br#"{"id":1,"method":"tools/call","params":{"name":"whoami"}}"#;

/// Rules by which `add` needs a role.
pub fn with_rules(mut configuration: Value) -> Value {
    configuration["access"] = json!({
        "default": "allow",
        "rules": [{
            "match": {"paths": ["/mcp"], "mcp_names": ["add"]},
            "require": {"roles": ["adder"]},
        }],
        "mcp": {"max_body": "1KiB"},
    });
    configuration
}

/// A VM with these rules, for a provider of single-use tokens.
pub fn guarded(key: &SigningKey) -> Vm {
    start(&with_rules(single_use(key)), &SharedData::default())
}

/// Sends the head of a request with this token.
pub fn open(vm: &Vm, path: &str, token: &str) -> (u32, Outcome) {
    let authorization = format!("Bearer {token}");
    vm.open(&[
        (":method", b"POST"),
        (":path", path.as_bytes()),
        (":authority", b"mcp.example.com"),
        ("content-type", b"application/json"),
        ("authorization", authorization.as_bytes()),
    ])
}

/// Sends the head of a request whose body is judged: the head is held back until then.
#[track_caller]
pub fn open_held(vm: &Vm, token: &str) -> u32 {
    let (id, outcome) = open(vm, "/mcp", token);
    assert_paused(&outcome);
    id
}

#[track_caller]
fn assert_broken_off(vm: &Vm, id: u32) {
    let outcome = vm.outcome(id);
    assert!(matches!(outcome, Outcome::Refused(LocalResponse { status: 500, .. })), "{outcome:?}");
}

#[test]
fn nothing_of_a_body_is_forwarded_before_all_of_it_was_judged() {
    let key = key("one");
    let vm = guarded(&key);
    for (number, trailers) in [false, true].into_iter().enumerate() {
        for (body, passes) in [(ALLOWED, true), (FORBIDDEN, false)] {
            let id = open_held(&vm, &token_with(&key, ISSUER, &format!("{number} {passes}")));
            let (first, last) = body.split_at(20);
            assert_eq!(vm.send_body(id, first, false), b"");
            let mut passed = vm.send_body(id, last, !trailers);
            if trailers {
                assert_eq!(passed, b"");
                passed = vm.send_trailers(id);
            }
            if passes {
                assert_eq!(passed, body);
                assert_forwarded(&vm.outcome(id));
            } else {
                assert_refused(&vm.outcome(id), 403, "access_denied");
                // Even if the host delivered it again.
                assert_eq!(vm.send_body(id, b"", true), b"");
                assert_eq!(vm.send_trailers(id), b"");
            }
        }
    }
    assert_eq!(vm.body_reads(), 4);
}

#[test]
fn a_request_without_a_body_has_no_message() {
    let key = key("one");
    let vm = guarded(&key);
    let authorization = format!("Bearer {}", token_with(&key, ISSUER, "1"));
    let (_, outcome) = vm.request(&[
        (":method", b"GET"),
        (":path", b"/mcp"),
        ("authorization", authorization.as_bytes()),
    ]);
    assert_forwarded(&outcome);
    let id = open_held(&vm, &token_with(&key, ISSUER, "2"));
    assert_eq!(vm.send_body(id, b"", true), b"");
    assert_forwarded(&vm.outcome(id));
    let id = open_held(&vm, &token_with(&key, ISSUER, "3"));
    vm.send_trailers(id);
    assert_forwarded(&vm.outcome(id));
    assert_eq!(vm.body_reads(), 0);
}

#[test]
fn a_body_that_no_rule_needs_is_forwarded_as_it_arrives() {
    let key = key("one");
    let vm = guarded(&key);
    let (id, outcome) = open(&vm, "/upload", &token_with(&key, ISSUER, "1"));
    assert_forwarded(&outcome);
    assert_eq!(vm.send_body(id, b"first ", false), b"first ");
    assert_eq!(vm.send_body(id, &[b' '; 5000], false).len(), 5006);
    assert_eq!(vm.send_trailers(id).len(), 5006);
    assert_eq!(vm.body_reads(), 0);
}

#[test]
fn a_body_that_is_too_large_is_refused_immediately_and_not_read() {
    let key = key("one");
    let vm = guarded(&key);
    let id = open_held(&vm, &token_with(&key, ISSUER, "1"));
    assert_eq!(vm.send_body(id, &[b' '; 1024], false), b"");
    assert_paused(&vm.outcome(id));
    assert_eq!(vm.send_body(id, b" ", false), b"");
    assert_refused(&vm.outcome(id), 400, "mcp_body_invalid");
    assert_eq!(vm.send_body(id, ALLOWED, true), b"");
    assert_eq!(vm.body_reads(), 0);
}

#[test]
fn a_body_that_the_host_delivers_only_in_part_is_not_forwarded() {
    let key = key("one");
    for max_seen in [0, 1, ALLOWED.len() - 1] {
        let vm = guarded(&key);
        vm.show_body(max_seen);
        let id = open_held(&vm, &token_with(&key, ISSUER, "1"));
        assert_eq!(vm.send_body(id, ALLOWED, true), b"");
        assert_broken_off(&vm, id);
        assert_eq!(vm.send_trailers(id), b"");
    }
}

#[test]
fn a_client_that_disconnects_before_the_end_of_its_body_spends_no_token() {
    let key = key("one");
    let vm = guarded(&key);
    let token = token_with(&key, ISSUER, "1");
    let gone = open_held(&vm, &token);
    assert_eq!(vm.send_body(gone, b"{", false), b"");
    vm.close(gone);
    // A refused request does not spend the token either.
    let refused = open_held(&vm, &token);
    vm.send_body(refused, FORBIDDEN, true);
    assert_refused(&vm.outcome(refused), 403, "access_denied");
    let stays = open_held(&vm, &token);
    let late = open_held(&vm, &token);
    assert_eq!(vm.send_body(stays, ALLOWED, true), ALLOWED);
    assert_eq!(vm.send_body(late, ALLOWED, true), b"");
    assert_refused(&vm.outcome(late), 401, "jti_replayed");
}

/// Otherwise a client that withholds bodies could get several responses to one token's heads.
#[test]
fn a_spent_token_is_refused_at_the_head_and_a_head_spends_no_token() {
    let key = key("one");
    let vm = guarded(&key);
    let token = token_with(&key, ISSUER, "1");
    for _ in 0..3 {
        open_held(&vm, &token);
    }
    let id = open_held(&vm, &token);
    assert_eq!(vm.send_body(id, ALLOWED, true), ALLOWED);
    let (_, outcome) = open(&vm, "/mcp", &token);
    assert_refused(&outcome, 401, "jti_replayed");
}

#[test]
fn a_head_is_refused_immediately_unless_some_message_could_pass() {
    let key = key("one");
    let rule = |methods: &[&str], role: &str| {
        json!({
            "match": {"paths": ["/mcp"], "mcp_methods": methods},
            "require": {"roles": [role]},
        })
    };
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["roles"] = json!(["caller"]);
    claims["jti"] = json!("1");
    let token = key.token(&claims);
    for (name, rules, default, is_held) in [
        ("its rule", vec![rule(&["tools/call"], "caller")], "deny", true),
        ("another's rule", vec![rule(&["tools/call"], "admin")], "deny", false),
        ("the second rule", vec![rule(&["a"], "admin"), rule(&["b"], "caller")], "deny", true),
        ("the default", vec![rule(&["tools/call"], "admin")], "allow", true),
        (
            "a rule after one for all",
            vec![rule(&["a"], "admin"), rule(&[], "admin"), rule(&[], "caller")],
            "allow",
            false,
        ),
    ] {
        let mut configuration = single_use(&key);
        configuration["access"] = json!({"default": default, "rules": rules});
        let vm = start(&configuration, &SharedData::default());
        let (_, outcome) = open(&vm, "/mcp", &token);
        match is_held {
            true => assert!(matches!(outcome, Outcome::Paused), "{name}: {outcome:?}"),
            false => {
                assert!(matches!(outcome, Outcome::Refused(_)), "{name}: {outcome:?}");
                assert_refused(&outcome, 403, "access_denied");
            }
        }
    }
}

/// MCP messages are in POSTs only.
#[test]
fn the_body_of_another_method_admits_no_request() {
    let key = key("one");
    let mut configuration = single_use(&key);
    configuration["access"] = json!({"rules": [
        {"match": {"mcp_methods": ["ping"]}},
        {"match": {"methods": ["GET"]}, "require": {"roles": ["missing"]}},
        {"match": {"methods": ["PUT"]}},
    ]});
    for inspect in ["body", "headers"] {
        configuration["access"]["mcp"] =
            json!({"inspect": inspect, "upstream_validates_headers": true});
        let vm = start(&configuration, &SharedData::default());
        for (method, status) in
            [("GET", Some(403)), ("DELETE", Some(403)), ("get", Some(403)), ("PUT", None)]
        {
            let token = token_with(&key, ISSUER, method);
            let authorization = format!("Bearer {token}");
            let (id, outcome) = vm.open(&[
                (":method", method.as_bytes()),
                (":path", b"/mcp"),
                ("content-type", b"application/json"),
                ("mcp-protocol-version", b"2026-07-28"),
                ("mcp-method", b"ping"),
                ("authorization", authorization.as_bytes()),
            ]);
            match status {
                Some(status) => assert_refused(&outcome, status, "access_denied"),
                None => {
                    assert_forwarded(&outcome);
                    assert_eq!(vm.send_body(id, b"ping", true), b"ping");
                }
            }
        }
    }
}

#[test]
fn an_unsupported_content_type_is_refused_with_the_first_byte_of_the_body() {
    let key = key("one");
    let vm = guarded(&key);
    let open = |number: &str| {
        let authorization = format!("Bearer {}", token_with(&key, ISSUER, number));
        let (id, outcome) = vm.open(&[
            (":method", b"POST"),
            (":path", b"/mcp"),
            ("content-type", b"text/plain"),
            ("authorization", authorization.as_bytes()),
        ]);
        assert_paused(&outcome);
        id
    };
    let id = open("1");
    assert_eq!(vm.send_body(id, b"{", false), b"");
    assert_refused(&vm.outcome(id), 400, "mcp_body_invalid");
    let id = open("2");
    vm.send_body(id, b"", true);
    assert_forwarded(&vm.outcome(id));
}

#[test]
fn a_token_that_expires_while_the_body_arrives_does_not_pass() {
    let key = key("one");
    let vm = guarded(&key);
    let token = token_with(&key, ISSUER, "1");
    let [first, second] = [open_held(&vm, &token), open_held(&vm, &token)];
    assert_eq!(vm.send_body(first, ALLOWED, true), ALLOWED);
    // By then the store has forgotten the token.
    vm.advance(Duration::from_secs(10_000));
    assert_eq!(vm.send_body(second, ALLOWED, true), b"");
    assert_refused(&vm.outcome(second), 401, "expired");
}

#[test]
fn a_request_that_waited_for_keys_is_held_when_its_body_arrives() {
    let vm = start(&with_rules(configuration()), &SharedData::default());
    let key = key("one");
    let (id, outcome) = open(&vm, "/mcp", &key.token(&claims(ISSUER, AUDIENCE)));
    assert_paused(&outcome);
    fetch(&vm, &[&key]);
    assert_paused(&vm.outcome(id));
    assert_eq!(vm.send_body(id, FORBIDDEN, true), b"");
    assert_refused(&vm.outcome(id), 403, "access_denied");
}

#[test]
fn a_body_that_arrives_while_its_request_waits_for_keys_waits_too() {
    for (path, body, passes) in
        [("/mcp", FORBIDDEN, false), ("/mcp", ALLOWED, true), ("/upload", FORBIDDEN, true)]
    {
        for is_whole in [true, false] {
            let vm = start(&with_rules(configuration()), &SharedData::default());
            let key = key("one");
            let (id, outcome) = open(&vm, path, &key.token(&claims(ISSUER, AUDIENCE)));
            assert_paused(&outcome);
            let (first, last) = body.split_at(if is_whole { body.len() } else { 20 });
            assert_eq!(vm.send_body(id, first, is_whole), b"");
            assert_paused(&vm.outcome(id));
            fetch(&vm, &[&key]);
            if !is_whole {
                vm.send_body(id, last, true);
            }
            if passes {
                assert_eq!(vm.passed(id), body, "{path}");
                assert_forwarded(&vm.outcome(id));
            } else {
                assert_eq!(vm.passed(id), b"");
                assert_refused(&vm.outcome(id), 403, "access_denied");
            }
        }
    }
}

#[test]
fn a_body_waits_while_a_fleet_spends_the_token() {
    let key = key("one");
    let mut configuration = with_rules(single_use(&key));
    configuration["replay_store"] = json!({"redis": {"cluster": "webdis", "timeout": "3s"}});
    let vm = start(&configuration, &SharedData::default());
    let token = token_with(&key, ISSUER, "1");
    for (response, reason) in [(r#"{"SET":[true,"OK"]}"#, ""), (r#"{"SET":null}"#, "jti_replayed")]
    {
        let id = open_held(&vm, &token);
        assert_eq!(vm.send_body(id, FORBIDDEN, false), b"");
        assert!(vm.calls().is_empty());
        vm.close(id);
        let id = open_held(&vm, &token);
        assert_eq!(vm.send_body(id, ALLOWED, true), b"");
        vm.respond(&vm.call(), "200", &[], response.as_bytes());
        if reason.is_empty() {
            assert_eq!(vm.passed(id), ALLOWED);
            assert_forwarded(&vm.outcome(id));
        } else {
            assert_refused(&vm.outcome(id), 401, reason);
        }
    }
}

#[test]
fn header_fields_that_contradict_the_body_get_the_standard_error() {
    let key = key("one");
    for format in ["oauth", "json_rpc", "servicenow"] {
        let mut configuration = with_rules(single_use(&key));
        configuration["errors"] = json!({"format": format, "details": "none"});
        let vm = start(&configuration, &SharedData::default());
        let authorization = format!("Bearer {}", token_with(&key, ISSUER, "1"));
        let (id, _) = vm.open(&[
            (":method", b"POST"),
            (":path", b"/mcp"),
            ("content-type", b"application/json"),
            ("mcp-name", b"add"),
            ("authorization", authorization.as_bytes()),
        ]);
        assert_eq!(vm.send_body(id, ALLOWED, true), b"");
        let outcome = vm.outcome(id);
        let Outcome::Refused(response) = outcome else { panic!("{outcome:?}") };
        let message = "the header mcp-name does not match the body";
        let error = json!({"code": -32020, "message": message});
        assert_eq!(response.status, 400);
        assert_eq!(response.json(), json!({"jsonrpc": "2.0", "id": 1, "error": error}));
    }
}

// Requirement: state-user
#[test]
fn trailers_carry_neither_identity_nor_credentials() {
    let key = key("one");
    let vm = guarded(&key);
    let harmless = ("x-checksum", "abc");
    let forged =
        ["x-mcp-user", "x_mcp_user", "x.mcp-roles", "authorization"].map(|value| (value, "root"));
    for (number, path) in ["/mcp", "/other"].into_iter().enumerate() {
        let (id, _) = open(&vm, path, &token_with(&key, ISSUER, &format!("trailers {number}")));
        vm.send_body(id, ALLOWED, false);
        vm.set_trailers(id, &[&forged[..], &[harmless]].concat());
        assert_eq!(vm.send_trailers(id), ALLOWED);
        assert_eq!(vm.trailers(id), [(harmless.0.to_owned(), harmless.1.as_bytes().to_vec())]);
    }
}

#[test]
fn a_request_whose_trailers_cannot_be_read_is_aborted() {
    let key = key("one");
    let vm = guarded(&key);
    let id = open_held(&vm, &token_with(&key, ISSUER, "unreadable trailers"));
    vm.send_body(id, ALLOWED, false);
    vm.hide_trailers(id);
    assert_eq!(vm.send_trailers(id), b"");
    assert_broken_off(&vm, id);
}

/// The tokens are kept, to judge them again.
#[test]
fn no_more_requests_are_held_than_there_is_room_for_their_tokens() {
    let vm = start(&with_rules(configuration()), &SharedData::default());
    let key = key("one");
    fetch(&vm, &[&key]);
    let mut claims = claims(ISSUER, AUDIENCE);
    claims["padding"] = json!("x".repeat(5_500));
    let token = key.token(&claims);
    let places = 32 * 1024 * 1024 / token.len();
    let held: Vec<u32> = (0..places).map(|_| open_held(&vm, &token)).collect();
    let (_, outcome) = open(&vm, "/mcp", &token);
    assert_refused(&outcome, 503, "keys_unavailable");
    // A client that disconnects or gets its response frees a place.
    vm.close(held[0]);
    let id = open_held(&vm, &token);
    for (id, body) in [(held[1], ALLOWED), (held[2], FORBIDDEN)] {
        let (_, outcome) = open(&vm, "/mcp", &token);
        assert_refused(&outcome, 503, "keys_unavailable");
        vm.send_body(id, body, true);
        open_held(&vm, &token);
    }
    assert_eq!(vm.send_body(id, ALLOWED, true), ALLOWED);
}
