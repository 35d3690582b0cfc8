//! What each resource has of its own: access rules, exempt paths, origins, identity headers and
//! mode. And what all share: forged identity headers are removed from every request.

use serde_json::json;
use testbed::{Stack, raw_http2_fields};

use crate::support::{SOON, assert_refusal};
use crate::two_servers::{ALONE, ONE, TWO, TwoServers};

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_has_its_own_rules_or_the_common_ones() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["access"] =
            json!({"rules": [{"name": "all", "require": {"scopes": ["missing.scope"]}}]});
        configuration["resources"][1]["access"] =
            json!({"rules": [{"match": {"mcp_names": ["add"]}, "require": {"roles": ["x"]}},
                             {"match": {"path_prefixes": ["/one"]}}]});
        configuration["resources"][2]["access"] = json!({"default": "allow"});
    })
    .await;
    let token = servers.token(json!([ALONE.audience, ONE.audience, TWO.audience]));
    for _ in 0..2 {
        assert_refusal(&servers.call_at(ALONE, &token).await, "insufficient_scope");
        assert_eq!(servers.call_at(ONE, &token).await.status, 200);
        assert_eq!(servers.call_at(TWO, &token).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_has_its_own_exempt_paths_and_other_urls_have_the_common_ones() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["exempt"] = json!([{"path": "/healthz"}, {"path": "/one/mcp/open"}]);
        configuration["resources"][0]["exempt"] = json!([{"path": "/mcp"}]);
        configuration["resources"][2]["exempt"] = json!([]);
        configuration["resources"][2]["hosts"] = json!(["two.example"]);
    })
    .await;
    for (host, path, ids) in [
        (ALONE.host, "/mcp", Some("alone")),
        (ONE.host, "/one/mcp/open", Some("one")),
        // This path belongs to no resource, under any host.
        (ONE.host, "/healthz", None),
        ("other.example", "/healthz", None),
        ("other.example.", "/healthz", None),
    ] {
        servers.clear();
        let lines = "x-mcp-user: root\r\nx-mcp-resource: two\r\nauthorization: Bearer a.b\r\n";
        let response = servers.send(host, path, lines).await;
        assert!(response.reason().is_empty(), "{host} {path}: {response:?}");
        let reached = servers.reached();
        let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
        assert_eq!(reached.iter().map(|(_, ids)| ids).collect::<Vec<_>>(), [&ids], "{host}");
        let requests = [servers.stack.server.requests(), servers.other.requests()].concat();
        assert!(requests[0].header("x-mcp-user").is_empty(), "{host} {path}");
        assert!(requests[0].header("authorization").is_empty(), "{host} {path}");
    }
    for (host, path, reason) in [
        (ALONE.host, "/mcp/open", "missing_token"),
        // This resource has a list of its own, which is empty.
        (TWO.host, "/two/mcp/open", "missing_token"),
        (TWO.host, "/two/mcp", "missing_token"),
        (ONE.host, "/healthz/x", "unknown_resource"),
        (ONE.host, "/healthz;x", "unknown_resource"),
    ] {
        assert_refusal(&servers.send(host, path, "").await, reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_a_resource_protects_is_not_exempt_under_other_hosts() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["exempt"] = json!([
            {"path": "/healthz"}, {"path": "/two/mcp"}, {"path": "/two/mcp/open"},
            {"path": "/two/mcp/both"}, {"path": "/one/mcp/open"}, {"path": "/two/mcpx"},
        ]);
        configuration["resources"][2]["exempt"] = json!([{"path": "/two/mcp/both"}]);
    })
    .await;
    // Envoy sends all these hosts to the server of `two`.
    for host in ["other.example", "gateway.example.", "gateway.example:8443"] {
        for path in ["/two/mcp", "/two/mcp/", "/two/mcp/open", "/two/mcp/%6fpen"] {
            assert_refusal(&servers.send(host, path, "").await, "unknown_resource");
        }
        assert_eq!(servers.reached(), [], "{host}");
        for path in ["/healthz", "/two/mcp/both", "/one/mcp/open", "/two/mcpx"] {
            servers.send(host, path, "").await;
            assert_eq!(servers.reached(), [(1, vec![])], "{host} {path}");
            servers.clear();
        }
    }
    assert_refusal(&servers.send(TWO.host, "/two/mcp/open", "").await, "missing_token");
    assert_eq!(servers.send(TWO.host, "/two/mcp/both", "").await.reason(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_has_its_own_origins() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["allowed_origins"] = json!(["https://all.example"]);
        configuration["resources"][1]["allowed_origins"] = json!(["https://one.example"]);
        configuration["resources"][2]["allowed_origins"] = json!([]);
        configuration["exempt"] = json!([{"path": "/healthz"}]);
    })
    .await;
    for (host, path, origin, is_allowed) in [
        (ALONE.host, ALONE.path, "https://all.example", true),
        (ALONE.host, ALONE.path, "https://one.example", false),
        (ONE.host, ONE.path, "https://one.example", true),
        (ONE.host, ONE.path, "https://all.example", false),
        (TWO.host, TWO.path, "https://any.example", true),
        ("other.example", "/healthz", "https://all.example", true),
        ("other.example", "/healthz", "https://one.example", false),
    ] {
        let response = servers.send(host, path, &format!("origin: {origin}\r\n")).await;
        let is_denied = response.reason() == "origin_denied";
        assert_eq!(is_denied, !is_allowed, "{host} {path} {origin}: {response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_gets_its_own_header_names_and_forged_ones_of_all_are_removed() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["exempt"] = json!([{"path": "/healthz"}]);
        configuration["resources"][1]["identity"] = json!({
            "header_prefix": "x-one-",
            "claims_to_headers": [{"claim": "email", "header": "x-address"}],
            "forward_token": true,
        });
        configuration["resources"][2]["identity"] = json!({"header_prefix": "x-two-"});
    })
    .await;
    let token = servers.token(json!([ALONE.audience, ONE.audience, TWO.audience]));
    let forged = [
        "x-mcp-user",
        "x-one-user",
        "x-two-user",
        "x-mcp-resource",
        "x-one-resource",
        "x-two-resource",
        "x-address",
        "X-One-Roles",
        "x.two.subject",
        "x~mcp~user",
    ];
    let lines: String = forged.iter().map(|name| format!("{name}: root\r\n")).collect();
    let bearer = format!("authorization: Bearer {token}\r\n{lines}");
    for (host, path, prefix, user) in [
        (ALONE.host, ALONE.path, Some("x-mcp-"), true),
        (ONE.host, ONE.path, Some("x-one-"), true),
        (TWO.host, TWO.path, Some("x-two-"), true),
        ("other.example", "/healthz", None, false),
    ] {
        servers.clear();
        servers.send(host, path, &bearer).await;
        let requests = [servers.stack.server.requests(), servers.other.requests()].concat();
        assert_eq!(requests.len(), 1, "{host} {path}");
        let request = &requests[0];
        let is_told = |name: &String| {
            prefix.is_some_and(|prefix| name.starts_with(prefix)) || name == "x-address"
        };
        for (name, value) in &request.headers {
            assert!(!value.starts_with(b"root"), "{host}: {name}");
            let is_identity = ["x-mcp-", "x-one-", "x-two-", "x-address"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            assert!(!is_identity || is_told(name), "{host}: {name}");
        }
        if let Some(prefix) = prefix {
            let users = request.header(&format!("{prefix}user"));
            assert_eq!(users.len(), usize::from(user), "{host}: {request:?}");
            assert_eq!(request.header(&format!("{prefix}resource")).len(), 1, "{host}");
        }
        let is_one = prefix == Some("x-one-");
        assert_eq!(request.header("authorization").len(), usize::from(is_one), "{host}");
        assert_eq!(request.header("x-address").len(), usize::from(is_one), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_settings_of_a_resource_replace_all_common_ones() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["identity"] = json!({
            "header_prefix": "x-top-",
            "claims_to_headers": [{"claim": "email", "header": "x-address"}],
            "forward_token": true,
        });
        configuration["resources"][1]["identity"] = json!({"header_prefix": "x-one-"});
    })
    .await;
    let token = servers.token(json!([ONE.audience, TWO.audience]));
    let lines = format!("authorization: Bearer {token}\r\nx-address: forged\r\n");
    for (place, own, others, is_of_all) in
        [(ONE, "x-one-", "x-top-", false), (TWO, "x-top-", "x-one-", true)]
    {
        servers.clear();
        servers.send(place.host, place.path, &lines).await;
        let requests = [servers.stack.server.requests(), servers.other.requests()].concat();
        let [request] = requests.as_slice() else { panic!("{}: {requests:?}", place.id) };
        assert_eq!(request.header(&format!("{own}user")).len(), 1, "{request:?}");
        assert_eq!(request.header(&format!("{own}resource")), [place.id.as_bytes()]);
        assert!(request.headers.iter().all(|(name, _)| !name.starts_with(others)), "{request:?}");
        let addresses = request.header("x-address");
        assert_eq!(addresses.len(), usize::from(is_of_all), "{request:?}");
        assert!(addresses.iter().all(|address| *address != b"forged"), "{request:?}");
        assert_eq!(request.header("authorization").len(), usize::from(is_of_all), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_headers_of_every_resource_are_removed_from_trailers() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["resources"][1]["identity"] = json!({"header_prefix": "x-one-"});
    })
    .await;
    let authorization = format!("Bearer {}", servers.token(ALONE.audience));
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", ALONE.host),
        (":path", ALONE.path),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("authorization", authorization.as_str()),
    ];
    let trailers = [("x-one-user", "root"), ("x-mcp-resource", "two"), ("x-one-resource", "two")];
    raw_http2_fields(servers.stack.envoy.address(), &fields, b"{}", &trailers).await;
    let requests = servers.stack.server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].headers.iter().all(|(_, value)| value != b"root"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_has_its_own_mode() {
    let servers = TwoServers::start(Stack::builder().alone(), |configuration| {
        configuration["resources"][1]["mode"] = json!("report");
    })
    .await;
    assert_refusal(&servers.send(ALONE.host, ALONE.path, "").await, "missing_token");
    let response = servers.send(ONE.host, ONE.path, "x-mcp-resource: two\r\n").await;
    assert_eq!(response.status, 200, "{response:?}");
    // The resource depends on the URL and not on the sender, so the server learns it in report mode
    // too.
    assert_eq!(servers.reached(), [(0, vec!["one".to_owned()])]);
    let line = "allowed (report mode), would be refused: reason=missing_token resource=one ";
    servers.stack.envoy.await_log(line, SOON).await;
    // A resource in report mode opens no other resource.
    for (host, path) in [
        ("alone.example.", "/mcp"),
        ("other.example", "/mcp"),
        (ONE.host, "/two/mcp;x"),
        (ONE.host, "/one/mcp;x"),
    ] {
        let response = servers.send(host, path, "").await;
        assert_refusal(&response, "unknown_resource");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_report_mode_everything_passes_except_an_ambiguous_path() {
    let servers = TwoServers::start(
        Stack::builder().alone().edit(|bootstrap| {
            bootstrap.connection_manager()["path_with_escaped_slashes_action"] =
                json!("KEEP_UNCHANGED");
        }),
        |configuration| configuration["mode"] = json!("report"),
    )
    .await;
    servers.send("other.example", "/mcp", "x-mcp-user: root\r\nx-mcp-resource: two\r\n").await;
    assert_eq!(servers.reached(), [(1, vec![])]);
    let line = "allowed (report mode), would be refused: reason=unknown_resource ";
    servers.stack.envoy.await_log(line, SOON).await;
    servers.clear();
    for path in ["/two/mcp;x", "/one%2fmcp", "/two/mcp/%252e%252e"] {
        assert_refusal(&servers.send(TWO.host, path, "").await, "unknown_resource");
    }
    assert!(servers.reached().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_enforcing_resource_keeps_requests_of_no_resource_refused_in_report_mode() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["mode"] = json!("report");
        configuration["resources"][2]["mode"] = json!("enforce");
    })
    .await;
    assert_eq!(servers.send(ONE.host, ONE.path, "").await.status, 200);
    assert_refusal(&servers.send(TWO.host, TWO.path, "").await, "missing_token");
    let response = servers.send("gateway.example.", TWO.path, "").await;
    assert_refusal(&response, "unknown_resource");
}
