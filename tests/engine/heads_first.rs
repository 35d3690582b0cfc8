//! Hosts that deliver the body of a request only after its head was forwarded: the plugin detects
//! them, and clients that withhold their bodies cannot make it believe that it has such a host.

use std::time::Duration;

use serde_json::json;
use testkit::SigningKey;

use crate::bodies::{ALLOWED, FORBIDDEN, guarded, open, open_held, with_rules};
use crate::host::{Outcome, SharedData, Vm, log};
use crate::provider::{
    AUDIENCE, ISSUER, assert_forwarded, assert_paused, assert_refused, claims, configuration,
    fetch, key, start,
};
use crate::replay::{single_use, token_with};

/// Whether the plugin now forwards heads before their bodies.
fn goes_first(vm: &Vm, key: &SigningKey) -> bool {
    let (id, outcome) = open(vm, "/mcp", &token_with(key, ISSUER, &testkit::random_id()));
    let goes_first = matches!(outcome, Outcome::Forwarded(_));
    vm.close(id);
    goes_first
}

#[test]
fn after_a_body_is_not_delivered_this_and_later_heads_are_forwarded_first() {
    let key = key("one");
    let vm = guarded(&key);
    vm.hand_over_late();
    let held = [ALLOWED, FORBIDDEN].map(|body| {
        let id = open_held(&vm, &token_with(&key, ISSUER, &testkit::random_id()));
        assert_eq!(vm.send_body(id, body, true), b"");
        id
    });
    assert!(!goes_first(&vm, &key));
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(20)));
    // The first head shows it; the others follow.
    vm.tick();
    vm.tick();
    assert_eq!(vm.passed(held[0]), ALLOWED);
    assert_forwarded(&vm.outcome(held[0]));
    assert_refused(&vm.outcome(held[1]), 403, "access_denied");
    assert!(goes_first(&vm, &key));
    let warnings = log().into_iter().filter(|line| line.contains("withheld-bodies"));
    assert_eq!(warnings.count(), 1);
    // The message is judged in the same way.
    for (body, passes) in [(ALLOWED, true), (FORBIDDEN, false)] {
        let (id, outcome) = open(&vm, "/mcp", &token_with(&key, ISSUER, &testkit::random_id()));
        assert_forwarded(&outcome);
        let (first, last) = body.split_at(20);
        assert_eq!(vm.send_body(id, first, false), b"");
        assert_eq!(vm.send_body(id, last, true), if passes { body } else { b"" });
        if !passes {
            assert_refused(&vm.outcome(id), 403, "access_denied");
        }
    }
}

#[test]
fn a_body_withheld_while_its_request_waits_for_keys_counts_too() {
    let vm = start(&with_rules(configuration()), &SharedData::default());
    vm.hand_over_late();
    let key = key("one");
    let (id, outcome) = open(&vm, "/mcp", &key.token(&claims(ISSUER, AUDIENCE)));
    assert_paused(&outcome);
    vm.send_body(id, ALLOWED, true);
    fetch(&vm, &[&key]);
    vm.tick();
    assert_eq!(vm.passed(id), ALLOWED);
    assert_forwarded(&vm.outcome(id));
}

#[test]
fn a_withheld_body_gets_no_head_forwarded_and_affects_no_other_request() {
    let key = key("one");
    for knows in [false, true] {
        let vm = {
            let mut configuration = with_rules(single_use(&key));
            configuration["access"]["default"] = json!("deny");
            configuration["access"]["rules"] = json!([{"match": {"mcp_names": ["whoami"]}}]);
            start(&configuration, &SharedData::default())
        };
        if knows {
            let id = open_held(&vm, &token_with(&key, ISSUER, "first"));
            assert_eq!(vm.send_body(id, ALLOWED, true), ALLOWED);
        }
        let id = open_held(&vm, &token_with(&key, ISSUER, "withheld"));
        vm.tick();
        vm.advance(Duration::from_millis(4999));
        vm.tick();
        assert_paused(&vm.outcome(id));
        vm.advance(Duration::from_secs(1));
        vm.tick();
        if knows {
            // Envoy's own time-outs end the request.
            assert_paused(&vm.outcome(id));
        } else {
            // The rules would refuse an empty body.
            assert_refused(&vm.outcome(id), 403, "access_denied");
        }
        let id = open_held(&vm, &token_with(&key, ISSUER, "second"));
        assert_eq!(vm.send_body(id, ALLOWED, true), ALLOWED);
        assert_forwarded(&vm.outcome(id));
    }
}

