use std::time::Duration;

use serde_json::json;
use testkit::SigningKey;

use crate::host::{Call, SharedData, Vm};
use crate::provider::{
    ISSUER, assert_accepted, assert_logged, assert_refused, configuration, fetch, key, request,
    respond_with_discovery, respond_with_key_set, start, token, waiting,
};

#[test]
fn a_callout_without_a_response_ends_the_wait() {
    let (vm, id) = waiting();
    vm.fail(&vm.call());
    assert_refused(&vm.outcome(id), 503, "keys_unavailable");
    assert_logged("no response");
}

#[test]
fn a_callout_that_the_host_refuses_ends_the_wait_and_frees_the_lease() {
    let vm = start(&configuration(), &SharedData::default());
    let key = key("one");
    let (id, _) = request(&vm, &token(&key));
    vm.refuse_calls(true);
    vm.tick();
    assert_refused(&vm.outcome(id), 503, "keys_unavailable");
    assert_logged("no cluster \"provider\"");

    vm.refuse_calls(false);
    vm.advance(Duration::from_secs(1));
    fetch(&vm, &[&key]);
    assert_accepted(&vm, &token(&key));
}

#[test]
fn a_response_that_is_not_a_metadata_document_fails_with_the_cause() {
    let other_issuer =
        json!({"issuer": format!("{ISSUER}/"), "jwks_uri": format!("{ISSUER}/jwks")});
    let plain_http = json!({"issuer": ISSUER, "jwks_uri": "http://id.example.com/jwks"});
    let oversize = " ".repeat(256 * 1024 + 1);
    for (status, body, cause) in [
        ("500", "{}", "status 500"),
        ("302", "{}", "status 302"),
        ("99999999", "{}", "no status"),
        ("\u{fffd}", "{}", "no status"),
        ("200", "", "not JSON"),
        ("200", "[]", "not JSON"),
        ("200", "{\"issuer\":1}", "string member issuer"),
        ("200", &format!("{{\"issuer\":\"{ISSUER}\"}}"), "string member jwks_uri"),
        ("200", &other_issuer.to_string(), "says issuer"),
        ("200", &plain_http.to_string(), "must be https"),
        ("200", &oversize, "longer than keys.max_body"),
    ] {
        let (vm, id) = waiting();
        vm.respond(&vm.call(), status, &[], body.as_bytes());
        assert_refused(&vm.outcome(id), 503, "keys_unavailable");
        assert_logged(cause);
        assert!(vm.calls().is_empty());
    }
}

#[test]
fn a_response_that_is_not_a_key_set_fails_and_says_why() {
    let symmetric = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}).to_string();
    let many = json!({"keys": vec![json!({}); 1001]}).to_string();
    for (body, cause) in [
        ("{}", "not a JSON Web Key Set"),
        ("{\"keys\":{}}", "not a JSON Web Key Set"),
        ("\u{0}", "not a JSON Web Key Set"),
        ("{\"keys\":[]}", "holds no key"),
        (&symmetric, "holds no key"),
        (&many, "more than 1000"),
    ] {
        let (vm, id) = waiting();
        respond_with_discovery(&vm, &vm.call());
        vm.respond(&vm.call(), "200", &[], body.as_bytes());
        assert_refused(&vm.outcome(id), 503, "keys_unavailable");
        assert_logged(cause);
    }
}

#[test]
fn the_header_fields_of_a_failed_response_explain_the_failure() {
    let location = "https://id.example.com/\u{202e}?a=\"";
    let longest = "l".repeat(300);
    for (status, fields, body, cause) in [
        (
            "302",
            [("location", location)],
            "",
            "a redirect to \"https://id.example.com/\\u{202e}?a=\\\"\"",
        ),
        ("308", [("location", &*longest)], "{}", &*format!("a redirect to {:?}", &longest[..240])),
        ("302", [("location", "\u{0}")], "", "status 302"),
        ("302", [("x", "y")], "moved", "has status 302 and says \"moved\""),
        // Only a redirect's `location` is logged.
        ("404", [("location", location)], "gone", "has status 404 and says \"gone\""),
        ("200", [("content-encoding", "gzip")], "\u{1f}", "compressed (content-encoding \"gzip\")"),
        ("200", [("content-encoding", "br\u{7}")], "", "it is empty"),
        ("200", [("content-encoding", "br\u{7}")], "x", "(content-encoding \"br\\u{7}\")"),
        // A declared compression of an uncompressed body is ignored.
        ("200", [("content-encoding", "gzip")], "{}", "it is an empty object, without `issuer`"),
        ("200", [("x", "y")], "\u{1f}", "begins with \"\\u{1f}\""),
    ] {
        let (vm, id) = waiting();
        vm.respond(&vm.call(), status, &fields, body.as_bytes());
        assert_refused(&vm.outcome(id), 503, "keys_unavailable");
        assert_logged(cause);
    }
}

