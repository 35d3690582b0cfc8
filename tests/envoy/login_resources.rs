//! Several servers behind one login: the page decides which of them a token is for, and no later
//! step changes it.

use serde_json::json;
use testbed::{LoginClient, LoginShape};

use crate::login_support::{
    ORIGIN, SECRET, Scene, assert_error, log_in, member, replica, start_providers,
};

const INCIDENTS: &str = "https://mcp.example.com/incidents/mcp";
const REPORTS: &str = "https://mcp.example.com/reports/mcp";
const SHARED: &str = "https://mcp.example.com/archive/mcp";

/// Incidents at `okta`, and reports at `generic`, whose tokens are also accepted at the archive.
async fn scene() -> Scene {
    let providers = start_providers([LoginShape::okta(), LoginShape::plain("api://reports")]).await;
    let stack = replica(&providers, SECRET).configure(|plugin| {
        plugin.as_object_mut().unwrap().remove("resource");
        plugin["resources"] = json!([
            {
                "id": "incidents", "url": INCIDENTS, "name": "Incidents", "providers": ["okta"],
                "scopes_supported": ["mcp.tools"],
            },
            {
                "id": "reports", "url": REPORTS, "name": "Reports", "providers": ["generic"],
                "scopes_supported": ["mcp.tools", "mcp.admin"],
            },
            {"id": "archive", "url": SHARED, "name": "Archive", "providers": ["generic"]},
        ]);
    });
    Scene { stack: stack.start().await, providers }
}

