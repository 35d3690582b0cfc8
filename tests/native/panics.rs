//! A panic ends one request, and never Envoy.

use serde_json::json;
use testbed::{
    Bootstrap, RawResponse, RawServer, Response, Stack, StackBuilder, panicking_module_path,
    raw_exchange,
};

use crate::module::symbols;
use crate::routes::add_route_of;
use crate::support::{SOON, envoys, module, timers};

/// Hooks that run code, and the callback in which a test below makes each of them panic.
const TESTED: [(&str, &str); 17] = [
    ("http_filter_config_destroy", "config_destroy"),
    ("http_filter_config_http_callout_done", "config_callout_done"),
    ("http_filter_config_new", "config_new"),
    ("http_filter_config_scheduled", "config_scheduled"),
    ("http_filter_destroy", "stream_destroyed"),
    ("http_filter_new", "stream_new"),
    ("http_filter_per_route_config_destroy", "route_config_destroy"),
    ("http_filter_per_route_config_new", "route_config_new"),
    ("http_filter_request_body", "request_body"),
    ("http_filter_request_headers", "request_headers"),
    ("http_filter_request_trailers", "request_trailers"),
    ("http_filter_response_body", "response_body"),
    ("http_filter_response_headers", "response_headers"),
    ("http_filter_response_trailers", "response_trailers"),
    ("http_filter_scheduled", "scheduled"),
    ("http_filter_stream_complete", "stream_complete"),
    ("program_init", "program_init"),
];

/// Hooks that return a constant, and cannot panic.
const CONSTANT: [&str; 8] = [
    "http_filter_downstream_above_write_buffer_high_watermark",
    "http_filter_downstream_below_write_buffer_low_watermark",
    "http_filter_http_callout_done",
    "http_filter_http_stream_complete",
    "http_filter_http_stream_data",
    "http_filter_http_stream_headers",
    "http_filter_http_stream_reset",
    "http_filter_http_stream_trailers",
];

#[test]
fn each_exported_hook_is_tested_or_constant() {
    let known = TESTED.iter().map(|(hook, _)| hook).chain(&CONSTANT);
    let known = known.map(|hook| format!("envoy_dynamic_module_on_{hook}")).collect();
    assert_eq!(symbols(&module(), true), known);
    // A table alone would still list a hook whose test is gone.
    let (_, tests) = include_str!("panics.rs").split_once("\nasync fn assert_serves").unwrap();
    for (hook, callback) in TESTED {
        let is_injected = ["\"", "x-panic-in: "].iter().any(|start| {
            let name = format!("{start}{callback}");
            let mut ends = tests.match_indices(&name).map(|(at, _)| &tests[at + name.len()..]);
            ends.any(|end| end.starts_with(['"', '\\']))
        });
        assert!(is_injected, "{hook}: no test makes {callback} panic");
    }
}

/// The example with a module that panics on request, with rules that read messages.
fn builder() -> StackBuilder {
    Stack::builder().native(panicking_module_path()).alone().configure(|configuration| {
        configuration["access"] = json!({"default": "allow", "rules": [{
            "name": "read",
            "match": {"mcp_methods": ["tools/call"], "mcp_names": ["missing_tool"]},
            "require": {"roles": ["missing"]},
        }]});
    })
}

async fn panics(stack: &Stack) -> u64 {
    let stats = stack.envoy.stats().await;
    let counted = stats.into_iter().filter(|(name, _)| name.ends_with("mcp_auth_panics"));
    counted.map(|(_, count)| count).sum()
}

/// Sends a request during which the callback with this name panics.
async fn call_with_panic(stack: &Stack, callback: &str) -> Response {
    stack.send(stack.request().bearer_auth(stack.token()).header("x-panic-in", callback)).await
}

async fn assert_serves(stack: &Stack, after: &str) {
    let response = stack.call(&stack.token()).await;
    assert_eq!(response.status, 200, "{after}: {response:?}");
    assert!(stack.envoy.is_running(), "{after}");
}

