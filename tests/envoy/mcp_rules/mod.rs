//! Access rules on what MCP messages call, in front of a real server of both revisions.

mod attacks;

use serde_json::{Value, json};
use testbed::{McpServer, RawResponse, Stack, StackBuilder, raw_exchange};

use crate::support::{
    SOON, assert_none, assert_refusal, assert_vm_lives, await_request, close_at_once,
    faults_of_refusal, named, parsed, with,
};

/// Rules by which `add` needs a role and everything else is allowed, or only what is named.
fn policies() -> [Value; 2] {
    let add = json!({
        "name": "adders",
        "match": {"mcp_methods": ["tools/call"], "mcp_names": ["add"]},
        "require": {"roles": ["adder"]},
    });
    let named = json!([
        {"match": {"mcp_methods": ["tools/call"], "mcp_names": ["who*"]}},
        {"match": {"mcp_methods": ["initialize", "tools/list", "notifications/*"]}},
        {"match": {"mcp_methods": ["tools/call"]}, "require": {"roles": ["adder"]}},
    ]);
    [json!({"default": "allow", "rules": [add]}), json!({"default": "deny", "rules": named})]
}

fn stack(access: Value) -> StackBuilder {
    let builder = Stack::builder().configure(move |configuration| {
        configuration["access"] = access;
        configuration["errors"] = json!({"details": "full"});
    });
    builder.edit(close_at_once)
}

/// A request as bytes.
struct Wire {
    name: &'static str,
    method: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Wire {
    fn new(name: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            name,
            method: "POST",
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("accept", "application/json, text/event-stream".to_owned()),
            ],
            body: body.into(),
        }
    }

    /// Sets a header field, or replaces its values.
    fn with(mut self, header: &'static str, value: &str) -> Self {
        self.headers.retain(|(candidate, _)| *candidate != header || candidate.starts_with("mcp-"));
        self.headers.push((header, value.to_owned()));
        self
    }

    /// Sets the header fields in which the client says what it calls.
    fn announcing(self, version: &str, method: &str, name: &str) -> Self {
        self.with("mcp-protocol-version", version).with("mcp-method", method).with("mcp-name", name)
    }

    fn by(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn head(&self, token: &str) -> String {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "{} /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nauthorization: Bearer {token}\r\n{headers}\
             connection: close\r\n",
            self.method,
        )
    }

    /// The whole request with its body in one piece.
    fn bytes(&self, token: &str) -> Vec<u8> {
        let length = format!("content-length: {}\r\n\r\n", self.body.len());
        [self.head(token).as_bytes(), length.as_bytes(), &self.body].concat()
    }

    async fn send(&self, stack: &Stack, token: &str) -> RawResponse {
        raw_exchange(stack.envoy.address(), &self.bytes(token)).await
    }
}

/// A tool call by a client of the older revisions.
fn old_call(tool: &str) -> String {
    call(tool, &json!({}))
}

/// The same call by a client of 2026-07-28.
fn new_call(tool: &str) -> String {
    const PREFIX: &str = "io.modelcontextprotocol";
    call(
        tool,
        &json!({
            format!("{PREFIX}/protocolVersion"): "2026-07-28",
            format!("{PREFIX}/clientInfo"): {"name": "test", "version": "1"},
            format!("{PREFIX}/clientCapabilities"): {},
        }),
    )
}

fn call(tool: &str, meta: &Value) -> String {
    let params = json!({"name": tool, "arguments": {"a": 1, "b": 2}, "_meta": meta});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
}

// Requirement: sentinel-decoding
#[tokio::test(flavor = "multi_thread")]
async fn allowed_tools_run_for_clients_of_both_revisions() {
    for policy in policies() {
        let stack = stack(policy).start().await;
        let adder = stack.provider.token(&with(&stack.claims(), "roles", json!(["adder"])));
        let anybody = stack.token();
        for (token, tool) in [(&anybody, "whoami"), (&adder, "whoami"), (&adder, "add")] {
            let encoded = if tool == "add" { "=?base64?YWRk?=" } else { "=?base64?d2hvYW1p?=" };
            let (old, new) = (old_call(tool), new_call(tool));
            for wire in [
                Wire::new("old", old.clone()),
                Wire::new("old, spaced", format!(" \n{old}\r\n")),
                Wire::new("old, with a version", old.clone())
                    .with("mcp-protocol-version", "2025-11-25"),
                Wire::new("old, with a charset", old)
                    .with("content-type", "application/json; charset=UTF-8"),
                Wire::new("new", new.clone()).announcing("2026-07-28", "tools/call", tool),
                Wire::new("new, encoded", new).announcing("2026-07-28", "tools/call", encoded),
            ] {
                stack.server.clear();
                let response = wire.send(&stack, token).await;
                assert_eq!(response.status(), 200, "{} {tool}: {}", wire.name, response.body());
                assert_eq!(stack.server.tool_runs(), [tool], "{}", wire.name);
                let requests = stack.server.requests();
                assert_eq!(requests[0].identity()["x-mcp-user"], "ada@example.com");
                assert_eq!(requests[0].body, wire.body);
            }
        }
    }
}

