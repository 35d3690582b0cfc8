//! Malformed and hostile requests. Each gets a 4xx, and the next valid token passes.

use serde_json::json;
use testbed::{Document, Fault, IdentityProvider, Response, SigningKey, Stack, raw_exchange};

use crate::support::{
    SOON, assert_none, assert_refusal, assert_vm_lives, await_active_requests, base64url,
    close_at_once, faults_of_refusal, named, parsed, signed,
};

async fn start() -> Stack {
    Stack::builder().workers(2).edit(close_at_once).start().await
}

/// Starts with two workers and limits so wide that Envoy itself rejects almost nothing.
async fn start_wide_open() -> Stack {
    Stack::builder()
        .workers(2)
        .configure(|configuration| configuration["max_token_size"] = json!("2MiB"))
        .edit(|bootstrap| {
            let manager = bootstrap.connection_manager();
            manager["max_request_headers_kb"] = json!(8192);
            manager["common_http_protocol_options"]["max_headers_count"] = json!(20_000);
            close_at_once(bootstrap);
        })
        .start()
        .await
}

/// A GET of `/mcp` with these additional header lines.
fn request(lines: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".to_vec();
    for line in lines {
        bytes.extend(*line);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes
}

fn bearer(token: &[u8]) -> Vec<u8> {
    [b"Authorization: Bearer ", token].concat()
}

async fn send_refused(stack: &Stack, request: &[u8]) -> Response {
    let before = stack.server.count();
    let response = parsed(&raw_exchange(stack.envoy.address(), request).await);
    assert_eq!(stack.server.count(), before, "the MCP server was reached: {response:?}");
    response
}

/// Asserts that a valid token passes on each worker, over a connection to each.
async fn assert_good_tokens_pass(stack: &Stack) {
    let before = stack.envoy.connections_per_worker().await;
    let asked = std::time::Instant::now();
    loop {
        assert_eq!(stack.call(&stack.token()).await.status, 200);
        let served = stack.envoy.connections_per_worker().await;
        if served.iter().zip(&before).all(|(now, before)| now > before) {
            return;
        }
        assert!(asked.elapsed() < SOON, "one worker gets no connections: {served:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn invalid_utf_8_gets_a_clear_response() {
    let stack = start().await;
    let good = stack.token();
    let good_line = bearer(good.as_bytes());
    let [header, payload, signature] =
        <[&str; 3]>::try_from(good.split('.').collect::<Vec<_>>()).unwrap();
    let of_plugin = [
        ("0xFF in a token", bearer(b"a.b.\xff"), "malformed_token"),
        (
            "0xFF after a valid token",
            bearer(&[good.as_bytes(), b"\xff"].concat()),
            "malformed_token",
        ),
        ("0xFF as token", bearer(b"\xff"), "malformed_token"),
        (
            "0xFF in a payload",
            bearer(
                &[header.as_bytes(), b".", payload.as_bytes(), b"\xff.", signature.as_bytes()]
                    .concat(),
            ),
            "malformed_token",
        ),
        ("UTF-8 in a token", bearer("a.b.ä".as_bytes()), "malformed_token"),
        ("0xFF as credentials", b"Authorization: \xff".to_vec(), "malformed_authorization"),
        (
            "0xFF in the scheme",
            b"Authorization: Bearer\xff a.b.c".to_vec(),
            "malformed_authorization",
        ),
        (
            "0x80 to 0x83",
            b"Authorization: \x80\x81 \x82.\x83.\x80".to_vec(),
            "malformed_authorization",
        ),
        ("many dots", bearer(&b".".repeat(8000)), "malformed_token"),
        ("many dots, too long", bearer(&b".".repeat(40_000)), "malformed_token"),
        ("many commas", bearer(&b",".repeat(8000)), "malformed_authorization"),
        (
            "many spaces within",
            bearer(&[&b"a"[..], &b" ".repeat(8000), b"b"].concat()),
            "malformed_authorization",
        ),
    ];
    let mut faults = Vec::new();
    for (name, line, reason) in of_plugin {
        let response = send_refused(&stack, &request(&[&line])).await;
        faults.extend(named(name, faults_of_refusal(&response, reason)));
    }
    // Either Envoy itself or the plugin refuses these.
    let host = b"Host: localhost\r\nConnection: close\r\n";
    for (name, bytes) in [
        ("NUL in a token", request(&[&bearer(b"a\0.b.c")])),
        ("NUL in another header", request(&[b"x-a: \0", &good_line])),
        ("a bare CR", request(&[&bearer(b"a\r.b.c")])),
        ("a control character", request(&[&bearer(b"a\x01.b.c")])),
        ("DEL", request(&[&bearer(b"a\x7f.b.c")])),
        ("0xFF in a name", request(&[b"x-\xff: a", &good_line])),
        ("an empty name", request(&[b": a", &good_line])),
        ("a space before the colon", request(&[b"authorization : Bearer a.b.c"])),
        (
            "0xFF in the path",
            [b"GET /\xff HTTP/1.1\r\n", &host[..], &good_line, b"\r\n\r\n"].concat(),
        ),
        (
            "0xFF in the query",
            [b"GET /?\xff=\xff HTTP/1.1\r\n", &host[..], &good_line, b"\r\n\r\n"].concat(),
        ),
        ("NUL in the path", [b"GET /\0 HTTP/1.1\r\n", &host[..], &good_line, b"\r\n\r\n"].concat()),
        ("0xFF in the method", [b"G\xffT / HTTP/1.1\r\n", &host[..], b"\r\n"].concat()),
        ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(50)),
    ] {
        let response = send_refused(&stack, &bytes).await;
        if !(400..500).contains(&response.status) {
            faults.push(format!("{name}: {response:?}"));
        }
    }
    assert_none(&faults);
    assert_good_tokens_pass(&stack).await;
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf_8_in_other_headers_passes_with_a_valid_token() {
    let stack = start().await;
    let good = bearer(stack.token().as_bytes());
    for line in [
        &b"x-a: \xff\xfe"[..],
        b"x-mcp-user: \xff",
        b"x-mcp-roles: \x80\x80",
        b"origin: \xff",
        b"cookie: \xff=\xff",
        b"user-agent: \xe2\x82",
        b"content-type: \xff",
    ] {
        stack.server.clear();
        raw_exchange(stack.envoy.address(), &request(&[line, &good])).await;
        let arrived = stack.server.requests().pop().expect("it reached the server");
        assert_eq!(arrived.header("x-mcp-user"), [b"ada@example.com"], "{arrived:?}");
        assert!(arrived.header("x-mcp-roles").is_empty(), "{arrived:?}");
        // Without a token it is refused like any other request.
        let response = send_refused(&stack, &request(&[line])).await;
        assert_refusal(&response, "missing_token");
    }
    assert_good_tokens_pass(&stack).await;
    assert_vm_lives(&stack).await;
}

// Requirement: header-size
#[tokio::test(flavor = "multi_thread")]
async fn envoy_refuses_header_fields_over_its_own_limit() {
    let stack = start().await;
    let good = bearer(stack.token().as_bytes());
    let many: Vec<Vec<u8>> = (0..5000).map(|index| format!("x-{index}: a").into()).collect();
    let mut many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    many.push(&good);
    for (name, bytes) in [
        ("a token of 1 MiB", request(&[&bearer(&vec![b'a'; 1 << 20])])),
        (
            "another header of 1 MiB",
            request(&[&good, &[b"x-a: ", &vec![b'a'; 1 << 20][..]].concat()]),
        ),
        ("5000 headers", request(&many)),
    ] {
        let response = send_refused(&stack, &bytes).await;
        assert!((400..500).contains(&response.status), "{name}: {response:?}");
    }
    let response = send_refused(&stack, &request(&[&bearer(&vec![b'a'; 50_000])])).await;
    assert_refusal(&response, "malformed_token");
    assert_good_tokens_pass(&stack).await;
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_mebibyte_is_refused_where_envoy_accepts_it() {
    let stack = Stack::builder()
        .workers(2)
        .edit(|bootstrap| {
            bootstrap.connection_manager()["max_request_headers_kb"] = json!(8192);
            close_at_once(bootstrap);
        })
        .start()
        .await;
    for token in
        [vec![b'a'; 1 << 20], b".".repeat(1 << 20), b"a.".repeat(1 << 19), vec![0xff; 1 << 20]]
    {
        let response = send_refused(&stack, &request(&[&bearer(&token)])).await;
        assert_refusal(&response, "malformed_token");
    }
    let commas = send_refused(&stack, &request(&[&bearer(&b", ".repeat(1 << 19))])).await;
    assert_refusal(&commas, "malformed_authorization");
    assert_good_tokens_pass(&stack).await;
    assert_vm_lives(&stack).await;
}

/// JSON strings of about `size` bytes that are cheap to send and could be costly to parse, with the
/// expected result for a token that has one as its header or payload.
fn bombs(size: usize) -> Vec<(&'static str, String)> {
    let deep = size / 10;
    let long_name = |length: usize| "n".repeat(length);
    let nested_names = |depth: usize, length: usize, inner: &str| {
        let opened = format!("{{\"{}\":", long_name(length)).repeat(depth);
        format!("{opened}{inner}{}", "}".repeat(depth))
    };
    vec![
        ("arrays in arrays", format!("{{\"a\":{}{}}}", "[".repeat(deep * 5), "]".repeat(deep * 5))),
        ("arrays without an end", format!("{{\"a\":{}", "[".repeat(size))),
        ("objects in objects", format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep))),
        ("an endless string", format!("{{\"a\":\"{}", "x".repeat(size))),
        ("a number of many digits", format!("{{\"a\":1{}}}x", "0".repeat(size))),
        ("an exponent of many digits", format!("{{\"a\":1e{}}}", "9".repeat(size))),
        ("escapes", format!("{{\"a\":\"{}\"", "\\u0000".repeat(size / 6))),
        ("one member repeated", format!("{{{}\"a\":1}}", "\"a\":1,".repeat(size / 6))),
        (
            "one member repeated, deep inside long names",
            nested_names(100, size / 200, &format!("{{{}\"a\":1}}", "\"a\":1,".repeat(size / 12))),
        ),
    ]
}

async fn assert_bombs_refused(stack: &Stack, size: usize) {
    let key = stack.provider.key();
    let header = key.header().to_string();
    let mut faults = Vec::new();
    for (name, bomb) in bombs(size) {
        for (place, header, payload) in
            [("header", &bomb, &stack.claims().to_string()), ("payload", &header, &bomb)]
        {
            let token = signed(&key, &base64url(header), &base64url(payload));
            let response = send_refused(stack, &request(&[&bearer(token.as_bytes())])).await;
            let name = format!("{name} as {place} of {} bytes", token.len());
            faults.extend(named(&name, faults_of_refusal(&response, "malformed_token")));
        }
    }
    assert_none(&faults);
    assert_good_tokens_pass(stack).await;
    assert_vm_lives(stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_bombs_within_the_size_of_a_token_are_refused() {
    let stack = start().await;
    assert_bombs_refused(&stack, 5000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_bombs_are_refused_where_large_tokens_are_allowed() {
    let stack = start_wide_open().await;
    assert_bombs_refused(&stack, 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_members_and_headers_are_read_in_time() {
    let stack = start_wide_open().await;
    let key = stack.provider.key();
    let mut claims = stack.claims();
    for index in 0..50_000 {
        claims[format!("claim-{index}")] = json!(index);
    }
    let many: Vec<Vec<u8>> = (0..15_000).map(|index| format!("x-mcp-{index}: a").into()).collect();
    let mut lines: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let token = bearer(key.token(&claims).as_bytes());
    lines.push(&token);
    let asked = std::time::Instant::now();
    let response = raw_exchange(stack.envoy.address(), &request(&[&token])).await;
    assert_ne!(response.status(), 401, "{response:?}");
    assert_eq!(stack.server.count(), 1);
    let mut lines_without: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let bad = bearer(b"a.b.c");
    lines_without.push(&bad);
    let response = send_refused(&stack, &request(&lines_without)).await;
    assert_refusal(&response, "malformed_token");
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert_good_tokens_pass(&stack).await;
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_keys_do_not_stop_the_plugin() {
    let provider = IdentityProvider::start().await;
    let key = provider.key();
    let mut elements = vec![
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!({}),
        json!({"kty": 1}),
        json!({"kty": "RSA"}),
        json!({"kty": "RSA", "kid": "a", "n": "", "e": ""}),
        json!({"kty": "RSA", "kid": "b", "n": "AA", "e": "AA"}),
        json!({"kty": "RSA", "kid": "c", "n": base64url([0xfe; 256]), "e": base64url([0xff; 256])}),
        json!({"kty": "RSA", "kid": "d", "n": base64url([0xff; 256]), "e": "AA"}),
        json!({"kty": "RSA", "kid": "e", "n": base64url([0xff; 100_000]), "e": "AQAB"}),
        json!({"kty": "EC", "kid": "f", "crv": "P-256", "x": "", "y": ""}),
        json!({"kty": "EC", "kid": "g", "crv": "P-256", "x": base64url([0xff; 32]), "y": base64url([0xff; 32])}),
        json!({"kty": "EC", "kid": "h", "crv": "P-521", "x": base64url([0xff; 66]), "y": base64url([0xff; 66])}),
        json!({"kty": "EC", "kid": "i", "crv": "P-384", "x": base64url([1; 1000]), "y": base64url([1; 1000])}),
        json!({"kty": "OKP", "kid": "j", "crv": "Ed25519", "x": base64url([0xff; 32])}),
        json!({"kty": "OKP", "kid": "k", "crv": "Ed25519", "x": base64url([0; 32])}),
        json!({"kty": "OKP", "kid": "l", "crv": "Ed25519", "x": "A"}),
    ];
    elements.push(key.public_jwk());
    let document = json!({"keys": elements}).to_string().into_bytes();
    provider.fail(Document::KeySet, Fault::Body(document));
    let stack = Stack::builder().workers(2).provider(provider).start().await;
    let claims = stack.claims();
    for algorithm in testbed::Algorithm::ALL {
        let signer = SigningKey::generate(algorithm, "");
        for kid in "abcdefghijkl".chars() {
            let token = signer.with_kid(kid).token(&claims);
            let response = stack.call_refused(&token).await;
            assert_eq!(response.status, 401, "{kid} {algorithm}: {response:?}");
            let reason = response.reason();
            assert!(
                ["key_mismatch", "bad_signature"].contains(&reason),
                "{kid} {algorithm}: {reason}"
            );
        }
    }
    assert_good_tokens_pass(&stack).await;
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_disconnect_while_waiting_for_keys_do_not_affect_others() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Hang);
    let stack = Stack::builder().alone().workers(2).provider(provider).start().await;
    let token = bearer(stack.token().as_bytes());
    let leaving: Vec<_> = (0..20)
        .map(|_| {
            let (address, bytes) = (stack.envoy.address(), request(&[&token]));
            tokio::spawn(async move { raw_exchange(address, &bytes).await })
        })
        .collect();
    await_active_requests(&stack, 20).await;
    for client in &leaving {
        client.abort();
    }
    await_active_requests(&stack, 0).await;
    stack.provider.heal(Document::Discovery);
    assert_good_tokens_pass(&stack).await;
    // None of the requests whose clients left reached the server.
    let calls = stack.server.requests().iter().filter(|request| request.method == "GET").count();
    assert_eq!(calls, 0);
    assert_vm_lives(&stack).await;
}