/// A chunked POST without chunks: no byte of a body is ever received.
#[test]
fn a_request_whose_body_never_begins_is_judged_as_one_without_a_body() {
    let key = key("one");
    let vm = guarded(&key);
    vm.hand_over_late();
    let empty = open_held(&vm, &token_with(&key, ISSUER, "1"));
    let slow = open_held(&vm, &token_with(&key, ISSUER, "2"));
    vm.send_body(empty, b"", true);
    vm.advance(Duration::from_secs(5));
    vm.tick();
    assert_forwarded(&vm.outcome(empty));
    // The token is spent, and a body that arrives later is refused.
    let (_, outcome) = open(&vm, "/mcp", &token_with(&key, ISSUER, "1"));
    assert_refused(&outcome, 401, "jti_replayed");
    assert_forwarded(&vm.outcome(slow));
    assert_eq!(vm.send_body(slow, ALLOWED, true), b"");
    let outcome = vm.outcome(slow);
    assert!(matches!(&outcome, Outcome::Refused(refused) if refused.status == 408), "{outcome:?}");
    assert!(!goes_first(&vm, &key));
}

/// The client is slow, but its header says that a body follows, so it is waited for.
#[test]
fn a_request_with_a_content_length_is_never_judged_as_one_without_a_body() {
    let key = key("one");
    let vm = guarded(&key);
    let authorization = format!("Bearer {}", token_with(&key, ISSUER, "1"));
    let (id, outcome) = vm.open(&[
        (":method", b"POST"),
        (":path", b"/mcp"),
        ("content-type", b"application/json"),
        ("content-length", ALLOWED.len().to_string().as_bytes()),
        ("authorization", authorization.as_bytes()),
    ]);
    assert_paused(&outcome);
    vm.advance(Duration::from_secs(200));
    vm.tick();
    assert_paused(&vm.outcome(id));
    assert_eq!(vm.send_body(id, ALLOWED, true), ALLOWED);
}

/// A filter before the plugin may hold a body, or may have held it before the head arrived.
#[test]
fn bytes_that_another_filter_holds_do_not_show_a_late_body() {
    let key = key("one");
    let vm = guarded(&key);
    vm.receive_elsewhere(10);
    let id = open_held(&vm, &token_with(&key, ISSUER, "1"));
    vm.tick();
    assert_forwarded(&vm.outcome(id));
    vm.tick();
    vm.receive_elsewhere(0);
    assert!(!goes_first(&vm, &key));
    let id = open_held(&vm, &token_with(&key, ISSUER, "2"));
    vm.tick();
    assert_paused(&vm.outcome(id));
    assert_eq!(vm.send_body(id, ALLOWED, true), ALLOWED);
    assert!(!log().iter().any(|line| line.contains("withheld-bodies")));
}

#[test]
fn after_an_inconclusive_head_the_next_one_is_tested() {
    let key = key("one");
    let vm = guarded(&key);
    vm.hand_over_late();
    vm.receive_elsewhere(10);
    let first = open_held(&vm, &token_with(&key, ISSUER, "1"));
    vm.tick();
    assert_forwarded(&vm.outcome(first));
    vm.receive_elsewhere(0);
    let second = open_held(&vm, &token_with(&key, ISSUER, "2"));
    vm.send_body(second, ALLOWED, true);
    vm.tick();
    vm.tick();
    assert_eq!(vm.passed(second), ALLOWED);
    assert!(goes_first(&vm, &key));
}

