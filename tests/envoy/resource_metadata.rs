//! The metadata document that names the accepted authorization servers (RFC 9728).

use serde_json::{Value, json};
use testbed::{
    Algorithm, Document, IdentityProvider, Port, Response, SigningKey, Stack, raw_exchange,
};

use crate::support::{
    add_listener, add_providers, assert_none, assert_refusal, parsed, static_provider,
};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Spellings of the two paths that Envoy forwards as one of them.
const PATHS: [&str; 9] = [
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/oauth-protected-resource/mcp/",
    "/.well-known/oauth-protected-resource/mcp?a=1",
    "/.well-known/oauth-protected-resource/mcp?access_token=a",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/",
    "/.well-known/oauth-protected-resource/?",
    "//.well-known//oauth-protected-resource//mcp",
    "/x/../.well-known/./oauth-protected-resource/mcp",
];

async fn ask(stack: &Stack, method: &str, path: &str) -> Response {
    let request = stack.client().request(method.parse().unwrap(), stack.envoy.url(path));
    stack.send_refused(request).await
}

fn document(stack: &Stack) -> Value {
    json!({
        "resource": format!("http://127.0.0.1:{}/mcp", stack.envoy.address().port()),
        "authorization_servers": [stack.provider.issuer()],
        "bearer_methods_supported": ["header"],
        "resource_name": "Demo tools",
        "scopes_supported": ["mcp.tools"],
    })
}

/// What is wrong with the responses to GET, HEAD and OPTIONS on all spellings of both paths.
async fn faults(stack: &Stack) -> Vec<String> {
    let mut faults = Vec::new();
    for path in PATHS {
        let get = ask(stack, "GET", path).await;
        if get.status != 200 || get.body != document(stack) {
            faults.push(format!("GET {path}: {get:?}"));
        }
        let head = ask(stack, "HEAD", path).await;
        if head.status != 200 || !head.text.is_empty() {
            faults.push(format!("HEAD {path}: {head:?}"));
        }
        for response in [&get, &head] {
            let types: Vec<_> = response.headers.get_all("content-type").iter().collect();
            if types != ["application/json"] {
                faults.push(format!("{path}: content types {types:?}"));
            }
        }
        let options = ask(stack, "OPTIONS", path).await;
        if ![200, 204].contains(&options.status) || !options.text.is_empty() {
            faults.push(format!("OPTIONS {path}: {options:?}"));
        }
        let allowed = options.header("access-control-allow-headers").to_ascii_lowercase();
        let methods = options.header("access-control-allow-methods");
        if !allowed.split(", ").any(|name| name == "mcp-protocol-version")
            || !methods.split(", ").any(|name| name == "GET")
        {
            faults.push(format!("OPTIONS {path}: {options:?}"));
        }
        for response in [get, head, options] {
            let origins: Vec<_> =
                response.headers.get_all("access-control-allow-origin").iter().collect();
            if origins != ["*"] || response.headers.contains_key("www-authenticate") {
                faults.push(format!("{path}: {response:?}"));
            }
        }
    }
    faults
}

// Requirement: metadata
// Requirement: metadata-discovery
#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_without_a_token_on_both_paths() {
    let stack = Stack::builder().start().await;
    assert_none(&faults(&stack).await);
    assert_eq!(stack.server.count(), 0);
}

// Requirement: metadata
#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_even_if_no_key_can_be_fetched() {
    let mut provider = IdentityProvider::start().await;
    provider.stop().await;
    let stack = Stack::builder().provider(provider).start().await;
    assert_none(&faults(&stack).await);
    let refused = stack.call_refused(&stack.token()).await;
    assert_refusal(&refused, "keys_unavailable");
    assert_none(&faults(&stack).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_to_web_pages_of_any_origin_and_with_any_credentials() {
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["allowed_origins"] = json!(["https://app.example.com"]);
        })
        .start()
        .await;
    for (name, value) in [
        ("origin", "https://app.example.com"),
        ("origin", "https://other.example"),
        ("origin", "null"),
        ("authorization", "Bearer a.b.c"),
        ("authorization", "Basic YTpi"),
        ("authorization", ""),
    ] {
        for method in ["GET", "OPTIONS"] {
            let url = stack.envoy.url("/.well-known/oauth-protected-resource/mcp");
            let request = stack.client().request(method.parse().unwrap(), url).header(name, value);
            let response = stack.send_refused(request).await;
            assert!([200, 204].contains(&response.status), "{method} {name} {value}: {response:?}");
            assert_eq!(response.header("access-control-allow-origin"), "*");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_of_a_browser_gets_a_response() {
    let stack = Stack::builder().start().await;
    let url = stack.envoy.url("/.well-known/oauth-protected-resource/mcp");
    let request = stack
        .client()
        .request("OPTIONS".parse().unwrap(), url)
        .header("origin", "https://inspector.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "mcp-protocol-version");
    let response = stack.send_refused(request).await;
    assert!((200..300).contains(&response.status), "{response:?}");
    assert_eq!(response.header("access-control-allow-origin"), "*");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_on_the_metadata_paths_need_a_token() {
    let stack = Stack::builder().start().await;
    for path in [WELL_KNOWN, "/.well-known/oauth-protected-resource/mcp"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
            let response = ask(&stack, method, path).await;
            assert_refusal(&response, "missing_token");
        }
        // These are requests like any other.
        let request = stack.client().post(stack.envoy.url(path)).bearer_auth(stack.token());
        assert_eq!(stack.send(request).await.status, 200);
        assert_eq!(stack.server.requests().last().unwrap().path, path);
    }
}

// Requirement: metadata-authorization-servers
// Requirement: metadata-empty-members
#[tokio::test(flavor = "multi_thread")]
async fn the_document_lists_each_active_issuer_once_and_omits_empty_members() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let stack = Stack::builder()
        .configure(move |configuration| {
            configuration["resource"] = json!({
                "url": "https://mcp.example.com/mcp",
                "documentation": "https://example.com/docs",
                "scopes_supported": [],
            });
            let more = [
                ("b", json!({"additional_issuers": ["https://other.example/"]})),
                ("sleeping", json!({"active": false})),
                ("a", json!({})),
                ("b-again", json!({"issuer": "https://b.example", "client_ids": ["second"]})),
            ];
            let more = more.map(|(name, fields)| static_provider(name, &[&key], fields));
            add_providers(configuration, more);
        })
        .start()
        .await;
    let response = ask(&stack, "GET", "/.well-known/oauth-protected-resource/mcp").await;
    assert_eq!(
        response.body,
        json!({
            "resource": "https://mcp.example.com/mcp",
            "authorization_servers":
                [stack.provider.issuer(), "https://b.example", "https://a.example"],
            "bearer_methods_supported": ["header"],
            "resource_documentation": "https://example.com/docs",
        })
    );
}

/// Tokens may be accepted from an issuer that no client could ask for one.
// Requirement: metadata-authorization-servers
// Requirement: metadata-empty-members
#[tokio::test(flavor = "multi_thread")]
async fn the_document_has_no_authorization_server_if_no_issuer_is_a_url() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let stack = Stack::builder()
        .configure(move |configuration| {
            let fields = json!({"issuer": "build-robots"});
            configuration["providers"] = json!([static_provider("robots", &[&key], fields)]);
        })
        .start()
        .await;
    let response = ask(&stack, "GET", "/.well-known/oauth-protected-resource/mcp").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.body.get("authorization_servers"), None, "{response:?}");
}

