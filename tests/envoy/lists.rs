//! Lists of tools, prompts and resources show only the items that their callers may use.

use serde_json::{Value, json};
use testbed::{Bootstrap, RawServer, Response, Stack, StackBuilder, raw_exchange};

use crate::support::{close_at_once, without_held_heads};

/// The rules of these tests: `open*` is for all, everything else for administrators.
pub fn rules() -> Value {
    json!({"default": "allow", "rules": [
        {"name": "open", "match": {"mcp_names": ["open*", "file:///open/*", "https://open.*"]}},
        {
            "name": "writing",
            "match": {"mcp_methods": ["tools/call"], "mcp_names": ["write"]},
            "require": {"scopes": ["write"]},
        },
        {
            "name": "others",
            "match": {"mcp_methods": ["tools/call", "prompts/get", "resources/read"]},
            "require": {"roles": ["admin"]},
        },
    ]})
}

/// Envoy in front of a server whose responses a test writes byte by byte.
pub struct Setup {
    pub stack: Stack,
    pub server: RawServer,
}

impl Setup {
    pub async fn start(access: Value) -> Self {
        Self::start_with(move |configuration| configuration["access"] = access).await
    }

    pub async fn start_with(configure: impl FnOnce(&mut Value) + Send + 'static) -> Self {
        Self::start_in(configure, |_| {}).await
    }

    pub async fn start_in(
        configure: impl FnOnce(&mut Value) + Send + 'static,
        edit: impl FnOnce(&mut Bootstrap) + Send + 'static,
    ) -> Self {
        Self::of(Stack::builder(), configure, edit).await
    }

    /// Starts an Envoy that serves no other test.
    pub async fn alone(access: Value) -> Self {
        let configure = move |configuration: &mut Value| configuration["access"] = access;
        Self::of(Stack::builder().alone(), configure, |_| {}).await
    }

    async fn of(
        builder: StackBuilder,
        configure: impl FnOnce(&mut Value) + Send + 'static,
        edit: impl FnOnce(&mut Bootstrap) + Send + 'static,
    ) -> Self {
        let server = RawServer::start().await;
        let upstream = server.address();
        let stack = builder
            .configure(configure)
            .edit(move |bootstrap| {
                bootstrap.set_cluster("mcp_server", upstream);
                close_at_once(bootstrap);
                edit(bootstrap);
            })
            .start()
            .await;
        Self { stack, server }
    }

    pub async fn ask(&self, method: &str) -> Response {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}});
        self.stack.send(self.stack.request().bearer_auth(self.stack.token()).json(&body)).await
    }

    /// A message whose client repeats it in header fields.
    async fn ask_by_headers(&self, method: &str) -> Response {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}});
        let request = self.stack.request().bearer_auth(self.stack.token()).json(&body);
        let request = request.header("mcp-protocol-version", REVISION).header("mcp-method", method);
        self.stack.send(request).await
    }

    pub async fn call(&self, name: &str) -> Response {
        let params = json!({"name": name});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        self.stack.send(self.stack.request().bearer_auth(self.stack.token()).json(&body)).await
    }

    /// Makes the server respond so from now on.
    pub fn respond(&self, fields: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{fields}\r\n");
        self.server.respond_with(&[&[head.as_bytes(), body].concat()]);
    }

    pub fn respond_json(&self, body: &str) {
        self.respond("content-type: application/json\r\n", body.as_bytes());
    }

    pub fn respond_events(&self, body: &str) {
        self.respond("content-type: text/event-stream\r\n", body.as_bytes());
    }
}

pub const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"open1"},{"name":"write"},{"name":"closed"}],"nextCursor":"c"}}"#;
pub const SHOWN: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"open1"}],"nextCursor":"c"}}"#;

#[tokio::test]
async fn a_list_shows_only_what_its_caller_may_call() {
    let setup = Setup::start(rules()).await;
    setup.respond_json(LIST);
    let response = setup.ask("tools/list").await;
    assert_eq!((response.status, response.text.as_str()), (200, SHOWN));
    // Hidden tools are refused when called, and shown ones are served.
    assert_eq!(setup.call("closed").await.status, 403);
    assert_eq!(setup.call("write").await.status, 403);
    assert_eq!(setup.call("open1").await.status, 200);
}

