//! The responses of the login endpoints to programs: metadata, CORS, and errors that blame the
//! right party.

use serde_json::{Value, json};
use testbed::{Document, Fault, IdentityProvider, LoginClient, LoginShape, Response, form_of};

use crate::login_support::{
    HOST, ORIGIN, RESOURCE, Scene, approve, assert_dead_end, assert_error, log_in, member,
};
use crate::support::SOON;

async fn send(scene: &Scene, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    let url = scene.stack.envoy.url(path);
    let mut request = scene.stack.client().request(method.parse().unwrap(), url);
    request = request.header("host", HOST);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    scene.stack.send(request).await
}

// Requirement: login-pkce-announced
// Requirement: login-iss-announced
// Requirement: login-metadata-path
// Requirement: login-metadata-issuer
// Requirement: login-metadata-members-required
// Requirement: login-metadata-either
// Requirement: login-metadata-one-server
#[tokio::test(flavor = "multi_thread")]
async fn the_resource_names_one_authorization_server_with_everything_that_clients_need() {
    let scene = Scene::of([LoginShape::entra_id(), LoginShape::google()]).await;
    let path = "/.well-known/oauth-protected-resource/mcp";
    let resource = send(&scene, "GET", path, &[]).await;
    assert_eq!(resource.body["authorization_servers"], json!([ORIGIN]), "{resource:?}");
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let response = send(&scene, "GET", path, &[("origin", "https://evil.example")]).await;
        assert_eq!(
            response.body,
            json!({
                "issuer": ORIGIN,
                "authorization_endpoint": "https://mcp.example.com/oauth/authorize",
                "token_endpoint": "https://mcp.example.com/oauth/token",
                "registration_endpoint": "https://mcp.example.com/oauth/register",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "scopes_supported": ["mcp.tools", "offline_access"],
                "authorization_response_iss_parameter_supported": true,
            }),
            "{response:?}"
        );
        assert_eq!(response.header("access-control-allow-origin"), "*");
        assert_eq!(response.header("content-type"), "application/json");
    }
}

// Requirement: login-endpoint-cors-token
// Requirement: login-endpoint-cors-authorize
#[tokio::test(flavor = "multi_thread")]
async fn web_pages_may_read_every_endpoint_except_the_page() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    for (path, method) in [
        ("/.well-known/oauth-authorization-server", "GET"),
        ("/oauth/register", "POST"),
        ("/oauth/token", "POST"),
    ] {
        let fields = [
            ("origin", "https://inspector.example"),
            ("access-control-request-method", method),
            ("access-control-request-headers", "content-type,mcp-protocol-version"),
        ];
        let response = send(&scene, "OPTIONS", path, &fields).await;
        assert_eq!(response.status, 204, "{path}: {response:?}");
        assert_eq!(response.header("access-control-allow-origin"), "*", "{path}");
        assert!(response.header("access-control-allow-methods").contains(method), "{path}");
        let allowed = response.header("access-control-allow-headers").to_ascii_lowercase();
        assert!(allowed.contains("content-type"), "{path}: {allowed}");
        assert_eq!(response.header("access-control-allow-credentials"), "", "{path}");
    }
    let errors = client.post_form("token_endpoint", "grant_type=x").await;
    assert_eq!(errors.header("access-control-allow-origin"), "*", "errors have CORS fields too");
    let url = client.authorization_url("mcp.tools");
    let page = scene.browser().open(&url).await;
    assert_eq!(page.header("access-control-allow-origin"), "", "{page:?}");
}