/// The document that this listener's challenge points to, requested from this listener whatever the
/// host.
async fn document_of_challenge(stack: &Stack, port: &Port) -> Response {
    let url = format!("http://{}", port.address());
    let refused = stack.send_refused(stack.client().get(format!("{url}/mcp"))).await;
    let metadata: http::Uri = metadata_url(&refused).parse().unwrap();
    let path = metadata.path_and_query().unwrap();
    stack.send_refused(stack.client().get(format!("{url}{path}"))).await
}

fn metadata_url(refused: &Response) -> &str {
    let challenge = refused.header("www-authenticate");
    let (_, rest) = challenge.split_once("resource_metadata=\"").unwrap();
    rest.split('"').next().unwrap()
}

// Requirement: metadata-resource
#[tokio::test(flavor = "multi_thread")]
async fn the_document_at_the_challenges_url_names_the_resource_exactly() {
    const RESOURCES: [&str; 6] = [
        "https://mcp.example.com",
        "https://mcp.example.com/",
        "https://mcp.example.com/mcp/",
        "https://mcp.example.com:8443/a%20b/mcp",
        "https://mcp.example.com/mcp?tenant=1",
        "HTTPS://MCP.Example.com/Mcp",
    ];
    let ports = RESOURCES.map(|_| Port::free());
    let numbers = ports.each_ref().map(Port::number);
    let stack = Stack::builder()
        .edit(move |bootstrap| {
            for (port, url) in numbers.into_iter().zip(RESOURCES) {
                add_listener(bootstrap, port, |configuration| {
                    configuration["resource"] = json!({"url": url});
                });
            }
        })
        .start()
        .await;
    for (port, url) in ports.iter().zip(RESOURCES) {
        let response = document_of_challenge(&stack, port).await;
        assert_eq!(response.body["resource"], url, "{response:?}");
    }
}

// Requirement: resource-capitals
#[tokio::test(flavor = "multi_thread")]
async fn scheme_and_host_may_be_in_upper_case() {
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["resource"]["url"] = json!("HTTPS://MCP.EXAMPLE.COM/mcp");
        })
        .start()
        .await;
    let send = async |line: &str, fields: &str| {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: MCP.EXAMPLE.COM\r\n{fields}content-length: 0\r\n\
             connection: close\r\n\r\n"
        );
        parsed(&raw_exchange(stack.envoy.address(), request.as_bytes()).await)
    };
    let response = send("POST HTTP://MCP.EXAMPLE.COM/mcp", "").await;
    assert_refusal(&response, "missing_token");
    assert_eq!(
        metadata_url(&response).to_ascii_lowercase(),
        "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
    );
    let document = send("GET HTTP://MCP.EXAMPLE.COM/.well-known/oauth-protected-resource/mcp", "");
    assert_eq!(document.await.body["resource"], "HTTPS://MCP.EXAMPLE.COM/mcp");
    let token = format!("authorization: Bearer {}\r\n", stack.token());
    send("POST HTTP://MCP.EXAMPLE.COM/mcp", &token).await;
    assert_eq!(stack.server.count(), 1);
}

// Requirement: metadata-discovery
// Requirement: metadata-resource-of-request
#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_points_to_the_document() {
    let stack = Stack::builder().start().await;
    let refused = stack.send_refused(stack.request()).await;
    let response = stack.send_refused(stack.client().get(metadata_url(&refused))).await;
    assert_eq!(response.body, document(&stack));
    assert_eq!(response.body["resource"], stack.url());
    assert_eq!(stack.provider.requests().iter().filter(|r| r.document.is_none()).count(), 0);
    assert!(stack.provider.count(Document::Discovery) <= 1);
}
