//! What servers behind the gateway can do to a login: they, and whoever can write their responses,
//! are trusted with their own tokens and with nothing else.

use serde_json::json;
use testbed::{LoginShape, RawServer};

use crate::login_support::{
    HOST, ORIGIN, RESOURCE, SECRET, Scene, approve, assert_dead_end, replica, start_providers,
};

const COOKIE: &str = "__Host-mcp-auth-login";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// A scene whose server sets these cookies in every response.
async fn scene(
    server: &RawServer,
    configure: impl FnOnce(&mut serde_json::Value) + Send + 'static,
) -> Scene {
    let providers = start_providers([LoginShape::plain(RESOURCE)]).await;
    let stack = replica(&providers, SECRET)
        .configure(configure)
        .cluster("mcp_server", server.address())
        .start()
        .await;
    Scene { stack, providers }
}

fn set(server: &RawServer, cookies: &[String]) {
    let cookies: String =
        cookies.iter().map(|cookie| format!("set-cookie: {cookie}\r\n")).collect();
    let response =
        format!("HTTP/1.1 200 OK\r\n{cookies}content-length: 0\r\nconnection: close\r\n\r\n");
    server.respond_with(&[response.as_bytes()]);
}

/// The attacker approves a login in their own browser. The server sets its cookie in the victim's,
/// which is then sent to the provider and would finish the login for the attacker's client.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_cannot_make_a_browser_finish_a_login_that_another_began() {
    let server = RawServer::start().await;
    let scene = scene(&server, |plugin| plugin["exempt"] = json!([{"path": "/public"}])).await;
    let client = scene.client().await;
    let mut attacker = scene.browser_without_providers();
    let sent = approve(&mut attacker, &client, "generic").await;
    let planted = attacker.cookies(HOST)[COOKIE].clone();
    set(
        &server,
        &[
            format!("session=1; {ATTRIBUTES}"),
            format!("{COOKIE}={planted}; {ATTRIBUTES}"),
            format!("theme=dark; {ATTRIBUTES}"),
        ],
    );
    let mut victim = scene.browser();
    let seen = victim.open(&format!("{ORIGIN}/public")).await;
    assert_eq!(seen.status, Some(200), "{seen:?}");
    let kept = victim.cookies(HOST);
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["session", "theme"]);
    assert_dead_end(&victim.follow(&sent.url, ORIGIN).await, 400);
    // The twin: the gateway's own cookies are kept, and so are the server's.
    let response = approve(&mut victim, &client, "generic").await;
    client.code(&response);
    assert_eq!(victim.cookies(HOST).len(), 3);
}

/// Content of a server on the login's host would have the same origin as the page.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_for_the_login_serves_nothing_else() {
    let server = RawServer::start().await;
    let scene = scene(&server, |plugin| {
        plugin["login"] = json!({"issuer": "https://login.example.com"});
        plugin["mode"] = json!("report");
        plugin["exempt"] = json!([{"path": "/public"}]);
    })
    .await;
    for (host, path, status) in [
        ("login.example.com", "/public", 404),
        ("login.example.com", "/mcp", 404),
        ("LOGIN.example.com", "/", 404),
        ("login.example.com:8443", "/public", 404),
        ("login.example.com", "/.well-known/oauth-authorization-server", 200),
        // Their twins.
        (HOST, "/public", 200),
        (HOST, "/mcp", 200),
    ] {
        server.take_requests();
        let request = scene.stack.client().get(scene.stack.envoy.url(path)).header("host", host);
        let response = scene.stack.send(request).await;
        assert_eq!(response.status, status, "{host}{path}: {response:?}");
        assert_eq!(server.take_requests().len(), usize::from(host == HOST), "{host}{path}");
    }
}