#[tokio::test]
async fn a_list_is_filtered_whatever_its_header_fields_and_encoding() {
    let setup = Setup::start(rules()).await;
    for fields in [
        "content-type: Application/JSON ; charset=utf-8\r\n",
        "content-type: text/plain\r\n",
        "content-encoding: identity\r\n",
        "",
    ] {
        setup.respond(fields, LIST.as_bytes());
        assert_eq!(setup.ask("tools/list").await.text, SHOWN, "{fields}");
    }
    setup.respond_json(&format!("\u{feff}{LIST}"));
    assert_eq!(setup.ask("tools/list").await.text, format!("\u{feff}{SHOWN}"));
    // A list with another id is recognised by its form.
    setup.respond_json(&LIST.replace("\"id\":1", "\"id\":7"));
    assert_eq!(setup.call("open1").await.text, SHOWN.replace("\"id\":1", "\"id\":7"));
    let length = LIST.len();
    setup.respond(&format!("content-length: {length}\r\n"), LIST.as_bytes());
    let response = setup.ask("tools/list").await;
    assert_eq!(response.text, SHOWN);
    let length = response.headers.get("content-length").map(|value| value.to_str().unwrap());
    assert!(length.is_none_or(|length| length == SHOWN.len().to_string()), "{length:?}");
}

/// A client that keeps its connection finds the end of a body by its length or its chunks (RFC 9112
/// §6.3).
#[tokio::test]
async fn a_shortened_list_is_sent_in_chunks_and_other_responses_keep_their_length() {
    let setup = Setup::start(rules()).await;
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
    let chunk = format!("{:x}\r\n{SHOWN}\r\n0\r\n\r\n", SHOWN.len());
    for (method, params, sent, framing, received) in [
        ("tools/list", json!({}), LIST, ("transfer-encoding", "chunked"), chunk.as_str()),
        ("tools/call", json!({"name": "open1"}), result, ("content-length", "48"), result),
    ] {
        setup.respond(&format!("content-length: {}\r\n", sent.len()), sent.as_bytes());
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let body = body.to_string();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nauthorization: Bearer {}\r\n\r\n\
             {body}",
            body.len(),
            setup.stack.token()
        );
        let response = raw_exchange(setup.stack.envoy.address(), request.as_bytes()).await;
        assert_eq!(response.status(), 200, "{method}");
        let fields = ["content-length", "transfer-encoding"];
        let found: Vec<_> = fields
            .into_iter()
            .flat_map(|name| response.header(name).into_iter().map(move |value| (name, value)))
            .collect();
        assert_eq!(found, [(framing.0, framing.1.to_owned())], "{method}");
        assert_eq!(response.body(), received, "{method}");
    }
}

#[tokio::test]
async fn prompts_and_resources_are_filtered_by_their_own_names() {
    let setup = Setup::start(rules()).await;
    for (method, member, shown, hidden) in [
        ("prompts/list", "prompts", json!({"name": "open1"}), json!({"name": "closed"})),
        (
            "resources/list",
            "resources",
            json!({"name": "closed", "uri": "file:///open/a"}),
            json!({"name": "open1", "uri": "file:///closed/a"}),
        ),
        (
            "resources/templates/list",
            "resourceTemplates",
            json!({"name": "closed", "uriTemplate": "file:///open/{name}"}),
            json!({"name": "open1", "uriTemplate": "file:///{name}"}),
        ),
        // Its literal beginning is no URI yet.
        (
            "resources/templates/list",
            "resourceTemplates",
            json!({"name": "closed", "uriTemplate": "https://open.{host}/a"}),
            json!({"name": "open1", "uriTemplate": "https://{host}/a"}),
        ),
    ] {
        let list = |items: Value| json!({"jsonrpc": "2.0", "id": 1, "result": {member: items}});
        setup.respond_json(&list(json!([hidden, shown])).to_string());
        assert_eq!(setup.ask(method).await.body, list(json!([shown])), "{method}");
    }
}

