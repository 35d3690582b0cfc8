use crate::host::{Call, SharedData};
use crate::provider::{
    assert_accepted, assert_forwarded, assert_logged, assert_refused, configuration, key, request,
    respond_with_discovery, respond_with_key_set, start, token, waiting,
};

#[test]
fn the_response_to_a_callout_is_read_in_the_root_context() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    let (id, _) = request(&vm, &token(&key));
    vm.tick();
    let Call { cluster, body, timeout, .. } = vm.call();
    assert_eq!((cluster.as_str(), body.as_slice()), ("provider", &b""[..]));
    assert!((1..=5).contains(&timeout.as_secs()), "{timeout:?}");
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    assert_forwarded(&vm.outcome(id));
    assert_accepted(&vm, &token(&key));
}

#[test]
fn a_callout_that_fails_has_no_header_fields_to_read() {
    let (vm, id) = waiting();
    vm.fail(&vm.call());
    assert_refused(&vm.outcome(id), 503, "keys_unavailable");
    assert_logged("no response");
}

#[test]
fn a_callout_that_the_host_refuses_gets_no_response() {
    let vm = start(&configuration(), &SharedData::default());
    let (id, _) = request(&vm, &token(&key("one")));
    vm.refuse_calls(true);
    vm.tick();
    assert_refused(&vm.outcome(id), 503, "keys_unavailable");
    assert_logged("no cluster \"provider\"");
}

#[test]
fn header_fields_of_an_unusable_response_are_read() {
    for (status, fields, body, cause) in [
        ("302", [("location", "https://id.example.com/x")], "", "https://id.example.com/x"),
        ("200", [("content-encoding", "gzip")], "\u{1f}", "content-encoding \\\"gzip\\\""),
        ("\u{fffd}", [("x", "y")], "{}", "no status"),
    ] {
        let (vm, id) = waiting();
        vm.respond(&vm.call(), status, &fields, body.as_bytes());
        assert_refused(&vm.outcome(id), 503, "keys_unavailable");
        assert_logged(cause);
    }
}
