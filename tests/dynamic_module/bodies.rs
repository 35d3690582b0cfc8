use serde_json::json;

use crate::envoy::Envoy;
use crate::provider::{Provider, assert_identity, open, start_with};

/// An Envoy whose filter denies one tool.
fn start(provider: &Provider) -> (Envoy, usize) {
    let mut configuration = provider.configuration();
    configuration["access"] = json!({"default": "allow", "rules": [{
        "name": "denied",
        "match": {"mcp_methods": ["tools/call"], "mcp_names": ["denied"]},
        "require": {"roles": ["missing"]},
    }]});
    start_with(provider, &configuration)
}

fn call(tool: &str) -> Vec<u8> {
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}},
    });
    message.to_string().into_bytes()
}

#[test]
fn a_head_is_held_back_until_its_message_is_judged() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    for (tool, is_allowed) in [("allowed", true), ("denied", false)] {
        let stream = open(&envoy, config, &provider.token(), false);
        assert_eq!(envoy.status(stream), 1);
        let message = call(tool);
        let (first, rest) = message.split_at(10);
        assert_eq!(envoy.send_body(stream, first, false), 1);
        let status = envoy.send_body(stream, rest, true);
        match is_allowed {
            true => {
                assert_eq!(
                    status,
                    0,
                    "{:?}",
                    envoy.response(stream).map(|response| String::from_utf8(response.body))
                );
                assert_identity(&envoy, stream);
            }
            false => {
                assert_eq!(status, 3);
                let response = envoy.response(stream).unwrap();
                assert_eq!((response.status, response.reason().as_str()), (403, "access_denied"));
            }
        }
        envoy.close(stream);
    }
}

#[test]
fn trailers_end_a_body_and_lose_forged_fields() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let stream = open(&envoy, config, &provider.token(), false);
    assert_eq!(envoy.send_body(stream, &call("allowed"), false), 1);
    let trailers = [("x-mcp-user", "mallory"), ("x-other", "kept")];
    assert_eq!(envoy.send_trailers(stream, &trailers), 0);
    assert_eq!(envoy.trailers(stream), [(b"x-other".to_vec(), b"kept".to_vec())]);
    assert_identity(&envoy, stream);
    let denied = open(&envoy, config, &provider.token(), false);
    assert_eq!(envoy.send_body(denied, &call("denied"), false), 1);
    assert_eq!(envoy.send_trailers(denied, &[]), 1);
    assert_eq!(envoy.response(denied).unwrap().reason(), "access_denied");
}

#[test]
fn a_request_that_ends_before_its_body_leaves_nothing() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let stream = open(&envoy, config, &provider.token(), false);
    assert_eq!(envoy.send_body(stream, b"{", false), 1);
    envoy.close(stream);
    let other = open(&envoy, config, &provider.token(), false);
    assert_eq!(envoy.send_body(other, &call("allowed"), true), 0);
}
