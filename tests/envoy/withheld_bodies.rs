//! Requests whose bodies are withheld, late or absent: nothing of them reaches the MCP server
//! before a rule has allowed it, and none of them hangs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{
    Algorithm, Document, Fault, IdentityProvider, McpServer, OpenRequest, ScimDirectory,
    SigningKey, Stack, StackBuilder, code_blocks, raw_exchange, raw_http2_exchange,
    repository_root, yaml,
};

use crate::support::{
    SOON, assert_refusal, assert_vm_lives, await_active_requests, close_at_once, parsed, with,
    with_directory, without_held_heads,
};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const ADD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2}}}"#;

fn stack(access: Value) -> StackBuilder {
    Stack::builder().configure(|configuration| configuration["access"] = access).edit(close_at_once)
}

/// Everybody may ping; everything else needs a role or a scope.
fn ping_rules() -> Value {
    json!({"rules": [
        {"match": {"mcp_methods": ["ping"]}},
        {"match": {"mcp_methods": ["tools/*"]}, "require": {"scopes": ["tools"]}},
        {"match": {"methods": ["GET", "DELETE"]}, "require": {"roles": ["admin"]}},
    ]})
}

/// Nothing may be called without the scope.
fn scope_rules() -> Value {
    json!({"rules": [
        {"match": {"mcp_methods": ["*"]}, "require": {"scopes": ["tools"]}},
        {"match": {"methods": ["GET", "DELETE"]}, "require": {"roles": ["admin"]}},
    ]})
}

fn head(method: &str, token: &str, fields: &str) -> String {
    format!(
        "{method} /mcp HTTP/1.1\r\nhost: mcp.example.com\r\nauthorization: Bearer {token}\r\n\
         accept: application/json, text/event-stream\r\nconnection: close\r\n{fields}\r\n"
    )
}

const CHUNKED: &str = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";

/// Sends only the head of a request.
async fn withhold(stack: &Stack, method: &str, token: &str) -> OpenRequest {
    let head = head(method, token, CHUNKED);
    let request = OpenRequest::open(stack.envoy.address(), head.as_bytes()).await;
    await_active_requests(stack, 1).await;
    request
}

/// Sends a whole request over its own connection, and returns the status.
async fn post(stack: &Stack, token: &str, body: &str) -> u16 {
    let fields = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let request = format!("{}{body}", head("POST", token, &fields));
    raw_exchange(stack.envoy.address(), request.as_bytes()).await.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_no_message_could_make_acceptable_is_refused() {
    for has_option in [true, false] {
        let stack = stack(scope_rules()).edit(move |bootstrap| {
            if !has_option {
                without_held_heads(bootstrap);
            }
        });
        let stack = stack.start().await;
        for (method, reason) in [
            ("GET", "access_denied"),
            ("DELETE", "access_denied"),
            ("PUT", "access_denied"),
            ("POST", "insufficient_scope"),
        ] {
            let head = head(method, &stack.token(), CHUNKED);
            // No byte of the body is ever sent.
            let response = raw_exchange(stack.envoy.address(), head.as_bytes()).await;
            assert_refusal(&parsed(&response), reason);
        }
        assert_eq!(stack.server.count(), 0);
        let token = stack.provider.token(&with(&stack.claims(), "scope", "tools"));
        assert_eq!(post(&stack, &token, ADD).await, 200, "{has_option}");
        assert_eq!(stack.server.tool_runs(), ["add"]);
    }
}

/// MCP messages are in POSTs only, so a rule about messages must not admit other methods.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_the_body_of_another_method_admits_no_request() {
    for inspect in ["body", "headers"] {
        let mut access = ping_rules();
        access["mcp"] = json!({"inspect": inspect, "upstream_validates_headers": true});
        let stack = stack(access).start().await;
        let admin = stack.provider.token(&with(&stack.claims(), "roles", json!(["admin"])));
        for method in ["GET", "DELETE"] {
            for (token, passes) in [(stack.token(), false), (admin.clone(), true)] {
                stack.server.clear();
                let fields = format!(
                    "content-type: application/json\r\ncontent-length: {}\r\n\
                     mcp-protocol-version: 2026-07-28\r\nmcp-method: ping\r\n",
                    PING.len()
                );
                let request = format!("{}{PING}", head(method, &token, &fields));
                let response = raw_exchange(stack.envoy.address(), request.as_bytes()).await;
                assert_eq!(stack.server.count(), usize::from(passes), "{method} {inspect}");
                if !passes {
                    assert_refusal(&parsed(&response), "access_denied");
                }
            }
        }
    }
}

