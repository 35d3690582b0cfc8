//! Requests to switch protocols, such as WebSocket handshakes: the only ones whose `Connection`
//! header Envoy forwards.

use serde_json::json;
use testbed::{Port, RawServer, Stack, raw_exchange};

use crate::support::add_listener;

// Requirement: state-user
#[tokio::test(flavor = "multi_thread")]
async fn upgrades_never_remove_an_identity_header() {
    let server = RawServer::start().await;
    let forwarding = Port::free();
    let number = forwarding.number();
    let stack = Stack::builder()
        .configure(|configuration| configuration["exempt"] = json!([{"path": "/healthz"}]))
        .cluster("mcp_server", server.address())
        .edit(move |bootstrap| {
            bootstrap.connection_manager()["upgrade_configs"] =
                json!([{"upgrade_type": "websocket"}]);
            add_listener(bootstrap, number, |configuration| {
                configuration["identity"] = json!({"forward_token": true});
            });
        })
        .start()
        .await;
    let token = format!("Bearer {}", stack.token());
    let handshake = async |address, path: &str, connection: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: mcp.example.com\r\n{connection}upgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             authorization: {token}\r\n\r\n"
        );
        let response = raw_exchange(address, request.as_bytes()).await;
        assert_eq!(response.status(), 101, "{connection}: {response:?}");
        server.take_requests().pop().expect("it reached the server")
    };
    let (removing, other) = (stack.envoy.address(), forwarding.address());
    for connection in [
        "connection: upgrade, x-mcp-user\r\n",
        "connection: x-mcp-user, Upgrade, X-MCP-Roles\r\n",
        "connection: upgrade\r\nconnection: x-mcp-user\r\n",
        "connection: Upgrade,x_mcp_user,authorization\r\n",
        "connection: keep-alive, upgrade, x-mcp-user\r\n",
    ] {
        let request = handshake(removing, "/ws", connection).await;
        assert_eq!(request.header("connection"), ["upgrade"], "{connection}");
        assert_eq!(request.header("x-mcp-user"), ["ada@example.com"], "{connection}");
        let request = handshake(removing, "/healthz", connection).await;
        assert_eq!(request.header("connection"), ["upgrade"], "{connection}");
        let request = handshake(other, "/ws", connection).await;
        assert_eq!(request.header("connection"), ["upgrade"], "{connection}");
        assert_eq!(request.header("authorization"), [token.as_str()], "{connection}");
    }
    // What browsers send is unchanged.
    for connection in ["Upgrade", "keep-alive, Upgrade"] {
        let request = handshake(removing, "/ws", &format!("connection: {connection}\r\n")).await;
        assert_eq!(request.header("connection"), [connection]);
        assert_eq!(request.header("upgrade"), ["websocket"]);
        assert_eq!(request.header("x-mcp-user"), ["ada@example.com"]);
    }
}
