//! The gateway stores nothing of a login: any replica can continue what another one began, and so
//! can one that was restarted.

use serde_json::json;
use testbed::{LoginBrowser, LoginClient, LoginShape, Stack};

use crate::login_support::{
    ORIGIN, OTHER_SECRET, RESOURCE, SECRET, Scene, assert_dead_end, assert_error, log_in, member,
    replica, start_providers,
};

/// A browser that reaches this replica.
fn browser_at(scene: &Scene, stack: &Stack, browser: &LoginBrowser) -> LoginBrowser {
    let provider = scene.only().address();
    let sites =
        [(ORIGIN.to_owned(), stack.envoy.address()), (format!("http://{provider}"), provider)];
    browser.at(sites)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_login_may_reach_another_replica() {
    let scene = Scene::plain().await;
    let second = replica(&scene.providers, SECRET).start().await;
    let client = LoginClient::discover(RESOURCE, second.envoy.address()).await;
    let mut client = client.at(scene.stack.envoy.address());
    client.register().await;
    let page = scene.browser().at([(ORIGIN.to_owned(), second.envoy.address())]);
    let mut browser = page;
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    // The approval reaches the first replica, and the callback the second.
    let mut browser = browser.at([(ORIGIN.to_owned(), scene.stack.envoy.address())]);
    let sent = browser.press(&page, "provider", "generic").await;
    assert_eq!(sent.status, None, "it stops at the provider: {sent:?}");
    let mut browser = browser_at(&scene, &second, &browser);
    let response = browser.follow(&sent.url, ORIGIN).await;
    let code = client.code(&response);
    let issued = client.at(scene.stack.envoy.address()).redeem(&code).await;
    assert_eq!(issued.status, 200, "{issued:?}");
    let at_second = client.at(second.envoy.address());
    let refreshed = at_second.refresh(member(&issued, "refresh_token")).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    for stack in [&scene.stack, &second] {
        let token = member(&refreshed, "access_token");
        assert_eq!(client.at(stack.envoy.address()).call(token).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_during_a_login_has_no_effect_on_it() {
    let providers = start_providers([LoginShape::plain(RESOURCE)]).await;
    let start = async || replica(&providers, SECRET).alone().start().await;
    let provider = providers[0].address();
    let sites = |stack: &Stack| {
        [(ORIGIN.to_owned(), stack.envoy.address()), (format!("http://{provider}"), provider)]
    };
    let stack = start().await;
    let mut client = LoginClient::discover(RESOURCE, stack.envoy.address()).await;
    client.register().await;
    drop(stack);
    let stack = start().await;
    let mut browser = LoginBrowser::new([(ORIGIN.to_owned(), stack.envoy.address())]);
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    assert!(page.asks_for_consent(), "{page:?}");
    drop(stack);
    let stack = start().await;
    let mut browser = browser.at([(ORIGIN.to_owned(), stack.envoy.address())]);
    let sent = browser.press(&page, "provider", "generic").await;
    drop(stack);
    let stack = start().await;
    let response = browser.at(sites(&stack)).follow(&sent.url, ORIGIN).await;
    let code = client.code(&response);
    drop(stack);
    let stack = start().await;
    let issued = client.at(stack.envoy.address()).redeem(&code).await;
    assert_eq!(issued.status, 200, "{issued:?}");
    drop(stack);
    let stack = start().await;
    let client = client.at(stack.envoy.address());
    assert_eq!(client.call(member(&issued, "access_token")).await.status, 200);
    assert_eq!(client.refresh(member(&issued, "refresh_token")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_secret_each_step_ends_cleanly_and_clients_start_again() {
    let scene = Scene::plain().await;
    let other = replica(&scene.providers, OTHER_SECRET).start().await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let issued = log_in(&mut browser, &client, "generic").await;
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    let code = client.code(&browser.press(&page, "provider", "generic").await);
    let mut stopped = scene.browser_without_providers();
    let asked = stopped.open(&client.authorization_url("mcp.tools")).await;
    let sent = stopped.press(&asked, "provider", "generic").await;
    let exchanges = scene.only().token_requests().len();

    let client = client.at(other.envoy.address());
    let at_other = |browser: &LoginBrowser| browser_at(&scene, &other, browser);
    let seen = at_other(&browser).open(&client.authorization_url("mcp.tools")).await;
    assert_dead_end(&seen, 400);
    assert!(seen.text.contains("add it again"), "{seen:?}");
    assert_dead_end(&at_other(&browser).press(&page, "provider", "generic").await, 400);
    assert_dead_end(&at_other(&stopped).follow(&sent.url, ORIGIN).await, 400);
    assert_error(&client.redeem(&code).await, 401, "invalid_client");
    assert_error(&client.refresh(member(&issued, "refresh_token")).await, 401, "invalid_client");
    // A client that registers again cannot use values that were sealed with the other secret.
    let mut client = client.for_new_login();
    client.register().await;
    assert_error(&client.redeem(&code).await, 400, "invalid_grant");
    assert_error(&client.refresh(member(&issued, "refresh_token")).await, 400, "invalid_grant");
    assert_eq!(scene.only().token_requests().len(), exchanges);
    // The client starts again in the same browser.
    log_in(&mut at_other(&browser), &client, "generic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_secret_is_accepted_and_the_new_one_seals() {
    let scene = Scene::plain().await;
    let client = scene.client().await;
    let issued = log_in(&mut scene.browser(), &client, "generic").await;
    let rotated = replica(&scene.providers, OTHER_SECRET)
        .configure(|plugin| plugin["secret"]["previous_env"] = json!("MCP_AUTH_SECRET_PREVIOUS"))
        .edit(|bootstrap| {
            let variables = &mut bootstrap.plugin()["vm_config"]["environment_variables"];
            variables["key_values"]["MCP_AUTH_SECRET_PREVIOUS"] = json!(SECRET);
        })
        .start()
        .await;
    let client = client.at(rotated.envoy.address());
    let refreshed = client.refresh(member(&issued, "refresh_token")).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    // Its client id was sealed with the previous secret, so only the refresh token is sealed anew.
    let only_new = replica(&scene.providers, OTHER_SECRET).start().await;
    let mut new = client.at(only_new.envoy.address());
    assert_error(&new.refresh(member(&refreshed, "refresh_token")).await, 401, "invalid_client");
    new.register().await;
    // Sealed with the new secret, and bound to the client id of the previous one.
    let response = new.refresh(member(&refreshed, "refresh_token")).await;
    assert_error(&response, 400, "invalid_grant");
    assert!(
        member(&response, "error_description").contains("another client"),
        "it can be read: {response:?}"
    );
}
