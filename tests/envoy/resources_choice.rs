//! Which resource a request belongs to, with two real servers behind the routes: no spelling of a
//! host or path reaches a server by another server's rules. Next to each attack, the same request
//! in its plain spelling passes.

use serde_json::{Value, json};
use testbed::{McpServer, Stack, raw_http2_fields};

use crate::support::{assert_none, assert_refusal, faults_of_refusal, named};
use crate::two_servers::{ALONE, ONE, PLACES, Place, TWO, TwoServers};

/// The server that gets a resource's requests.
fn server_of(id: &str) -> usize {
    usize::from(id == TWO.id)
}

/// What is wrong with the requests that reached a server with a token for this resource only.
fn misled(servers: &TwoServers, place: Place) -> Vec<String> {
    let reached = servers.reached();
    let is_right = |(server, ids): &&(usize, Vec<String>)| {
        *server == server_of(place.id) && *ids == [place.id]
    };
    let wrong: Vec<_> = reached.iter().filter(|reached| !is_right(reached)).collect();
    if wrong.is_empty() { vec![] } else { vec![format!("reached {wrong:?}")] }
}

/// Sends each host and path with a token for each resource. None of them may reach another server
/// than the token's. `belongs_to` is the resource that the request belongs to.
async fn try_all(
    servers: &TwoServers,
    cases: impl IntoIterator<Item = (String, String, Option<Place>)>,
) -> Vec<String> {
    let tokens = PLACES.map(|place| (place, servers.token(place.audience)));
    let mut faults = Vec::new();
    for (host, path, belongs_to) in cases {
        for (place, token) in &tokens {
            servers.clear();
            let response = servers.call(&host, &path, token).await;
            let name = format!("{host} {path} with a token for {}", place.id);
            faults.extend(named(&name, misled(servers, *place)));
            let expected = match belongs_to {
                Some(owner) if owner == *place => 200,
                Some(_) => 401,
                None => 404,
            };
            // Envoy itself refuses some spellings with 400.
            if response.status != expected && !(belongs_to.is_none() && response.status == 400) {
                faults.push(format!("{name}: {} {}", response.status, response.text));
            }
            if belongs_to.is_none() && response.status == 404 {
                faults.extend(named(&name, faults_of_refusal(&response, "unknown_resource")));
            }
        }
    }
    faults
}

fn owned(host: &str, path: &str, owner: Place) -> (String, String, Option<Place>) {
    (host.to_owned(), path.to_owned(), Some(owner))
}

