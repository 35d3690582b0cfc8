//! The secrets of a login appear only where they belong.

use testbed::{Bootstrap, LoginShape, Port, SeenLogin, form};

use crate::login_support::{
    ORIGIN, RESOURCE, SECRET, Scene, approve, assert_dead_end, log_in, member,
};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one flow from start to end")]
async fn no_code_token_verifier_or_secret_is_in_a_log_a_metric_or_a_page() {
    let providers =
        crate::login_support::start_providers([LoginShape::plain(RESOURCE), LoginShape::google()])
            .await;
    // Everything that the plugin logs.
    let port = Port::free();
    let number = port.number();
    let stack = crate::login_support::replica(&providers, SECRET)
        .alone()
        .bootstrap(Bootstrap::status_example())
        .edit(move |bootstrap| bootstrap.set_status_port(number))
        .component_log_level("wasm:trace,dynamic_modules:trace")
        .start()
        .await;
    let scene = Scene { stack, providers };
    let mut pages: Vec<SeenLogin> = Vec::new();
    let mut secrets = Vec::new();
    let client = scene.client().await;
    secrets.push(client.verifier().to_owned());
    for name in ["generic", "google"] {
        let mut browser = scene.browser();
        let issued = log_in(&mut browser, &client, name).await;
        for kind in ["access_token", "refresh_token"] {
            secrets.push(member(&issued, kind).to_owned());
        }
        let provider = scene.provider(name);
        // Faults at each step, whose values must not be echoed.
        let page = browser.open(&client.authorization_url("mcp.tools")).await;
        let code = client.code(&browser.press(&page, "provider", name).await);
        secrets.push(code.clone());
        provider.fail_token(400, serde_json::json!({"error": "invalid_grant"}));
        client.redeem(&code).await;
        provider.fail_token(401, serde_json::json!({"error": "invalid_client"}));
        client.refresh(member(&issued, "refresh_token")).await;
        provider.heal();
        client
            .redeem_with(
                &code,
                &[("code_verifier", "wrong-verifier-wrong-verifier-wrong-verifier")],
            )
            .await;
        secrets.push("wrong-verifier".to_owned());
        provider.edit_access_claims(|claims| claims["aud"] = serde_json::json!("another"));
        provider.edit_id_claims(|claims| claims["aud"] = serde_json::json!("another"));
        let code = client.code(&approve(&mut browser, &client, name).await);
        let refused = client.redeem(&code).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        secrets.push(code);
        let mut stranger = scene.browser_without_providers();
        let sent = approve(&mut stranger, &client, name).await;
        let asked = form(sent.url.split_once('?').unwrap().1);
        secrets.push(asked["state"].clone());
        let callback = format!(
            "{ORIGIN}/oauth/callback/{name}?code=c0de-of-a-stranger&state={}",
            asked["state"]
        );
        secrets.push("c0de-of-a-stranger".to_owned());
        let seen = scene.browser().open(&callback).await;
        assert_dead_end(&seen, 400);
        pages.extend([page, seen]);
        secrets.extend(provider.secrets());
    }
    secrets.push(SECRET.to_owned());
    let log = scene.stack.envoy.log();
    assert!(log.contains("audience_mismatch"), "the log is the plugin's: {log}");
    let stats = scene.stack.envoy.admin("/stats").await;
    let dump = scene.stack.envoy.admin("/config_dump").await;
    assert!(!dump.is_empty());
    let mut status = String::new();
    for path in ["/", "/status.json"] {
        let url = format!("http://{}{path}", port.address());
        status += &scene.stack.send(scene.stack.client().get(url)).await.text;
    }
    assert!(status.contains("/oauth/callback/google"), "the login is on the page: {status}");
    for secret in &secrets {
        assert!(secret.len() >= 10, "{secret} is too short to search for");
        assert!(!log.contains(secret.as_str()), "in the log: {secret}\n{log}");
        assert!(!stats.contains(secret.as_str()), "in a metric: {secret}");
        assert!(!status.contains(secret.as_str()), "on the status page: {secret}");
        for page in &pages {
            assert!(!page.text.contains(secret.as_str()), "on a page: {secret}\n{page:?}");
        }
    }
}

/// Values in URLs reach third parties: the provider must get nothing of the client, and the client
/// nothing of the provider.
// Requirement: login-secret-confidential
#[tokio::test(flavor = "multi_thread")]
async fn neither_side_sees_the_values_of_the_other() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let response = approve(&mut browser, &client, "generic").await;
    let issued = client.redeem(&client.code(&response)).await;
    client.refresh(member(&issued, "refresh_token")).await;
    let provider = scene.only();
    let received = format!("{:?}", (provider.authorization_requests(), provider.token_requests()));
    for own in [client.client_id.as_str(), &client.redirect_uri, client.verifier(), "33418"] {
        assert!(!received.contains(own), "{own}: {received}");
    }
    // On the way, the provider's code is in the URL of the gateway's callback, which is
    // unavoidable.
    let seen = format!("{} {issued:?}", response.url);
    for secret in provider.secrets() {
        assert!(!seen.contains(&secret), "{secret}: {seen}");
    }
}
