//! A client that registers itself logs people in at each of six products, none of which supports
//! such clients without changes.

use serde_json::{Value, json};
use testbed::{LoginShape, form};

use crate::login_support::{Scene, approve, log_in, member};

// Requirement: login-code-state
// Requirement: login-token-members
#[tokio::test(flavor = "multi_thread")]
async fn each_product_gets_people_from_the_url_to_a_tool_call_and_a_refresh() {
    let scene = Scene::of(LoginShape::all()).await;
    let client = scene.client().await;
    for shape in LoginShape::all() {
        let template = shape.template;
        let mut browser = scene.browser();
        let issued = log_in(&mut browser, &client, template).await;
        assert_eq!(issued.body["token_type"], "Bearer", "{template}: {issued:?}");
        assert!(issued.body["expires_in"].as_u64().is_some_and(|left| left > 200), "{issued:?}");
        let refreshed = client.refresh(member(&issued, "refresh_token")).await;
        assert_eq!(refreshed.status, 200, "{template}: {refreshed:?}");
        for response in [&issued, &refreshed] {
            let called = client.call(member(response, "access_token")).await;
            let who = called.whoami();
            assert_eq!(
                (called.status, &who["x-mcp-user"], &who["x-mcp-provider"]),
                (200, &json!(shape.user), &json!(template)),
                "{called:?}"
            );
        }
        // Providers that rotate issue a new refresh token; the others return the only one again.
        let again = client.refresh(member(&refreshed, "refresh_token")).await;
        assert_eq!(again.status, 200, "{template}: {again:?}");
    }
}

// Requirement: login-pkce-of-own
#[tokio::test(flavor = "multi_thread")]
async fn each_product_gets_the_request_it_supports_and_never_a_resource() {
    let scene = Scene::of(LoginShape::all()).await;
    let client = scene.client().await;
    for (template, scope, more) in [
        (
            "entra_id",
            "openid profile offline_access api://6a7f0000-0000-4000-8000-000000000000/mcp.tools",
            json!({}),
        ),
        ("okta", "openid profile offline_access mcp.tools", json!({})),
        (
            "auth0",
            "openid profile offline_access mcp.tools",
            json!({"audience": "https://mcp.example.com/mcp"}),
        ),
        ("google", "openid email profile", json!({"access_type": "offline", "prompt": "consent"})),
        ("adfs", "openid profile https://mcp.example.com/mcp/mcp.tools", json!({})),
        ("keycloak", "openid profile mcp.tools", json!({})),
    ] {
        log_in(&mut scene.browser(), &client, template).await;
        let asked = scene.provider(template).authorization_requests();
        let [asked] = &asked[..] else { panic!("{template}: {asked:?}") };
        let mut asked = asked.parameters.clone();
        for own in ["state", "nonce", "code_challenge"] {
            let value = asked.remove(own).unwrap_or_else(|| panic!("{template}: no {own}"));
            assert!(value.len() >= 22, "{template}: {own}={value}");
        }
        let mut expected = json!({
            "response_type": "code",
            "client_id": "gateway",
            "redirect_uri": format!("https://mcp.example.com/oauth/callback/{template}"),
            "scope": scope,
            "code_challenge_method": "S256",
        });
        for (name, value) in more.as_object().unwrap() {
            expected[name] = value.clone();
        }
        assert_eq!(json!(asked), expected, "{template}");
        for request in scene.provider(template).token_requests() {
            assert_eq!(request.parameters.get("resource"), None, "{template}");
        }
    }
}