// Requirement: header-mismatch-response
#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_wrong() {
    let [policy, _] = policies();
    let stack = stack(policy).alone().start().await;
    let token = stack.token();
    let post = |body: String| Wire::new("", body);
    let response = parsed(&post(old_call("add")).send(&stack, &token).await);
    assert_refusal(&response, "access_denied");
    assert_eq!(
        response.body["details"],
        json!({
            "rule": "adders", "requires": "roles", "mcp_method": "tools/call", "mcp_name": "add",
        })
    );
    let response = parsed(&post("[]".to_owned()).send(&stack, &token).await);
    assert_refusal(&response, "mcp_body_invalid");
    let twice = r#"{"method":"a","id":1,"id":2}"#.to_owned();
    let response = parsed(&post(twice).send(&stack, &token).await);
    assert_refusal(&response, "mcp_body_invalid");
    assert_eq!(response.body["details"], json!({"member": "id"}));
    // The client must see that it was understood, or it would try an older revision.
    let forged = post(new_call("add")).announcing("2026-07-28", "tools/call", "whoami");
    let response = parsed(&forged.send(&stack, &token).await);
    assert_eq!(response.status, 400);
    assert_eq!(response.header("content-type"), "application/json");
    assert!(response.headers.get("www-authenticate").is_none());
    let details = json!({"header": "mcp-name", "found": "whoami", "body": "add"});
    assert_eq!(
        response.body,
        json!({"jsonrpc": "2.0", "id": 1, "error": {
            "code": -32020,
            "message": "the header mcp-name does not match the body",
            "data": {"reason": "mcp_header_mismatch", "details": details},
        }})
    );
    let line = "refused: reason=mcp_header_mismatch provider=demo ";
    stack.envoy.await_log(line, SOON).await;
}

// Requirement: standard-headers
// Requirement: header-mismatch-response
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_2026_07_28_requires_must_be_present() {
    let [policy, _] = policies();
    let stack = stack(policy).start().await;
    let token = stack.token();
    let call = || Wire::new("", new_call("whoami")).with("mcp-protocol-version", "2026-07-28");
    for wire in [call(), call().with("mcp-method", "tools/call"), call().with("mcp-name", "whoami")]
    {
        let response = wire.send(&stack, &token).await;
        assert_eq!(response.status(), 400);
        assert!(response.body().contains("-32020"), "{}", response.body());
    }
    assert_eq!(stack.server.count(), 0);
}

/// Only the server knows the tool's schema and so their correct values.
// Requirement: param-forwarded
#[tokio::test(flavor = "multi_thread")]
async fn fields_that_mirror_arguments_are_forwarded_as_they_are() {
    const FIELDS: [(&str, &str); 4] = [
        ("mcp-param-region", "eu-north"),
        ("mcp-param-a", "=?base64?no base64?="),
        ("mcp-param-b", "3"),
        ("mcp-param-none", ""),
    ];
    for inspect in ["body", "headers"] {
        let [mut policy, _] = policies();
        policy["mcp"] = json!({"inspect": inspect, "upstream_validates_headers": true});
        let stack = stack(policy).start().await;
        let wire = Wire::new("", new_call("whoami"));
        let wire = wire.announcing("2026-07-28", "tools/call", "whoami");
        let wire = FIELDS.iter().fold(wire, |wire, (name, value)| wire.with(name, value));
        wire.send(&stack, &stack.token()).await;
        let requests = stack.server.requests();
        assert_eq!(requests.len(), 1, "{inspect}");
        for (name, value) in FIELDS {
            assert_eq!(requests[0].header(name), [value.as_bytes()], "{inspect}: {name}");
        }
    }
}

