//! `envoy/audit.yaml`: what the access log says about tool calls, and the rate limit for each user.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use testbed::{Bootstrap, Envoy, RawServer, Response, Stack, code_blocks, repository_root};

use crate::support::{SOON, close_at_once, with};

/// Envoy with the example, in front of a server whose responses a test writes byte by byte.
pub struct Setup {
    pub stack: Stack,
    pub server: RawServer,
    sent: AtomicUsize,
}

pub const OK: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
pub const TOOL_ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#;
const ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}"#;
pub const JSON: &str = "content-type: application/json\r\n";
pub const EVENTS: &str = "content-type: text/event-stream\r\n";

impl Setup {
    /// Waits until the call counters satisfy `holds`. Envoy counts a call when its stream ends,
    /// which may be after the client has the response.
    async fn await_calls(&self, holds: impl Fn(&[String]) -> bool) {
        let asked = Instant::now();
        loop {
            let text = self.stack.envoy.admin("/stats/prometheus").await;
            let calls = text.lines().filter(|line| line.starts_with("mcp_auth_calls{"));
            let mut calls: Vec<String> = calls.map(str::to_owned).collect();
            calls.sort_unstable();
            if holds(&calls) {
                return;
            }
            assert!(asked.elapsed() < SOON, "{calls:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(configure: impl FnOnce(&mut Value) + Send + 'static) -> Self {
        Self::start_in(configure, |_| {}).await
    }

    pub async fn start_in(
        configure: impl FnOnce(&mut Value) + Send + 'static,
        edit: impl FnOnce(&mut Bootstrap) + Send + 'static,
    ) -> Self {
        let server = RawServer::start().await;
        let upstream = server.address();
        let example = Bootstrap::from_file(&repository_root().join("envoy/audit.yaml"));
        let stack = Stack::builder()
            .bootstrap(example)
            .configure(configure)
            .edit(move |bootstrap| {
                bootstrap.set_cluster("mcp_server", upstream);
                close_at_once(bootstrap);
                edit(bootstrap);
            })
            .alone()
            .start()
            .await;
        Self { stack, server, sent: AtomicUsize::new(0) }
    }

    /// Makes the server respond so from now on, and close the connection.
    pub fn respond(&self, status: &str, fields: &str, body: &str) {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{fields}\r\n");
        self.server.respond_with(&[&[head.as_bytes(), body.as_bytes()].concat()]);
    }

    /// A new path for the next request, by which its log line is found.
    pub fn path(&self) -> String {
        format!("/mcp/{}", self.sent.fetch_add(1, Ordering::Relaxed))
    }

    /// The access log's line for the request to this path.
    pub async fn line(&self, path: &str) -> Value {
        let member = format!("\"url.path\":\"{path}\"");
        self.stack.envoy.await_log(&member, SOON).await;
        let log = self.stack.envoy.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&member)).collect();
        let [line] = lines[..] else { panic!("{lines:?}") };
        let mut line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let members = line.as_object_mut().unwrap();
        for name in ["time", "duration_ms", "request_id", "client.address", "url.path"] {
            assert!(members.remove(name).is_some(), "{name}");
        }
        // Envoy before 1.40 ignores `omit_empty_values` (envoyproxy/envoy#37941).
        if Envoy::version() < (1, 40) {
            members.retain(|_, value| !value.is_null());
        }
        line
    }

    /// Sends a message with a token with these claims. Returns its log line.
    async fn post_as(&self, claims: &Value, message: &Value) -> (Response, Value) {
        let path = self.path();
        let request = self.stack.client().post(self.stack.envoy.url(&path)).json(message);
        let token = self.stack.provider.token(claims);
        let response = self.stack.send(request.bearer_auth(token)).await;
        (response, self.line(&path).await)
    }

    async fn post(&self, message: &Value) -> (Response, Value) {
        self.post_as(&self.stack.claims(), message).await
    }