/// A client that may only ping must not get a response to a head by withholding its message.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_whose_body_is_withheld_does_not_reach_the_server() {
    let stack = stack(ping_rules()).alone().start().await;
    let (user, caller) =
        (stack.token(), stack.provider.token(&with(&stack.claims(), "scope", "tools")));
    // The first request, when it is not known yet whether Envoy delivers bodies, and a later one.
    for _ in 0..2 {
        let mut refused = withhold(&stack, "POST", &user).await;
        assert_eq!(post(&stack, &caller, ADD).await, 200);
        // What was sent later has already had its response.
        assert_eq!(stack.server.count(), 1);
        refused.send_chunk(&ADD.as_bytes()[..20]).await;
        refused.send_chunk(&ADD.as_bytes()[20..]).await;
        refused.send_chunk(b"").await;
        assert_refusal(&parsed(&refused.response().await), "insufficient_scope");
        assert_eq!(stack.server.count(), 1);
        let mut allowed = withhold(&stack, "POST", &user).await;
        allowed.send_chunk(PING.as_bytes()).await;
        allowed.send_chunk(b"").await;
        assert_eq!(allowed.response().await.status(), 200);
        assert_eq!(stack.server.count(), 2);
        assert_eq!(stack.server.requests()[1].body, PING);
        assert_eq!(stack.server.requests()[1].identity()["x-mcp-user"], "ada@example.com");
        stack.server.clear();
    }
    assert!(!stack.envoy.log().contains("does not deliver"), "{}", stack.envoy.log());
    assert_vm_lives(&stack).await;
}

/// Istio and Envoy Gateway have no field for the option.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_no_request_hangs_and_no_refused_message_reaches_the_server() {
    let stack = stack(ping_rules()).edit(without_held_heads).alone().start().await;
    let user = stack.token();
    for _ in 0..2 {
        for (body, status) in [(PING, 200), (ADD, 403)] {
            assert_eq!(post(&stack, &user, body).await, status);
            let mut late = withhold(&stack, "POST", &user).await;
            late.send_chunk(&body.as_bytes()[..20]).await;
            late.send_chunk(&body.as_bytes()[20..]).await;
            late.send_chunk(b"").await;
            assert_eq!(late.response().await.status(), status);
        }
    }
    assert_eq!(stack.server.tool_runs(), [""; 0]);
    assert!(stack.server.requests().iter().all(|request| request.body != ADD));
    let log = stack.envoy.log();
    assert_eq!(log.matches("does not deliver a request body").count(), 1, "{log}");
    assert!(log.contains(": set allow_on_headers_stop_iteration, or see docs/"), "{log}");
    assert_vm_lives(&stack).await;
}

/// A filter that delays the head lets the body arrive before the plugin sees the head.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_a_slow_filter_before_the_plugin_is_safe() {
    const FAULT: &str = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";
    let delay = json!({"fixed_delay": "0.1s", "percentage": {"numerator": 100}});
    let filter = json!({
        "name": "envoy.filters.http.fault", "typed_config": {"@type": FAULT, "delay": delay},
    });
    let stack = stack(ping_rules())
        .edit(without_held_heads)
        .edit(move |bootstrap| bootstrap.http_filters().insert(0, filter))
        .start()
        .await;
    for (body, status) in [(PING, 200), (ADD, 403), (PING, 200)] {
        assert_eq!(post(&stack, &stack.token(), body).await, status);
    }
    assert_eq!(stack.server.tool_runs(), [""; 0]);
}

