//! The filter state for access logs of requests that were not decided at once.

use crate::bodies::{ALLOWED, FORBIDDEN, guarded, open_held};
use crate::host::SharedData;
use crate::provider::{
    ISSUER, configuration, key, request, respond_with_discovery, respond_with_key_set, start, token,
};
use crate::replay::{single_use, token_with};

#[test]
fn a_request_that_waited_for_keys_is_logged_like_any_other() {
    let vm = start(&configuration(), &SharedData::default());
    let key_of_provider = key("one");
    let (good, _) = request(&vm, &token(&key_of_provider));
    let (forged, _) = request(&vm, &token(&key("other").with_kid("one")));
    assert!(vm.filter_state(good).is_empty());
    vm.tick();
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key_of_provider]);
    assert_eq!(vm.filter_state(good), ["mcp_auth.provider=example", "mcp_auth.user=ada"]);
    assert_eq!(
        vm.filter_state(forged),
        ["mcp_auth.provider=example", "mcp_auth.reason=bad_signature"]
    );
}

#[test]
fn a_request_whose_body_is_judged_is_logged_with_its_user() {
    let key = key("one");
    let vm = guarded(&key);
    for (body, reason) in [(ALLOWED, None), (FORBIDDEN, Some("mcp_auth.reason=access_denied"))] {
        let id = open_held(&vm, &token_with(&key, ISSUER, reason.unwrap_or("none")));
        vm.send_body(id, body, true);
        let expected = ["mcp_auth.provider=example"].into_iter().chain(reason);
        let expected: Vec<_> = expected.chain(["mcp_auth.user=ada"]).collect();
        assert_eq!(vm.filter_state(id), expected);
    }
}

#[test]
fn a_cached_token_is_logged_with_its_user() {
    let key = key("one");
    let vm = start(&single_use(&key), &SharedData::default());
    let token = token_with(&key, ISSUER, "1");
    let (first, _) = request(&vm, &token);
    assert_eq!(vm.filter_state(first), ["mcp_auth.provider=example", "mcp_auth.user=ada"]);
    let (second, _) = request(&vm, &token);
    assert_eq!(
        vm.filter_state(second),
        ["mcp_auth.provider=example", "mcp_auth.reason=jti_replayed", "mcp_auth.user=ada"]
    );
}
