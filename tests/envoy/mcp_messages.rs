//! Parts of a message that servers interpret differently: URIs, methods and ids.

use serde_json::{Value, json};
use testbed::{OpenRequest, Response, Stack};

use crate::support::{
    assert_none, assert_refusal, await_active_requests, close_at_once, faults_of_refusal, named,
    parsed, with,
};

/// A policy that lets everybody do everything except what these names cover.
fn all_but(names: Value) -> Value {
    json!({"default": "allow", "rules": [{
        "name": "secret",
        "match": {"mcp_names": names},
        "require": {"roles": ["admin"]},
    }]})
}

async fn start(access: Value, errors: Value) -> Stack {
    let builder = Stack::builder().configure(move |configuration| {
        configuration["access"] = access;
        configuration["errors"] = errors;
    });
    builder.edit(close_at_once).start().await
}

/// Posts this body with these header fields.
async fn post(stack: &Stack, body: &str, fields: &[(&str, &str)]) -> Response {
    post_as(stack, &stack.token(), body, fields).await
}

async fn post_as(stack: &Stack, token: &str, body: &str, fields: &[(&str, &str)]) -> Response {
    let request = stack.request().bearer_auth(token).body(body.to_owned());
    let request =
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    stack.send(request).await
}

fn read(uri: &str) -> String {
    let params = json!({"uri": uri});
    json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": params}).to_string()
}

/// The same names in the header fields of 2026-07-28.
fn fields_of<'a>(method: &'a str, name: &'a str) -> [(&'static str, &'a str); 3] {
    [("mcp-protocol-version", "2026-07-28"), ("mcp-method", method), ("mcp-name", name)]
}

const SECRETS: [&str; 4] =
    ["note://payroll", "file:///etc/passwd", "https://example.com/secret", "note://open/secret"];

/// Spellings of these URIs that the official SDK of some language resolves to them.
const FOLDED: [&str; 19] = [
    " note://payroll",
    "note://payroll\n",
    "\u{a0}note://payroll",
    "note:\t//payroll",
    "NOTE://payroll",
    "note://payroll?",
    "note://payroll#",
    "file:/etc/passwd",
    "file://localhost/etc/passwd",
    "file:///etc//passwd",
    "file:///etc/./passwd",
    "file:///etc\\passwd",
    "https://example.com:443/secret",
    "https:example.com/secret",
    "https://EXAMPLE.com/secret",
    "https://ex\u{e4}mple.com/../secret",
    "https://\u{ff45}xample.com/secret",
    "note://open/%73ecret",
    "note://open/x/../secret",
];

