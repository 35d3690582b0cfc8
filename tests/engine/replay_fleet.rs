use std::time::Duration;

use log::Level;
use serde_json::{Value, json};
use testkit::{SigningKey, random_id};

use crate::host::{Call, Outcome, SharedData, Vm, log_of};
use crate::provider::{
    ISSUER, assert_forwarded, assert_paused, assert_refused, configuration, key, request,
    respond_with_discovery, respond_with_key_set, start,
};
use crate::replay::{names, single_use, token_with};

const SPENT_NOW: &[u8] = br#"{"SET":[true,"OK"]}"#;
const SPENT_BEFORE: &[u8] = br#"{"SET":null}"#;

/// Providers whose tokens are single-use in a fleet.
fn fleet(key: &SigningKey) -> Value {
    let mut configuration = single_use(key);
    configuration["replay_store"] = json!({"redis": {"cluster": "webdis", "timeout": "3s"}});
    configuration
}

fn start_fleet(key: &SigningKey) -> Vm {
    start(&fleet(key), &SharedData::default())
}

/// Sends a request with this token, which waits.
#[track_caller]
fn wait(vm: &Vm, token: &str) -> u32 {
    let (id, outcome) = request(vm, token);
    assert_paused(&outcome);
    id
}

/// The same with a token that was not sent before.
#[track_caller]
fn wait_with_new_token(vm: &Vm, key: &SigningKey) -> u32 {
    wait(vm, &token_with(key, ISSUER, &random_id()))
}

#[track_caller]
fn assert_unavailable(outcome: &Outcome, cause: &str) {
    assert_refused(outcome, 503, "replay_store_unavailable");
    let Outcome::Refused(response) = outcome else { panic!("{outcome:?}") };
    assert_eq!(response.header("retry-after"), Some("1"));
    let log = log_of(Level::Warn).pop().unwrap();
    assert!(log.contains(cause), "{log}");
}

fn command(call: &Call) -> &str {
    std::str::from_utf8(&call.body).unwrap()
}

#[test]
fn a_request_continues_once_the_store_has_spent_the_token() {
    let key = key("one");
    let shared = SharedData::default();
    let vm = start(&fleet(&key), &shared);
    let id = wait(&vm, &token_with(&key, ISSUER, "1"));
    let call = vm.call();
    assert_eq!((call.cluster.as_str(), call.path()), ("webdis", "/".to_owned()));
    assert_eq!(call.timeout, Duration::from_secs(3));
    assert!(command(&call).starts_with("SET/mcp-auth:jti:"), "{call:?}");
    assert_paused(&vm.outcome(id));
    vm.respond(&call, "200", &[], SPENT_NOW);
    assert_forwarded(&vm.outcome(id));
    // The store of this Envoy is not used, and nothing is left to do.
    assert_eq!(names(&shared), [""; 0]);
    vm.tick();
    assert!(vm.calls().is_empty());
    assert_eq!(vm.tick_period(), Some(Duration::from_secs(1)));
}

#[test]
fn a_token_that_the_store_has_does_not_pass() {
    let key = key("one");
    let vm = start_fleet(&key);
    let token = token_with(&key, ISSUER, "1");
    let ids = [wait(&vm, &token), wait(&vm, &token)];
    let calls = vm.calls();
    assert_eq!(command(&calls[0]), command(&calls[1]));
    // In whatever order the responses arrive.
    vm.respond(&calls[1], "200", &[], SPENT_NOW);
    vm.respond(&calls[0], "200", &[], SPENT_BEFORE);
    assert_forwarded(&vm.outcome(ids[1]));
    assert_refused(&vm.outcome(ids[0]), 401, "jti_replayed");
}

#[test]
fn no_other_response_of_the_store_lets_the_token_pass() {
    let key = key("one");
    let vm = start_fleet(&key);
    let long = [b' '; 2000];
    let oom: &[u8] = br#"{"SET":[false,"OOM command not allowed"]}"#;
    for (status, body, cause) in [
        ("200", oom, "OOM command not allowed"),
        ("200", b"", "the store says"),
        ("200", &long, "1024 bytes"),
        ("500", SPENT_NOW, "status 500"),
        ("201", SPENT_NOW, "status 201"),
        ("x", SPENT_NOW, "no status"),
    ] {
        let id = wait_with_new_token(&vm, &key);
        vm.respond(&vm.call(), status, &[], body);
        assert_unavailable(&vm.outcome(id), cause);
    }
    let id = wait_with_new_token(&vm, &key);
    vm.fail(&vm.call());
    assert_unavailable(&vm.outcome(id), "no response");
}

#[test]
fn no_token_passes_when_the_host_refuses_the_callout() {
    let key = key("one");
    let vm = start_fleet(&key);
    let token = token_with(&key, ISSUER, "1");
    vm.refuse_calls(true);
    let cause = "Envoy has no cluster \\\"webdis\\\", or no healthy host in it";
    assert_unavailable(&request(&vm, &token).1, cause);
    // The token was not spent.
    vm.refuse_calls(false);
    let id = wait(&vm, &token);
    vm.respond(&vm.call(), "200", &[], SPENT_NOW);
    assert_forwarded(&vm.outcome(id));
}

