use serde_json::{Value, json};

use crate::envoy::{Envoy, schedulers};
use crate::provider::{Provider, assert_identity, open, start_with};

fn configuration(provider: &Provider) -> Value {
    let mut configuration = provider.configuration();
    configuration["users"] = json!({"scim": {
        "url": "https://directory.example.com/scim/v2", "cluster": "directory",
    }});
    configuration
}

fn start(provider: &Provider) -> (Envoy, usize) {
    start_with(provider, &configuration(provider))
}

/// The user that the token names, as the directory returns it.
fn users() -> String {
    let user = json!({"id": "1", "userName": "ada", "active": true});
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": 1,
        "Resources": [user],
    })
    .to_string()
}

#[test]
fn the_main_thread_looks_users_up_for_the_workers() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let stream = open(&envoy, config, &provider.token(), true);
    assert_eq!(envoy.status(stream), 4);
    let callout = envoy.await_callout("/scim/v2/Users");
    assert_eq!(callout.cluster, "directory");
    assert!(callout.milliseconds > 0);
    envoy.respond(&callout, Some(("200", users().as_bytes())));
    envoy.run_until("the request is forwarded", |envoy| envoy.is_resumed(stream));
    assert_identity(&envoy, stream);
    assert_eq!(schedulers(), 1, "only the configuration's");
}

#[test]
fn a_response_for_a_stream_that_has_ended_is_used_for_the_next_request() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let stream = open(&envoy, config, &provider.token(), true);
    let callout = envoy.await_callout("/scim/v2/Users");
    envoy.close(stream);
    envoy.respond(&callout, Some(("200", users().as_bytes())));
    envoy.run();
    let next = open(&envoy, config, &provider.token(), true);
    assert_eq!(envoy.status(next), 0);
    assert_identity(&envoy, next);
}

#[test]
fn a_callout_that_envoy_refuses_refuses_the_request() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    envoy.refuse_callouts();
    let stream = open(&envoy, config, &provider.token(), true);
    envoy.run_until("it is refused", |envoy| envoy.response(stream).is_some());
    let response = envoy.response(stream).unwrap();
    assert_eq!((response.status, response.reason().as_str()), (503, "directory_unavailable"));
    assert!(envoy.log().iter().any(|line| line.contains("directory")), "{:?}", envoy.log());
}

#[test]
fn a_configuration_that_was_removed_gets_no_response() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let stream = open(&envoy, config, &provider.token(), true);
    let callout = envoy.await_callout("/scim/v2/Users");
    envoy.close(stream);
    envoy.remove(config);
    envoy.respond(&callout, Some(("200", users().as_bytes())));
    envoy.run();
    assert_eq!(schedulers(), 0);
}