async fn client(scene: &Scene, url: &str) -> LoginClient {
    let mut client = LoginClient::discover(url, scene.stack.envoy.address()).await;
    client.register().await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_has_the_same_login_and_its_own_providers() {
    let scene = scene().await;
    for (url, own, others, scope) in [
        (INCIDENTS, "okta", "generic", "openid profile offline_access mcp.tools"),
        (REPORTS, "generic", "okta", "openid profile offline_access mcp.tools mcp.admin"),
    ] {
        let client = client(&scene, url).await;
        assert_eq!(client.metadata["issuer"], ORIGIN);
        let mut browser = scene.browser();
        let page = browser.open(&client.authorization_url("")).await;
        assert!(page.text.contains(url), "{page:?}");
        assert!(page.text.contains(&format!("value=\"{own}\"")), "{page:?}");
        assert!(!page.text.contains(&format!("value=\"{others}\"")), "{page:?}");
        let response = browser.press(&page, "provider", own).await;
        let issued = client.redeem(&client.code(&response)).await;
        let called = client.call(member(&issued, "access_token")).await;
        assert_eq!(called.status, 200, "{called:?}");
        // A client that names no scope gets all that the server publishes.
        let asked = scene.provider(own).authorization_requests().pop().unwrap();
        assert_eq!(asked.parameters["scope"], scope);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_of_another_server_cannot_be_chosen() {
    let scene = scene().await;
    let client = client(&scene, INCIDENTS).await;
    let mut browser = scene.browser();
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    let form = testbed::form_of(&[("request", &page.sealed_request()), ("provider", "generic")]);
    assert_eq!(browser.submit(&page, &form, ORIGIN).await.status, Some(400));
    assert!(scene.provider("generic").authorization_requests().is_empty());
    client.code(&browser.press(&page, "provider", "okta").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_a_server_or_for_an_unknown_one_is_refused() {
    let scene = scene().await;
    let client = client(&scene, INCIDENTS).await;
    for resource in ["", "https://mcp.example.com/other/mcp", "https://mcp.example.com"] {
        let url = client.authorization_url_with(&[("resource", resource)]);
        let seen = scene.browser().open(&url).await;
        assert_eq!(client.error(&seen), "invalid_target", "{resource:?}");
    }
    let url = client.authorization_url_with(&[("resource", REPORTS)]);
    assert!(scene.browser().open(&url).await.asks_for_consent());
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_and_refresh_tokens_are_bound_to_the_server_on_the_page() {
    let scene = scene().await;
    let client = client(&scene, REPORTS).await;
    let issued = log_in(&mut scene.browser(), &client, "generic").await;
    let refresh_token = member(&issued, "refresh_token");
    let elsewhere = [("resource", INCIDENTS)];
    assert_error(&client.refresh_with(refresh_token, &elsewhere).await, 400, "invalid_target");
    let unnamed = client.refresh_with(refresh_token, &[("resource", "")]).await;
    assert_eq!(unnamed.status, 200, "{unnamed:?}");
    // The token is not accepted at a server of another provider either.
    let other = LoginClient::discover(INCIDENTS, scene.stack.envoy.address()).await;
    let refused = other.call(member(&issued, "access_token")).await;
    assert_eq!(refused.status, 401, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_every_server_that_the_token_opens() {
    let scene = scene().await;
    let client = client(&scene, REPORTS).await;
    let page = scene.browser().open(&client.authorization_url("mcp.tools")).await;
    assert!(page.text.contains(SHARED), "they share an audience: {page:?}");
    let client = self::client(&scene, INCIDENTS).await;
    let page = scene.browser().open(&client.authorization_url("mcp.tools")).await;
    assert!(!page.text.contains(SHARED) && !page.text.contains(REPORTS), "{page:?}");
}

/// A server whose providers have no `login` accepts tokens obtained elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_providers_have_no_login_names_them_and_has_no_login_here() {
    let providers = start_providers([LoginShape::okta(), LoginShape::plain("api://reports")]).await;
    let stack = replica(&providers, SECRET).configure(|plugin| {
        plugin.as_object_mut().unwrap().remove("resource");
        plugin["providers"][1].as_object_mut().unwrap().remove("login");
        plugin["resources"] = json!([
            {"id": "incidents", "url": INCIDENTS, "scopes_supported": ["mcp.tools"]},
            {"id": "reports", "url": REPORTS, "providers": ["generic"]},
        ]);
    });
    let scene = Scene { stack: stack.start().await, providers };
    let documented = async |path: &str| {
        let url = scene.stack.envoy.url(&format!("/.well-known/oauth-protected-resource{path}"));
        let request = scene.stack.client().get(url).header("host", "mcp.example.com");
        scene.stack.send(request).await.body["authorization_servers"].clone()
    };
    // Of two providers, the one with a login; the other gets no button.
    assert_eq!(documented("/incidents/mcp").await, json!([ORIGIN]));
    let generic = scene.provider("generic");
    assert_eq!(documented("/reports/mcp").await, json!([generic.issuer()]));
    let client = client(&scene, INCIDENTS).await;
    let mut browser = scene.browser();
    let seen = browser.open(&client.authorization_url_with(&[("resource", REPORTS)])).await;
    assert_eq!(client.error(&seen), "invalid_target");
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    assert!(page.text.contains("value=\"okta\""), "{page:?}");
    assert!(!page.text.contains("value=\"generic\""), "{page:?}");
    client.code(&browser.press(&page, "provider", "okta").await);
    assert!(generic.authorization_requests().is_empty());
}

/// Two servers with audiences of their own, at providers that get the audience in the login. No
/// provider has `client_ids`.
async fn of_own_audiences() -> Scene {
    let shapes = [LoginShape::entra_id(), LoginShape::auth0(), LoginShape::adfs()];
    let own = shapes.clone().map(|shape| (shape.template, shape.audience));
    let providers = start_providers(shapes).await;
    let stack = replica(&providers, SECRET).configure(move |plugin| {
        plugin.as_object_mut().unwrap().remove("resource");
        for provider in plugin["providers"].as_array_mut().unwrap() {
            provider.as_object_mut().unwrap().remove("client_ids");
        }
        let audiences: serde_json::Map<_, _> =
            own.iter().map(|(name, audience)| ((*name).to_owned(), json!([audience]))).collect();
        plugin["resources"] = json!([
            {
                "id": "incidents", "url": INCIDENTS, "audiences": ["https://incidents.example"],
                "scopes_supported": ["mcp.tools"],
            },
            {
                "id": "reports", "url": REPORTS, "audiences": audiences,
                "scopes_supported": ["api://6a7f0000-0000-4000-8000-000000000000/mcp.tools"],
            },
        ]);
        plugin["resources"][1]["access"] =
            json!({"rules": [{"require": {"scopes": ["mcp.tools"]}}]});
    });
    Scene { stack: stack.start().await, providers }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_asked_for_the_audience_of_the_server() {
    let scene = of_own_audiences().await;
    for (template, scope, audience) in [
        ("entra_id", "https://incidents.example/mcp.tools", None),
        ("adfs", "https://incidents.example/mcp.tools", None),
        ("auth0", "mcp.tools", Some("https://incidents.example")),
    ] {
        let client = client(&scene, INCIDENTS).await;
        let mut browser = scene.browser();
        let page = browser.open(&client.authorization_url("mcp.tools")).await;
        browser.press(&page, "provider", template).await;
        let asked = scene.provider(template).authorization_requests().pop().unwrap().parameters;
        assert!(asked["scope"].split(' ').any(|own| own == scope), "{template}: {asked:?}");
        assert_eq!(asked.get("audience").map(String::as_str), audience, "{template}: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_scope_has_the_name_that_the_server_publishes() {
    let scene = of_own_audiences().await;
    // The prefix is in the name that the server publishes, and its rule has the name in the claim.
    const ANNOUNCED: &str = "api://6a7f0000-0000-4000-8000-000000000000/mcp.tools";
    let client = client(&scene, REPORTS).await;
    let mut browser = scene.browser();
    let page = browser.open(&client.authorization_url(ANNOUNCED)).await;
    let response = browser.press(&page, "provider", "entra_id").await;
    let issued = client.redeem(&client.code(&response)).await;
    assert_eq!(member(&issued, "scope"), ANNOUNCED);
    let asked = scene.provider("entra_id").authorization_requests().pop().unwrap();
    assert!(asked.parameters["scope"].ends_with(&format!(" {ANNOUNCED}")), "{asked:?}");
    let called = client.call(member(&issued, "access_token")).await;
    assert_eq!(called.status, 200, "{called:?}");
}