// Requirement: step-up-challenge
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_on_messages_requests_missing_scopes_like_any_other_rule() {
    let access = json!({"default": "allow", "rules": [{
        "name": "add",
        "match": {"mcp_methods": ["tools/call"], "mcp_names": ["add"]},
        "require": {"scopes": ["tools.add"]},
    }]});
    let stack = stack(access).start().await;
    let response = parsed(&Wire::new("", old_call("add")).send(&stack, &stack.token()).await);
    assert_refusal(&response, "insufficient_scope");
    let challenge = response.header("www-authenticate");
    assert!(challenge.ends_with(", scope=\"tools.add mcp.tools\""), "{challenge}");
    assert_eq!(stack.server.tool_runs(), [""; 0]);
    let token = stack.provider.token(&with(&stack.claims(), "scope", "tools.add"));
    assert_eq!(Wire::new("", old_call("add")).send(&stack, &token).await.status(), 200);
    assert_eq!(stack.server.tool_runs(), ["add"]);
}

// Requirement: access-per-primitive
// Requirement: header-values-verified
#[tokio::test(flavor = "multi_thread")]
async fn resources_are_matched_by_uri_and_prompts_by_name() {
    let access = json!({"default": "deny", "rules": [
        {"match": {"mcp_methods": ["resources/read"], "mcp_names": ["note://open/*"]}},
        {"match": {"mcp_methods": ["prompts/get"], "mcp_names": ["greet"]}},
    ]});
    let stack = stack(access).start().await;
    let token = stack.token();
    for (method, params, passes) in [
        ("resources/read", json!({"uri": "note://open/a%20b"}), true),
        ("resources/read", json!({"uri": "note://open/../secret"}), false),
        ("resources/read", json!({"uri": "note://open/%2e%2e/secret"}), false),
        ("resources/read", json!({"uri": "note://secret", "name": "note://open/a"}), false),
        ("resources/subscribe", json!({"uri": "note://open/a"}), false),
        ("prompts/get", json!({"name": "greet"}), true),
        ("prompts/get", json!({"name": "greet2"}), false),
        ("prompts/get", json!({"name": "x", "uri": "greet"}), false),
        ("tools/call", json!({"name": "greet"}), false),
    ] {
        stack.server.clear();
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let response = Wire::new("", body.to_string()).send(&stack, &token).await;
        assert_eq!(![400, 403].contains(&response.status()), passes, "{body}: {}", response.body());
        assert_eq!(stack.server.count(), usize::from(passes), "{body}");
    }
}