#[test]
fn a_host_that_discovery_names_is_called_only_on_a_configured_cluster() {
    let mut document = configuration();
    let provider = &mut document["providers"][0];
    provider.as_object_mut().unwrap().remove("cluster");
    provider["clusters"] = json!({"id.example.com": "provider", "keys.example.com": "keys"});
    for (jwks_uri, cluster) in [
        ("https://keys.example.com/jwks", Some("keys")),
        ("https://KEYS.example.com:443/jwks", Some("keys")),
        ("https://169.254.169.254/jwks", None),
        ("https://keys.example.com.evil.example/jwks", None),
        ("https://keys.example.com@evil.example/jwks", None),
        ("file:///etc/passwd", None),
    ] {
        let vm = start(&document, &SharedData::default());
        vm.tick();
        let metadata = json!({"issuer": ISSUER, "jwks_uri": jwks_uri}).to_string();
        vm.respond(&vm.call(), "200", &[], metadata.as_bytes());
        let clusters: Vec<String> = vm.calls().into_iter().map(|call| call.cluster).collect();
        assert_eq!(clusters, cluster.into_iter().collect::<Vec<_>>(), "{jwks_uri}");
    }
}

#[test]
fn retries_back_off_and_stay_below_five_seconds_while_there_are_no_keys() {
    let vm = start(&configuration(), &SharedData::default());
    let mut pauses = Vec::new();
    for _ in 0..6 {
        vm.tick();
        vm.fail(&vm.call());
        let mut pause = Duration::ZERO;
        while vm.calls().is_empty() {
            vm.advance(Duration::from_millis(50));
            pause += Duration::from_millis(50);
            vm.tick();
        }
        vm.fail(&vm.call());
        vm.advance(Duration::from_secs(5));
        pauses.push(pause);
    }
    assert!(pauses[0] >= Duration::from_millis(750), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(5)), "{pauses:?}");
    assert!(pauses[5] >= Duration::from_millis(3750), "{pauses:?}");
}

#[test]
fn an_unknown_kid_gets_503_while_the_source_fails() {
    let vm = start(&configuration(), &SharedData::default());
    let held = key("held");
    fetch(&vm, &[&held]);
    let (id, _) = request(&vm, &token(&key("new")));
    vm.tick();
    vm.fail(&vm.call());
    assert_refused(&vm.outcome(id), 503, "keys_unavailable");
    assert_accepted(&vm, &token(&held));
}

/// A worker that is about to fetch the metadata document again, because the key set has failed.
fn about_to_rediscover(key: &SigningKey) -> Vm {
    let mut document = configuration();
    document["keys"] = json!({"max_age": "2s"});
    let vm = start(&document, &SharedData::default());
    fetch(&vm, &[key]);
    vm.advance(Duration::from_secs(2));
    vm.tick();
    vm.respond(&vm.call(), "500", &[], b"");
    vm.advance(Duration::from_secs(1));
    vm.tick();
    vm
}

#[test]
fn after_a_failure_the_key_sets_url_is_discovered_again() {
    let key = key("one");
    let vm = about_to_rediscover(&key);
    respond_with_discovery(&vm, &vm.call());
    respond_with_key_set(&vm, &vm.call(), &[&key]);
    assert_accepted(&vm, &token(&key));
}

#[test]
fn a_key_set_whose_metadata_became_unreadable_is_fetched_from_the_known_url() {
    type Failure = fn(&Vm, &Call);
    let failures: [Failure; 2] = [Vm::fail, |vm, call| vm.respond(call, "503", &[], b"")];
    for fail in failures {
        let (old, new) = (key("old"), key("new"));
        let vm = about_to_rediscover(&old);
        let metadata = vm.call();
        assert_eq!(metadata.path(), "/.well-known/openid-configuration");
        // If the metadata document hangs, there is time left for the key set.
        assert_eq!(metadata.timeout, Duration::from_millis(2500));
        fail(&vm, &metadata);
        respond_with_key_set(&vm, &vm.call(), &[&new]);
        assert_logged("discovery failed, using the last known jwks_uri");
        assert_accepted(&vm, &token(&new));
    }
}

#[test]
fn changed_metadata_with_another_issuer_stops_the_fetch() {
    let vm = about_to_rediscover(&key("old"));
    vm.respond(&vm.call(), "200", &[], br#"{"issuer": "https://x.example", "jwks_uri": "x"}"#);
    assert!(vm.calls().is_empty());
    assert_logged("https://x.example");
}