/// The server gets exactly what was judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_trailers_arrives_whole_whenever_its_head_is_forwarded() {
    for has_option in [false, true] {
        let stack = stack(ping_rules())
            .edit(move |bootstrap| {
                let manager = bootstrap.connection_manager();
                manager["http_protocol_options"] = json!({"enable_trailers": true});
                if !has_option {
                    without_held_heads(bootstrap);
                }
            })
            .start()
            .await;
        for (body, status) in [(PING, 200), (ADD, 403), (PING, 200)] {
            stack.server.clear();
            let length = body.len();
            let request = head("POST", &stack.token(), CHUNKED)
                + &format!("{length:x}\r\n{body}\r\n0\r\nx-last: 1\r\n\r\n");
            let response = raw_exchange(stack.envoy.address(), request.as_bytes()).await;
            assert_eq!(response.status(), status, "{}", response.body());
            let requests = stack.server.requests();
            let bodies: Vec<_> = requests.iter().map(|request| &request.body).collect();
            if status == 200 {
                assert_eq!(bodies, [body], "{has_option}");
            } else {
                assert!(
                    bodies.iter().all(|candidate| *candidate != body),
                    "{has_option}: {bodies:?}"
                );
            }
        }
        assert_vm_lives(&stack).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_the_buffer_filter_of_the_docs_holds_heads_back() {
    let page = std::fs::read_to_string(repository_root().join("docs/access.md")).unwrap();
    let blocks = code_blocks(&page, "yaml");
    let filters =
        blocks.iter().map(|block| yaml(block)).find(|block| block.get("http_filters").is_some());
    let filter = filters.expect("the page has the filter")["http_filters"][0].clone();
    let stack = stack(ping_rules())
        .edit(without_held_heads)
        .edit(move |bootstrap| bootstrap.http_filters().insert(1, filter))
        .start()
        .await;
    let (user, caller) =
        (stack.token(), stack.provider.token(&with(&stack.claims(), "scope", "tools")));
    // From now on the plugin forwards heads first.
    assert_eq!(post(&stack, &caller, ADD).await, 200);
    let mut withheld = withhold(&stack, "POST", &user).await;
    assert_eq!(post(&stack, &caller, ADD).await, 200);
    assert_eq!(stack.server.count(), 2);
    withheld.send_chunk(ADD.as_bytes()).await;
    withheld.send_chunk(b"").await;
    assert_refusal(&parsed(&withheld.response().await), "insufficient_scope");
    assert_eq!(stack.server.count(), 2);
    assert_eq!(post(&stack, &user, PING).await, 200);
}

/// Reactor Netty and Vert.x send a chunked DELETE without chunks.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_content_is_judged_by_the_rules_for_it() {
    for has_option in [true, false] {
        let mut access = ping_rules();
        access["rules"].as_array_mut().unwrap().push(json!({"match": {"methods": ["POST"]}}));
        let stack = stack(access).edit(move |bootstrap| {
            if !has_option {
                without_held_heads(bootstrap);
            }
        });
        let stack = stack.start().await;
        let admin = stack.provider.token(&with(&stack.claims(), "roles", json!(["admin"])));
        let mut count = 0;
        for method in ["DELETE", "GET", "POST"] {
            // Without a content type, since there is no content.
            let request = head(method, &admin, "transfer-encoding: chunked\r\n") + "0\r\n\r\n";
            let response = raw_exchange(stack.envoy.address(), request.as_bytes()).await;
            count += 1;
            assert_eq!(stack.server.count(), count, "{method}: {}", response.body());
            let refused = head(method, &stack.token(), "transfer-encoding: chunked\r\n");
            let response = raw_exchange(
                stack.envoy.address(),
                format!("{refused}1\r\n{{\r\n0\r\n\r\n").as_bytes(),
            )
            .await;
            let reason = if method == "POST" { "mcp_body_invalid" } else { "access_denied" };
            assert_refusal(&parsed(&response), reason);
            // Without the option, the head of a POST that may be empty is forwarded first.
            count = stack.server.count();
        }
    }
}

