use serde_json::json;

use crate::provider::{Provider, assert_identity, open_on, start};

#[test]
fn a_route_can_have_a_whole_configuration_of_its_own() {
    let (provider, other) = (Provider::new(), Provider::new());
    let (envoy, config) = start(&provider);
    let route = envoy.configure_route(&other.configuration().to_string()).unwrap();
    let refused = open_on(&envoy, config, &provider.token(), true, route);
    assert_eq!(envoy.response(refused).unwrap().reason(), "unknown_issuer");
    // Its keys are fetched from then on.
    other.serve_keys(&envoy);
    let stream = open_on(&envoy, config, &other.token(), true, route);
    assert_eq!(envoy.status(stream), 0);
    assert_identity(&envoy, stream);
    let elsewhere = open_on(&envoy, config, &other.token(), true, 0);
    assert_eq!(envoy.response(elsewhere).unwrap().reason(), "unknown_issuer");
    envoy.close(stream);
    envoy.close(refused);
    envoy.remove_route(route);
}

#[test]
fn a_request_on_such_a_route_waits_for_its_keys() {
    let (provider, other) = (Provider::new(), Provider::new());
    let (envoy, config) = start(&provider);
    let route = envoy.configure_route(&other.configuration().to_string()).unwrap();
    let stream = open_on(&envoy, config, &other.token(), true, route);
    assert_eq!(envoy.status(stream), 4);
    other.serve_keys(&envoy);
    envoy.run_until("it goes on", |envoy| envoy.is_resumed(stream));
    assert_identity(&envoy, stream);
    envoy.close(stream);
    envoy.remove_route(route);
}

#[test]
fn a_route_can_do_without_fetched_keys() {
    let (provider, other) = (Provider::new(), Provider::new());
    let (envoy, config) = start(&provider);
    let mut configuration = other.configuration();
    let own = &mut configuration["providers"][0];
    own.as_object_mut().unwrap().remove("jwks_url");
    own.as_object_mut().unwrap().remove("cluster");
    own["jwks"] = json!({"keys": [other.key.public_jwk()]});
    let route = envoy.configure_route(&configuration.to_string()).unwrap();
    for _ in 0..3 {
        let stream = open_on(&envoy, config, &other.token(), true, route);
        assert_eq!(envoy.status(stream), 0);
        assert_identity(&envoy, stream);
        envoy.close(stream);
    }
    envoy.remove_route(route);
}
