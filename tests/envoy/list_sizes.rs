//! The maximum size of lists that are read, and the memory of open streams.

use serde_json::{Value, json};
use testbed::{Bootstrap, RawServer, Response, Stack};

use crate::lists::{LIST, SHOWN, Setup, rules};
use crate::support::await_active_requests;

/// A list of this many tools, each with a description of this many bytes, and the filtered list:
/// every tenth tool is open.
fn lists(count: usize, description: usize) -> [String; 2] {
    let tool = |number: usize| {
        let name = if number.is_multiple_of(10) { "open" } else { "closed" };
        json!({"name": format!("{name}-{number}"), "description": "d".repeat(description)})
    };
    let list = |tools: Vec<Value>| {
        json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).to_string()
    };
    let all = (0..count).map(tool).collect();
    let open = (0..count).step_by(10).map(tool).collect();
    [list(all), list(open)]
}

async fn ask(setup: &Setup, list: &str, media: &str) -> Response {
    let length = list.len();
    setup.respond(
        &format!("content-type: {media}\r\ncontent-length: {length}\r\n"),
        list.as_bytes(),
    );
    setup.ask("tools/list").await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tools_are_filtered_within_the_default_limits() {
    let setup = Setup::start(rules()).await;
    let [all, open] = lists(10_000, 52);
    assert!(all.len() > 900_000 && all.len() < 1 << 20, "{}", all.len());
    let response = ask(&setup, &all, "application/json").await;
    assert!(response.status == 200 && response.text == open, "{}", response.status);
    let events = |list: &str| format!("data: {list}\n\n");
    let response = ask(&setup, &events(&all), "text/event-stream").await;
    assert!(response.status == 200 && response.text == events(&open), "{}", response.status);
    // Over `max_body` nothing is shown, whatever the media type.
    let [all, _] = lists(10_000, 70);
    assert!(all.len() > 1 << 20);
    let response = ask(&setup, &all, "application/json").await;
    assert_eq!((response.status, response.reason()), (502, "mcp_list_invalid"));
    let response = ask(&setup, &events(&all), "text/event-stream").await;
    assert_eq!(response.status, 200);
    assert!(response.text.contains("mcp_list_invalid") && !response.text.contains("closed"));
    // One tool less than the maximum.
    let [all, open] = lists(8_000, 70);
    assert!(ask(&setup, &all, "application/json").await.text == open);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tools_with_schemas_are_filtered_within_raised_limits() {
    let mut access = rules();
    access["mcp"] = json!({"max_body": "8MiB"});
    let configure = |configuration: &mut Value| configuration["access"] = access;
    // Envoy holds the response up to its own limit.
    let raise = |bootstrap: &mut Bootstrap| {
        let resources = &mut bootstrap.tree()["static_resources"];
        resources["listeners"][0]["per_connection_buffer_limit_bytes"] = json!(9 << 20);
        for cluster in resources["clusters"].as_array_mut().unwrap() {
            cluster["per_connection_buffer_limit_bytes"] = json!(9 << 20);
        }
    };
    let setup = Setup::start_in(configure, raise).await;
    let [all, open] = lists(10_000, 600);
    assert!(all.len() > 6_000_000 && all.len() < 8 << 20, "{}", all.len());
    let response = ask(&setup, &all, "application/json").await;
    assert!(response.status == 200 && response.text == open, "{}", response.status);
    let [all, _] = lists(10_000, 900);
    assert!(all.len() > 8 << 20);
    let response = ask(&setup, &all, "application/json").await;
    assert_eq!((response.status, response.reason()), (502, "mcp_list_invalid"));
}

/// Bytes that Envoy has allocated.
async fn allocated(stack: &Stack) -> u64 {
    let memory: Value = serde_json::from_str(&stack.envoy.admin("/memory").await).unwrap();
    memory["allocated"].as_str().unwrap().parse().unwrap()
}

/// The growth of Envoy's memory for each of this many event streams that fall silent after this
/// event.
async fn growth_per_stream(access: Value, event: &str, streams: usize) -> u64 {
    let server = RawServer::start().await;
    let upstream = server.address();
    let stack = Stack::builder()
        .alone()
        .configure(move |configuration| configuration["access"] = access)
        .cluster("mcp_server", upstream)
        .start()
        .await;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
    server.respond_with(&[&[head.as_bytes(), event.as_bytes()].concat(), b"data: never\n\n"]);
    let token = stack.token();
    let open = async || {
        let request = stack.client().get(stack.url()).bearer_auth(&token);
        let mut response = request.send().await.unwrap();
        let mut first = Vec::new();
        while !first.ends_with(b"\n\n") {
            first.extend(response.chunk().await.unwrap().expect("the stream continues"));
        }
        (response, first)
    };
    // The first stream allocates what all share.
    let warm = open().await;
    let before = allocated(&stack).await;
    let mut opened = Vec::new();
    for _ in 0..streams {
        let (response, first) = open().await;
        assert!(!first.is_empty());
        opened.push(response);
    }
    await_active_requests(&stack, u64::try_from(streams + 1).unwrap()).await;
    let after = allocated(&stack).await;
    drop(warm);
    after.saturating_sub(before) / u64::try_from(streams).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_streams_hold_no_buffers() {
    const STREAMS: usize = 1000;
    /// Much less than the event: only the state of a stream is kept.
    const MAX_EXTRA: u64 = 8 * 1024;
    let event = |list: &str| {
        format!("data: {}\n\n", list.replace("\"c\"", &format!("\"{}\"", "c".repeat(64 * 1024))))
    };
    assert!(event(LIST) != event(SHOWN));
    let filtered = growth_per_stream(rules(), &event(LIST), STREAMS).await;
    let untouched = growth_per_stream(json!({}), &event(LIST), STREAMS).await;
    println!("{filtered} bytes for each filtered stream, {untouched} for one that is not");
    assert!(
        filtered < untouched + MAX_EXTRA,
        "{filtered} bytes for each filtered stream, {untouched} for one that is not"
    );
}

/// The maximum that all responses together may hold in a worker, and then the maximum of each:
/// docs/access.md.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_unfinished_events_is_bounded() {
    const STREAMS: usize = 200;
    const EVENT: usize = 1_000_000;
    const MAX_HELD: u64 = 64 << 20;
    let setup = Setup::alone(rules()).await;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
    let begun = format!("{head}data: {{\"a\":\"{}", "a".repeat(EVENT));
    setup.server.respond_with(&[begun.as_bytes(), b"\"}\n\n"]);
    let token = setup.stack.token();
    let before = allocated(&setup.stack).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let request = setup.stack.client().get(setup.stack.url()).bearer_auth(&token);
        open.push(request.send().await.unwrap());
    }
    // The last ones have no room, so they end with an error.
    let last = open.last_mut().unwrap();
    let chunk = last.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&chunk).contains("mcp_list_invalid"), "{chunk:?}");
    let held = allocated(&setup.stack).await.saturating_sub(before);
    println!("{held} bytes");
    // The native module's memory is part of Envoy's; the plugin's is not.
    assert!(held < 2 * MAX_HELD, "{held}");
    // Short lists are still filtered, and long ones too once there is room again.
    setup.respond_json(LIST);
    assert_eq!(setup.ask("tools/list").await.text, SHOWN);
    drop(open);
    await_active_requests(&setup.stack, 0).await;
    let [all, open] = lists(5_000, 52);
    assert!(ask(&setup, &all, "application/json").await.text == open);
}
