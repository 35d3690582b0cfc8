//! `envoy/login.yaml`: people log in at Entra ID and at Google through the gateway.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::{Client, Method};
use serde_json::json;
use testbed::{Bootstrap, Envoy, LoginBrowser, LoginClient, LoginProvider, LoginShape, form_of};

use super::{ENTRA, ENTRA_CLIENT_ID, HOST, Site, TlsEnvoy};
use crate::login_support::{SECRET, assert_error, log_in, member};

const FILE: &str = "login.yaml";
const RESOURCE: &str = "https://mcp.example.com/mcp";
const LOGIN: &str = "https://login.example.com";
const GOOGLE: &str = "accounts.google.com";
const GOOGLE_CLIENT_ID: &str = "1234567890-abc.apps.googleusercontent.com";

/// The example, and the two providers at their own addresses.
pub(super) struct Scene {
    pub(super) site: Site,
    pub(super) gate: TlsEnvoy,
    entra: LoginProvider,
    google: LoginProvider,
}

impl Scene {
    async fn start() -> Self {
        let site = Site::new().await;
        let example = site.example(FILE);
        Self::with(site, example).await
    }

    /// Starts with another file for the same installation.
    pub(super) async fn with(site: Site, example: Bootstrap) -> Self {
        let entra = LoginProvider::start_as(LoginShape::entra_id()).await;
        entra.set_origin(&format!("https://{ENTRA}"));
        entra.set_client_id(ENTRA_CLIENT_ID);
        let google = LoginProvider::start_as(LoginShape::google()).await;
        google.set_origin(&format!("https://{GOOGLE}"));
        google.set_client_id(GOOGLE_CLIENT_ID);
        google.edit_metadata(|document| {
            document["token_endpoint"] = json!("https://oauth2.googleapis.com/token");
            document["jwks_uri"] = json!("https://www.googleapis.com/oauth2/v3/certs");
        });
        site.entrance.serve(ENTRA, &site.public, entra.address());
        for host in [GOOGLE, "oauth2.googleapis.com", "www.googleapis.com"] {
            site.entrance.serve(host, &site.public, google.address());
        }
        let envoy = Envoy::builder()
            .bootstrap(example)
            .environment("MCP_AUTH_SECRET", SECRET)
            .environment("ENTRA_SECRET", LoginProvider::CLIENT[1])
            .environment("GOOGLE_SECRET", LoginProvider::CLIENT[1]);
        let gate = TlsEnvoy::before(envoy.start().await, &site.company).await;
        Self { site, gate, entra, google }
    }

    pub(super) async fn client(&self) -> LoginClient {
        let mut client = LoginClient::discover(RESOURCE, self.gate.tunnel.address()).await;
        client.register().await;
        client
    }