/// Sends the body one byte at a time, with or without trailers.
async fn send_in_chunks(stack: &Stack, wire: &Wire, token: &str, trailers: &str) -> RawResponse {
    let mut bytes = wire.head(token).into_bytes();
    bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
    for byte in &wire.body {
        bytes.extend([b"1\r\n".as_slice(), &[*byte], b"\r\n"].concat());
    }
    bytes.extend(format!("0\r\n{trailers}\r\n").as_bytes());
    raw_exchange(stack.envoy.address(), &bytes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_chunks_is_judged_whole_and_forwarded_byte_for_byte() {
    let [policy, _] = policies();
    let stack = stack(policy)
        .edit(|bootstrap| {
            let manager = bootstrap.connection_manager();
            manager["http_protocol_options"] = json!({"enable_trailers": true});
        })
        .start()
        .await;
    let token = stack.token();
    let odd = "\r\n {\t\"params\" : {\"_meta\":{},\"arguments\":{\"x\":\"\\u00fC\\/\u{1F600}\"},\
               \n\"\\u006eame\":\"who\\u0061mi\"},\"method\":\"tools\\/call\", \"id\":1e0,\
               \"jsonrpc\":\"2.0\" }\n";
    for trailers in ["", "x-last: 1\r\n"] {
        stack.server.clear();
        let wire = Wire::new("odd", odd);
        let response = send_in_chunks(&stack, &wire, &token, trailers).await;
        // How the server handles such an id is not tested here.
        assert_ne!(response.status(), 403, "{}", response.body());
        let requests = stack.server.requests();
        assert_eq!(requests.len(), 1, "{}", response.body());
        assert_eq!(requests[0].body, odd);
        stack.server.clear();
        let call = Wire::new("call", old_call("add"));
        let response = send_in_chunks(&stack, &call, &token, trailers).await;
        assert_eq!(response.status(), 403, "{}", response.body());
        assert_eq!(stack.server.count(), 0);
        // An empty body is no message, so no rule on messages matches.
        let response = send_in_chunks(&stack, &Wire::new("empty", ""), &token, trailers).await;
        assert!(response.status() >= 400, "{}", response.body());
        assert_eq!(stack.server.count(), 1, "{}", response.body());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_it_has_arrived() {
    let [mut policy, _] = policies();
    policy["mcp"] = json!({"max_body": "64KiB"});
    let stack = stack(policy).start().await;
    let token = stack.token();
    let wire = Wire::new("", format!("{}{}", " ".repeat(64 * 1024), old_call("whoami")));
    let announced = format!("{}content-length: 100000\r\n\r\n", wire.head(&token));
    let endless = format!(
        "{}transfer-encoding: chunked\r\n\r\n20000\r\n{}",
        wire.head(&token),
        " ".repeat(80_000),
    );
    for request in [announced, endless] {
        let response = raw_exchange(stack.envoy.address(), request.as_bytes()).await;
        assert_refusal(&parsed(&response), "mcp_body_invalid");
    }
    assert_eq!(stack.server.count(), 0);
    let fits = Wire::new("", format!("{}{}", " ".repeat(60 * 1024), old_call("whoami")));
    assert_eq!(fits.send(&stack, &token).await.status(), 200);
}

/// Envoy holds no more than its own limit for a connection, whatever the plugin's limit is.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_envoy_overrides_that_of_the_plugin() {
    for (limit, status) in [(None, 413), (Some(4 << 20), 200)] {
        let [mut policy, _] = policies();
        policy["mcp"] = json!({"max_body": "4MiB"});
        let stack = stack(policy)
            .edit(move |bootstrap| {
                if let Some(limit) = limit {
                    let listener = &mut bootstrap.tree()["static_resources"]["listeners"][0];
                    listener["per_connection_buffer_limit_bytes"] = json!(limit);
                }
            })
            .start()
            .await;
        let body = format!("{}{}", " ".repeat(2 << 20), old_call("whoami"));
        let response = Wire::new("", body).send(&stack, &stack.token()).await;
        assert_eq!(response.status(), status, "{}", response.body());
        assert_eq!(stack.server.count(), usize::from(status == 200));
    }
}

/// Rules that allow a whole session and refuse everything else.
fn session_rules() -> Value {
    json!({"default": "deny", "rules": [
        {
            "name": "stream and end",
            "match": {"paths": ["/mcp"], "methods": ["GET", "DELETE"]},
        },
        {
            "name": "session",
            "match": {"paths": ["/mcp"], "mcp_methods": [
                "initialize", "notifications/*", "ping", "server/discover", "tools/list",
            ]},
        },
        {
            "name": "whoami",
            "match": {"paths": ["/mcp"], "mcp_methods": ["tools/call"], "mcp_names": ["whoami"]},
        },
        {
            "name": "other tools",
            "match": {"paths": ["/mcp"], "mcp_methods": ["tools/call"]},
            "require": {"roles": ["adder"]},
        },
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_the_official_client_work_under_rules() {
    let server = McpServer::start_with_sessions().await;
    let stack = stack(session_rules()).server(server).start().await;
    let session = stack.session(&stack.token()).await.unwrap();
    // Lists show what the caller may use.
    assert_eq!(session.tools().await.unwrap(), ["whoami"]);
    assert_eq!(session.whoami().await.unwrap()["x-mcp-user"], "ada@example.com");
    let refused = session.call("add", json!({"a": 1, "b": 2})).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(session.whoami().await.unwrap()["x-mcp-user"], "ada@example.com");
    await_request(&stack, "GET").await;
    session.close().await;
    await_request(&stack, "DELETE").await;
    assert_eq!(stack.server.tool_runs(), ["whoami", "whoami"]);
    let is_in_session =
        stack.server.requests().iter().any(|request| !request.header("mcp-session-id").is_empty());
    assert!(is_in_session);
}

// Requirement: header-values-verified
#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_of_2026_07_28_works_under_rules_by_body_and_by_headers() {
    for inspect in ["body", "headers"] {
        let mut access = session_rules();
        access["mcp"] = json!({"inspect": inspect, "upstream_validates_headers": true});
        let stack = stack(access).start().await;
        let adder = stack.provider.token(&with(&stack.claims(), "roles", json!(["adder"])));
        for (token, may_add) in [(stack.token(), false), (adder, true)] {
            stack.server.clear();
            let session = stack.stateless_session(&token).await.unwrap();
            let tools: &[&str] = if may_add { &["add", "whoami"] } else { &["whoami"] };
            assert_eq!(session.tools().await.unwrap(), tools, "{inspect}");
            assert_eq!(session.whoami().await.unwrap()["x-mcp-user"], "ada@example.com");
            let added = session.call("add", json!({"a": 1, "b": 2})).await;
            assert_eq!(added.is_ok(), may_add, "{inspect}: {added:?}");
            session.close().await;
            assert_eq!(stack.server.tool_runs().contains(&"add".to_owned()), may_add, "{inspect}");
            for request in stack.server.requests() {
                let version = request.header("mcp-protocol-version");
                assert_eq!(version, [b"2026-07-28"], "{inspect}: {request:?}");
            }
        }
    }
}

/// With `inspect: headers`, a request is refused unless its headers certainly say what the server
/// will do.
// Requirement: version-header
// Requirement: header-faults-of-intermediaries
// Requirement: header-policy-version
#[tokio::test(flavor = "multi_thread")]
async fn headers_are_trusted_only_under_all_conditions() {
    let mut faults = Vec::new();
    for mut policy in policies() {
        policy["mcp"] = json!({"inspect": "headers", "upstream_validates_headers": true});
        let stack = stack(policy).start().await;
        let token = stack.token();
        let call = || Wire::new("", new_call("add"));
        let cases = [
            ("no header", call(), 400),
            ("no version", call().with("mcp-method", "tools/call").with("mcp-name", "whoami"), 400),
            ("older version", call().announcing("2025-11-25", "tools/call", "whoami"), 400),
            ("later version", call().announcing("2027-01-01", "tools/call", "whoami"), 400),
            (
                "two versions",
                call().with("mcp-protocol-version", "2025-11-25").announcing(
                    "2026-07-28",
                    "tools/call",
                    "whoami",
                ),
                400,
            ),
            (
                "two names",
                call().announcing("2026-07-28", "tools/call", "whoami").with("mcp-name", "add"),
                400,
            ),
            (
                "no name",
                call().with("mcp-protocol-version", "2026-07-28").with("mcp-method", "tools/call"),
                400,
            ),
            ("openly", call().announcing("2026-07-28", "tools/call", "add"), 403),
            ("in base64", call().announcing("2026-07-28", "tools/call", "=?base64?YWRk?="), 403),
        ];
        for (name, wire, status) in cases {
            let response = wire.send(&stack, &token).await;
            if response.status() != status || stack.server.count() != 0 {
                faults.push(format!("{name}: {} {}", response.status(), response.body()));
                stack.server.clear();
            }
        }
        // This is why the server has to compare headers and body: here it refuses a request that
        // the plugin let pass.
        let forged = call().announcing("2026-07-28", "tools/call", "whoami");
        assert_eq!(forged.send(&stack, &token).await.status(), 400);
        assert_eq!((stack.server.count(), stack.server.tool_runs().len()), (1, 0));
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn report_mode_allows_messages_that_would_be_refused() {
    let [policy, _] = policies();
    let stack = stack(policy)
        .configure(|configuration| configuration["mode"] = json!("report"))
        .alone()
        .start()
        .await;
    let response = Wire::new("", old_call("add")).send(&stack, &stack.token()).await;
    assert_eq!(response.status(), 200, "{}", response.body());
    assert_eq!(stack.server.tool_runs(), ["add"]);
    let line = "allowed (report mode), would be refused: reason=access_denied ";
    stack.envoy.await_log(line, SOON).await;
    assert_eq!(stack.server.requests()[0].identity().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_use_token_is_spent_only_by_an_allowed_call() {
    let [policy, _] = policies();
    let stack = stack(policy)
        .configure(|configuration| configuration["providers"][0]["jti"] = json!("single_use"))
        .start()
        .await;
    let token = stack.token();
    for (tool, reason) in [("add", "access_denied"), ("whoami", ""), ("whoami", "jti_replayed")] {
        let response = parsed(&Wire::new("", old_call(tool)).send(&stack, &token).await);
        let faults = match reason {
            "" => vec![],
            reason => named(tool, faults_of_refusal(&response, reason)).collect(),
        };
        assert_none(&faults);
    }
    assert_eq!(stack.server.tool_runs(), ["whoami"]);
}