// Requirement: login-endpoint-authorize-get
// Requirement: login-endpoint-token-post
#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_has_its_methods_and_no_others() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let authorize = client.authorization_url("mcp.tools");
    let authorize = authorize.strip_prefix(ORIGIN).unwrap();
    for (method, path, status) in [
        ("GET", "/.well-known/oauth-authorization-server", 200),
        ("HEAD", "/.well-known/oauth-authorization-server", 200),
        ("POST", "/.well-known/oauth-authorization-server", 405),
        ("GET", "/oauth/token", 405),
        ("PUT", "/oauth/token", 405),
        ("GET", "/oauth/register", 405),
        ("DELETE", "/oauth/register", 405),
        ("GET", authorize, 200),
        ("PUT", authorize, 405),
        ("POST", "/oauth/callback/generic", 405),
    ] {
        let response = send(&scene, method, path, &[("content-length", "0")]).await;
        assert_eq!(response.status, status, "{method} {path}: {response:?}");
        assert_eq!(response.header("allow").is_empty(), status != 405, "{method} {path}");
    }
    assert_eq!(scene.stack.server.count(), 0, "no request reaches the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_error_formats_of_requests_do_not_apply_to_the_login() {
    let scene = Scene::configured([LoginShape::plain(RESOURCE)], |plugin| {
        plugin["allowed_origins"] = json!(["https://chat.example.com"]);
        plugin["errors"] = json!({"format": "json_rpc", "details": "full"});
        plugin["access"] = json!({"default": "deny", "rules": [
            {"name": "mcp", "match": {"paths": ["/mcp"]}, "require": {"scopes": ["mcp.tools"]}},
        ]});
    });
    let scene = scene.await;
    let client = scene.client().await;
    let issued = log_in(&mut scene.browser(), &client, "generic").await;
    assert_eq!(client.call(member(&issued, "access_token")).await.status, 200);
    let form = form_of(&[("grant_type", "refresh_token"), ("client_id", &client.client_id)]);
    assert_error(&client.post_form("token_endpoint", &form).await, 400, "invalid_request");
}

// Requirement: login-metadata-path
// Requirement: login-metadata-issuer
#[tokio::test(flavor = "multi_thread")]
async fn a_login_on_its_own_host_responds_only_there() {
    let scene = Scene::configured([LoginShape::plain(RESOURCE)], |plugin| {
        plugin["login"] = json!({"issuer": "https://login.example.com", "path": "/sign-in"});
    });
    let scene = scene.await;
    let path = "/.well-known/oauth-protected-resource/mcp";
    let resource = send(&scene, "GET", path, &[]).await;
    let expected = json!(["https://login.example.com"]);
    assert_eq!(resource.body["authorization_servers"], expected, "{resource:?}");
    let url = scene.stack.envoy.url("/.well-known/oauth-authorization-server");
    let at = async |host: &str| {
        let request = scene.stack.client().get(&url).header("host", host);
        scene.stack.send(request).await
    };
    let response = at("login.example.com").await;
    assert_eq!(response.body["token_endpoint"], "https://login.example.com/sign-in/token");
    assert_ne!(at(HOST).await.status, 200);
    let url = scene.stack.envoy.url("/sign-in/token");
    let request = scene.stack.client().post(url).header("host", HOST);
    assert_eq!(
        scene.stack.send(request).await.status,
        401,
        "there is no endpoint on the server's host"
    );
}

// Requirement: login-endpoint-parameters
// Requirement: login-redirect-untrusted
// Requirement: login-pkce-required
// Requirement: login-pkce-s256
// Requirement: login-pkce-downgrade
// Requirement: login-code-state
// Requirement: login-iss-sent
// Requirement: login-resource-unknown
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_client_are_sent_to_it_once_its_redirect_uri_is_trusted() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    for (changes, error) in [
        (&[("response_type", "token")][..], "unsupported_response_type"),
        (&[("response_type", "")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("resource", "https://other.example/mcp")], "invalid_target"),
        (&[("request", "eyJ")], "request_not_supported"),
        (&[("request_uri", "urn:x")], "request_not_supported"),
    ] {
        let seen = scene.browser().open(&client.authorization_url_with(changes)).await;
        assert_eq!(client.error(&seen), error, "{changes:?}");
        assert!(seen.parameter("state").is_some(), "{changes:?}: {seen:?}");
    }
    let url = format!("{}&scope=a&scope=b", client.authorization_url("mcp.tools"));
    let seen = scene.browser().open(&url).await;
    assert_eq!(client.error(&seen), "invalid_request");
    let url = client.authorization_url_with(&[("state", &"s".repeat(1025))]);
    let seen = scene.browser().open(&url).await;
    assert_eq!((client.error(&seen).as_str(), seen.parameter("state")), ("invalid_request", None));
    for changes in [&[("client_id", "unknown")][..], &[("client_id", "")]] {
        let seen = scene.browser().open(&client.authorization_url_with(changes)).await;
        assert_dead_end(&seen, 400);
        assert!(seen.text.contains("add it again"), "the page says how to continue: {seen:?}");
    }
    assert!(scene.only().authorization_requests().is_empty());
}

