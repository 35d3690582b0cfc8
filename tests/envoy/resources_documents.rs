//! The metadata document of each resource, and the challenges that point to it.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, Stack};

use crate::support::{add_providers, assert_refusal, issuer_of, static_provider};
use crate::two_servers::{ALONE, ONE, PLACES, TWO, TwoServers};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

#[tokio::test(flavor = "multi_thread")]
async fn each_resource_has_its_document_on_each_of_its_hosts() {
    let key = SigningKey::generate(Algorithm::Es256, "partner");
    let partner = static_provider("partner", &[&key], json!({"client_ids": ["for-partner"]}));
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        add_providers(configuration, [partner]);
        configuration["resources"][0]["providers"] = json!(["demo"]);
        configuration["resources"][1]["providers"] = json!(["partner", "demo"]);
        configuration["resources"][1]["name"] = json!("The one");
        configuration["resources"][1]["documentation"] = json!("https://docs.example/one");
        configuration["resources"][1]["scopes_supported"] = json!(["one.read"]);
        configuration["resources"][1]["hosts"] = json!(["one.internal:8443"]);
        configuration["resources"][2]["providers"] = json!(["partner"]);
    })
    .await;
    let demo = servers.stack.provider.issuer().to_owned();
    let partner = issuer_of("partner");
    let document = |url: String, issuers: Value| {
        json!({
            "resource": url,
            "authorization_servers": issuers,
            "bearer_methods_supported": ["header"],
        })
    };
    let mut one = document(ONE.url(), json!([partner, demo]));
    one["resource_name"] = json!("The one");
    one["resource_documentation"] = json!("https://docs.example/one");
    one["scopes_supported"] = json!(["one.read"]);
    let alone = document(ALONE.url(), json!([demo]));
    let two = document(TWO.url(), json!([partner]));
    for (host, path, expected) in [
        ("gateway.example", "/one/mcp", Some(&one)),
        ("GATEWAY.example:443", "/one/mcp/", Some(&one)),
        ("one.internal:8443", "/one/mcp", Some(&one)),
        ("gateway.example", "/two/mcp", Some(&two)),
        ("alone.example", "/mcp", Some(&alone)),
        // The root form is for a host with one resource.
        ("alone.example", "", Some(&alone)),
        ("alone.example", "/", Some(&alone)),
        ("one.internal:8443", "", Some(&one)),
        ("gateway.example", "", None),
        ("other.example", "", None),
        ("other.example", "/mcp", None),
        ("alone.example", "/one/mcp", None),
        ("alone.example", "/mcp/x", None),
        ("one.internal", "/one/mcp", None),
        ("gateway.example.", "/one/mcp", None),
        ("user@gateway.example", "/one/mcp", None),
    ] {
        let response = servers.get(host, &format!("{WELL_KNOWN}{path}")).await;
        match expected {
            Some(document) => {
                assert_eq!((response.status, &response.body), (200, document), "{host} {path}");
                assert_eq!(response.header("access-control-allow-origin"), "*");
            }
            None => {
                assert!([400, 404].contains(&response.status), "{host} {path}: {response:?}");
                assert_eq!(response.header("www-authenticate"), "");
            }
        }
    }
    assert!(servers.reached().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_form_under_any_host_is_for_the_only_resource() {
    for (resources, is_served) in [
        (json!([{"id": "only", "url": "https://a.example/mcp", "hosts": ["*"]}]), true),
        (
            json!([
                {"id": "any", "url": "https://a.example/mcp", "hosts": ["*"]},
                {"id": "b", "url": "https://b.example/mcp"},
            ]),
            false,
        ),
    ] {
        let servers = TwoServers::start(Stack::builder(), move |configuration| {
            configuration["resources"] = resources;
            configuration["providers"][0]["client_ids"] = json!([Stack::AUDIENCE]);
        })
        .await;
        let status = |host: &'static str| async { servers.get(host, WELL_KNOWN).await.status };
        assert_eq!(status("other.example").await, if is_served { 200 } else { 404 });
        // Here the named host has one resource in both cases.
        assert_eq!(status("a.example").await, 200);
        let b = servers.get("b.example", WELL_KNOWN).await;
        assert_eq!(b.status, if is_served { 200 } else { 404 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_without_a_path_has_the_root_form() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        configuration["resources"] = json!([
            {"id": "root", "url": "https://a.example"},
            {"id": "below", "url": "https://a.example/mcp"},
            {"id": "any", "url": "https://b.example/", "hosts": ["*"]},
            {"id": "odd", "url": "https://A.Example:443/Odd/mcp/"},
        ]);
        configuration["providers"][0]["client_ids"] = json!([Stack::AUDIENCE]);
    })
    .await;
    for (host, path, resource) in [
        ("a.example", "", "https://a.example"),
        ("a.example", "/mcp", "https://a.example/mcp"),
        ("b.example", "", "https://b.example/"),
        ("c.example", "", "https://b.example/"),
        // Exactly as configured.
        ("a.example", "/Odd/mcp", "https://A.Example:443/Odd/mcp/"),
        ("A.EXAMPLE:443", "/Odd/mcp/", "https://A.Example:443/Odd/mcp/"),
    ] {
        let response = servers.get(host, &format!("{WELL_KNOWN}{path}")).await;
        assert_eq!(response.body["resource"], resource, "{host} {path}: {response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_points_to_the_document_of_the_requests_resource() {
    let servers = TwoServers::start(Stack::builder(), |configuration| {
        for (resource, scope) in
            configuration["resources"].as_array_mut().unwrap().iter_mut().zip(["a", "b", "c"])
        {
            resource["scopes_supported"] = json!([scope]);
        }
    })
    .await;
    for (place, scope) in PLACES.into_iter().zip(["a", "b", "c"]) {
        let response = servers.send(place.host, place.path, "").await;
        assert_refusal(&response, "missing_token");
        let expected = format!(
            "Bearer resource_metadata=\"https://{}{WELL_KNOWN}{}\", scope=\"{scope}\"",
            place.host, place.path
        );
        assert_eq!(response.header("www-authenticate"), expected);
        // The document is at the URL in the challenge.
        let document = servers.get(place.host, &format!("{WELL_KNOWN}{}", place.path)).await;
        assert_eq!(document.body["resource"], place.url());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_look_for_an_authorization_server_get_404() {
    let servers = TwoServers::start(Stack::builder(), |_| {}).await;
    for name in ["oauth-authorization-server", "openid-configuration"] {
        for (host, path) in [
            ("gateway.example", format!("/.well-known/{name}")),
            ("gateway.example", format!("/.well-known/{name}/one/mcp")),
            ("gateway.example", format!("/two/mcp/.well-known/{name}")),
            ("alone.example", format!("/.well-known/{name}")),
        ] {
            let response = servers.get(host, &path).await;
            assert_eq!(response.status, 404, "{host} {path}: {response:?}");
            assert_eq!(response.body["error"], "not_found", "{host} {path}: {response:?}");
            assert_eq!(response.header("access-control-allow-origin"), "*");
        }
        let response = servers.get("other.example", &format!("/.well-known/{name}")).await;
        assert_refusal(&response, "unknown_resource");
    }
}