#[test]
fn bytes_that_arrived_before_the_head_are_counted_too() {
    let key = key("one");
    let vm = guarded(&key);
    vm.hand_over_late();
    vm.receive_elsewhere(ALLOWED.len());
    let id = open_held(&vm, &token_with(&key, ISSUER, "1"));
    vm.receive_elsewhere(0);
    vm.send_body(id, ALLOWED, true);
    vm.tick();
    assert_eq!(vm.passed(id), ALLOWED);
}

#[test]
fn a_host_that_does_not_report_received_bytes_is_detected_by_time() {
    let key = key("one");
    let vm = guarded(&key);
    vm.hand_over_late();
    vm.hide_received();
    let id = open_held(&vm, &token_with(&key, ISSUER, "1"));
    vm.send_body(id, ALLOWED, true);
    vm.tick();
    assert_paused(&vm.outcome(id));
    vm.advance(Duration::from_millis(100));
    vm.tick();
    assert_eq!(vm.passed(id), ALLOWED);
    assert!(goes_first(&vm, &key));
}

/// Otherwise a spent token's head could get a response again and again.
#[test]
fn the_token_of_a_head_that_goes_first_is_looked_up_in_the_fleet_store() {
    let key = key("one");
    let mut configuration = with_rules(single_use(&key));
    configuration["replay_store"] = json!({"redis": {"cluster": "webdis", "timeout": "3s"}});
    let vm = start(&configuration, &SharedData::default());
    vm.hand_over_late();
    let looked_up = |response: &str| {
        let call = vm.call();
        let command = String::from_utf8(call.body.clone()).unwrap();
        assert!(command.starts_with("EXISTS/mcp-auth:jti:"), "{command}");
        vm.respond(&call, "200", &[], response.as_bytes());
    };
    let first = open_held(&vm, &token_with(&key, ISSUER, "first"));
    vm.send_body(first, ALLOWED, true);
    vm.tick();
    looked_up(r#"{"EXISTS":0}"#);
    vm.respond(&vm.call(), "200", &[], br#"{"SET":[true,"OK"]}"#);
    assert_eq!(vm.passed(first), ALLOWED);
    for (response, refusal) in [
        (r#"{"EXISTS":0}"#, None),
        (r#"{"EXISTS":1}"#, Some((401, "jti_replayed"))),
        (r#"{"EXISTS":"0"}"#, Some((503, "replay_store_unavailable"))),
        (r#"{"SET":[true,"OK"]}"#, Some((503, "replay_store_unavailable"))),
        ("", Some((503, "replay_store_unavailable"))),
    ] {
        let id = open_held(&vm, &token_with(&key, ISSUER, response));
        assert_paused(&vm.outcome(id));
        looked_up(response);
        match refusal {
            Some((status, reason)) => assert_refused(&vm.outcome(id), status, reason),
            None => {
                assert_forwarded(&vm.outcome(id));
                assert!(vm.calls().is_empty());
                vm.send_body(id, FORBIDDEN, true);
                assert_refused(&vm.outcome(id), 403, "access_denied");
            }
        }
    }
    // The store does not respond at all.
    let id = open_held(&vm, &token_with(&key, ISSUER, "late"));
    vm.advance(Duration::from_secs(5));
    vm.tick();
    assert_refused(&vm.outcome(id), 503, "replay_store_unavailable");
}

#[test]
fn reusable_tokens_are_not_looked_up() {
    let key = key("one");
    let mut configuration = with_rules(single_use(&key));
    configuration["providers"][0]["jti"] = json!("ignore");
    configuration["replay_store"] = json!({"redis": {"cluster": "webdis", "timeout": "3s"}});
    let vm = start(&configuration, &SharedData::default());
    vm.hand_over_late();
    let first = open_held(&vm, &token_with(&key, ISSUER, "first"));
    vm.send_body(first, ALLOWED, true);
    vm.tick();
    assert_eq!(vm.passed(first), ALLOWED);
    assert!(goes_first(&vm, &key));
    assert!(vm.calls().is_empty());
}