// Requirement: login-token-audience
// Requirement: login-passthrough
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_would_be_refused_is_explained_and_not_issued() {
    let scene = Scene::alone([LoginShape::okta()]).await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    log_in(&mut browser, &client, "okta").await;
    scene.only().edit_access_claims(|claims| claims["aud"] = json!("api://another"));
    let client = client.for_new_login();
    let approved = approve(&mut browser, &client, "okta").await;
    let response = client.redeem(&client.code(&approved)).await;
    assert_error(&response, 400, "invalid_grant");
    let description = member(&response, "error_description");
    let configured = scene.only().shape().audience;
    let values = format!("(aud: api://another; configured: {configured})");
    for words in ["audience_mismatch", "another audience", "client_ids", &values] {
        assert!(description.contains(words), "{words}: {description}");
    }
    scene.stack.envoy.await_log("audience_mismatch", SOON).await;
}

// Requirement: login-token-errors
// Requirement: login-refresh-logout
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_operator_is_not_blamed_on_the_client() {
    let scene = Scene::alone([LoginShape::plain(RESOURCE)]).await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let issued = log_in(&mut browser, &client, "generic").await;
    let refresh_token = member(&issued, "refresh_token");
    for (status, body, status_here, error) in [
        (401, json!({"error": "invalid_client"}), 503, "temporarily_unavailable"),
        (400, json!({"error": "unauthorized_client"}), 503, "temporarily_unavailable"),
        (500, json!({"error": "server_error"}), 503, "temporarily_unavailable"),
        (200, json!("no object"), 503, "temporarily_unavailable"),
        (200, json!({"token_type": "Bearer"}), 503, "temporarily_unavailable"),
        (400, json!({"error": "invalid_grant"}), 400, "invalid_grant"),
    ] {
        scene.only().fail_token(status, body.clone());
        let response = client.refresh(refresh_token).await;
        assert_error(&response, status_here, error);
        assert_eq!(response.header("retry-after").is_empty(), status_here != 503, "{body}");
        scene.only().heal();
    }
    scene.stack.envoy.await_log("invalid_client", SOON).await;
    assert_eq!(client.refresh(refresh_token).await.status, 200, "the twin");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_provider_ends_the_login_with_an_explanation() {
    let scene = Scene::configured([LoginShape::plain(RESOURCE), LoginShape::okta()], |plugin| {
        plugin["providers"][0]["cluster"] = json!("absent");
    });
    let scene = scene.await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    assert_dead_end(&browser.press(&page, "provider", "generic").await, 503);
    client.code(&browser.press(&page, "provider", "okta").await);
}

// Requirement: login-endpoint-token-form
// Requirement: login-register-errors
#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_and_kind_get_a_response() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let long = "x".repeat(70_000);
    for (path, content_type, body, status) in [
        ("/oauth/token", "application/json", "{}", 400),
        ("/oauth/token", "application/x-www-form-urlencoded", "", 401),
        ("/oauth/token", "application/x-www-form-urlencoded", "%ff=%fe", 400),
        ("/oauth/token", "application/x-www-form-urlencoded", long.as_str(), 413),
        ("/oauth/register", "application/json", "", 400),
        ("/oauth/register", "application/json", "{", 400),
        ("/oauth/register", "application/json", "[]", 400),
        ("/oauth/register", "application/json", long.as_str(), 413),
    ] {
        let url = scene.stack.envoy.url(path);
        let request = scene.stack.client().post(url).header("host", HOST);
        let request = request.header("content-type", content_type).body(body.to_owned());
        let response = scene.stack.send(request).await;
        assert_eq!(response.status, status, "{path} {content_type}: {response:?}");
        assert!(response.body["error"].is_string(), "{path}: {response:?}");
    }
    let many: Vec<String> =
        (0..100).map(|index| format!("http://localhost/{index}/{}", "x".repeat(40))).collect();
    let response = client.register_with(json!({"redirect_uris": many})).await;
    assert_error(&response, 400, "invalid_client_metadata");
    assert_eq!(scene.stack.server.count(), 0);
}

/// A host that publishes client metadata documents.
async fn publisher(document: Value) -> IdentityProvider {
    let publisher = IdentityProvider::start().await;
    publisher.serve_at(Document::Discovery, "/oauth/mcp.json");
    publisher.fail(Document::Discovery, Fault::Body(document.to_string().into_bytes()));
    publisher
}

