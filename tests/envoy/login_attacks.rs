//! Attacks on a login, with the attacker's own browser and client next to the victim's. Next to
//! each attack, the legitimate user does the same and succeeds.

use serde_json::json;
use testbed::{LoginShape, form, form_of};

use crate::login_support::{
    HOST, ORIGIN, RESOURCE, Scene, approve, assert_dead_end, log_in, member,
};

const EVIL: &str = "https://evil.example";

/// The victim has a session at the provider, so a login would need only a click on a link. The page
/// of the gateway prevents it.
// Requirement: login-redirect-open
// Requirement: login-consent-each-client
// Requirement: login-consent-names
#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_the_attackers_client_leads_to_a_page_that_names_the_client() {
    let scene = Scene::plain().await;
    let mut attacker = scene.client().await;
    attacker.redirect_uri = "https://claude.ai/api/mcp/auth_callback".to_owned();
    attacker.register().await;
    let link = attacker.authorization_url("mcp.tools");
    let mut victim = scene.browser();
    for from in [None, Some(EVIL)] {
        let seen = match from {
            None => victim.open(&link).await,
            Some(from) => victim.follow(&link, from).await,
        };
        assert!(seen.asks_for_consent(), "{seen:?}");
        assert_eq!(seen.way.len(), 1, "no provider got a request: {seen:?}");
        assert!(seen.text.contains("claude.ai"), "{seen:?}");
    }
    assert!(scene.only().authorization_requests().is_empty());
    // The twin: a person who presses the button reaches the provider.
    let page = victim.open(&link).await;
    let response = victim.press(&page, "provider", "generic").await;
    attacker.code(&response);
}

/// The attacker approves the login, and makes the victim log in at the provider for it.
// Requirement: login-page-csrf
// Requirement: login-consent-state
#[tokio::test(flavor = "multi_thread")]
async fn a_login_approved_in_one_browser_cannot_be_finished_in_another() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let mut attacker = scene.browser_without_providers();
    let sent = approve(&mut attacker, &client, "generic").await;
    assert_eq!(sent.status, None, "the attacker stops at the provider");
    for has_own_page in [false, true] {
        let mut victim = scene.browser();
        if has_own_page {
            victim.open(&client.authorization_url("mcp.tools")).await;
        }
        let seen = victim.follow(&sent.url, EVIL).await;
        assert_dead_end(&seen, 400);
        assert!(seen.way.iter().all(|url| !url.starts_with(&client.redirect_uri)), "{seen:?}");
    }
    assert!(scene.has_made_no_token_request());
    // The twin: the browser in which it was approved finishes the login.
    let mut own = scene.browser();
    let response = approve(&mut own, &client, "generic").await;
    client.code(&response);
}

/// The attacker opens the page, and makes the victim's browser send its form.
// Requirement: login-page-csrf
#[tokio::test(flavor = "multi_thread")]
async fn a_page_opened_in_one_browser_cannot_be_approved_in_another() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let url = client.authorization_url("mcp.tools");
    let (mut attacker, mut victim) = (scene.browser(), scene.browser());
    let page = attacker.open(&url).await;
    let own_page = victim.open(&url).await;
    let approval = form_of(&[("request", &page.sealed_request()), ("provider", "generic")]);
    for from in [EVIL, ORIGIN] {
        assert_dead_end(&victim.submit(&own_page, &approval, from).await, 400);
    }
    assert!(scene.only().authorization_requests().is_empty());
    client.code(&attacker.press(&page, "provider", "generic").await);
}

/// The attacker's page sends the form that the victim's browser has opened.
// Requirement: login-page-csrf
// Requirement: login-consent-csrf
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_from_a_page_of_another_site_is_refused() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    for is_old in [false, true] {
        let mut victim = scene.browser();
        if is_old {
            victim = victim.without_fetch_metadata();
        }
        let page = victim.open(&client.authorization_url("mcp.tools")).await;
        let approval = form_of(&[("request", &page.sealed_request()), ("provider", "generic")]);
        for from in [EVIL, "null", "http://mcp.example.com", "https://mcp.example.com.evil.example"]
        {
            assert_dead_end(&victim.submit(&page, &approval, from).await, 400);
        }
        assert!(scene.only().authorization_requests().len() == usize::from(is_old));
        client.code(&victim.press(&page, "provider", "generic").await);
    }
}

