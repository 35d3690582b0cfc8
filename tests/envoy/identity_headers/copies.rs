//! Copies of the identity headers that a client sends.

use super::*;

/// A request with copies of the identity headers in every spelling that HTTP allows.
pub(super) fn forged(path: &str, token: &str, names: &[String]) -> Vec<u8> {
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n"
    );
    for name in names {
        text += &format!("{name}: forged\r\n{name}: forged again\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}

pub(super) fn spellings(names: &[&str]) -> Vec<String> {
    let capitals = |name: &str| {
        let words = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
        words.collect::<Vec<_>>().join("-")
    };
    names
        .iter()
        .flat_map(|name| [(*name).to_owned(), name.to_uppercase(), capitals(name)])
        .collect()
}

fn with_underscores(names: &[&str]) -> Vec<String> {
    names
        .iter()
        .flat_map(|name| {
            [
                name.replace('-', "_"),
                name.replacen('-', "_", 1),
                name.to_uppercase().replace('-', "_"),
            ]
        })
        .collect()
}

/// The forged header fields that arrived.
pub(super) fn forgeries(request: &RecordedRequest) -> Vec<String> {
    let is_forged = |value: &[u8]| value.windows(6).any(|part| part == b"forged");
    request
        .headers
        .iter()
        .filter(|(_, value)| is_forged(value))
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect()
}

// Requirement: state-user
#[tokio::test(flavor = "multi_thread")]
async fn copies_that_a_client_sends_never_reach_the_server() {
    let (stack, key) = start(json!({})).await;
    // This provider sets few of the headers, so a forged copy of another one would be the only
    // value.
    let bare = json!({
        "iss": issuer_of("own"), "aud": Stack::AUDIENCE, "sub": "ada", "exp": 4_000_000_000_u64,
    });
    let token = key.token(&bare);
    for path in ["/mcp", "/", "/healthz", "/.well-known/other"] {
        let request = forged(path, &token, &spellings(&NAMES));
        let response = raw_exchange(stack.envoy.address(), &request).await;
        assert_ne!(response.status(), 401, "{response:?}");
        let request = stack.server.requests().pop().expect("it reached the server");
        assert_eq!(forgeries(&request), Vec::<String>::new(), "{path}");
        assert_eq!(request.path, path);
        assert_eq!(request.identity().len(), 7, "{request:?}");
        assert_eq!(request.header("x-mcp-user"), [b"ada"]);
    }
}

// Requirement: state-user
#[tokio::test(flavor = "multi_thread")]
async fn copies_with_underscores_never_reach_the_server() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let provider = static_provider("own", &[&key], json!({}));
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["identity"] = json!({"claims_to_headers": [
                {"claim": "country", "header": "x-country-code"},
            ]});
            add_providers(configuration, [provider]);
        })
        .edit(allow_underscores)
        .start()
        .await;
    let claims = json!({
        "iss": issuer_of("own"), "aud": Stack::AUDIENCE, "sub": "ada", "exp": 4_000_000_000_u64,
    });
    let names = [&NAMES[..], &["x-country-code"]].concat();
    let mut copies = with_underscores(&names);
    copies.extend(spellings(&names));
    // Envoy accepts at most a hundred header lines, and each copy comes twice.
    for copies in copies.chunks(40) {
        stack.server.clear();
        let request = forged("/mcp", &key.token(&claims), copies);
        raw_exchange(stack.envoy.address(), &request).await;
        let request = stack.server.requests().pop().expect("it reached the server");
        assert_eq!(forgeries(&request), Vec::<String>::new());
        assert_eq!(request.identity().len(), 7, "{request:?}");
    }
    // Other headers pass, with or without an underscore.
    let request = forged("/mcp", &key.token(&claims), &["x_mcp_other".to_owned()]);
    raw_exchange(stack.envoy.address(), &request).await;
    let request = stack.server.requests().pop().expect("it reached the server");
    assert_eq!(forgeries(&request).len(), 2);
}

/// PHP reads `.` as `_`, and some servers that turn header fields into variables read every sign as
/// `_`.
// Requirement: state-user
#[tokio::test(flavor = "multi_thread")]
async fn copies_with_other_signs_never_reach_the_server() {
    let stack = Stack::builder().edit(allow_underscores).start().await;
    let dotted = NAMES.map(|name| name.replace('-', "."));
    let mixed = NAMES.map(|name| name.replacen('-', ".", 1).replacen('-', "_", 1));
    let signs = "!#$%&'*+.^_`|~".chars().map(|sign| format!("X{sign}Mcp-user"));
    for copies in [dotted.to_vec(), mixed.to_vec(), signs.collect()] {
        stack.server.clear();
        raw_exchange(stack.envoy.address(), &forged("/mcp", &stack.token(), &copies)).await;
        let request = stack.server.requests().pop().expect("it reached the server");
        assert_eq!(forgeries(&request), Vec::<String>::new());
        assert_eq!(request.header("x-mcp-user"), [b"ada@example.com"]);
    }
    // Other headers pass.
    let others = ["x.mcp.other", "xmcpuser", "x.mcp.users"].map(str::to_owned);
    raw_exchange(stack.envoy.address(), &forged("/mcp", &stack.token(), &others)).await;
    let request = stack.server.requests().pop().expect("it reached the server");
    assert_eq!(forgeries(&request).len(), 2 * others.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_refuses_header_names_with_underscores() {
    let stack = Stack::builder().start().await;
    let request = forged("/mcp", &stack.token(), &["x_mcp_user".to_owned()]);
    let response = raw_exchange(stack.envoy.address(), &request).await;
    assert_eq!(response.status(), 400, "{response:?}");
    assert_eq!(stack.server.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_never_reach_the_server_on_requests_that_waited_for_keys() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Hang);
    let stack = Stack::builder().alone().provider(provider).start().await;
    let token = stack.provider.token(&without(&stack.claims(), "client_id"));
    let address = stack.envoy.address();
    let waiting = tokio::spawn(async move {
        raw_exchange(address, &forged("/mcp", &token, &spellings(&NAMES))).await
    });
    await_active_requests(&stack, 1).await;
    stack.provider.heal(Document::Discovery);
    let response = waiting.await.unwrap();
    assert_ne!(response.status(), 401, "{response:?}");
    let request = stack.server.requests().pop().expect("it reached the server");
    assert_eq!(forgeries(&request), Vec::<String>::new());
    assert_eq!(request.header("x-mcp-user"), [b"ada@example.com"]);
    assert_eq!(request.identity().len(), 9, "{request:?}");
    assert!(request.header("authorization").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_header_named_in_connection_is_still_set() {
    let stack = Stack::builder().start().await;
    let request = format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Connection: close, x-mcp-user, x-mcp-roles\r\nx-mcp-user: forged\r\n\r\n",
        stack.token()
    );
    raw_exchange(stack.envoy.address(), request.as_bytes()).await;
    let request = stack.server.requests().pop().expect("it reached the server");
    assert_eq!(request.header("x-mcp-user"), [b"ada@example.com"]);
    let connection = request.header("connection").concat();
    assert!(!connection.windows(5).any(|part| part == b"x-mcp"), "{request:?}");
}

/// Lets header names with underscores through, and closes each connection after its response.
fn allow_underscores(bootstrap: &mut Bootstrap) {
    bootstrap.connection_manager()["common_http_protocol_options"] =
        json!({"headers_with_underscores_action": "ALLOW"});
    close_at_once(bootstrap);
}
