//! `envoy/full.yaml`: all features that a large installation may need.

use serde_json::{Value, json};
use testbed::{Bootstrap, FleetStore, IdentityProvider, Response, ScimDirectory};

use super::{
    ENTRA, HOST, KeyHost, SSO, Site, TlsEnvoy, Vendor, assert_certificates_matter, employee,
    lead_to,
};
use crate::support::{SOON, assert_refusal, with};

const DIRECTORY: &str = "directory.example.com";
const PAGE: &str = "https://chat.example.com";

/// The example, with all services that it calls.
struct World {
    site: Site,
    entra: IdentityProvider,
    partners: IdentityProvider,
    machines: IdentityProvider,
    directory: ScimDirectory,
    store: FleetStore,
}

impl World {
    async fn new() -> Self {
        let site = Site::new().await;
        let entra = site.entra().await;
        let vendor = Vendor {
            issuer: "https://partners.okta.com/oauth2/default",
            metadata_url: "https://partners.okta.com/oauth2/default/.well-known/openid-configuration",
            jwks_url: "https://partners.okta.com/oauth2/default/v1/keys",
            authority: &site.public,
        };
        let partners = site.provider(vendor).await;
        let machines = site.keycloak("machines").await;
        let directory = ScimDirectory::start().await;
        for user in ["ada@example.com", "bob@partner.example"] {
            directory.add_user(json!({"userName": user, "active": true})).await;
        }
        site.entrance.serve(DIRECTORY, &site.company, directory.address());
        let store = FleetStore::start().await;
        Self { site, entra, partners, machines, directory, store }
    }

    async fn start(&self) -> TlsEnvoy {
        self.site.start(self.bootstrap()).await
    }

    fn bootstrap(&self) -> Bootstrap {
        let mut bootstrap = self.site.example("full.yaml");
        let clusters = &mut bootstrap.tree()["static_resources"]["clusters"];
        let clusters = clusters.as_array_mut().unwrap().iter_mut();
        let mut stores = clusters.filter(|cluster| cluster["name"] == "replay_store");
        lead_to(stores.next().unwrap(), self.store.gateway.address());
        bootstrap
    }

    fn employee(&self) -> Value {
        with(&employee(&self.entra), "tid", super::TENANT)
    }

    fn partner(&self) -> Value {
        let claims = self.partners.claims("api://incident-tools");
        with(&with(&claims, "sub", "bob@partner.example"), "scp", "incidents.read incidents.write")
    }

    fn machine(&self) -> Value {
        let claims = self.machines.claims("incident-mcp");
        let claims = with(&claims, "azp", "nightly-import");
        let claims = with(&claims, "preferred_username", "service-account-nightly-import");
        with(&claims, "scope", "incidents.write")
    }
}