// Requirement: login-secret-confidential
#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_sent_only_to_the_token_endpoint_with_a_supported_method() {
    let mut post_only = LoginShape::plain("https://mcp.example.com/mcp");
    post_only.metadata["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    for (shape, is_in_form) in
        [(LoginShape::okta(), false), (LoginShape::entra_id(), false), (post_only, true)]
    {
        let template = shape.template;
        let scene = Scene::of([shape]).await;
        let client = scene.client().await;
        log_in(&mut scene.browser(), &client, template).await;
        let requests = scene.only().token_requests();
        let [request] = &requests[..] else { panic!("{requests:?}") };
        assert_eq!(request.parameters.contains_key("client_secret"), is_in_form, "{request:?}");
        assert_eq!(request.authorization.is_empty(), is_in_form, "{request:?}");
        for request in scene.only().authorization_requests() {
            assert!(!format!("{request:?}").contains("s3cret"), "{request:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_client_sends_its_id_and_no_secret() {
    let scene = Scene::configured([LoginShape::plain("https://mcp.example.com/mcp")], |plugin| {
        plugin["providers"][0]["login"] = json!({"client_id": "gateway"});
    });
    let scene = scene.await;
    let client = scene.client().await;
    let response = approve(&mut scene.browser(), &client, "generic").await;
    // The provider has the gateway as a client with a secret, so it refuses.
    assert_eq!(client.redeem(&client.code(&response)).await.status, 503);
    let requests = scene.only().token_requests();
    assert_eq!(requests[0].authorization, "");
    assert_eq!(requests[0].parameters.get("client_id").map(String::as_str), Some("gateway"));
    assert_eq!(requests[0].parameters.get("client_secret"), None);
}

// Requirement: login-consent-names
#[tokio::test(flavor = "multi_thread")]
async fn the_page_offers_each_product_once_and_names_the_client() {
    let scene = Scene::of(LoginShape::all()).await;
    let client = scene.client().await;
    let page = scene.browser().open(&client.authorization_url("mcp.tools")).await;
    for shape in LoginShape::all() {
        let button = format!("name=\"provider\" value=\"{}\"", shape.template);
        assert_eq!(page.text.matches(&button).count(), 1, "{button}: {}", page.text);
    }
    for words in
        ["A client of the tests", "127.0.0.1", "Incident tools", RESOURCE_ON_PAGE, "mcp.tools"]
    {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
}

const RESOURCE_ON_PAGE: &str = "https://mcp.example.com/mcp";

#[tokio::test(flavor = "multi_thread")]
async fn a_broader_scope_is_requested_under_its_name_at_the_provider() {
    let scene = Scene::configured([LoginShape::entra_id()], |plugin| {
        plugin["access"] = json!({"rules": [
            {
                "name": "administer",
                "match": {"paths": ["/mcp"], "mcp_methods": ["tools/call"], "mcp_names": ["whoami"]},
                "require": {"scopes": ["mcp.admin"]},
            },
            {"name": "rest", "match": {"paths": ["/mcp"]}, "require": {"scopes": ["mcp.tools"]}},
        ]});
    });
    let scene = scene.await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let issued = log_in(&mut browser, &client, "entra_id").await;
    let refused = client.call(member(&issued, "access_token")).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let challenge = refused.header("www-authenticate");
    let scope = challenge.split_once("scope=\"").unwrap().1.split('"').next().unwrap();
    let client = client.for_new_login();
    let page = browser.open(&client.authorization_url(scope)).await;
    let response = browser.press(&page, "provider", "entra_id").await;
    let issued = client.redeem(&client.code(&response)).await;
    let called = client.call(member(&issued, "access_token")).await;
    assert_eq!(called.status, 200, "{called:?}");
    let asked = scene.only().authorization_requests().pop().unwrap();
    let scope = asked.parameters.get("scope").unwrap();
    assert!(scope.contains("api://6a7f0000-0000-4000-8000-000000000000/mcp.admin"), "{scope}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_scope_is_never_requested() {
    let scene = Scene::of([LoginShape::okta()]).await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let url = client.authorization_url("mcp.tools openid https://graph.microsoft.com/.default x");
    let page = browser.open(&url).await;
    let response = browser.press(&page, "provider", "okta").await;
    client.code(&response);
    let asked = scene.only().authorization_requests().pop().unwrap();
    assert_eq!(asked.parameters["scope"], "openid profile offline_access mcp.tools");
}

// Requirement: login-endpoint-parameters
#[tokio::test(flavor = "multi_thread")]
async fn the_login_hint_is_forwarded_and_no_parameter_that_could_change_the_login() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let url = client.authorization_url_with(&[
        ("login_hint", "ada@example.com"),
        ("prompt", "none"),
        ("domain_hint", "example.com"),
        ("claims", "{}"),
        ("response_mode", "fragment"),
        ("max_age", "0"),
    ]);
    let page = browser.open(&url).await;
    let response = browser.press(&page, "provider", "generic").await;
    client.code(&response);
    let asked = scene.only().authorization_requests().pop().unwrap().parameters;
    assert_eq!(asked["login_hint"], "ada@example.com");
    for name in ["prompt", "domain_hint", "claims", "response_mode", "max_age"] {
        assert_eq!(asked.get(name), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_is_never_issued_instead_of_an_access_token() {
    let scene = Scene::of([LoginShape::okta(), LoginShape::google()]).await;
    let client = scene.client().await;
    for (template, missing) in [("okta", "access_token"), ("google", "id_token")] {
        let mut browser = scene.browser();
        log_in(&mut browser, &client, template).await;
        scene.provider(template).edit_tokens(move |tokens| {
            tokens.as_object_mut().unwrap().remove(missing);
        });
        let client = client.for_new_login();
        let approved = approve(&mut browser, &client, template).await;
        let response = client.redeem(&client.code(&approved)).await;
        assert_eq!(response.status, 503, "{template}: {response:?}");
        assert_eq!(response.body["access_token"], Value::Null, "{template}: {response:?}");
    }
}

// Requirement: login-nonce
#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_of_another_login_is_refused() {
    let scene = Scene::of([LoginShape::google(), LoginShape::okta()]).await;
    let client = scene.client().await;
    for template in ["google", "okta"] {
        let mut browser = scene.browser();
        log_in(&mut browser, &client, template).await;
        scene.provider(template).edit_id_claims(|claims| claims["nonce"] = json!("another"));
        let client = client.for_new_login();
        let approved = approve(&mut browser, &client, template).await;
        let response = client.redeem(&client.code(&approved)).await;
        assert_eq!(
            (response.status, &response.body["error"]),
            (400, &json!("invalid_grant")),
            "{template}: {response:?}"
        );
    }
}

// Requirement: login-mix-up
// Requirement: login-iss-compare
// Requirement: login-iss-missing
#[tokio::test(flavor = "multi_thread")]
async fn iss_is_required_where_it_is_announced_and_must_always_be_right() {
    let scene = Scene::of([LoginShape::keycloak(), LoginShape::okta()]).await;
    let client = scene.client().await;
    for (template, iss, is_taken) in [
        ("keycloak", Some("own"), true),
        ("keycloak", None, false),
        ("keycloak", Some("https://evil.example"), false),
        ("okta", None, true),
        ("okta", Some("own"), true),
        ("okta", Some("https://evil.example"), false),
    ] {
        let provider = scene.provider(template);
        let mut browser = scene.browser_without_providers();
        let sent = approve(&mut browser, &client, template).await;
        let asked = form(sent.url.split_once('?').unwrap().1);
        let issuer = provider.issuer();
        let mut query = vec![("code", "c"), ("state", asked["state"].as_str())];
        query.extend(iss.map(|iss| ("iss", if iss == "own" { issuer.as_str() } else { iss })));
        let url = format!("{}?{}", asked["redirect_uri"], testbed::form_of(&query));
        let seen = browser.follow(&url, &format!("http://{}", provider.address())).await;
        let is_sent_back = seen.status.is_none();
        assert_eq!(is_sent_back, is_taken, "{template} {iss:?}: {seen:?}");
    }
}