/// How many of the panics in `stream_complete` and `stream_destroyed` occur, by the version of
/// Envoy. From 1.39 on, filter state can be replaced, so the module does nothing in
/// `stream_complete`.
const AT_END: [(&str, [u64; 2]); 3] = [("1.38", [1, 1]), ("1.39", [0, 1]), ("1.40", [0, 1])];

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_callback_of_a_request_gives_500_and_is_counted() {
    for (version, envoy) in envoys() {
        let stack = builder().binary(envoy).start().await;
        assert_serves(&stack, version).await;
        for (count, callback) in (1..).zip(["route", "request_headers", "engine", "request_body"]) {
            let response = call_with_panic(&stack, callback).await;
            assert_eq!(response.status, 500, "{version}, {callback}: {response:?}");
            assert_eq!(panics(&stack).await, count, "{version}, {callback}");
            assert_serves(&stack, callback).await;
        }
        let at_end = AT_END.iter().find(|(of, _)| *of == version);
        let (_, at_end) = at_end.unwrap_or_else(|| panic!("{version} is not in the table"));
        let mut count = 4;
        for (callback, occurs) in ["stream_complete", "stream_destroyed"].into_iter().zip(at_end) {
            let response = call_with_panic(&stack, callback).await;
            assert_eq!(response.status, 200, "{version}, {callback}: {response:?}");
            assert_serves(&stack, callback).await;
            count += occurs;
            assert_eq!(panics(&stack).await, count, "{version}, {callback}");
        }
        assert!(stack.envoy.log().contains("injected in request_body"), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_at_the_trailers_gives_500() {
    let allow_trailers = |bootstrap: &mut Bootstrap| {
        bootstrap.connection_manager()["http_protocol_options"] = json!({"enable_trailers": true});
    };
    let stack = builder().edit(allow_trailers).start().await;
    let token = stack.token();
    let response: RawResponse = raw_exchange(
        stack.envoy.address(),
        format!(
            "POST /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\nconnection: close\r\nx-panic-in: request_trailers\r\n\
             transfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n2\r\n{{}}\r\n0\r\nx-end: 1\r\n\r\n"
        )
        .as_bytes(),
    )
    .await;
    assert_eq!(response.status(), 500, "{response:?}");
    assert_serves(&stack, "request_trailers").await;
    assert_eq!(panics(&stack).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_callback_of_a_response_gives_500() {
    for (version, envoy) in envoys() {
        let server = RawServer::start().await;
        // A list, which is held back to its end.
        server.respond_with(&[
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\
              transfer-encoding: chunked\r\n\r\n20\r\n{\"result\":{\"tools\":[]},\"id\":100}\r\n\
              0\r\nx-end: 1\r\n\r\n",
        ]);
        let upstream = server.address();
        let behind = move |bootstrap: &mut Bootstrap| {
            bootstrap.set_cluster("mcp_server", upstream);
            let clusters = bootstrap.tree()["static_resources"]["clusters"].as_array_mut().unwrap();
            let server = clusters.iter_mut().find(|cluster| cluster["name"] == "mcp_server");
            server.unwrap()["http_protocol_options"] = json!({"enable_trailers": true});
        };
        let stack = builder().binary(envoy).edit(behind).start().await;
        assert_serves(&stack, version).await;
        let callbacks = ["response_headers", "response_body", "response_trailers"];
        let list = json!({"jsonrpc": "2.0", "id": 100, "method": "tools/list"});
        for (count, callback) in (1..).zip(callbacks) {
            let request = stack.client().post(stack.url()).json(&list).bearer_auth(stack.token());
            let response = stack.send(request.header("x-panic-in", callback)).await;
            assert_eq!(response.status, 500, "{version}, {callback}: {response:?}");
            assert_eq!(panics(&stack).await, count, "{version}, {callback}");
            assert_serves(&stack, callback).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_gives_500_to_all_requests_that_wait_in_the_same_worker() {
    let provider = testbed::IdentityProvider::start().await;
    provider.fail(testbed::Document::Discovery, testbed::Fault::Hang);
    let stack = builder().provider(provider).start().await;
    let token = stack.token();
    let panic = async {
        while stack.envoy.active_requests().await != Some(2) {
            tokio::task::yield_now().await;
        }
        call_with_panic(&stack, "request_headers").await
    };
    let (first, second, panicked) = tokio::join!(stack.call(&token), stack.call(&token), panic);
    for response in [first, second, panicked] {
        assert_eq!(response.status, 500, "{response:?}");
    }
    assert_eq!(panics(&stack).await, 1);
    stack.provider.heal(testbed::Document::Discovery);
    assert_serves(&stack, "request_headers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_when_a_worker_is_woken_gives_500() {
    let provider = testbed::IdentityProvider::start().await;
    provider.fail(testbed::Document::Discovery, testbed::Fault::Hang);
    let stack = builder().provider(provider).start().await;
    let response = call_with_panic(&stack, "scheduled").await;
    assert_eq!(response.status, 500, "{response:?}");
    assert_eq!(panics(&stack).await, 1);
    stack.provider.heal(testbed::Document::Discovery);
    assert_serves(&stack, "scheduled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_on_the_main_thread_delays_the_keys() {
    for callback in ["config_scheduled", "config_callout_done"] {
        let stack = builder().environment("MCP_AUTH_PANIC_IN", callback).start().await;
        stack.envoy.await_log(&format!("injected in {callback}"), SOON).await;
        let mut response = stack.call(&stack.token()).await;
        let deadline = tokio::time::Instant::now() + 2 * SOON;
        while response.status != 200 {
            assert_eq!(response.reason(), "keys_unavailable", "{callback}: {response:?}");
            assert!(tokio::time::Instant::now() < deadline, "{callback}");
            response = stack.call(&stack.token()).await;
        }
        assert_eq!(panics(&stack).await, 1, "{callback}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_a_filter_is_made_gives_500_in_every_envoy() {
    for (version, envoy) in envoys() {
        let stack =
            builder().binary(envoy).environment("MCP_AUTH_PANIC_IN", "stream_new").start().await;
        assert_eq!(stack.call(&stack.token()).await.status, 500, "{version}");
        assert_eq!(panics(&stack).await, 1, "{version}");
        assert_serves(&stack, version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_a_configuration_is_read_refuses_it() {
    for callback in ["program_init", "config_new", "config_start"] {
        let log = builder().environment("MCP_AUTH_PANIC_IN", callback).expect_refusal().await;
        assert!(log.contains(&format!("injected in {callback}")), "{log}");
    }
}

/// The same, with a route that has its own configuration.
fn builder_with_route() -> StackBuilder {
    let module = json!({"module": {"local": {"filename": panicking_module_path()}}});
    builder().edit(move |bootstrap| {
        let configuration = bootstrap.plugin_configuration().clone();
        add_route_of(bootstrap, "/other", &module, &configuration);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_a_configuration_of_a_route_is_read_refuses_it() {
    let stack = builder_with_route().environment("MCP_AUTH_PANIC_IN", "route_config_new");
    let log = stack.expect_refusal().await;
    assert!(log.contains("injected in route_config_new"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_a_configuration_is_removed_affects_no_other() {
    for callback in ["config_destroy", "route_config_destroy"] {
        let builder = builder_with_route().environment("MCP_AUTH_PANIC_IN", callback);
        let mut stack = builder.updatable().drain_at_once().start().await;
        stack.reconfigure(|configuration| configuration["resource"]["name"] = json!("new")).await;
        stack.envoy.await_log(&format!("injected in {callback}"), SOON).await;
        assert_serves(&stack, callback).await;
        assert_eq!(timers(stack.envoy.pid()), 1, "{callback}");
    }
}