const ORDINARY: [&str; 9] = [
    "note://open/a%20b",
    "note://Open/",
    "greeting://alice",
    "config:app",
    "urn:isbn:0451450523",
    "file:///srv/a.txt",
    "http://localhost:8080/a?b=c#d",
    "https://example.com/",
    "ui://widget/a.html",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_uri_that_a_server_may_normalise_does_not_pass_a_rule_on_names() {
    let stack = start(all_but(json!(SECRETS)), json!({"details": "full"})).await;
    let mut faults = Vec::new();
    for uri in FOLDED {
        let response = post(&stack, &read(uri), &[]).await;
        faults.extend(named(uri, faults_of_refusal(&response, "mcp_body_invalid")));
        if response.body["details"] != json!({"member": "uri", "found": uri}) {
            faults.push(format!("{uri}: {}", response.text));
        }
    }
    for uri in SECRETS {
        let response = post(&stack, &read(uri), &[]).await;
        faults.extend(named(uri, faults_of_refusal(&response, "access_denied")));
    }
    assert_none(&faults);
    assert_eq!(stack.server.count(), 0);
    for uri in ORDINARY {
        stack.server.clear();
        let response = post(&stack, &read(uri), &[]).await;
        assert_eq!(stack.server.count(), 1, "{uri}: {}", response.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_uri_does_not_pass_in_a_trusted_header_either() {
    let mut access = all_but(json!(SECRETS));
    access["mcp"] = json!({"inspect": "headers", "upstream_validates_headers": true});
    let stack = start(access, json!({})).await;
    for (uri, field) in [
        (" note://payroll", "=?base64?IG5vdGU6Ly9wYXlyb2xs?="),
        ("file:/etc/passwd", "file:/etc/passwd"),
        ("https://example.com:443/secret", "https://example.com:443/secret"),
    ] {
        let response = post(&stack, &read(uri), &fields_of("resources/read", field)).await;
        assert_refusal(&response, "mcp_body_invalid");
    }
    assert_eq!(stack.server.count(), 0);
    for uri in ["greeting://alice", "file:///srv/a.txt"] {
        post(&stack, &read(uri), &fields_of("resources/read", uri)).await;
    }
    assert_eq!(stack.server.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn uris_are_not_checked_where_no_rule_names_any() {
    let access = json!({"default": "allow", "rules": [{
        "match": {"mcp_methods": ["tools/call"]},
        "require": {"roles": ["admin"]},
    }]});
    let stack = start(access, json!({})).await;
    for (count, uri) in FOLDED.into_iter().enumerate() {
        let response = post(&stack, &read(uri), &[]).await;
        assert_eq!(stack.server.count(), count + 1, "{uri}: {}", response.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_in_another_case_does_not_pass_a_rule_on_names() {
    for inspect in ["body", "headers"] {
        let mut access = all_but(json!(["add"]));
        access["mcp"] = json!({"inspect": inspect, "upstream_validates_headers": true});
        let stack = start(access, json!({"details": "full"})).await;
        let call = |method: &str| {
            let params = json!({"name": "add", "arguments": {"a": 1, "b": 2}});
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
        };
        for method in ["TOOLS/CALL", "Tools/Call", "tools/calL"] {
            let response = post(&stack, &call(method), &fields_of(method, "add")).await;
            assert_refusal(&response, "access_denied");
            assert_eq!(response.body["details"]["name"], "ambiguous", "{}", response.text);
        }
        assert_eq!(stack.server.count(), 0);
        // No server takes these for a tool call.
        for (count, method) in ["tools/call2", "x/y", "TOOLS/LIST"].into_iter().enumerate() {
            let response = post(&stack, &call(method), &fields_of(method, "add")).await;
            assert_eq!(stack.server.count(), count + 1, "{method}: {}", response.text);
        }
    }
}

/// A call to `add` with this `id`, as written.
fn call_of_add(id: &str) -> String {
    let params = r#"{"name":"add","arguments":{"a":1,"b":2}}"#;
    format!(r#"{{"jsonrpc":"2.0","method":"tools/call","params":{params},"id": {id} }}"#)
}

/// An error with this `id`, and with nothing else before its code.
#[track_caller]
fn assert_id(response: &Response, id: &str, code: i32) {
    let beginning = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"#);
    assert!(response.text.starts_with(&beginning), "{beginning} {}", response.text);
}

// Requirement: header-mismatch-response
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_json_rpc_carries_the_id_of_the_request() {
    let long = format!("\"{}\"", "x".repeat(1025));
    for format in ["json_rpc", "oauth", "servicenow"] {
        let stack = start(all_but(json!(["add"])), json!({"format": format})).await;
        for (id, sent_back) in [
            ("7", "7"),
            ("-0.50", "-0.50"),
            ("12345678901234567890123", "12345678901234567890123"),
            (r#""a \"b\"\u00fc""#, "\"a \\\"b\\\"\u{fc}\""),
            ("null", "null"),
            (&long, "null"),
        ] {
            let body = call_of_add(id);
            let forged = post(&stack, &body, &[("mcp-name", "whoami")]).await;
            assert_eq!(forged.status, 400);
            assert_id(&forged, sent_back, -32020);
            let denied = post(&stack, &body, &[]).await;
            assert_eq!(denied.status, 403);
            if format == "json_rpc" {
                assert_id(&denied, sent_back, 403);
            } else {
                assert!(denied.body.get("id").is_none(), "{}", denied.text);
            }
        }
        // The server answers the same call by a client that is allowed to make it.
        let admin = stack.provider.token(&with(&stack.claims(), "roles", json!(["admin"])));
        let served = post_as(&stack, &admin, &call_of_add("7"), &[]).await;
        assert_eq!((served.status, &served.body["id"]), (200, &json!(7)), "{}", served.text);
        assert_eq!(stack.server.tool_runs(), ["add"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_has_no_id_if_it_is_unknown() {
    let stack = start(all_but(json!(["add"])), json!({"format": "json_rpc"})).await;
    // Each is refused by its head: the body is not awaited for the id.
    let body = call_of_add("7");
    assert_id(&stack.send(stack.request().body(body.clone())).await, "null", 401);
    let twice = [("mcp-name", "add"), ("mcp-name", "add")];
    assert_id(&post(&stack, &body, &twice).await, "null", -32020);
    // Anything that is not JSON-RPC has no id.
    for id in ["{}", "[7]", "true", "{\"a\":7}"] {
        let response = post(&stack, &call_of_add(id), &[]).await;
        assert_id(&response, "null", 400);
        assert_eq!(response.body["error"]["data"]["reason"], "mcp_body_invalid", "{id}");
        let message = response.body["error"]["message"].as_str().unwrap();
        assert!(message.ends_with("the member id has the wrong type"), "{message}");
    }
    for (body, id) in [
        (r#"{"jsonrpc":"2.0","method":"a","method":"b","id":7}"#, "7"),
        (r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":[]}"#, "\"x\""),
        (r#"{"jsonrpc":"2.0","id":7}"#, "7"),
        (r#"{"jsonrpc":"2.0","method":"a","id":7,"id":8}"#, "null"),
        (r#"[{"jsonrpc":"2.0","method":"a","id":7}]"#, "null"),
        (r#"{"jsonrpc":"2.0","method":"a","id":7"#, "null"),
    ] {
        assert_id(&post(&stack, body, &[]).await, id, 400);
    }
    assert_eq!(stack.server.count(), 0);
    let response = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;
    post(&stack, response, &[]).await;
    assert_eq!(stack.server.count(), 1);
    // A response to the server: its id is that of the server's request, not the client's.
    assert_id(&post(&stack, response, &[("mcp-method", "a")]).await, "null", -32020);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_a_spent_token_has_the_id_of_the_call() {
    let stack = Stack::builder()
        .alone()
        .configure(|configuration| {
            configuration["access"] = all_but(json!(["add"]));
            configuration["errors"] = json!({"format": "json_rpc"});
            configuration["providers"][0]["jti"] = json!("single_use");
        })
        .edit(close_at_once)
        .start()
        .await;
    let token = stack.token();
    let call = call_of_add("\"once\"").replace("\"add\"", "\"whoami\"");
    // The head arrives before the token is spent, and the body after.
    let mut late = OpenRequest::open(
        stack.envoy.address(),
        format!(
            "POST /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            call.len()
        )
        .as_bytes(),
    )
    .await;
    await_active_requests(&stack, 1).await;
    assert_eq!(post_as(&stack, &token, &call, &[]).await.status, 200);
    late.send(call.as_bytes()).await;
    let response = parsed(&late.response().await);
    assert_eq!(response.body["error"]["data"]["reason"], "jti_replayed", "{}", response.text);
    assert_id(&response, "\"once\"", 401);
    // If a head is refused, its body is not awaited for the id.
    let response = post_as(&stack, &token, &call, &[]).await;
    assert_id(&response, "null", 401);
    assert_eq!(stack.server.tool_runs(), ["whoami"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_a_body_names_the_member_or_the_limit() {
    let mut access = all_but(json!(["add"]));
    access["mcp"] = json!({"max_body": "2KiB"});
    let stack = start(access, json!({"details": "full"})).await;
    let large = format!("{}{}", " ".repeat(2048), call_of_add("1"));
    let odd = "\"<b>\\n\u{202e}\u{e9}".replace('"', "\\\"");
    let odd = format!(r#"{{"method":"x","{odd}":1,"{odd}":2}}"#);
    for (body, words, details) in [
        (large.as_str(), "access.mcp.max_body (2048 bytes)", json!({"limit": 2048})),
        (r#"{"method":"x","params":3}"#, "member params has", json!({"member": "params"})),
        (r#"{"method":3}"#, "member method has", json!({"member": "method"})),
        (r#"{"method":"x","params":{"_meta":3}}"#, "member _meta has", json!({"member": "_meta"})),
        (r#"{"method":"x","Params":{}}"#, "member Params is", json!({"member": "Params"})),
        (r#"{"method":"x","a":1,"A":1}"#, "member A is duplicated", json!({"member": "A"})),
        (r#"{"method":"tools/call"}"#, "needs params.name", json!({"member": "name"})),
        (&odd, "member ??b???? is duplicated", json!({"member": "\"<b>\n\u{202e}\u{e9}"})),
    ] {
        let response = post(&stack, body, &[]).await;
        assert_refusal(&response, "mcp_body_invalid");
        let description = response.body["error_description"].as_str().unwrap();
        assert!(description.contains(words), "{description}");
        assert_eq!(response.body["details"], details, "{body:.80}");
    }
    assert_eq!(stack.server.count(), 0);
    post(&stack, r#"{"jsonrpc":"2.0","method":"x","id":1,"a":1,"b":1,"params":{}}"#, &[]).await;
    assert_eq!(stack.server.count(), 1);
}