    /// Sends a request whose response may break off. Returns its log line.
    async fn line_of(
        &self,
        method: &str,
        prepare: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Value {
        let path = self.path();
        let method = method.parse().unwrap();
        let request = self.stack.client().request(method, self.stack.envoy.url(&path));
        let request = prepare(request.bearer_auth(self.stack.token()));
        if let Ok(response) = request.send().await {
            let _ = response.bytes().await;
        }
        self.line(&path).await
    }

    /// The outcome, error code and error class of a call, as logged.
    async fn outcome(&self) -> [Value; 3] {
        outcome(&self.line_of("POST", |request| request.json(&call("add"))).await)
    }
}

fn outcome(line: &Value) -> [Value; 3] {
    ["mcp_auth.outcome", "rpc.response.status_code", "error.type"].map(|name| line[name].clone())
}

pub fn message(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

pub fn call(tool: &str) -> Value {
    message("tools/call", json!({"name": tool, "arguments": {"secret": "argument"}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_line_has_the_caller_the_tool_the_rule_and_the_result() {
    let setup = Setup::start().await;
    setup.respond("200 OK", JSON, OK);
    let (response, line) = setup.post(&call("add")).await;
    assert_eq!(response.text, OK);
    assert_eq!(
        line,
        json!({
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "user.name": "ada@example.com",
            "mcp_auth.provider": "demo",
            "mcp_auth.client_id": "demo-agent",
            "mcp_auth.rule": "everything",
            "mcp.method.name": "tools/call",
            "gen_ai.tool.name": "add",
            "mcp_auth.outcome": "ok",
        })
    );
    // The role allows what is refused without it.
    let admin = with(&setup.stack.claims(), "roles", json!(["admin"]));
    let (_, line) = setup.post_as(&admin, &call("admin_reset")).await;
    assert_eq!(line["mcp_auth.rule"], "administration");
    assert_eq!(line["mcp_auth.outcome"], "ok");
    for (method, params, name) in [
        ("prompts/get", json!({"name": "a"}), "gen_ai.prompt.name"),
        ("resources/read", json!({"uri": "a:b"}), "mcp.resource.uri"),
    ] {
        let (_, line) = setup.post(&message(method, params.clone())).await;
        let [(_, called)] = &params.as_object().unwrap().iter().collect::<Vec<_>>()[..] else {
            panic!("{params}")
        };
        assert_eq!((&line["mcp.method.name"], &line[name]), (&json!(method), *called));
        assert_eq!(line["gen_ai.tool.name"], Value::Null);
    }
    let (_, line) = setup.post(&message("ping", json!({}))).await;
    assert_eq!(line["mcp.method.name"], "ping");
    assert!(!line.to_string().contains("gen_ai"), "{line}");
    assert!(!setup.stack.envoy.log().contains("argument"));
}

#[test]
fn the_lines_on_the_page_are_those_that_the_example_writes() {
    let mut example = Bootstrap::from_file(&repository_root().join("envoy/audit.yaml"));
    let format =
        example.connection_manager()["access_log"][0]["typed_config"]["log_format"]["json_format"]
            .clone();
    let page = std::fs::read_to_string(repository_root().join("docs/audit.md")).unwrap();
    let [block] = &code_blocks(&page, "json")[..] else { panic!("{page}") };
    for line in block.lines() {
        let shown: Value = serde_json::from_str(line).unwrap();
        for name in shown.as_object().unwrap().keys() {
            assert!(format.get(name).is_some(), "{name}");
        }
    }
    // The log has what the page lists, each field with the plugin's prefix.
    let states: Vec<&str> =
        page.split("`wasm.").skip(1).filter_map(|rest| rest.split('`').next()).collect();
    assert!(states.len() >= 5, "{states:?}");
    for state in states {
        assert!(format.to_string().contains(&format!("wasm.{state}")), "{state}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_outcomes_are_distinguished() {
    let setup = Setup::start().await;
    let ok = || json!(["ok", null, null]);
    let unknown = || json!(["unknown", null, null]);
    let tool_error = || json!(["tool_error", null, "tool_error"]);
    let rpc_error = |code: &str| json!(["rpc_error", code, code]);
    let http_error = |status: &str| json!(["http_error", null, status]);
    let long = OK.replace("[]", &format!("[\"{}\"]", "a".repeat(1_100_000)));
    let no_error = TOOL_ERROR.replace("true", "false");
    let no_boolean = TOOL_ERROR.replace("true", "\"true\"");
    let other_id = OK.replace("\"id\":1", "\"id\":2");
    let cases = [
        ("200 OK", JSON, OK, ok()),
        ("200 OK", JSON, TOOL_ERROR, tool_error()),
        ("200 OK", JSON, &no_error, ok()),
        ("200 OK", JSON, &no_boolean, unknown()),
        ("200 OK", JSON, ERROR, rpc_error("-32602")),
        ("200 OK", JSON, &other_id, unknown()),
        ("200 OK", JSON, &long, unknown()),
        ("200 OK", JSON, "", unknown()),
        ("200 OK", "content-encoding: gzip\r\n", OK, unknown()),
        ("200 OK", "content-encoding: identity\r\n", OK, ok()),
        ("202 Accepted", "content-length: 0\r\n", "", unknown()),
        ("400 Bad Request", JSON, ERROR, rpc_error("-32602")),
        ("400 Bad Request", JSON, r#"{"error":"invalid_request"}"#, http_error("400")),
        ("503 Service Unavailable", JSON, OK, http_error("503")),
        ("307 Temporary Redirect", "location: /\r\n", "", http_error("307")),
    ];
    for (status, fields, body, expected) in cases {
        setup.respond(status, fields, body);
        assert_eq!(json!(setup.outcome().await), expected, "{status} {fields} {body:.90}");
    }
    // Cut off, and the same body complete.
    for (body, expected) in [(&OK[..OK.len() - 1], unknown()), (OK, ok())] {
        let fields = format!("{JSON}content-length: {}\r\n", OK.len());
        setup.respond("200 OK", &fields, body);
        assert_eq!(json!(setup.outcome().await), expected, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_response_is_found_in_a_stream_of_events() {
    let setup = Setup::start().await;
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
    let sampling = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#;
    let long =
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"a":"{}"}}}}"#, "a".repeat(1_100_000));
    for (messages, expected) in [
        (&[progress, OK][..], json!(["ok", null, null])),
        (&[progress, TOOL_ERROR], json!(["tool_error", null, "tool_error"])),
        (&[sampling, ERROR], json!(["rpc_error", "-32602", "-32602"])),
        (&[progress, sampling], json!(["unknown", null, null])),
        (&[&*long], json!(["unknown", null, null])),
        (&[progress, OK, progress], json!(["ok", null, null])),
    ] {
        let body: String = messages.iter().map(|data| format!("data: {data}\r\n\r\n")).collect();
        setup.respond("200 OK", EVENTS, &body);
        let (response, line) = setup.post(&call("add")).await;
        assert!(response.text == body, "{:.200}", response.text);
        assert_eq!(json!(outcome(&line)), expected, "{body:.200}");
        // The stream breaks off after its last event.
        let fields = format!("{EVENTS}content-length: {}\r\n", body.len() + 1);
        setup.respond("200 OK", &fields, &body);
        assert_eq!(json!(setup.outcome().await), expected, "{body:.200}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_not_held_back() {
    // Where no rule names tools, an event need not be complete before it is forwarded.
    let setup = Setup::start_with(|configuration| {
        configuration["access"]["rules"] =
            json!([{"name": "all", "match": {"mcp_methods": ["*"]}}]);
    })
    .await;
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{EVENTS}\r\n");
    let first = "data: {\"jsonrpc\":\"2.0\",\"id\":1,";
    setup.server.respond_with(&[
        format!("{head}{first}").as_bytes(),
        b"\"result\":{}}\n\n",
        b": the end\n\n",
    ]);
    let path = setup.path();
    let request = setup.stack.client().post(setup.stack.envoy.url(&path)).json(&call("add"));
    let mut response = request.bearer_auth(setup.stack.token()).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), first);
    setup.server.go_on();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "\"result\":{}}\n\n");
    setup.server.go_on();
    assert_eq!(response.chunk().await.unwrap().unwrap(), ": the end\n\n");
    assert_eq!(response.chunk().await.unwrap(), None);
    assert_eq!(setup.line(&path).await["mcp_auth.outcome"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_json_rpc_requests_have_a_result_to_read() {
    let setup = Setup::start().await;
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let response = json!({"jsonrpc": "2.0", "id": 7, "result": {}});
    setup.respond("202 Accepted", "content-length: 0\r\n", "");
    let (_, line) = setup.post(&notification).await;
    assert_eq!(line["mcp.method.name"], "notifications/initialized");
    assert_eq!(line["mcp_auth.outcome"], "ok");
    let (_, line) = setup.post(&response).await;
    assert_eq!((&line["mcp.method.name"], &line["mcp_auth.outcome"]), (&Value::Null, &json!("ok")));
    setup.respond("200 OK", JSON, OK);
    assert_eq!(setup.post(&notification).await.1["mcp_auth.outcome"], "unknown");

    for (method, status, expected) in [
        ("GET", "200 OK", json!(["unknown", null, null])),
        ("DELETE", "200 OK", json!(["unknown", null, null])),
        ("GET", "405 Method Not Allowed", json!(["http_error", null, "405"])),
        ("DELETE", "404 Not Found", json!(["http_error", null, "404"])),
    ] {
        setup.respond(status, EVENTS, &format!("data: {OK}\n\n"));
        let line = setup.line_of(method, |request| request).await;
        assert_eq!(json!(outcome(&line)), expected, "{method} {status}");
        assert_eq!(line["mcp.method.name"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_is_logged_with_its_tool_and_its_reason() {
    let setup = Setup::start().await;
    setup.respond("200 OK", JSON, OK);
    let (response, line) = setup.post(&call("admin_reset")).await;
    assert_eq!(response.status, 403);
    assert_eq!(
        line,
        json!({
            "http.request.method": "POST",
            "http.response.status_code": 403,
            "user.name": "ada@example.com",
            "mcp_auth.provider": "demo",
            "mcp_auth.client_id": "demo-agent",
            "mcp_auth.rule": "administration",
            "mcp.method.name": "tools/call",
            "gen_ai.tool.name": "admin_reset",
            "mcp_auth.reason": "access_denied",
            "error.type": "access_denied",
        })
    );
    let wrong = with(&setup.stack.claims(), "aud", json!("other"));
    let (_, line) = setup.post_as(&wrong, &call("admin_reset")).await;
    assert_eq!(
        line,
        json!({
            "http.request.method": "POST",
            "http.response.status_code": 401,
            "mcp_auth.provider": "demo",
            "mcp_auth.reason": "audience_mismatch",
            "error.type": "audience_mismatch",
        })
    );
    let line = setup.line_of("POST", |request| request.json(&json!([call("add")]))).await;
    assert_eq!(line["mcp_auth.reason"], "mcp_body_invalid");
    assert_eq!(line["mcp_auth.outcome"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_cannot_forge_another_member_or_line() {
    let setup = Setup::start().await;
    setup.respond("200 OK", JSON, OK);
    let long = "é".repeat(200);
    for (name, logged) in [
        ("a\",\"user.name\":\"root", "a%22,%22user.name%22:%22root"),
        ("a\\\",\"user.name\":\"root", "a%5C%22,%22user.name%22:%22root"),
        ("a\n{\"url.path\":\"/mcp/forged\"}", "a%0A{%22url.path%22:%22/mcp/forged%22}"),
        ("\u{85}\u{2028}\u{202e}\u{9b}31m", "%C2%85%E2%80%A8%E2%80%AE%C2%9B31m"),
        ("100% -", "100%25 -"),
        ("%REQ(AUTHORIZATION)%", "%25REQ(AUTHORIZATION)%25"),
        (&long, &"%C3%A9".repeat(128)),
    ] {
        let (_, line) = setup.post(&call(name)).await;
        assert_eq!(line["gen_ai.tool.name"], logged, "{name}");
        assert_eq!(line["user.name"], "ada@example.com");
        assert_eq!(line.as_object().unwrap().len(), 9, "{line}");
        let method = format!("x/{name}");
        let (_, line) = setup.post(&message(&method, json!({}))).await;
        let logged = if name == long {
            format!("x/{}", "%C3%A9".repeat(127))
        } else {
            format!("x/{logged}")
        };
        assert_eq!(line["mcp.method.name"], logged, "{name}");
    }
    assert!(!setup.stack.envoy.log().lines().any(|line| line.starts_with("{\"url.path\":")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_over_the_limit_gets_429_and_others_are_served() {
    let setup = Setup::start().await;
    setup.respond("200 OK", JSON, OK);
    let ada = setup.stack.token();
    let grace = with(&setup.stack.claims(), "email", json!("grace@example.com"));
    // The bucket refills meanwhile, so more of these may pass.
    let mut served = 0;
    let path = loop {
        let path = setup.path();
        let request = setup.stack.client().post(setup.stack.envoy.url(&path)).json(&call("add"));
        // A name that the client makes up gets no bucket of its own.
        let request = request.bearer_auth(&ada).header("x-mcp-user", served.to_string());
        let response = setup.stack.send(request).await;
        if response.status == 429 {
            assert_eq!(response.header("retry-after"), "60");
            break path;
        }
        assert_eq!(response.status, 200);
        served += 1;
        assert!(served < 2000);
    };
    assert!(served >= 120, "{served}");
    let line = setup.line(&path).await;
    assert_eq!(json!(outcome(&line)), json!(["http_error", null, "429"]));
    assert_eq!(line["gen_ai.tool.name"], "add");
    assert_eq!(line["user.name"], "ada@example.com");
    let (response, line) = setup.post_as(&grace, &call("add")).await;
    assert_eq!((response.status, &line["user.name"]), (200, &json!("grace@example.com")));
    // Refused requests do not reach the rate limit.
    let (response, line) = setup.post(&call("admin_reset")).await;
    assert_eq!((response.status, &line["mcp_auth.reason"]), (403, &json!("access_denied")));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_method_and_outcome() {
    let setup = Setup::start().await;
    for (body, method) in [
        (OK, "tools/call"),
        (OK, "tools/call"),
        (TOOL_ERROR, "tools/call"),
        (ERROR, "tools/list"),
        (OK, "made/up"),
        (OK, "made/up/too"),
    ] {
        setup.respond("200 OK", JSON, body);
        setup.post(&message(method, json!({"name": "add"}))).await;
    }
    setup.post(&call("admin_reset")).await;
    setup.line_of("GET", |request| request).await;
    let expected = [
        r#"mcp_auth_calls{method="none",outcome="unknown"} 1"#,
        r#"mcp_auth_calls{method="other",outcome="ok"} 2"#,
        r#"mcp_auth_calls{method="tools/call",outcome="ok"} 2"#,
        r#"mcp_auth_calls{method="tools/call",outcome="refused"} 1"#,
        r#"mcp_auth_calls{method="tools/call",outcome="tool_error"} 1"#,
        r#"mcp_auth_calls{method="tools/list",outcome="rpc_error"} 1"#,
    ];
    setup.await_calls(|calls| calls == expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_read_only_where_they_are_enabled() {
    for is_asked in [false, true] {
        let setup = Setup::start_with(move |configuration| {
            configuration["audit"] = json!({"outcomes": is_asked});
        })
        .await;
        setup.respond("200 OK", JSON, TOOL_ERROR);
        let line = setup
            .line_of("POST", |request| request.json(&call("add")).header("accept-encoding", "gzip"))
            .await;
        assert_eq!(line["gen_ai.tool.name"], "add");
        assert_eq!(line["mcp_auth.outcome"].is_null(), !is_asked, "{line}");
        assert_eq!(line["error.type"].is_null(), !is_asked, "{line}");
        // The server must not be asked to compress a response that is to be read.
        let requests = setup.server.take_requests();
        assert_eq!(requests.last().unwrap().header("accept-encoding").is_empty(), is_asked);
        let one = r#"mcp_auth_calls{method="tools/call",outcome="tool_error"} 1"#;
        setup.await_calls(|calls| calls.iter().any(|call| call == one) == is_asked).await;
    }
}

/// Here both the request's message and the list in the response are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_list_has_an_outcome_and_a_refused_list_has_a_reason() {
    let setup = Setup::start().await;
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add"},{"name":"admin_a"}]}}"#;
    let shown = list.replace(r#",{"name":"admin_a"}"#, "");
    for (fields, body, expected) in [
        (JSON, list.to_owned(), shown.clone()),
        (EVENTS, format!("data: {list}\n\n"), format!("data: {shown}\n\n")),
    ] {
        setup.respond("200 OK", fields, &body);
        let (response, line) = setup.post(&message("tools/list", json!({}))).await;
        assert_eq!(response.text, expected);
        assert_eq!(line["mcp_auth.outcome"], "ok");
    }
    setup.respond("200 OK", JSON, "no list");
    let (response, line) = setup.post(&message("tools/list", json!({}))).await;
    assert_eq!(response.status, 502);
    assert_eq!(line["mcp_auth.reason"], "mcp_list_invalid");
    assert_eq!(line["mcp_auth.outcome"], Value::Null);
    assert_eq!(line["mcp.method.name"], "tools/list");
    // The server closes the connection before the list is complete.
    let fields = format!("{JSON}content-length: {}\r\n", list.len() + 1);
    setup.respond("200 OK", &fields, list);
    let line =
        setup.line_of("POST", |request| request.json(&message("tools/list", json!({})))).await;
    assert_ne!(line["mcp_auth.outcome"], "ok", "{line}");
    let refused = r#"mcp_auth_calls{method="tools/list",outcome="refused"} 1"#;
    setup.await_calls(|calls| calls.iter().any(|call| call == refused)).await;
}
