//! A web page in a real browser uses CORS for every request: with `envoy/browser.yaml`, and with
//! the provider's CORS.

use serde_json::{Value, json};
use testbed::{
    Bootstrap, ClientReport, McpServer, OpenIdProvider, Port, Stack, repository_root,
    visit_mcp_page,
};

/// The example; if this origin is to be allowed, it replaces one of the example's.
fn example(allowed: Option<&str>) -> Bootstrap {
    const OWN: &str = "http://localhost:6274";
    let mut bootstrap = Bootstrap::from_file(&repository_root().join("envoy/browser.yaml"));
    if let Some(origin) = allowed {
        let tree = bootstrap.tree().to_string();
        assert_eq!(tree.matches(OWN).count(), 2, "the cors filter and the plugin list it");
        *bootstrap.tree() = serde_json::from_str(&tree.replace(OWN, origin)).unwrap();
    }
    bootstrap
}

/// Opens a page whose origin is allowed or not, and returns its outcome.
async fn visit(is_allowed: bool) -> (Stack, OpenIdProvider, ClientReport) {
    let (port, page) = (Port::free(), Port::free());
    let origin = format!("http://localhost:{}", page.number());
    let resource = format!("http://{}/mcp", port.address());
    let login = OpenIdProvider::builder(&resource, &["mcp.tools"]).start().await;
    let configured = login.configuration("login", &resource);
    let stack = Stack::builder()
        .bootstrap(example(is_allowed.then_some(&origin)))
        .port(port)
        .server(McpServer::start_with_sessions().await)
        .cluster("login", login.address())
        .configure(move |configuration| configuration["providers"] = json!([configured]))
        .start()
        .await;
    let report = visit_mcp_page(&resource, &page, "ada").await;
    (stack, login, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_gets_from_the_url_to_a_tool_call() {
    let (stack, login, report) = visit(true).await;
    assert_eq!(report.events("blocked"), Vec::<&Value>::new(), "{report:?}");
    let exchanges = report.exchanges();
    for exchange in [
        "POST /mcp 401",
        "GET /.well-known/oauth-protected-resource/mcp 200",
        "GET /.well-known/oauth-authorization-server 200",
        "POST /reg 201",
        "authorization_code /token 200",
        "POST /mcp 200",
    ] {
        assert!(
            exchanges.iter().any(|candidate| candidate == exchange),
            "no {exchange}: {report:?}"
        );
    }
    let identity = report.identity();
    assert_eq!(identity["x-mcp-user"], "ada", "{report:?}");
    assert_eq!(identity["x-mcp-provider"], "login", "{report:?}");
    assert_eq!(identity["x-mcp-issuer"], login.issuer(), "{report:?}");
    assert_eq!(identity["x-mcp-scopes"], "mcp.tools", "{report:?}");
    assert!(stack.server.requests().iter().all(|request| request.method != "OPTIONS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_origin_that_is_not_allowed_cannot_read_the_challenge() {
    let (stack, mut login, report) = visit(false).await;
    assert_eq!(report.step("whoami")["event"], "failed", "{report:?}");
    assert!(!report.events("blocked").is_empty(), "{report:?}");
    assert_eq!(stack.server.count(), 0, "{report:?}");
    assert_eq!(login.events(), Vec::<Value>::new());
}