// Requirement: login-client-documents
#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_have_a_metadata_document_if_its_host_is_configured() {
    const CLIENT_ID: &str = "https://app.example.com/oauth/mcp.json";
    const REDIRECT_URI: &str = "https://app.example.com/callback";
    let document = json!({
        "client_id": CLIENT_ID,
        "client_name": "An app",
        "redirect_uris": [REDIRECT_URI, "http://127.0.0.1:1/callback"],
    });
    for (document, is_taken) in [
        (document.clone(), true),
        (json!({"client_id": "https://app.example.com/x", "redirect_uris": [REDIRECT_URI]}), false),
        (json!({"client_id": CLIENT_ID, "redirect_uris": ["https://evil.example/"]}), false),
        (json!([]), false),
    ] {
        let publisher = publisher(document.clone()).await;
        let providers = crate::login_support::start_providers([LoginShape::plain(RESOURCE)]).await;
        let stack = crate::login_support::replica(&providers, crate::login_support::SECRET)
            .cluster("app", publisher.address())
            .configure(|plugin| {
                plugin["login"] = json!({"client_metadata": {"app.example.com": "app"}});
            })
            .start()
            .await;
        let scene = Scene { stack, providers };
        let mut client = LoginClient::discover(RESOURCE, scene.stack.envoy.address()).await;
        assert_eq!(client.metadata["client_id_metadata_document_supported"], true);
        CLIENT_ID.clone_into(&mut client.client_id);
        REDIRECT_URI.clone_into(&mut client.redirect_uri);
        let mut browser = scene.browser();
        let page = browser.open(&client.authorization_url("mcp.tools")).await;
        assert_eq!(page.asks_for_consent(), is_taken, "{document}: {page:?}");
        // No documents of other hosts are fetched.
        let foreign = [("client_id", "https://evil.example/oauth/mcp.json")];
        let foreign = browser.open(&client.authorization_url_with(&foreign)).await;
        assert_dead_end(&foreign, 400);
        if is_taken {
            assert!(page.text.contains("app.example.com"), "{page:?}");
            let response = browser.press(&page, "provider", "generic").await;
            let issued = client.redeem(&client.code(&response)).await;
            assert_eq!(issued.status, 200, "{issued:?}");
            let issued = client.refresh(member(&issued, "refresh_token")).await;
            assert_eq!(issued.status, 200, "{issued:?}");
            // The document is cached for a while.
            browser.open(&client.authorization_url("mcp.tools")).await;
            assert_eq!(publisher.count(Document::Discovery), 1);
        }
    }
}

// Requirement: login-metadata-empty
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_configured_need_no_registration() {
    let scene = Scene::configured([LoginShape::plain(RESOURCE)], |plugin| {
        plugin["login"] = json!({
            "registration": false,
            "clients": [{
                "client_id": "reports",
                "redirect_uris": ["https://reports.example.com/cb"],
                "name": "Reports",
            }],
        });
    });
    let scene = scene.await;
    let mut client = LoginClient::discover(RESOURCE, scene.stack.envoy.address()).await;
    assert_eq!(client.metadata["registration_endpoint"], Value::Null);
    "reports".clone_into(&mut client.client_id);
    "https://reports.example.com/cb".clone_into(&mut client.redirect_uri);
    let issued = log_in(&mut scene.browser(), &client, "generic").await;
    assert_eq!(client.call(member(&issued, "access_token")).await.status, 200);
    let response = send(&scene, "POST", "/oauth/register", &[("content-length", "0")]).await;
    assert_ne!(response.status, 201, "{response:?}");
}

/// Envoy would otherwise forward the head before the response.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_option_that_holds_heads_back_forms_get_500_and_the_log_says_why() {
    let providers = crate::login_support::start_providers([LoginShape::plain(RESOURCE)]).await;
    let stack = crate::login_support::replica(&providers, crate::login_support::SECRET)
        .alone()
        .edit(|bootstrap| {
            let plugin = bootstrap.plugin().as_object_mut().unwrap();
            plugin.remove("allow_on_headers_stop_iteration");
        })
        .start()
        .await;
    let scene = Scene { stack, providers };
    let client = LoginClient::discover(RESOURCE, scene.stack.envoy.address()).await;
    let response = client.register_with(json!({"redirect_uris": [client.redirect_uri]})).await;
    assert_eq!(response.status, 500, "{response:?}");
    assert_eq!(client.redeem("code").await.status, 500);
    assert_eq!(scene.stack.server.count(), 0, "nothing reaches the server");
    scene.stack.envoy.await_log("allow_on_headers_stop_iteration", SOON).await;
}