    fn browser(&self) -> LoginBrowser {
        LoginBrowser::new([
            (LOGIN.to_owned(), self.gate.tunnel.address()),
            (format!("https://{HOST}"), self.gate.tunnel.address()),
            (format!("https://{ENTRA}"), self.entra.address()),
            (format!("https://{GOOGLE}"), self.google.address()),
        ])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_client_gets_from_the_url_to_a_tool_call_at_both_providers() {
    assert_people_log_in_at_both(&Scene::start().await).await;
}

/// Asserts that an unknown client with only the URL gets to a tool call, at each of the two
/// providers.
pub(super) async fn assert_people_log_in_at_both(scene: &Scene) {
    scene.gate.assert_is_closed(&scene.site.server).await;
    let client = scene.client().await;
    assert_eq!(client.metadata["issuer"], LOGIN);
    for provider in ["entra", "google"] {
        let issued = log_in(&mut scene.browser(), &client, provider).await;
        let refreshed = client.refresh(member(&issued, "refresh_token")).await;
        assert_eq!(refreshed.status, 200, "{refreshed:?}");
        for response in [&issued, &refreshed] {
            let token = member(response, "access_token");
            scene.gate.assert_passes(token, "ada@example.com", provider).await;
        }
    }
    let redirect_uris = [&scene.entra, &scene.google]
        .map(|provider| provider.authorization_requests()[0].parameters["redirect_uri"].clone());
    // As the comment at the top of the file says.
    assert_eq!(
        redirect_uris,
        ["entra", "google"].map(|name| format!("{LOGIN}/oauth/callback/{name}"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_another_company_gets_no_token() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    log_in(&mut scene.browser(), &client, "google").await;
    scene.google.edit_id_claims(|claims| claims["hd"] = json!("other.example"));
    let client = client.for_new_login();
    let approved = crate::login_support::approve(&mut scene.browser(), &client, "google").await;
    let response = client.redeem(&client.code(&approved)).await;
    assert_error(&response, 400, "invalid_grant");
    let description = member(&response, "error_description");
    assert!(description.contains("claim_mismatch"), "{response:?}");
    assert!(description.contains("required_claims"), "{response:?}");
}

// Requirement: login-register-load
#[tokio::test(flavor = "multi_thread")]
async fn registrations_and_logins_are_rate_limited_and_other_requests_are_not() {
    assert_floods_are_limited(&Scene::start().await).await;
}

/// Asserts that the login endpoints have rate limits and requests to the server have none.
pub(super) async fn assert_floods_are_limited(scene: &Scene) {
    let client = scene.client().await;
    let url = client.authorization_url("mcp.tools");
    let mut registered = Vec::new();
    for _ in 0..70 {
        let metadata = json!({"redirect_uris": [client.redirect_uri]});
        registered.push(client.register_with(metadata).await.status);
    }
    // Envoy refills the buckets meanwhile, so the request that is refused need not be the last.
    assert!(registered.contains(&429), "{registered:?}");
    assert!(registered.iter().filter(|status| **status == 201).count() >= 50, "{registered:?}");
    assert_the_limit_counts_the_default_port(scene, &client).await;
    let mut opened = Vec::new();
    for _ in 0..70 {
        opened.push(scene.browser().open(&url).await.status);
    }
    assert!(opened.contains(&Some(429)), "{opened:?}");
    assert!(opened.contains(&Some(200)), "{opened:?}");
    assert_error(&client.redeem("forged").await, 400, "invalid_grant");
    let mut redeemed = Vec::new();
    for _ in 0..70 {
        redeemed.push(client.redeem("forged").await.status);
    }
    assert!(redeemed.contains(&429), "{redeemed:?}");
    assert_other_addresses_renew_no_limit(scene, &client).await;
    let host = scene.gate.request();
    assert_eq!(scene.gate.send(host).await.status, 401, "requests have no such limit");
}

/// Asserts that an address that has used up its limit gets no new one because many others call, and
/// that a limit says when to come back.
async fn assert_other_addresses_renew_no_limit(scene: &Scene, client: &LoginClient) {
    let issuer = client.metadata["issuer"].as_str().expect("it has an issuer");
    let redeem = async |address: Ipv4Addr| {
        let sender = Client::builder().no_proxy().local_address(IpAddr::V4(address));
        let sender = sender.build().expect("it is a client");
        let request = sender
            .post(scene.gate.url("/oauth/token"))
            .header("host", issuer.trim_start_matches("https://"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form_of(&[("code", "forged")]));
        scene.gate.send(request).await
    };
    let flooded = async || {
        let mut limited = 0;
        for _ in 0..70 {
            let response = redeem(Ipv4Addr::new(127, 0, 7, 1)).await;
            if response.status == 429 {
                assert_eq!(response.header("retry-after"), "5", "{response:?}");
                assert_eq!(response.header("access-control-allow-origin"), "*");
                limited += 1;
            }
        }
        limited
    };
    assert_ne!(flooded().await, 0);
    for other in 1..=40 {
        assert_eq!(redeem(Ipv4Addr::new(127, 0, 8, other)).await.status, 401);
    }
    // Envoy refills the bucket one by one meanwhile; a new one has room for 60.
    let limited = flooded().await;
    assert!(limited > 30, "{limited} of 70");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ipv6_addresses_of_one_network_share_a_limit() {
    let site = Site::new().await;
    let mut example = site.example(FILE);
    // The example listens on IPv4 alone, so the addresses come from a proxy in front of it.
    example.connection_manager()["xff_num_trusted_hops"] = json!(1);
    assert_ipv6_networks_are_limited(&Scene::with(site, example).await).await;
}

/// Asserts that the limits for each address count a /64 of IPv6 as one. The scene must trust one
/// proxy.
pub(super) async fn assert_ipv6_networks_are_limited(scene: &Scene) {
    let requests = [
        (Method::POST, "/oauth/register", 400),
        (Method::GET, "/oauth/authorize", 400),
        (Method::POST, "/oauth/token", 400),
        (Method::GET, "/oauth/callback/google", 400),
    ];
    // Keeps its connection, so that Envoy does not refill a bucket meanwhile.
    let client = Client::builder().no_proxy().build().expect("it is a client");
    for (method, path, status) in requests {
        let send = async |address: String| {
            let request = client.request(method.clone(), scene.gate.url(path));
            let request = request.header("host", "login.example.com");
            scene.gate.send(request.header("x-forwarded-for", address)).await.status
        };
        let mut statuses = Vec::new();
        for index in 0..70 {
            statuses.push(send(format!("2001:db8:0:1:{index:x}::{index:x}")).await);
        }
        assert!(statuses.contains(&429), "{path}: {statuses:?}");
        assert_eq!(send("2001:db8:0:2::1".to_owned()).await, status, "{path}");
        // IPv4 addresses have each their own.
        for index in 0..70 {
            assert_eq!(send(format!("198.51.100.{index}")).await, status, "{path}");
        }
    }
}

/// Asserts that the limit on registrations, already used up, also counts requests whose host has
/// the default port.
async fn assert_the_limit_counts_the_default_port(scene: &Scene, client: &LoginClient) {
    let issuer = client.metadata["issuer"].as_str().expect("it has an issuer");
    let host = format!("{}:443", issuer.trim_start_matches("https://"));
    let metadata = json!({"redirect_uris": [client.redirect_uri]});
    let mut registered = Vec::new();
    // Envoy refills the bucket token by token, so a single request might pass.
    for _ in 0..10 {
        let request = scene.gate.client.post(scene.gate.url("/oauth/register")).json(&metadata);
        registered.push(scene.gate.send(request.header("host", &host)).await.status);
    }
    assert!(registered.contains(&429), "{host}: {registered:?}");
}

/// The example with the login on the host of the server, as step 5 of the README's "Your own
/// provider" changes it.
fn on_the_servers_host(mut example: Bootstrap) -> Bootstrap {
    example.plugin_configuration()["login"] = json!({});
    let hosts = &mut example.connection_manager()["route_config"]["virtual_hosts"];
    let hosts = hosts.as_array_mut().expect("it has virtual hosts");
    let login = hosts.remove(0);
    let limited = login["routes"].as_array().expect("it has routes").iter().take(4).cloned();
    let server = hosts[0].as_object_mut().expect("it has another virtual host");
    let routes = server["routes"].as_array_mut().expect("it has routes");
    routes.splice(0..0, limited);
    server["domains"] = json!(["*"]);
    example
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_on_the_servers_host_is_limited_under_every_host() {
    let site = Site::new().await;
    let example = on_the_servers_host(site.example(FILE));
    let scene = Scene::with(site, example).await;
    let client = scene.client().await;
    let metadata = json!({"redirect_uris": [client.redirect_uri]});
    let mut registered = Vec::new();
    for index in 0..80 {
        let host = ["mcp.example.com", "mcp.example.com:443", "elsewhere.example"][index % 3];
        let request = scene.gate.client.post(scene.gate.url("/oauth/register")).json(&metadata);
        let status = scene.gate.send(request.header("host", host)).await.status;
        registered.push((host, status));
    }
    for host in ["mcp.example.com", "mcp.example.com:443", "elsewhere.example"] {
        for status in [201, 429] {
            assert!(registered.contains(&(host, status)), "{host} {status}: {registered:?}");
        }
    }
    let request = scene.gate.request();
    assert_eq!(scene.gate.send(request).await.status, 401, "requests have no such limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_of_the_login_serves_nothing_else() {
    assert_the_host_of_the_login_serves_nothing_else(&Scene::start().await).await;
}

/// Asserts that no path on the login's host reaches the server.
pub(super) async fn assert_the_host_of_the_login_serves_nothing_else(scene: &Scene) {
    let before = scene.site.server.count();
    for (host, path, status) in [
        ("login.example.com", "/.well-known/oauth-authorization-server", 200),
        ("login.example.com", "/", 404),
        ("login.example.com", "/mcp", 404),
        ("login.example.com:8443", "/mcp", 404),
        (HOST, "/.well-known/oauth-protected-resource/mcp", 200),
    ] {
        let request = scene.gate.client.get(scene.gate.url(path)).header("host", host);
        let response = scene.gate.send(request).await;
        assert_eq!(response.status, status, "{host}{path}: {response:?}");
    }
    assert_eq!(scene.site.server.count(), before);
}
