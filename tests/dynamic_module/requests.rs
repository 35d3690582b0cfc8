use crate::envoy::{Envoy, schedulers};
use crate::provider::{Provider, assert_identity, open, start};

#[test]
fn a_request_with_a_valid_token_is_forwarded_at_once_with_its_identity() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let token = provider.token();
    // Verified first, then from the token cache.
    for _ in 0..2 {
        let stream = open(&envoy, config, &token, true);
        assert_eq!(envoy.status(stream), 0);
        assert_identity(&envoy, stream);
        let state = envoy.filter_state(stream);
        assert_eq!(state["mcp_auth.user"], "ada");
        assert_eq!(state["mcp_auth.provider"], "example");
        assert_eq!(state["mcp_auth.client"], "demo-agent");
        assert!(!envoy.is_resumed(stream));
        envoy.close(stream);
    }
}

#[test]
fn a_request_without_a_token_is_challenged_and_its_body_dropped() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let stream = envoy.open(config, &[(":method", b"POST"), (":path", b"/mcp")], false, 0);
    assert_eq!(envoy.status(stream), 1);
    let response = envoy.response(stream).unwrap();
    assert_eq!((response.status, response.reason().as_str()), (401, "missing_token"));
    assert_eq!(response.details, "mcp_auth_missing_token");
    assert!(response.fields.iter().any(|(name, _)| name == "www-authenticate"));
    assert_eq!(envoy.filter_state(stream)["mcp_auth.reason"], "missing_token");
    assert_eq!(envoy.send_body(stream, b"{}", true), 3);
    assert_eq!(schedulers(), 1, "only the configuration's");
}

#[test]
fn bytes_that_are_not_utf_8_are_refused() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let fields: [(&str, &[u8]); 3] =
        [(":method", b"GET"), (":path", b"/mcp\xff"), ("authorization", b"Bearer \xff\xfe.\0.")];
    let stream = envoy.open(config, &fields, true, 0);
    let response = envoy.response(stream).unwrap();
    assert!((400..500).contains(&response.status), "{response:?}");
    let empty = envoy.open(config, &[], true, 0);
    assert_eq!(envoy.response(empty).unwrap().status, 401);
}

#[test]
fn metrics_have_labels_and_those_of_the_main_thread_arrive_with_the_next_request() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    open(&envoy, config, &provider.token(), true);
    open(&envoy, config, "no-token", true);
    let metrics = envoy.metrics();
    for (name, value) in [
        ("mcp_auth_requests{provider=example,outcome=allowed,reason=none}", 1),
        ("mcp_auth_requests{provider=none,outcome=refused,reason=malformed_token}", 1),
        ("mcp_auth_key_fetches{provider=example,result=success}", 1),
        ("mcp_auth_keys{provider=example}", 1),
        ("mcp_auth_keys_dropped{provider=example}", 0),
        ("mcp_auth_token_cache{result=miss}", 2),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name}: {metrics:?}");
    }
}

#[test]
fn each_request_is_counted_by_an_envoy_that_counts_nothing_without_a_stream() {
    /// More than the module passes to later versions of Envoy at once.
    const REQUESTS: u64 = 100;
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let token = provider.token();
    for _ in 0..REQUESTS {
        let stream = open(&envoy, config, &token, true);
        envoy.close(stream);
    }
    let name = "mcp_auth_requests{provider=example,outcome=allowed,reason=none}";
    assert_eq!(envoy.metrics().get(name), Some(&REQUESTS));
}

#[test]
fn a_stream_that_ends_before_its_head_leaves_nothing() {
    let provider = Provider::new();
    let (envoy, config) = start(&provider);
    let stream = open(&envoy, config, &provider.token(), true);
    envoy.close(stream);
    let other =
        Envoy::configure(&envoy, "mcp-federated-auth", &provider.configuration().to_string());
    assert!(other.is_some());
}