fn of_no_server(host: &str, path: &str) -> (String, String, Option<Place>) {
    (host.to_owned(), path.to_owned(), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_belongs_to_the_resource_of_its_host_and_path() {
    let servers = TwoServers::start(Stack::builder(), |_| {}).await;
    let cases = [
        owned(ALONE.host, ALONE.path, ALONE),
        owned("Alone.EXAMPLE", "/mcp/", ALONE),
        owned("alone.example:443", "/mcp?a=/two/mcp", ALONE),
        owned(ONE.host, "/one/mcp", ONE),
        owned("GATEWAY.example:443", "/one/m%63p", ONE),
        owned(TWO.host, "/two/mcp", TWO),
        owned(TWO.host, "/one/../two/mcp", TWO),
        owned(TWO.host, "//two//mcp", TWO),
        owned(TWO.host, "/./two/mcp", TWO),
        of_no_server(ONE.host, "/mcp"),
        of_no_server(ONE.host, "/one"),
        of_no_server(ONE.host, "/one/mcpx"),
        of_no_server(ONE.host, "/One/mcp"),
        of_no_server(ONE.host, "/"),
        of_no_server(ALONE.host, "/one/mcp"),
        of_no_server("other.example", "/mcp"),
        of_no_server("127.0.0.1", "/mcp"),
    ];
    assert_none(&try_all(&servers, cases).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_host_reaches_another_resource() {
    let servers = TwoServers::start(Stack::builder(), |_| {}).await;
    let hosts = [
        "alone.example.",
        "alone.example.:443",
        "alone.example:",
        "alone.example:0443",
        "alone.example:80",
        "alone.example:8443",
        "user@alone.example",
        "user:password@alone.example",
        "gateway.example@alone.example",
        "alone.example@gateway.example",
        "%61lone.example",
        "alone%2eexample",
        "alone.example%00",
        "alone.example%2fmcp",
        "alone.example/",
        "alone.example?",
        "alone.example#",
        "alone.example,gateway.example",
        "alone.example gateway.example",
        "[alone.example]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "127.1",
        "0x7f000001",
        "\u{ff41}lone.example",
        "",
    ];
    let cases = hosts.into_iter().map(|host| of_no_server(host, ALONE.path));
    assert_none(&try_all(&servers, cases).await);
    // The plain spelling.
    let cases = PLACES.map(|place| owned(place.host, place.path, place));
    assert_none(&try_all(&servers, cases).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ip_address_is_a_host_in_its_usual_form() {
    const USUAL: [&str; 3] = ["[2001:db8::1]", "[::1]:8443", "127.0.0.1:8443"];
    // In this Envoy these hosts reach the other server.
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["resources"][2]["hosts"] = json!(USUAL);
    })
    .await;
    let cases = USUAL.map(|host| owned(host, TWO.path, TWO));
    assert_none(&unrouted_faults(&servers, cases).await);
    let others = [
        "[2001:db8:0::1]",
        "[2001:0db8::1]",
        "[2001:db8::0.0.0.1]",
        "[2001:db8::1%25eth0]",
        "[2001:db8::1].",
        "[2001:db8::1]:",
        "[2001:db8::1]:8443",
        "[2001:db8::1]:0443",
        "2001:db8::1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]:8443",
        "[::ffff:127.0.0.1]:8443",
        "[::ffff:7f00:1]:8443",
        "127.0.0.1",
        "127.0.0.1.:8443",
        "127.0.0.01:8443",
        "127.1:8443",
        "2130706433:8443",
        "0x7f.0.0.1:8443",
        "user@127.0.0.1:8443",
    ];
    let cases = others.map(|host| of_no_server(host, TWO.path));
    assert_none(&try_all(&servers, cases).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_of_the_absolute_form_is_used() {
    let servers = TwoServers::start(Stack::builder(), |_| {}).await;
    let cases = [
        // Envoy uses the host in the request line (RFC 9112 §3.2.2).
        owned("gateway.example", "http://alone.example/mcp", ALONE),
        owned("alone.example", "http://gateway.example/two/mcp", TWO),
        owned("", "http://gateway.example/one/mcp", ONE),
        // Envoy strips user info there.
        owned("gateway.example", "http://user@alone.example/mcp", ALONE),
        of_no_server("alone.example", "http://alone.example./mcp"),
        of_no_server("alone.example", "http://other.example/mcp"),
        of_no_server("alone.example", "http://gateway.example/mcp"),
    ];
    assert_none(&try_all(&servers, cases).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_reaches_another_resource_even_if_envoy_normalises_none() {
    let servers = TwoServers::start(
        Stack::builder().edit(|bootstrap| {
            let manager = bootstrap.connection_manager();
            manager["normalize_path"] = json!(false);
            manager["merge_slashes"] = json!(false);
            manager["path_with_escaped_slashes_action"] = json!("KEEP_UNCHANGED");
        }),
        |_| {},
    )
    .await;
    let paths = [
        "/one/mcp/../../two/mcp",
        "/two/mcp/../../one/mcp",
        "/one/mcp/..",
        "/one/mcp/.",
        "/one/./mcp",
        "/one/mcp/%2e%2e/%2e%2e/two/mcp",
        "/one/mcp/.%2E/two/mcp",
        "/one/mcp%2f..%2f..%2ftwo/mcp",
        "/two%2fmcp",
        "/two%5cmcp",
        "/two\\mcp",
        "/one/mcp\\..\\..\\two\\mcp",
        "//two/mcp",
        "/two//mcp",
        "/two/mcp//",
        "/two/mcp;/../../one/mcp",
        "/two/mcp;x=1",
        "/two/mcp%3bx",
        "/two/mcp%3f",
        "/two/mcp%23",
        "/two/mcp%252f",
        "/two/mcp%25",
        "/two/mcp%00",
        "/two/mcp%",
        "/two/mcp%zz",
        "/%2574wo/mcp",
        "/%74wo/mcp",
        "/two/%6Dcp",
        "/TWO/mcp",
        "/%54WO/mcp",
        "/two/mcp%2f",
        "/two/mcp%2fx",
        "/two/mcp%252fx",
        "/two/mcp/../mcp",
        "/one/mcp/%2E./%2e%2E/two/mcp",
        "/one/mcp/..%5c..%5ctwo/mcp",
        "two/mcp",
        "*",
    ];
    // `%25` alone is a plain character: a different path, which belongs to no server.
    let cases = paths.into_iter().map(|path| of_no_server(TWO.host, path));
    assert_none(&try_all(&servers, cases).await);
    let cases = [
        owned(ONE.host, "/one/mcp/..a", ONE),
        owned(ONE.host, "/one/mcp/x", ONE),
        owned(TWO.host, "/two/mcp/", TWO),
        owned(TWO.host, "/two/mcp?/../../one/mcp", TWO),
    ];
    assert_none(&unrouted_faults(&servers, cases).await);
}

/// The same for paths that the MCP server does not serve: the result is which server got the
/// request.
async fn unrouted_faults(
    servers: &TwoServers,
    cases: impl IntoIterator<Item = (String, String, Option<Place>)>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (host, path, owner) in cases {
        for place in PLACES {
            servers.clear();
            servers.call(&host, &path, &servers.token(place.audience)).await;
            faults.extend(named(&format!("{host} {path}"), misled(servers, place)));
            let is_there = !servers.reached().is_empty();
            if is_there != (owner == Some(place)) {
                faults.push(format!("{host} {path}: {is_there} for {}", place.id));
            }
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_the_authority_is_used_and_a_host_field_is_ignored() {
    let servers = TwoServers::start(Stack::builder(), |_| {}).await;
    for (authority, host, place) in [
        ("alone.example", "gateway.example", ALONE),
        ("gateway.example", "alone.example", TWO),
        ("alone.example", "alone.example", ALONE),
    ] {
        let tokens = PLACES.map(|place| (place, servers.token(place.audience)));
        for (owner, token) in tokens {
            servers.clear();
            let authorization = format!("Bearer {token}");
            let fields = [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", authority),
                (":path", place.path),
                ("host", host),
                ("content-type", "application/json"),
                ("accept", "application/json, text/event-stream"),
                ("authorization", authorization.as_str()),
            ];
            raw_http2_fields(servers.stack.envoy.address(), &fields, b"{}", &[]).await;
            assert_none(&misled(&servers, owner));
            assert_eq!(servers.reached().is_empty(), owner != place, "{authority} {host}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_additional_names_of_a_resource_and_a_star_is_any_other_host() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["resources"][1]["hosts"] = json!(["alone.example:8443", "gateway.internal"]);
        configuration["resources"][2]["hosts"] = json!(["*"]);
    })
    .await;
    // In this Envoy all other hosts reach the other server.
    for (host, path, audience, status) in [
        ("alone.example:8443", "/one/mcp", ONE.audience, 200),
        ("gateway.internal", "/one/mcp", ONE.audience, 200),
        ("gateway.internal", "/one/mcp", TWO.audience, 401),
        ("other.example", "/two/mcp", TWO.audience, 200),
        ("other.example:8443", "/two/mcp", TWO.audience, 200),
        ("alone.example", "/two/mcp", TWO.audience, 200),
        ("alone.example", "/mcp", TWO.audience, 401),
        ("other.example", "/one/mcp", ONE.audience, 404),
        ("other.example.", "/two/mcp", TWO.audience, 404),
        ("user@other.example", "/two/mcp", TWO.audience, 404),
        ("other.example:", "/two/mcp", TWO.audience, 404),
    ] {
        let response = servers.call(host, path, &servers.token(audience)).await;
        // Behind these hosts nothing rewrites the path, so the server does not know it.
        let is_passed = response.reason().is_empty();
        assert_eq!(is_passed, status == 200, "{host} {path}: {response:?}");
        if !is_passed {
            assert_eq!(response.status, status, "{host} {path}: {response:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_resource_every_request_belongs_to_it() {
    let stack = Stack::builder().start().await;
    for host in ["other.example", "a.example.", "user@a.example"] {
        stack.server.clear();
        let request = stack.request().bearer_auth(stack.token()).header("host", host);
        let response = stack.send(request.header("x-mcp-resource", "as it was")).await;
        assert_eq!(response.status, 200, "{host}: {response:?}");
        let requests = stack.server.requests();
        assert_eq!(requests[0].header("x-mcp-resource"), [b"as it was"], "{host}");
    }
    // An ambiguous path is refused only by access rules.
    let request = stack.client().get(stack.envoy.url("/a;b"));
    assert_refusal(&stack.send_refused(request).await, "missing_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_no_resource_is_refused_with_and_without_a_token() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["errors"] = json!({"details": "full"});
    })
    .await;
    let server: &McpServer = &servers.stack.server;
    for lines in ["", "authorization: Basic YTpi\r\n", "origin: https://evil.example\r\n"] {
        let response = servers.send("other.example", "/mcp", lines).await;
        assert_refusal(&response, "unknown_resource");
        let details = json!({"authority": "other.example", "ambiguous_path": false});
        assert_eq!(response.body["details"], details, "{response:?}");
    }
    assert_eq!(server.count() + servers.other.count(), 0);
}

/// A resource at the root of a host, and one below it on another server in report mode.
fn nested(configuration: &mut Value) {
    configuration["resources"] = json!([
        {"id": "alone", "url": "https://gateway.example/", "audiences": ["for-alone"]},
        {
            "id": "two", "url": "https://gateway.example/two/m:c,p", "audiences": ["for-two"],
            "mode": "report",
        },
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoded_spelling_of_a_nested_resource_belongs_to_no_resource() {
    for normalises in [true, false] {
        let builder = Stack::builder().edit(move |bootstrap| {
            bootstrap.connection_manager()["normalize_path"] = json!(normalises);
            let route = |prefix: &str, cluster: &str| {
                json!({
                    "match": {"path_separated_prefix": prefix},
                    "route": {"cluster": cluster, "prefix_rewrite": "/mcp"},
                })
            };
            bootstrap.connection_manager()["route_config"]["virtual_hosts"] = json!([{
                "name": "gateway",
                "domains": ["*"],
                "routes": [
                    route("/two/m:c,p", "other_server"),
                    {"match": {"prefix": "/"}, "route": {"cluster": "mcp_server"}},
                ],
            }]);
        });
        let servers = TwoServers::start(builder, nested).await;
        for path in ["/two/m%3ac,p", "/two/m:c%2cp", "/two/m%3Ac%2Cp/"] {
            let response = servers.send("gateway.example", path, "").await;
            assert_eq!(response.status, 404, "{path}: {response:?}");
            assert_eq!(response.reason(), "unknown_resource", "{path}");
        }
        if !normalises {
            for path in ["/%74wo/m:c,p", "/two/%6d:c,p"] {
                let response = servers.send("gateway.example", path, "").await;
                assert_eq!(response.status, 404, "{path}: {response:?}");
            }
        }
        assert_eq!(servers.reached(), []);
        // In its plain spelling, it is the nested resource; everything else belongs to the other.
        servers.send("gateway.example", "/two/m:c,p", "").await;
        assert_eq!(servers.reached(), [(1, vec!["two".to_owned()])]);
        assert_eq!(servers.send("gateway.example", "/elsewhere%3a", "").await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_spelling_of_an_encoded_url_belongs_to_no_resource() {
    for (path, others) in [
        ("/two/%40acme", ["/two/@acme", "/two/@acme/x"]),
        ("/%27two/mcp", ["/'two/mcp", "/'two/mcp/"]),
        ("/two/a%3Ab", ["/two/a:b", "/two/a%3ab"]),
    ] {
        for normalises in [true, false] {
            let servers = start_encoded(path, normalises).await;
            // Envoy sends these to the server of the root; the nested resource is in report mode.
            for other in others {
                let response = servers.send("gateway.example", other, "").await;
                assert_eq!(response.status, 404, "{other}: {response:?}");
                let fields = [
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":authority", "gateway.example"),
                    (":path", other),
                    ("content-type", "application/json"),
                ];
                raw_http2_fields(servers.stack.envoy.address(), &fields, b"{}", &[]).await;
                assert_eq!(servers.reached(), [], "{other} ({normalises})");
            }
            servers.send("gateway.example", path, "").await;
            assert_eq!(servers.reached(), [(1, vec!["two".to_owned()])], "{path} ({normalises})");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_bytes_do_not_match_encoded_ones_over_http2() {
    let servers = start_encoded("/caf%C3%A9", false).await;
    for path in ["/caf\u{e9}", "/caf%c3%a9", "/caf\u{e9}/x"] {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "gateway.example"),
            (":path", path),
        ];
        raw_http2_fields(servers.stack.envoy.address(), &fields, b"{}", &[]).await;
        assert_eq!(servers.reached(), [], "{path}");
    }
    servers.send("gateway.example", "/caf%C3%A9", "").await;
    assert_eq!(servers.reached(), [(1, vec!["two".to_owned()])]);
}

/// A resource at the root of a host, and one at this path on another server in report mode.
async fn start_encoded(path: &'static str, normalises: bool) -> TwoServers {
    let builder = Stack::builder().edit(move |bootstrap| {
        let manager = bootstrap.connection_manager();
        manager["normalize_path"] = json!(normalises);
        let nested = json!({"path_separated_prefix": path});
        manager["route_config"]["virtual_hosts"] = json!([{
            "name": "gateway",
            "domains": ["*"],
            "routes": [
                {"match": nested, "route": {"cluster": "other_server"}},
                {"match": {"prefix": "/"}, "route": {"cluster": "mcp_server"}},
            ],
        }]);
    });
    TwoServers::start(builder, move |configuration| {
        nested(configuration);
        configuration["resources"][1]["url"] = json!(format!("https://gateway.example{path}"));
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn default_identity_headers_are_stripped_even_if_each_resource_has_its_own_prefix() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        for (index, resource) in
            configuration["resources"].as_array_mut().unwrap().iter_mut().enumerate()
        {
            resource["identity"] = json!({"header_prefix": format!("x-{index}-")});
        }
        configuration["exempt"] = json!([{"path": "/healthz"}]);
    })
    .await;
    let forged =
        "x-mcp-user: root\r\nx-mcp-resource: two\r\nx.mcp.resource: one\r\nx-other: kept\r\n";
    servers.send("of_no_server.example", "/healthz", forged).await;
    let requests = servers.other.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("x-other"), [b"kept"]);
    for name in ["x-mcp-user", "x-mcp-resource", "x.mcp.resource"] {
        assert!(requests[0].header(name).is_empty(), "{name}");
    }
}
