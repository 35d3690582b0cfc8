//! Trailers of requests: some servers merge them into the header fields, so a client could forge an
//! identity there.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testbed::{Bootstrap, Port, RawServer, Stack, raw_exchange, raw_http2_exchange};

use crate::support::{add_listener, close_at_once};

/// Trailers that forge another identity.
const FORGED: [&str; 9] = [
    "x-mcp-user",
    "x-mcp-token-expires",
    "x_mcp_user",
    "x.mcp.roles",
    "x_mcp-client.id",
    "x-mcp_scopes",
    "x-country",
    "x_country",
    "authorization",
];
/// Trailers that the plugin does not check.
const HARMLESS: [(&str, &str); 2] = [("x-checksum", "abc"), ("x-mcp-other", "def")];
const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#;

/// Adds an HTTP/2 listener that forwards everything, trailers included, to this server.
fn serve_by_http2(bootstrap: &mut Bootstrap, inner: SocketAddr, server: SocketAddr) {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let options = |protocol: Value| {
        json!({OPTIONS: {
            "@type": format!("type.googleapis.com/{OPTIONS}"),
            "explicit_http_config": protocol,
        }})
    };
    bootstrap.set_cluster("mcp_server", inner);
    bootstrap.set_cluster("recorder", server);
    let clusters = bootstrap.tree()["static_resources"]["clusters"].as_array_mut().unwrap();
    for (name, protocol) in [
        ("mcp_server", json!({"http2_protocol_options": {}})),
        ("recorder", json!({"http_protocol_options": {"enable_trailers": true}})),
    ] {
        let cluster = clusters.iter_mut().find(|cluster| cluster["name"] == name).unwrap();
        cluster["typed_extension_protocol_options"] = options(protocol);
    }
    let listeners = &mut bootstrap.tree()["static_resources"]["listeners"];
    let mut listener = listeners[0].clone();
    listener["name"] = json!("inner");
    listener["address"]["socket_address"]["port_value"] = json!(inner.port());
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_filters"].as_array_mut().unwrap().remove(0);
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] =
        json!("recorder");
    listeners.as_array_mut().unwrap().push(listener);
}

/// Sends the same request over both versions of HTTP.
async fn send(port: &Port, path: &str, authorization: &str, trailers: &[(&str, &str)]) {
    let request = ["POST", path, authorization];
    raw_http2_exchange(port.address(), request, BODY.as_bytes(), trailers).await;
    let lines: String =
        trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: mcp.example.com\r\nconnection: close\r\n\
         content-type: application/json\r\nauthorization: {authorization}\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{BODY}\r\n0\r\n{lines}\r\n",
        BODY.len(),
    );
    raw_exchange(port.address(), request.as_bytes()).await;
}

// Requirement: state-user
#[tokio::test(flavor = "multi_thread")]
async fn no_trailer_carries_an_identity() {
    let server = RawServer::start().await;
    let (enforcing, reporting, judging) = (Port::free(), Port::free(), Port::free());
    let inner = Port::free();
    let (inner_address, server_address) = (inner.address(), server.address());
    let ports = [&enforcing, &reporting, &judging].map(Port::number);
    let stack = Stack::builder()
        .edit(move |bootstrap| {
            let manager = bootstrap.connection_manager();
            manager["http_protocol_options"] = json!({"enable_trailers": true});
            manager["common_http_protocol_options"] =
                json!({"headers_with_underscores_action": "ALLOW"});
            close_at_once(bootstrap);
            let by_message = json!([{
                "match": {"mcp_names": ["whoami"]}, "require": {"scopes": ["mcp.tools"]},
            }]);
            let settings = [("enforce", json!([])), ("report", json!([])), ("enforce", by_message)];
            for (port, (mode, rules)) in ports.into_iter().zip(settings) {
                add_listener(bootstrap, port, |configuration| {
                    configuration["exempt"] = json!([{"path": "/healthz"}]);
                    configuration["identity"] = json!({"claims_to_headers": [
                        {"claim": "country", "header": "x-country"},
                    ]});
                    configuration["mode"] = json!(mode);
                    configuration["access"] = json!({"default": "allow", "rules": rules});
                });
            }
            serve_by_http2(bootstrap, inner_address, server_address);
        })
        .start()
        .await;
    let token = format!("Bearer {}", stack.token());
    let forged: Vec<(&str, &str)> =
        FORGED.iter().map(|name| (*name, "root")).chain(HARMLESS).collect();
    for (port, path, authorization) in [
        (&enforcing, "/mcp", token.as_str()),
        (&enforcing, "/healthz", "none"),
        (&reporting, "/mcp", token.as_str()),
        (&reporting, "/mcp", "Bearer a.b.c"),
        (&judging, "/mcp", token.as_str()),
    ] {
        for trailers in [&forged[..], &HARMLESS] {
            send(port, path, authorization, trailers).await;
            let requests = server.take_requests();
            assert_eq!(requests.len(), 2, "{path} {authorization}");
            for request in requests {
                let arrived: Vec<(&str, &str)> = request
                    .trailers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                assert_eq!(arrived, HARMLESS, "{path} {authorization}");
                let is_known = authorization == token && path == "/mcp";
                let user: &[&str] = if is_known { &["ada@example.com"] } else { &[] };
                assert_eq!(request.header("x-mcp-user"), user, "{path} {authorization}");
            }
        }
    }
}
