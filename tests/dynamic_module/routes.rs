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
    envoy.run_until("the request is forwarded", |envoy| envoy.is_resumed(stream));
    assert_identity(&envoy, stream);
    envoy.close(stream);
    envoy.remove_route(route);
}

#[test]
fn a_route_configuration_of_another_module_is_never_read_and_gives_500() {
    const FOREIGN: usize = 8;
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let token = provider.token();
    let fails = |route: usize| {
        let stream = open_on(&envoy, config, &token, false, route);
        assert_eq!(envoy.status(stream), 1);
        let response = envoy.response(stream).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (500, &b""[..]));
        assert_eq!(envoy.send_body(stream, b"{}", true), 3);
        envoy.close(stream);
    };
    // With and without configurations of routes in the module itself, and with one of its own that
    // was removed.
    fails(FOREIGN);
    let route = envoy.configure_route(&provider.configuration().to_string()).unwrap();
    fails(FOREIGN);
    fails(route + 1);
    let stream = open_on(&envoy, config, &token, true, route);
    assert_eq!(envoy.status(stream), 0);
    envoy.close(stream);
    envoy.remove_route(route);
    fails(route);
    let stream = open_on(&envoy, config, &token, true, 0);
    assert_eq!(envoy.status(stream), 0);
    let log = envoy.log();
    let lines = log.iter().filter(|line| line.contains("belongs to another module file"));
    assert_eq!(lines.count(), 1, "{log:?}");
}

#[test]
fn a_route_can_have_inline_keys() {
    let (provider, other) = (Provider::new(), Provider::new());
    let (envoy, config) = start(&provider);
    let mut configuration = other.configuration();
    let provider = &mut configuration["providers"][0];
    provider.as_object_mut().unwrap().remove("jwks_url");
    provider.as_object_mut().unwrap().remove("cluster");
    provider["jwks"] = json!({"keys": [other.key.public_jwk()]});
    let route = envoy.configure_route(&configuration.to_string()).unwrap();
    for _ in 0..3 {
        let stream = open_on(&envoy, config, &other.token(), true, route);
        assert_eq!(envoy.status(stream), 0);
        assert_identity(&envoy, stream);
        envoy.close(stream);
    }
    envoy.remove_route(route);
}
