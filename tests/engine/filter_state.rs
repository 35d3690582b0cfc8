//! The filter state that access logs print, for requests that were not decided at once.

use serde_json::json;

use crate::bodies::{ALLOWED, FORBIDDEN, guarded, open_held, with_rules};
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
    assert_eq!(
        vm.filter_state(good),
        ["mcp_auth.client=demo-agent", "mcp_auth.provider=example", "mcp_auth.user=ada"]
    );
    assert_eq!(
        vm.filter_state(forged),
        ["mcp_auth.provider=example", "mcp_auth.reason=bad_signature"]
    );
}

#[test]
fn a_request_whose_body_is_judged_is_logged_with_its_user() {
    let key = key("one");
    let vm = guarded(&key);
    let cases: [(&[u8], &[&str]); 2] = [
        (
            ALLOWED,
            &["mcp_auth.method=tools/call", "mcp_auth.name=whoami", "mcp_auth.provider=example"],
        ),
        (
            FORBIDDEN,
            &[
                "mcp_auth.method=tools/call",
                "mcp_auth.name=add",
                "mcp_auth.provider=example",
                "mcp_auth.reason=access_denied",
                "mcp_auth.rule=rules[0]",
            ],
        ),
    ];
    for (index, (body, expected)) in cases.into_iter().enumerate() {
        let id = open_held(&vm, &token_with(&key, ISSUER, &index.to_string()));
        vm.send_body(id, body, true);
        let expected = [&["mcp_auth.client=demo-agent"], expected, &["mcp_auth.user=ada"]].concat();
        assert_eq!(vm.filter_state(id), expected);
    }
}

/// The token is spent last, so by then everything about the call is known.
#[test]
fn a_call_that_is_refused_for_its_spent_token_is_logged_with_its_tool() {
    let key = key("one");
    let mut document = with_rules(single_use(&key));
    document["access"]["rules"] =
        json!([{"name": "all \"tools\"", "match": {"mcp_methods": ["*"]}}]);
    let vm = start(&document, &SharedData::default());
    let token = token_with(&key, ISSUER, "1");
    let ids = [open_held(&vm, &token), open_held(&vm, &token)];
    for id in ids {
        vm.send_body(id, ALLOWED, true);
    }
    let common = |reason: &[&'static str]| {
        let before = ["mcp_auth.client=demo-agent", "mcp_auth.method=tools/call"];
        let after = ["mcp_auth.rule=all %22tools%22", "mcp_auth.user=ada"];
        let called = ["mcp_auth.name=whoami", "mcp_auth.provider=example"];
        [&before[..], &called, reason, &after].concat()
    };
    assert_eq!(vm.filter_state(ids[0]), common(&[]));
    assert_eq!(vm.filter_state(ids[1]), common(&["mcp_auth.reason=jti_replayed"]));
}

#[test]
fn a_cached_token_is_logged_with_its_user() {
    let key = key("one");
    let vm = start(&single_use(&key), &SharedData::default());
    let token = token_with(&key, ISSUER, "1");
    let (first, _) = request(&vm, &token);
    assert_eq!(
        vm.filter_state(first),
        ["mcp_auth.client=demo-agent", "mcp_auth.provider=example", "mcp_auth.user=ada"]
    );
    let (second, _) = request(&vm, &token);
    assert_eq!(
        vm.filter_state(second),
        [
            "mcp_auth.client=demo-agent",
            "mcp_auth.provider=example",
            "mcp_auth.reason=jti_replayed",
            "mcp_auth.user=ada",
        ]
    );
}