/// A call to this tool.
fn call_of(gate: &TlsEnvoy, tool: &str, token: &str) -> reqwest::RequestBuilder {
    gate.request().bearer_auth(token).json(&json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": tool, "arguments": {}},
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_caller_may_do_what_the_rules_say() {
    let world = World::new().await;
    let gate = world.start().await;
    gate.assert_is_closed(&world.site.server).await;

    let employee = world.entra.token(&world.employee());
    gate.assert_passes(&employee, "ada@example.com", "entra").await;
    let tenants = world.site.server.requests().pop().unwrap().identity();
    assert_eq!(tenants["x-mcp-tenant"], super::TENANT);
    let partner = world.partners.token(&world.partner());
    gate.assert_passes(&partner, "bob@partner.example", "partners").await;
    let before = world.site.server.count();
    for (token, reason) in [(&employee, "access_denied"), (&partner, "access_denied")] {
        let response = gate.send(call_of(&gate, "create_incident", token)).await;
        assert_refusal(&response, reason);
    }
    // Requests that no rule matches.
    assert_refusal(&gate.send(call_of(&gate, "drop_all", &employee)).await, "access_denied");
    let unknown = with(&world.employee(), "preferred_username", "eve@example.com");
    assert_refusal(&gate.call(&world.entra.token(&unknown)).await, "user_unknown");
    assert_eq!(world.site.server.count(), before);

    // The GET of the event stream and the DELETE of a session have no message.
    for method in ["GET", "DELETE"] {
        let before = world.site.server.count();
        let request = gate.client.request(method.parse().unwrap(), gate.url("/mcp"));
        let request = request.header("host", HOST).header("accept", "text/event-stream");
        assert_refusal(&gate.send(request.try_clone().unwrap()).await, "missing_token");
        assert_eq!(world.site.server.count(), before);
        gate.send(request.bearer_auth(&employee)).await;
        assert_eq!(world.site.server.count(), before + 1, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_tokens_are_single_use() {
    let world = World::new().await;
    let gate = world.start().await;
    let token = world.machines.token(&world.machine());
    gate.assert_passes(&token, "nightly-import", "machines").await;
    assert_refusal(&gate.call(&token).await, "jti_replayed");
    assert_eq!(world.site.server.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_and_probes_need_no_token() {
    let world = World::new().await;
    let gate = world.start().await;
    let preflight = gate
        .client
        .request("OPTIONS".parse().unwrap(), gate.url("/mcp"))
        .header("host", HOST)
        .header("origin", PAGE)
        .header("access-control-request-method", "POST");
    let response = gate.send(preflight).await;
    assert_eq!((response.status, response.header("access-control-allow-origin")), (200, PAGE));
    let response = gate.send(gate.request().header("origin", PAGE)).await;
    assert_refusal(&response, "missing_token");
    assert_eq!(response.header("access-control-allow-origin"), PAGE);
    let foreign = gate.request().header("origin", "https://evil.example");
    assert_refusal(&gate.send(foreign).await, "origin_denied");
    assert_eq!(world.site.server.count(), 0);
    let probe = gate.client.get(gate.url("/healthz")).header("host", HOST);
    Response::read(probe.send().await.unwrap()).await;
    assert_eq!(world.site.server.requests().pop().unwrap().path, "/healthz");
}

/// The lines of the access log for requests with this status.
async fn lines(gate: &TlsEnvoy, status: u16, reason: &str) -> Vec<Value> {
    gate.envoy.await_log(&format!("\"reason\":{reason}"), SOON).await;
    let log = gate.envoy.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["status"] == status).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_has_user_provider_and_reason() {
    let world = World::new().await;
    let gate = world.start().await;
    let token = world.entra.token(&world.employee());
    gate.assert_passes(&token, "ada@example.com", "entra").await;
    let passed = &lines(&gate, 200, "null").await[0];
    let who = |line: &Value| ["user", "provider", "reason"].map(|name| line[name].clone());
    assert_eq!(who(passed), [json!("ada@example.com"), json!("entra"), Value::Null], "{passed}");
    assert_eq!((&passed["method"], &passed["path"]), (&json!("POST"), &json!("/mcp")));

    gate.send(call_of(&gate, "create_incident", &token)).await;
    let denied = &lines(&gate, 403, "\"access_denied\"").await[0];
    let expected = [json!("ada@example.com"), json!("entra"), json!("access_denied")];
    assert_eq!(who(denied), expected, "{denied}");

    let expired = world.entra.token(&with(&world.employee(), "exp", 1000));
    gate.call(&expired).await;
    let refused = &lines(&gate, 401, "\"expired\"").await[0];
    assert_eq!(who(refused), [Value::Null, json!("entra"), json!("expired")], "{refused}");

    let query = gate.url(&format!("/mcp?access_token={expired}"));
    gate.send(Response::mcp_call(&gate.client, &query).header("host", HOST)).await;
    let refused = &lines(&gate, 400, "\"malformed_authorization\"").await[0];
    assert_eq!(refused["path"], "/mcp", "{refused}");
    for token in [token, expired] {
        assert!(!gate.envoy.log().contains(&token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_labels() {
    let world = World::new().await;
    let gate = world.start().await;
    gate.send(gate.request()).await;
    gate.assert_passes(&world.entra.token(&world.employee()), "ada@example.com", "entra").await;
    let metrics = gate.envoy.admin("/stats/prometheus").await;
    for line in [
        r#"mcp_auth_requests{provider="none",outcome="refused",reason="missing_token"} 1"#,
        r#"mcp_auth_requests{provider="entra",outcome="allowed",reason="none"} 1"#,
        r#"mcp_auth_key_fetches{provider="entra",result="success"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_an_invalid_certificate_is_not_trusted() {
    let world = World::new().await;
    let World { site, entra, partners, machines, .. } = &world;
    let hosts = [
        (ENTRA, &site.public, entra, world.employee()),
        ("partners.okta.com", &site.public, partners, world.partner()),
        (SSO, &site.company, machines, world.machine()),
    ]
    .map(|(host, authority, provider, claims)| KeyHost {
        host,
        authority,
        provider,
        token: provider.token(&claims),
    });
    assert_certificates_matter(site, || world.bootstrap(), &hosts).await;
    // A certificate of a public authority is not accepted for the company's host.
    site.entrance.serve(SSO, &site.public, machines.address());
    let gate = world.start().await;
    let token = machines.token(&world.machine());
    assert_refusal(&gate.call(&token).await, "keys_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_directory_nor_server_is_trusted_without_a_valid_certificate() {
    let world = World::new().await;
    let World { site, directory, .. } = &world;
    let token = world.entra.token(&world.employee());
    for (certificate, _) in super::false_certificates(DIRECTORY, &site.company) {
        site.entrance.serve_with(DIRECTORY, certificate, directory.address());
        let gate = world.start().await;
        assert_refusal(&gate.call(&token).await, "directory_unavailable");
        assert!(directory.gateway.requests().is_empty());
    }
    site.entrance.serve(DIRECTORY, &site.company, directory.address());
    let name = "mcp-server.internal";
    for (certificate, _) in super::false_certificates(name, &site.company) {
        site.entrance.serve_with(name, certificate, site.server.address());
        let gate = world.start().await;
        assert_eq!(gate.call(&token).await.status, 503);
        assert_eq!(site.server.count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_can_be_used_only_by_its_user() {
    let world = World::new().await;
    let gate = world.start().await;
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let send = async |token: &str, session: &str| {
        let request = gate.request().bearer_auth(token).json(&message);
        gate.send(request.header("mcp-session-id", session)).await
    };
    let ada = world.entra.token(&world.employee());
    // A session id that was not sealed here does not reach the server.
    let before = world.site.server.count();
    assert_refusal(&send(&ada, "3f0c1f5d").await, "session_mismatch");
    assert_eq!(world.site.server.count(), before);
    assert_eq!(gate.send(gate.request().bearer_auth(&ada).json(&message)).await.status, 200);
}
