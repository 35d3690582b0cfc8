//! `envoy/gateway.yaml`: clients log in to each of three MCP servers behind one Envoy, from its
//! URL.

use std::collections::BTreeMap;

use reqwest::Client;
use serde_json::json;
use testbed::{
    Bootstrap, Envoy, McpServer, McpSession, OfficialSdk, OpenIdProvider, Port, Response,
    log_in_by_rust_sdk, module_path,
};

/// A server of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    id: &'static str,
    host: &'static str,
    path: &'static str,
    scope: &'static str,
    /// The first provider in its metadata.
    provider: &'static str,
}

const INCIDENTS: Place = Place {
    id: "incidents",
    host: "localhost",
    path: "/incidents/mcp",
    scope: "incident.read",
    provider: "staff",
};
const REPORTS: Place = Place {
    id: "reports",
    host: "localhost",
    path: "/reports/mcp",
    scope: "report.read",
    provider: "partners",
};
const PAYROLL: Place = Place {
    id: "payroll",
    host: "127.0.0.1",
    path: "/mcp",
    scope: "payroll.read",
    provider: "staff",
};
const PLACES: [Place; 3] = [INCIDENTS, REPORTS, PAYROLL];

/// The running file.
struct Running {
    envoy: Envoy,
    port: u16,
    providers: BTreeMap<&'static str, OpenIdProvider>,
    servers: BTreeMap<&'static str, McpServer>,
}

impl Running {
    async fn start() -> Self {
        let port = Port::free();
        let number = port.number();
        let resources: Vec<_> = PLACES.iter().map(|place| place.url(number)).collect();
        let scopes = PLACES.map(|place| place.scope);
        let mut providers = BTreeMap::new();
        for name in ["staff", "partners"] {
            let provider = OpenIdProvider::builder(&resources[0], &scopes);
            providers.insert(name, provider.option("resources", json!(resources)).start().await);
        }
        let issuers = ["staff", "partners"].map(|name| providers[name].issuer());
        let issuers = issuers.each_ref().map(String::as_str);
        let mut bootstrap = Bootstrap::gateway_example(number, issuers);
        bootstrap.set_module(&module_path());
        let clusters = bootstrap.tree()["static_resources"]["clusters"].as_array().unwrap().len();
        for (name, provider) in &providers {
            bootstrap.set_cluster(name, provider.address());
        }
        let mut servers = BTreeMap::new();
        for Place { id, .. } in PLACES {
            let server = McpServer::start_with_sessions().await;
            bootstrap.set_cluster(id, server.address());
            servers.insert(id, server);
        }
        let now = bootstrap.tree()["static_resources"]["clusters"].as_array().unwrap().len();
        assert_eq!(now, clusters, "the file has all clusters");
        let envoy = Envoy::builder().bootstrap(bootstrap).port(port).start().await;
        Self { envoy, port: number, providers, servers }
    }

    fn url(&self, place: Place) -> String {
        place.url(self.port)
    }

    /// The servers that were reached since the last call.
    fn reached(&self) -> Vec<&'static str> {
        let reached = self.servers.iter().filter(|(_, server)| server.count() > 0);
        let names = reached.map(|(name, _)| *name).collect();
        self.servers.values().for_each(McpServer::clear);
        names
    }

    /// Calls a tool with this token, and asserts which user and which resource the server sees.
    async fn assert_passes(&self, place: Place, token: &str) {
        let session = McpSession::open(&self.url(place), Some(token)).await;
        let session = session.unwrap_or_else(|error| {
            panic!("{place:?}: {error}\n{}", self.envoy.log());
        });
        let identity = session.whoami().await.unwrap();
        assert_eq!(identity["x-mcp-resource"], place.id, "{identity}");
        assert_eq!(identity["x-mcp-provider"], place.provider, "{identity}");
        session.close().await;
        assert_eq!(self.reached(), [place.id]);
    }
}

impl Place {
    fn url(self, port: u16) -> String {
        format!("http://{}:{port}{}", self.host, self.path)
    }

    /// The requests of each client before the first one that passes.
    fn login(self) -> [String; 5] {
        let Self { path, .. } = self;
        [
            format!("POST {path} 401"),
            format!("GET /.well-known/oauth-protected-resource{path} 200"),
            "GET /.well-known/oauth-authorization-server 200".to_owned(),
            "POST /reg 201".to_owned(),
            "authorization_code /token 200".to_owned(),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_logs_in_to_each_server_from_its_url() {
    let running = Running::start().await;
    for place in PLACES {
        let url = running.url(place);
        let options = json!({"url": url, "protocol": "auto", "steps": [{"tool": "whoami"}]});
        let [a, b, c, d] = OfficialSdk::ALL.map(|client| client.run_client(options.clone()));
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        for (client, report) in OfficialSdk::ALL.into_iter().zip([a, b, c, d]) {
            let identity = report.identity();
            let issuer = running.providers[place.provider].issuer();
            for (header, value) in [
                ("x-mcp-user", "ada"),
                ("x-mcp-resource", place.id),
                ("x-mcp-provider", place.provider),
                ("x-mcp-issuer", &issuer),
                ("x-mcp-scopes", place.scope),
            ] {
                assert_eq!(identity[header], value, "{client:?} {place:?}: {report:?}");
            }
            let exchanges = report.exchanges();
            assert_eq!(exchanges[..5], place.login(), "{client:?}: {report:?}");
            let asked = report.events("authorization");
            assert_eq!(asked.len(), 1, "{client:?}: {report:?}");
            assert_eq!(asked[0]["resource"], url, "{client:?}: {report:?}");
        }
        assert_eq!(running.reached(), [place.id]);
        let token = log_in_by_rust_sdk(&url, "ada").await;
        running.assert_passes(place, &token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_server_is_refused_at_the_others() {
    let running = Running::start().await;
    let client = Client::builder().no_proxy().build().unwrap();
    let mut tokens = Vec::new();
    for place in PLACES {
        tokens.push((place, log_in_by_rust_sdk(&running.url(place), "ada").await));
    }
    // Twice, because the second request uses the token cache.
    for _ in 0..2 {
        for (owner, token) in &tokens {
            running.assert_passes(*owner, token).await;
            for place in PLACES.into_iter().filter(|place| place != owner) {
                let request = Response::mcp_call(&client, &running.url(place)).bearer_auth(token);
                let response = Response::read(request.send().await.unwrap()).await;
                let expected = match (owner.provider, place) {
                    ("partners", PAYROLL) => "unknown_issuer",
                    _ => "audience_mismatch",
                };
                let found = (response.status, response.reason());
                assert_eq!(found, (401, expected), "{owner:?} at {place:?}: {response:?}");
                let document = format!("/.well-known/oauth-protected-resource{}\"", place.path);
                assert!(response.header("www-authenticate").contains(&document), "{response:?}");
                assert_eq!(running.reached(), [""; 0], "{owner:?} at {place:?}");
            }
        }
    }
}