/// Another site shows the page in a frame, and makes the victim press a button without seeing it.
// Requirement: login-page-clickjacking
// Requirement: login-page-referrer
// Requirement: login-consent-csrf
#[tokio::test(flavor = "multi_thread")]
async fn the_page_cannot_be_shown_in_a_frame() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let url = client.authorization_url("mcp.tools");
    let page = scene.browser().open(&url).await;
    let policy = page.header("content-security-policy");
    for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("form-action"), "{policy}");
    for foreign in ["<script", "src=", "http-equiv", "href=\"http", "@import", "url("] {
        assert!(!page.text.contains(foreign), "{foreign}: {page:?}");
    }
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(page.header(name), value, "{name}");
    }
    let path = url.strip_prefix(ORIGIN).unwrap();
    let url = scene.stack.envoy.url(path);
    for (dest, mode, status) in [
        ("document", "navigate", 200),
        ("iframe", "navigate", 400),
        ("empty", "cors", 400),
        ("image", "no-cors", 400),
    ] {
        let request = scene.stack.client().get(&url).header("host", HOST);
        let request = request.header("sec-fetch-dest", dest).header("sec-fetch-mode", mode);
        assert_eq!(scene.stack.send(request).await.status, status, "{dest}");
    }
}

/// A malicious MCP server has its own authorization server, which redirects the person into this
/// login, for a client that this gateway has registered.
// Requirement: login-consent-each-client
// Requirement: login-consent-cookie
#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_consent_is_not_used_for_requests_of_other_web_sites() {
    let scene = Scene::configured([LoginShape::plain(RESOURCE)], |plugin| {
        plugin["login"] = json!({"consent": "remember"});
        plugin["resource"]["scopes_supported"] = json!(["mcp.tools", "mcp.admin"]);
    });
    let scene = scene.await;
    let client = scene.client().await;
    let url = client.authorization_url("mcp.tools");
    let mut victim = scene.browser();
    client.code(&approve(&mut victim, &client, "generic").await);
    // The twin: an app on the machine opens the same URL.
    client.code(&victim.open(&url).await);
    let seen = victim.follow(&url, EVIL).await;
    assert!(seen.asks_for_consent(), "{seen:?}");
    let seen = victim.clone().without_fetch_metadata().open(&url).await;
    assert!(seen.asks_for_consent(), "a browser without fetch metadata is asked: {seen:?}");
    for changes in [
        &[("login_hint", "eve@example.com")][..],
        &[("scope", "mcp.admin")],
        &[("redirect_uri", "http://127.0.0.1:9/callback")],
    ] {
        let seen = victim.open(&client.authorization_url_with(changes)).await;
        let is_port = changes[0].0 == "redirect_uri";
        assert!(seen.asks_for_consent() || is_port, "{changes:?}: {seen:?}");
    }
    let other = scene.client().await;
    let seen = victim.open(&other.authorization_url("mcp.tools")).await;
    assert!(seen.asks_for_consent(), "{seen:?}");
}

/// With 307, a browser would forward the form of the approval to the provider.
// Requirement: login-redirect-303
#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_redirected_with_303_and_store_nothing() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let mut browser = scene.browser_without_providers();
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    let form = form_of(&[("request", &page.sealed_request()), ("provider", "generic")]);
    let cookies = browser.cookies(HOST);
    let (name, value) = cookies.iter().next().unwrap();
    let send = async |method: &str, path: &str, form: &str| {
        let url = scene.stack.envoy.url(path);
        let request = scene.stack.client().request(method.parse().unwrap(), url);
        let request = request
            .header("host", HOST)
            .header("origin", ORIGIN)
            .header("cookie", format!("{name}={value}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        scene.stack.send(request).await
    };
    let approved = send("POST", "/oauth/authorize", &form).await;
    let asked = testbed::form(approved.header("location").split_once('?').unwrap().1);
    let query = form_of(&[("code", "c"), ("state", &asked["state"])]);
    let returned = send("GET", &format!("/oauth/callback/generic?{query}"), "").await;
    assert!(returned.header("location").starts_with(&client.redirect_uri), "{returned:?}");
    let cancel = form_of(&[("request", &page.sealed_request()), ("cancel", "1")]);
    let cancelled = send("POST", "/oauth/authorize", &cancel).await;
    for response in [approved, returned, cancelled] {
        assert_eq!(response.status, 303, "{response:?}");
        assert_eq!(response.header("cache-control"), "no-store", "{response:?}");
        assert_eq!(response.header("referrer-policy"), "no-referrer", "{response:?}");
    }
}

// Requirement: login-consent-each-client
#[tokio::test(flavor = "multi_thread")]
async fn with_consent_always_no_consent_is_remembered() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    client.code(&approve(&mut browser, &client, "generic").await);
    let seen = browser.open(&client.authorization_url("mcp.tools")).await;
    assert!(seen.asks_for_consent(), "{seen:?}");
}