#[test]
fn a_request_waits_at_most_the_timeout_plus_two_seconds_whatever_arrives_later() {
    let key = key("one");
    let vm = start_fleet(&key);
    let id = wait_with_new_token(&vm, &key);
    let call = vm.call();
    vm.advance(Duration::from_millis(4_999));
    vm.tick();
    assert_paused(&vm.outcome(id));
    vm.advance(Duration::from_millis(1));
    vm.tick();
    assert_unavailable(&vm.outcome(id), "no response");
    vm.respond(&call, "200", &[], SPENT_NOW);
    assert_unavailable(&vm.outcome(id), "no response");
}

#[test]
fn a_client_that_disconnects_affects_no_other() {
    let key = key("one");
    let vm = start_fleet(&key);
    let [gone, stays] = [(); 2].map(|()| wait_with_new_token(&vm, &key));
    let calls = vm.calls();
    vm.close(gone);
    // Its callout continues: the token may already be spent.
    assert_eq!(vm.calls().len(), 2);
    vm.respond(&calls[0], "200", &[], SPENT_NOW);
    assert_paused(&vm.outcome(stays));
    vm.respond(&calls[1], "200", &[], SPENT_NOW);
    assert_forwarded(&vm.outcome(stays));
    // Nothing of the request is left.
    vm.tick();
    assert_eq!(vm.tick_period(), Some(Duration::from_secs(1)));
}

#[test]
fn a_flood_of_requests_that_wait_is_bounded() {
    for (max_token_size, max_waiting) in [("8KiB", 4096), ("1MiB", 32)] {
        let key = key("one");
        let mut configuration = fleet(&key);
        configuration["max_token_size"] = json!(max_token_size);
        let vm = start(&configuration, &SharedData::default());
        let token = token_with(&key, ISSUER, "1");
        let crowded = || {
            assert_unavailable(&request(&vm, &token).1, "too many requests are already waiting");
            assert_eq!(vm.calls().len(), max_waiting);
        };
        let waiting: Vec<u32> = (0..max_waiting).map(|_| wait(&vm, &token)).collect();
        crowded();
        // A place is freed when a request is forwarded or its client disconnects.
        let calls = vm.calls();
        vm.respond(&calls[0], "200", &[], SPENT_NOW);
        assert_forwarded(&vm.outcome(waiting[0]));
        wait(&vm, &token);
        crowded();
        vm.close(waiting[1]);
        vm.fail(&calls[1]);
        wait(&vm, &token);
        crowded();
    }
}

#[test]
fn requests_that_wait_for_keys_and_for_the_store_are_bounded_together() {
    let key = key("one");
    let mut configuration = fleet(&key);
    configuration["max_token_size"] = json!("8MiB");
    // Four requests in all.
    let keyless = json!({
        "name": "keyless",
        "issuer": "https://keyless.example.com",
        "client_ids": ["mcp"],
        "jwks_url": "https://keyless.example.com/jwks",
        "cluster": "provider",
    });
    configuration["providers"].as_array_mut().unwrap().push(keyless);
    let vm = start(&configuration, &SharedData::default());
    let for_keys = || request(&vm, &token_with(&key, "https://keyless.example.com", "1")).1;
    wait_with_new_token(&vm, &key);
    (0..2).for_each(|_| assert_paused(&for_keys()));
    wait_with_new_token(&vm, &key);
    assert_refused(&for_keys(), 503, "keys_unavailable");
    let (_, outcome) = request(&vm, &token_with(&key, ISSUER, &random_id()));
    assert_unavailable(&outcome, "too many requests are already waiting");
}

#[test]
fn a_token_that_waited_for_keys_waits_for_the_store_too() {
    let key = key("one");
    let mut configuration = configuration();
    configuration["providers"][0]["jti"] = json!("single_use");
    configuration["replay_store"] = json!({"redis": {"cluster": "webdis"}});
    let vm = start(&configuration, &SharedData::default());
    let ids = [(); 2].map(|()| wait_with_new_token(&vm, &key));
    vm.tick();
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    ids.iter().for_each(|id| assert_paused(&vm.outcome(*id)));
    vm.calls().iter().for_each(|call| vm.respond(call, "200", &[], SPENT_NOW));
    ids.iter().for_each(|id| assert_forwarded(&vm.outcome(*id)));
}

#[test]
fn report_mode_forwards_requests_that_the_store_would_refuse() {
    let key = key("one");
    let mut configuration = fleet(&key);
    configuration["mode"] = json!("report");
    let vm = start(&configuration, &SharedData::default());
    let responses: [&dyn Fn(&Call); 2] =
        [&|call| vm.respond(call, "200", &[], SPENT_BEFORE), &|call| vm.fail(call)];
    for response in responses {
        let id = wait_with_new_token(&vm, &key);
        response(&vm.call());
        let outcome = vm.outcome(id);
        let Outcome::Forwarded(fields) = outcome else { panic!("not forwarded: {outcome:?}") };
        assert!(fields.iter().all(|(name, _)| !name.starts_with("x-mcp-")), "{fields:?}");
    }
}

/// The SDK drops the response to a callout that was made in a callback of a stream that has ended.
#[test]
fn the_callout_of_a_request_that_ended_or_was_refused_is_forgotten() {
    let key = key("one");
    let vm = start_fleet(&key);
    let gone = wait_with_new_token(&vm, &key);
    let call = vm.call();
    assert!(vm.awaits(&call));
    vm.close(gone);
    assert!(!vm.awaits(&call));
    vm.fail(&call);

    let late = wait_with_new_token(&vm, &key);
    let call = vm.call();
    vm.advance(Duration::from_secs(60));
    vm.tick();
    assert_refused(&vm.outcome(late), 503, "replay_store_unavailable");
    assert!(!vm.awaits(&call));
}