#[tokio::test]
async fn an_unreadable_list_is_not_shown() {
    let setup = Setup::start(rules()).await;
    let other_letters = LIST.replace("tools", "Tools");
    let twice = LIST.replace("\"name\":\"open1\"", "\"name\":\"open1\",\"name\":\"closed\"");
    let long = LIST.replace("\"c\"", &format!("\"{}\"", "c".repeat(1_100_000)));
    for (fields, body) in [
        ("content-encoding: gzip\r\n", LIST),
        ("content-type: application/json\r\n", "tools: closed"),
        ("content-type: application/json\r\n", &other_letters),
        ("content-type: application/json\r\n", &twice),
        ("content-type: application/json\r\n", &format!("[{LIST}]")),
        ("content-type: application/json, text/event-stream\r\n", LIST),
    ] {
        setup.respond(fields, body.as_bytes());
        let response = setup.ask("tools/list").await;
        assert_eq!((response.status, &response.body["reason"]), (502, &json!("mcp_list_invalid")));
        assert!(!response.text.contains("closed"), "{response:?}");
    }
    setup.respond(&format!("content-length: {}\r\n", long.len()), long.as_bytes());
    assert_eq!(setup.ask("tools/list").await.status, 502);
    // Without a length, Envoy's own limit may be reached first.
    setup.respond_json(&long);
    let response = setup.ask("tools/list").await;
    assert!([500, 502].contains(&response.status), "{}", response.status);
    assert!(!response.text.contains("closed"));
    // An error response carries no list.
    setup.server.respond_with(&[
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\nno list",
    ]);
    assert_eq!(setup.ask("tools/list").await.text, "no list");
}

#[tokio::test]
async fn events_are_filtered_one_by_one() {
    let setup = Setup::start(rules()).await;
    let broken = LIST.replace("tools", "Tools");
    let before = ": hello\r\n\r\nid: 1\r\ndata:\r\n\r\n";
    setup.respond_events(&format!(
        "{before}event: message\r\nid: 2\r\ndata: {LIST}\r\n\r\ndata: {broken}\r\n\r\n"
    ));
    let text = setup.ask("tools/list").await.text;
    let list = format!("{before}event: message\r\nid: 2\r\ndata: {SHOWN}\r\n\r\n");
    let error = text.strip_prefix(&list).unwrap_or_else(|| panic!("{text}"));
    let error: Value = serde_json::from_str(error.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["id"], 1);
    assert_eq!(error["error"]["data"]["reason"], "mcp_list_invalid");
    // A client waits for the `id` of its request, also where that of the event cannot be read.
    setup.respond_events(&format!("data: [{LIST}]\n\n"));
    let text = setup.ask("tools/list").await.text;
    let error: Value = serde_json::from_str(text.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(
        (&error["id"], &error["error"]["data"]["reason"]),
        (&json!(1), &json!("mcp_list_invalid"))
    );
}

#[tokio::test]
async fn messages_other_than_lists_arrive_unchanged() {
    let setup = Setup::start(rules()).await;
    let result = r#" {"id" : 1, "result": {"tools": [{"name": "closed"}] , "a": 1.00} } "#;
    setup.respond_json(result);
    assert_eq!(setup.call("open1").await.text, result);
    let events = ": ping\n\nid: 7\nretry: 5\ndata: no JSON\ndata: at all\n\ndata: {\"id\": 1}\n\n";
    setup.respond_events(events);
    assert_eq!(setup.call("open1").await.text, events);
    // However long, if it is known to be the response to the call.
    let long = format!(r#"{{"id":1,"result":{{"content":"{}"}}}}"#, "a".repeat(3_000_000));
    setup.respond_json(&long);
    assert!(setup.call("open1").await.text == long);
    setup.respond_events(&format!("data: {long}\n\ndata: 1\n\n"));
    assert!(setup.call("open1").await.text == format!("data: {long}\n\ndata: 1\n\n"));
}

#[tokio::test]
async fn an_event_arrives_before_the_next_one_is_sent() {
    let setup = Setup::start(rules()).await;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
    let event = format!("data: {LIST}\n\n");
    setup.server.respond_with(&[
        &[head, &event].concat().into_bytes(),
        b"data: the ne",
        b"xt one\n\n",
    ]);
    let body =
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "open1"}});
    let request = setup.stack.request().bearer_auth(setup.stack.token()).json(&body);
    let mut response = request.send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert_eq!(first, format!("data: {SHOWN}\n\n"));
    setup.server.go_on();
    setup.server.go_on();
    let mut rest = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        rest.extend(chunk);
        setup.server.go_on();
    }
    assert_eq!(rest, b"data: the next one\n\n");
}