/// The attacker's provider gets the response of another one, or the other way round.
// Requirement: login-mix-up
// Requirement: login-consent-state
#[tokio::test(flavor = "multi_thread")]
async fn a_response_of_one_provider_is_refused_at_the_callback_of_another() {
    let scene = Scene::of([LoginShape::okta(), LoginShape::auth0()]).await;
    let client = scene.client().await;
    for (chosen, other) in [("okta", "auth0"), ("auth0", "okta")] {
        let mut browser = scene.browser_without_providers();
        let sent = approve(&mut browser, &client, chosen).await;
        let asked = form(sent.url.split_once('?').unwrap().1);
        let query = form_of(&[("code", "c"), ("state", &asked["state"])]);
        let at = |name: &str| format!("{ORIGIN}/oauth/callback/{name}?{query}");
        assert_dead_end(&browser.follow(&at(other), EVIL).await, 400);
        assert_eq!(browser.follow(&at("unknown"), EVIL).await.status, Some(404));
        // The twin: each provider's own response.
        let response = browser.follow(&at(chosen), EVIL).await;
        assert_eq!(response.status, None, "{response:?}");
    }
}

// Requirement: login-mix-up
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_metadata_has_another_issuer_is_not_used() {
    let scene = Scene::of([LoginShape::okta(), LoginShape::keycloak()]).await;
    let client = scene.client().await;
    let issuer = scene.provider("okta").issuer();
    scene.provider("keycloak").edit_metadata(move |document| document["issuer"] = json!(issuer));
    let mut browser = scene.browser();
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    assert_dead_end(&browser.press(&page, "provider", "keycloak").await, 503);
    client.code(&browser.press(&page, "provider", "okta").await);
}

// Requirement: login-page-impersonation
// Requirement: login-register-self-asserted
#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_client_cannot_change_the_page() {
    let scene = Scene::plain().await;
    let mut client = scene.client().await;
    for name in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "Claude\u{202e}\u{200b}\r\nevil",
        &"long ".repeat(100),
    ] {
        let metadata =
            json!({"client_name": name, "redirect_uris": ["http://127.0.0.1:33418/callback"]});
        let response = client.register_with(metadata).await;
        member(&response, "client_id").clone_into(&mut client.client_id);
        let page = scene.browser().open(&client.authorization_url("mcp.tools")).await;
        assert!(page.asks_for_consent(), "{name}: {page:?}");
        for forbidden in ["<script", "<img", "\u{202e}", "\u{200b}", "\u{d}", &"long ".repeat(14)] {
            assert!(!page.text.contains(forbidden), "{forbidden:?}: {}", page.text);
        }
        assert!(
            page.text.contains("calls itself “"),
            "the name is the client's own claim: {}",
            page.text
        );
    }
    // Words like those of the page stay within the quotation marks.
    let name = "Claude” of claude.ai, which is safe: go on. “\"x\"";
    let metadata =
        json!({"client_name": name, "redirect_uris": ["http://127.0.0.1:33418/callback"]});
    let registered = client.register_with(metadata).await;
    member(&registered, "client_id").clone_into(&mut client.client_id);
    let page = scene.browser().open(&client.authorization_url("mcp.tools")).await;
    let quoted = "“Claude&#39; of claude.ai, which is safe: go on. &#39;x&#39;”";
    assert!(page.text.contains(quoted), "{}", page.text);
}