/// Some HTTP/2 clients end a request without content with an empty DATA frame.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_an_empty_frame_ends_has_no_content() {
    let stack = stack(ping_rules()).start().await;
    let admin = stack.provider.token(&with(&stack.claims(), "roles", json!(["admin"])));
    for method in ["GET", "DELETE"] {
        for (token, passes) in [(&admin, true), (&stack.token(), false)] {
            stack.server.clear();
            let request = [method, "/mcp", &format!("Bearer {token}")];
            raw_http2_exchange(stack.envoy.address(), request, b"", &[]).await;
            assert_eq!(stack.server.count(), usize::from(passes), "{method}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_handshake_is_judged_by_its_head() {
    let mut access = ping_rules();
    access["rules"][2] = json!({"match": {"methods": ["GET"]}, "require": {"scopes": ["tools"]}});
    let stack = stack(access)
        .edit(|bootstrap| {
            bootstrap.connection_manager()["upgrade_configs"] =
                json!([{"upgrade_type": "websocket"}]);
        })
        .start()
        .await;
    let handshake = |token: &str| {
        head("GET", token, "").replace("connection: close", "connection: upgrade, close")
            .replace("accept:", "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\naccept:")
    };
    let response = raw_exchange(stack.envoy.address(), handshake(&stack.token()).as_bytes()).await;
    assert_refusal(&parsed(&response), "insufficient_scope");
    assert_eq!(stack.server.count(), 0);
    let token = stack.provider.token(&with(&stack.claims(), "scope", "tools"));
    raw_exchange(stack.envoy.address(), handshake(&token).as_bytes()).await;
    // How the server handles it is not tested here.
    assert_eq!(stack.server.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_token_is_refused_at_the_head() {
    for has_option in [true, false] {
        let stack = stack(ping_rules())
            .configure(|configuration| configuration["providers"][0]["jti"] = json!("single_use"))
            .edit(move |bootstrap| {
                if !has_option {
                    without_held_heads(bootstrap);
                }
            })
            .start()
            .await;
        let token = stack.token();
        assert_eq!(post(&stack, &token, PING).await, 200);
        let count = stack.server.count();
        for _ in 0..2 {
            let head = head("POST", &token, CHUNKED);
            let response = raw_exchange(stack.envoy.address(), head.as_bytes()).await;
            assert_refusal(&parsed(&response), "jti_replayed");
        }
        assert_eq!(stack.server.count(), count);
        assert_eq!(post(&stack, &stack.token(), PING).await, 200);
    }
}

/// The provider hangs while the body arrives, which waits together with its request.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_arrives_while_its_request_waits_for_keys_waits_too() {
    for access in [json!({}), ping_rules()] {
        for has_option in [true, false] {
            let provider = IdentityProvider::start().await;
            provider.fail(Document::Discovery, Fault::Hang);
            let stack = stack(access.clone())
                .provider(provider)
                .edit(move |bootstrap| {
                    if !has_option {
                        without_held_heads(bootstrap);
                    }
                })
                .start()
                .await;
            let forged = SigningKey::generate(Algorithm::Es256, "forged").token(&stack.claims());
            let open = async |token: &str| {
                let fields =
                    format!("content-type: application/json\r\ncontent-length: {}\r\n", PING.len());
                let request = format!("{}{PING}", head("POST", token, &fields));
                OpenRequest::open(stack.envoy.address(), request.as_bytes()).await
            };
            let waiting = [open(&stack.token()).await, open(&forged).await];
            await_active_requests(&stack, 2).await;
            stack.provider.heal(Document::Discovery);
            let [good, forged] = waiting;
            assert_eq!(good.response().await.status(), 200, "{access} {has_option}");
            assert_refusal(&parsed(&forged.response().await), "unknown_kid");
            assert_eq!(stack.server.count(), 1);
            assert_eq!(stack.server.requests()[0].body, PING);
            assert_vm_lives(&stack).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_passes_if_its_key_is_withdrawn_while_the_body_arrives() {
    let stack = stack(ping_rules())
        .configure(|configuration| {
            configuration["keys"] = json!({"refresh_cooldown": "1s"});
        })
        .start()
        .await;
    let old = stack.token();
    assert_eq!(post(&stack, &old, PING).await, 200);
    let mut withdrawn = withhold(&stack, "POST", &old).await;
    let new = SigningKey::generate(Algorithm::Es256, "new");
    stack.provider.set_keys([new.clone()]);
    let token = new.token(&stack.claims());
    // The token with the new key causes a fetch.
    let deadline = Instant::now() + SOON;
    while post(&stack, &token, PING).await != 200 {
        assert!(Instant::now() < deadline, "the new key was never fetched");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut stays = withhold_another(&stack, &token).await;
    for request in [&mut withdrawn, &mut stays] {
        request.send_chunk(PING.as_bytes()).await;
        request.send_chunk(b"").await;
    }
    assert_refusal(&parsed(&withdrawn.response().await), "unknown_kid");
    assert_eq!(stays.response().await.status(), 200);
}

/// The same while another request is active.
async fn withhold_another(stack: &Stack, token: &str) -> OpenRequest {
    let head = head("POST", token, CHUNKED);
    let request = OpenRequest::open(stack.envoy.address(), head.as_bytes()).await;
    await_active_requests(stack, 2).await;
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_deactivated_while_the_body_arrives_does_not_pass() {
    let directory = ScimDirectory::start().await;
    let user = directory.add_user(json!({"userName": "ada@example.com"})).await;
    let users = json!({"scim": {"cache_ttl": "1s"}});
    let stack = with_directory(stack(ping_rules()), &directory, users).start().await;
    let token = stack.token();
    assert_eq!(post(&stack, &token, PING).await, 200);
    let mut stays = withhold(&stack, "POST", &token).await;
    stays.send_chunk(PING.as_bytes()).await;
    stays.send_chunk(b"").await;
    assert_eq!(stays.response().await.status(), 200);
    let mut refused = withhold(&stack, "POST", &token).await;
    directory.set(&user, "active", json!(false)).await;
    // Other requests see it as soon as `cache_ttl` has passed.
    let deadline = Instant::now() + SOON;
    while post(&stack, &token, PING).await != 403 {
        assert!(Instant::now() < deadline, "the user is still active");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let count = stack.server.count();
    refused.send_chunk(PING.as_bytes()).await;
    refused.send_chunk(b"").await;
    assert_refusal(&parsed(&refused.response().await), "user_inactive");
    assert_eq!(stack.server.count(), count);
}

/// A DELETE with a withheld body once ended another user's session.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_ended_by_a_delete_without_its_body() {
    let access = json!({"rules": [
        {"match": {"mcp_methods": ["*"]}, "require": {"scopes": ["tools"]}},
        {"match": {"methods": ["GET", "DELETE"]}, "require": {"scopes": ["tools"]}},
        {"match": {"methods": ["POST"]}, "require": {"scopes": ["tools"]}},
    ]});
    let server = McpServer::start_with_sessions().await;
    let stack = stack(access).server(server).start().await;
    let token = stack.provider.token(&with(&stack.claims(), "scope", "tools"));
    let session = stack.session(&token).await.unwrap();
    session.whoami().await.unwrap();
    let requests = stack.server.requests();
    let id = requests.iter().find_map(|request| {
        let values = request.header("mcp-session-id");
        values.first().map(|value| String::from_utf8_lossy(value).into_owned())
    });
    let fields = format!("mcp-session-id: {}\r\n{CHUNKED}", id.expect("a session has an id"));
    let head = head("DELETE", &stack.token(), &fields);
    let response = raw_exchange(stack.envoy.address(), head.as_bytes()).await;
    assert_refusal(&parsed(&response), "insufficient_scope");
    session.whoami().await.unwrap();
    session.close().await;
}
