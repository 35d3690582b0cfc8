//! Two MCP servers behind one plugin: the set-up of the tests of resources.

use serde_json::{Value, json};
use testbed::{McpServer, Response, Stack, StackBuilder, raw_exchange};

use crate::support::{close_at_once, parsed};

/// Envoy with three resources on two servers: `alone` and `one` on the first, `two` on the other.
pub struct TwoServers {
    pub stack: Stack,
    pub other: McpServer,
}

/// A resource: the plain host and path of its requests, and the audience of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub id: &'static str,
    pub host: &'static str,
    pub path: &'static str,
    pub audience: &'static str,
}

pub const ALONE: Place =
    Place { id: "alone", host: "alone.example", path: "/mcp", audience: "for-alone" };
pub const ONE: Place =
    Place { id: "one", host: "gateway.example", path: "/one/mcp", audience: "for-one" };
pub const TWO: Place =
    Place { id: "two", host: "gateway.example", path: "/two/mcp", audience: "for-two" };
pub const PLACES: [Place; 3] = [ALONE, ONE, TWO];

impl Place {
    pub fn url(self) -> String {
        format!("https://{}{}", self.host, self.path)
    }
}

/// The three resources.
pub fn resources() -> Value {
    let resources = PLACES
        .map(|place| json!({"id": place.id, "url": place.url(), "audiences": [place.audience]}));
    json!(resources)
}

/// Replaces the only resource by these.
pub fn set_resources(configuration: &mut Value, resources: Value) {
    let members = configuration.as_object_mut().unwrap();
    members.remove("resource");
    members.insert("resources".to_owned(), resources);
    members["providers"][0].as_object_mut().unwrap().remove("client_ids");
}

impl TwoServers {
    /// Starts with these changes to the plugin's configuration.
    pub async fn start(
        builder: StackBuilder,
        configure: impl FnOnce(&mut Value) + Send + 'static,
    ) -> Self {
        let other = McpServer::start().await;
        let address = other.address();
        let stack = builder
            .cluster("other_server", address)
            .configure(move |configuration| {
                set_resources(configuration, resources());
                configure(configuration);
            })
            .edit(|bootstrap| {
                close_at_once(bootstrap);
                let route = |prefix: &str, cluster: &str| {
                    json!({
                        "match": {"path_separated_prefix": prefix},
                        "route": {"cluster": cluster, "prefix_rewrite": "/mcp", "timeout": "0s"},
                    })
                };
                let both = |host: &str| json!([host, format!("{host}:443")]);
                // Hosts in any other spelling reach the other server.
                let rest = |cluster: &str| {
                    json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}})
                };
                bootstrap.connection_manager()["route_config"]["virtual_hosts"] = json!([
                    {
                        "name": "alone",
                        "domains": both(ALONE.host),
                        "routes": [route(ALONE.path, "mcp_server"), rest("mcp_server")],
                    },
                    {
                        "name": "gateway",
                        "domains": both(ONE.host),
                        "routes": [
                            route(ONE.path, "mcp_server"),
                            route(TWO.path, "other_server"),
                            rest("other_server"),
                        ],
                    },
                    {"name": "rest", "domains": ["*"], "routes": [rest("other_server")]},
                ]);
            })
            .start()
            .await;
        Self { stack, other }
    }

    /// A token of the demo provider for this audience.
    pub fn token(&self, audience: impl Into<Value>) -> String {
        let mut claims = self.stack.claims();
        claims["aud"] = audience.into();
        self.stack.provider.token(&claims)
    }

    /// Calls `whoami` at this host and path, whatever they are, with these additional header lines.
    pub async fn send(&self, host: &str, path: &str, lines: &str) -> Response {
        let body = json!({
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "whoami", "arguments": {}},
        });
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n{lines}\r\n{body}",
            body.len()
        );
        parsed(&raw_exchange(self.stack.envoy.address(), request.as_bytes()).await)
    }

    /// The same with this token.
    pub async fn call(&self, host: &str, path: &str, token: &str) -> Response {
        self.send(host, path, &format!("authorization: Bearer {token}\r\n")).await
    }

    /// The same at the plain URL of a resource.
    pub async fn call_at(&self, place: Place, token: &str) -> Response {
        self.call(place.host, place.path, token).await
    }

    /// GETs a path at this host.
    pub async fn get(&self, host: &str, path: &str) -> Response {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        parsed(&raw_exchange(self.stack.envoy.address(), request.as_bytes()).await)
    }

    /// For each request that reached a server: which of the two, and the resource ids it had.
    pub fn reached(&self) -> Vec<(usize, Vec<String>)> {
        let servers = [&self.stack.server, &self.other];
        let each = servers.into_iter().enumerate().flat_map(|(index, server)| {
            server.requests().into_iter().map(move |request| {
                let ids = request.header("x-mcp-resource").into_iter();
                let ids = ids.map(|value| String::from_utf8(value.to_vec()).unwrap());
                (index, ids.collect())
            })
        });
        each.collect()
    }

    pub fn clear(&self) {
        self.stack.server.clear();
        self.other.clear();
    }
}