// Requirement: login-iss-sent
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_provider_reaches_the_client_only_as_a_code() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    for (error, code) in [
        ("access_denied", "access_denied"),
        ("login_required", "login_required"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("<script>alert(1)</script>", "server_error"),
        ("invalid_client", "server_error"),
    ] {
        scene.only().refuse_logins(error);
        let response = approve(&mut scene.browser(), &client, "generic").await;
        assert_eq!(client.error(&response), code, "{response:?}");
        assert!(!response.url.contains("alert"), "{response:?}");
    }
    assert!(scene.has_made_no_token_request());
}

// Requirement: login-iss-sent
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_login_returns_access_denied_without_a_request_to_a_provider() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    let response = browser.press(&page, "cancel", "1").await;
    assert_eq!(client.error(&response), "access_denied");
    assert!(scene.only().authorization_requests().is_empty());
}

/// A server must not see the gateway's cookies, even on the same host.
// Requirement: login-consent-cookie
#[tokio::test(flavor = "multi_thread")]
async fn no_server_sees_a_cookie_of_the_gateway() {
    let scene = Scene::configured([LoginShape::plain(RESOURCE)], |plugin| {
        plugin["login"] = json!({"consent": "remember"});
        plugin["exempt"] = json!([{"path": "/open"}]);
    });
    let scene = scene.await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let issued = log_in(&mut browser, &client, "generic").await;
    let cookies = browser.cookies(HOST);
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies.keys().all(|name| name.starts_with("__Host-")), "{cookies:?}");
    let mut pairs: Vec<String> =
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.insert(1, "theirs=1".to_owned());
    let request = scene.stack.request().header("host", HOST).header("cookie", pairs.join("; "));
    let response = scene.stack.send(request.bearer_auth(member(&issued, "access_token"))).await;
    assert_eq!(response.status, 200, "{response:?}");
    let open = scene.stack.client().get(scene.stack.envoy.url("/open")).header("host", HOST);
    scene.stack.send(open.header("cookie", pairs.join("; "))).await;
    let requests = scene.stack.server.requests();
    let seen: Vec<&str> = requests
        .iter()
        .flat_map(|request| &request.headers)
        .filter(|(name, _)| name == "cookie")
        .map(|(_, value)| std::str::from_utf8(value).unwrap_or_default())
        .collect();
    assert!(seen.len() >= 2, "{requests:?}");
    assert!(seen.iter().all(|cookie| *cookie == "theirs=1"), "{seen:?}");
}

/// Cookies that somebody else has set, or copied from another browser.
// Requirement: login-consent-cookie
#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_the_gateway_did_not_set_is_ignored() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let mut attacker = scene.browser_without_providers();
    let sent = approve(&mut attacker, &client, "generic").await;
    let asked = form(sent.url.split_once('?').unwrap().1);
    let query = form_of(&[("code", "c"), ("state", &asked["state"])]);
    let callback = format!("{ORIGIN}/oauth/callback/generic?{query}");
    let own = attacker.cookies(HOST);
    let (name, value) = own.iter().next().unwrap();
    for (name, value) in [
        (name.clone(), "forged".to_owned()),
        (name.clone(), value[1..].to_owned()),
        (name.trim_start_matches("__Host-").to_owned(), value.clone()),
        (format!("__Secure-{}", name.trim_start_matches("__Host-")), value.clone()),
        // For browsers these begin with no prefix, so that any host of the domain may set them.
        (format!("\u{2000}{name}"), value.clone()),
        (format!("\u{a0}{name}"), value.clone()),
        (format!("\u{85}{name}"), value.clone()),
        (format!("\u{3000}{name}"), value.clone()),
        (format!("{name}\u{2000}"), value.clone()),
    ] {
        let mut victim = scene.browser_without_providers();
        victim.set_cookie(HOST, &name, &value);
        assert_dead_end(&victim.follow(&callback, EVIL).await, 400);
    }
    let response = attacker.follow(&callback, EVIL).await;
    assert_eq!(response.status, None, "the twin: {response:?}");
}