#[tokio::test]
async fn a_stream_opened_by_a_get_is_filtered_by_form() {
    let setup = Setup::start(rules()).await;
    setup.respond_events(&format!("data: {LIST}\n\n"));
    let token = setup.stack.token();
    let get = setup.stack.client().get(setup.stack.url()).bearer_auth(token);
    assert_eq!(setup.stack.send(get).await.text, format!("data: {SHOWN}\n\n"));
}

#[tokio::test]
async fn only_responses_that_may_be_lists_are_requested_uncompressed() {
    let setup = Setup::start(rules()).await;
    setup.respond_json(LIST);
    for (method, params, is_kept) in [
        ("tools/list", json!({}), false),
        ("resources/templates/list", json!({}), false),
        ("tools/call", json!({"name": "open1"}), true),
        ("ping", json!({}), true),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = setup.stack.request().bearer_auth(setup.stack.token()).json(&body);
        setup.stack.send(request.header("accept-encoding", "gzip")).await;
        let requests = setup.server.take_requests();
        let is_there = !requests.last().unwrap().header("accept-encoding").is_empty();
        assert_eq!(is_there, is_kept, "{method}");
    }
}

#[tokio::test]
async fn items_that_lack_only_scopes_are_shown_on_demand() {
    let mut access = rules();
    access["mcp"] = json!({"show_if_scopes_missing": true});
    let setup = Setup::start(access).await;
    setup.respond_json(LIST);
    let expected = SHOWN.replace(r#"{"name":"open1"}"#, r#"{"name":"open1"},{"name":"write"}"#);
    assert_eq!(setup.ask("tools/list").await.text, expected);
}

#[tokio::test]
async fn lists_are_not_read_where_no_rule_names_items() {
    let by_method = json!({"default": "allow", "rules": [
        {"name": "all", "match": {"mcp_methods": ["tools/call"]}, "require": {"roles": ["admin"]}},
    ]});
    let mut switched_off = rules();
    switched_off["mcp"] = json!({"filter_lists": false});
    let mut elsewhere = rules();
    for rule in elsewhere["rules"].as_array_mut().unwrap() {
        rule["match"]["paths"] = json!(["/other"]);
    }
    let broken = LIST.replace("\"tools\"", "\"tools\" ,").replace("open1", "closed");
    for access in [by_method, switched_off, elsewhere] {
        let setup = Setup::start(access).await;
        setup.respond_json(&broken);
        assert_eq!(setup.ask("tools/list").await.text, broken);
    }
}

#[tokio::test]
async fn report_mode_shows_everything_and_logs_what_would_be_hidden() {
    let setup = Setup::start_with(|configuration| {
        configuration["access"] = rules();
        configuration["mode"] = json!("report");
    })
    .await;
    setup.respond_json(LIST);
    assert_eq!(setup.ask("tools/list").await.text, LIST);
    setup.respond_events(&format!("data: {LIST}\n\n"));
    assert_eq!(setup.ask("tools/list").await.text, format!("data: {LIST}\n\n"));
    let log = setup.stack.envoy.log_of_all();
    let line = format!("report mode: 2 items in a list from {} would", setup.stack.url());
    assert_eq!(log.matches(&line).count(), 2, "{log}");
}

#[tokio::test]
async fn a_refused_list_is_logged_and_counted() {
    let setup = Setup::start(rules()).await;
    setup.respond_json("tools: dismantle");
    assert_eq!(setup.ask("tools/list").await.status, 502);
    let log = setup.stack.envoy.log_of_all();
    assert!(log.contains("mcp_list_invalid"), "{log}");
    assert!(!log.contains("dismantle"), "{log}");
    let stats = setup.stack.envoy.stats_of_all().await;
    let counted = |(name, value): &(String, u64)| name.contains("mcp_list_invalid") && *value > 0;
    assert!(stats.iter().any(counted), "{stats:?}");
}

/// The head of such a response cannot be held back, so its status stays.
#[tokio::test]
async fn without_the_option_lists_are_filtered_and_no_response_hangs() {
    let configure = |configuration: &mut Value| configuration["access"] = rules();
    let setup = Setup::start_in(configure, without_held_heads).await;
    setup.respond_json(LIST);
    assert_eq!(setup.ask("tools/list").await.text, SHOWN);
    setup.respond_events(&format!("data: {LIST}\n\n"));
    assert_eq!(setup.ask("tools/list").await.text, format!("data: {SHOWN}\n\n"));
    let length = LIST.len();
    setup.respond(&format!("content-length: {length}\r\n"), LIST.as_bytes());
    assert_eq!(setup.ask("tools/list").await.text, SHOWN);
    setup.respond_json("tools: dismantle");
    let response = setup.ask("tools/list").await;
    let reason = &response.body["error"]["data"]["reason"];
    assert_eq!((response.status, reason), (200, &json!("mcp_list_invalid")), "{response:?}");
    setup.respond("content-encoding: gzip\r\n", LIST.as_bytes());
    assert_eq!(setup.ask("tools/list").await.status, 502);
}

const REVISION: &str = "2026-07-28";

/// No body of a request shows that heads can be held back; the first list does.
#[tokio::test]
async fn a_list_that_cannot_be_read_is_a_502_where_messages_are_read_in_header_fields() {
    let setup = Setup::start(by_headers()).await;
    let long = LIST.replace("\"c\"", &format!("\"{}\"", "c".repeat(100_000)));
    for unreadable in ["tools: dismantle", &LIST.replace("tools", "Tools"), &long] {
        setup.respond_json(unreadable);
        let response = setup.ask_by_headers("tools/list").await;
        let reason = &response.body["reason"];
        assert_eq!((response.status, reason), (502, &json!("mcp_list_invalid")), "{response:?}");
    }
    setup.respond_json(LIST);
    assert_eq!(setup.ask_by_headers("tools/list").await.text, SHOWN);
}

#[tokio::test]
async fn without_the_option_no_list_is_held_back_for_long_where_messages_are_read_in_header_fields()
{
    let configure = |configuration: &mut Value| configuration["access"] = by_headers();
    let setup = Setup::start_in(configure, without_held_heads).await;
    let length = LIST.len();
    for _ in 0..5 {
        setup.respond(&format!("content-length: {length}\r\n"), LIST.as_bytes());
        assert_eq!(setup.ask_by_headers("tools/list").await.text, SHOWN);
        setup.respond_json("tools: dismantle");
        let response = setup.ask_by_headers("tools/list").await;
        let reason = &response.body["error"]["data"]["reason"];
        assert_eq!((response.status, reason), (200, &json!("mcp_list_invalid")), "{response:?}");
    }
}

fn by_headers() -> Value {
    let mut access = rules();
    access["mcp"] = json!({
        "inspect": "headers", "upstream_validates_headers": true,
        "protocol_versions": [REVISION], "max_body": "64KiB",
    });
    access
}

/// With HTTP+SSE of 2024-11-05, messages are sent to one path and lists arrive on another. The
/// rules for the second path filter them.
#[tokio::test]
async fn over_http_and_sse_a_list_is_filtered_by_the_rules_for_the_streams_path() {
    for (paths, expected) in [(&["/messages", "/sse"][..], SHOWN), (&["/messages"], LIST)] {
        let mut access = rules();
        for rule in access["rules"].as_array_mut().unwrap() {
            rule["match"]["paths"] = json!(paths);
        }
        let setup = Setup::start(access).await;
        setup.respond_events(&format!("event: message\ndata: {LIST}\n\n"));
        let get = setup.stack.client().get(setup.stack.envoy.url("/sse"));
        let response = setup.stack.send(get.bearer_auth(setup.stack.token())).await;
        assert_eq!(response.text, format!("event: message\ndata: {expected}\n\n"), "{paths:?}");
        // The call itself is refused in any case.
        let params = json!({"name": "closed"});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let post = setup.stack.client().post(setup.stack.envoy.url("/messages"));
        let response = setup.stack.send(post.bearer_auth(setup.stack.token()).json(&call)).await;
        assert_eq!(response.status, 403, "{paths:?}");
    }
}
