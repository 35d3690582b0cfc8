//! A dependency of a login is unavailable for a while: the provider's token endpoint, its keys, or
//! the directory of users. Each login ends with an explanation, none loops, and a later one works.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Fault, LoginProvider, LoginShape, Response, ScimDirectory};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::login_support::{
    RESOURCE, SECRET, Scene, approve, assert_error, log_in, member, replica, start_providers,
};
use crate::support::{SOON, with_directory};

/// Asserts that the client may try again and learns when.
fn assert_unavailable(response: &Response) {
    assert_error(response, 503, "temporarily_unavailable");
    let seconds: u64 = response.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{response:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_exchanges_wait_for_a_provider_and_the_next_one_gets_503() {
    const MAX_EXCHANGES: usize = 32;
    let providers = start_providers([LoginShape::plain(RESOURCE), LoginShape::okta()]).await;
    let stack = replica(&providers, SECRET).alone().workers(1).start().await;
    let scene = Scene { stack, providers };
    let (mut browser, client) = (scene.browser(), scene.client().await);
    let issued = log_in(&mut browser, &client, "okta").await;
    let mut codes = Vec::new();
    for _ in 0..=MAX_EXCHANGES {
        codes.push(client.code(&approve(&mut browser, &client, "generic").await));
    }
    let slow = scene.provider("generic");
    slow.hold_tokens();
    let last = codes.pop().unwrap();
    let mut waiting = JoinSet::new();
    for code in codes {
        let client = client.clone();
        waiting.spawn(async move { client.redeem(&code).await });
    }
    let asked = Instant::now();
    while slow.token_requests().len() < MAX_EXCHANGES {
        assert!(asked.elapsed() < SOON, "{} of {MAX_EXCHANGES}", slow.token_requests().len());
        sleep(Duration::from_millis(5)).await;
    }
    assert_unavailable(&client.redeem(&last).await);
    assert_eq!(slow.token_requests().len(), MAX_EXCHANGES, "the provider got no request");
    // The twin: another provider is not affected.
    let refreshed = client.refresh(member(&issued, "refresh_token")).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    slow.heal();
    for response in waiting.join_all().await {
        assert_eq!(response.status, 200, "{response:?}");
    }
    let response = client.redeem(&last).await;
    assert_eq!(response.status, 200, "the code is still valid: {response:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_a_login_ends_with_503_and_continues_once_there_are_some() {
    let providers = start_providers([LoginShape::plain(RESOURCE)]).await;
    providers[0].withhold_keys();
    let stack = replica(&providers, SECRET).alone().start().await;
    let scene = Scene { stack, providers };
    let (mut browser, client) = (scene.browser(), scene.client().await);
    let code = client.code(&approve(&mut browser, &client, "generic").await);
    let asked = scene.only().token_requests().len();
    assert_unavailable(&client.redeem(&code).await);
    assert_eq!(scene.only().token_requests().len(), asked, "the code was not used");
    scene.only().heal();
    let healed = Instant::now();
    let response = loop {
        let response = client.redeem(&code).await;
        if response.status == 200 {
            break response;
        }
        assert_unavailable(&response);
        assert!(healed.elapsed() < SOON, "{response:?}");
        sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(client.call(member(&response, "access_token")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_directory_a_refresh_gets_503_and_the_same_token_works_later() {
    let directory = ScimDirectory::start().await;
    for user in ["ada", "bob"] {
        directory.add_user(json!({"userName": user})).await;
    }
    let providers = start_providers([LoginShape::plain(RESOURCE)]).await;
    providers[0].edit_access_claims(|claims| claims["sub"] = json!("ada"));
    let builder = replica(&providers, SECRET)
        .configure(|plugin| plugin["providers"][0]["user_claim"] = json!("sub"));
    let builder = with_directory(builder, &directory, json!({})).edit(|bootstrap| {
        bootstrap.plugin()["vm_config"]["environment_variables"] = json!({"key_values": {
            "MCP_AUTH_SECRET": SECRET,
            "LOGIN_SECRET": LoginProvider::CLIENT[1],
            "SCIM_TOKEN": ScimDirectory::BEARER_TOKEN,
        }});
    });
    let scene = Scene { stack: builder.alone().start().await, providers };
    let (mut browser, client) = (scene.browser(), scene.client().await);
    let issued = log_in(&mut browser, &client, "generic").await;
    let refresh_token = member(&issued, "refresh_token");
    // The directory has not been asked for this user yet.
    scene.only().edit_access_claims(|claims| claims["sub"] = json!("bob"));
    directory.gateway.fail(Fault::Status(500));
    assert_unavailable(&client.refresh(refresh_token).await);
    directory.gateway.heal();
    let healed = Instant::now();
    loop {
        let response = client.refresh(refresh_token).await;
        if response.status == 200 {
            break;
        }
        assert_unavailable(&response);
        assert!(healed.elapsed() < SOON, "{response:?}");
        sleep(Duration::from_millis(200)).await;
    }
    // A user that the directory does not have is refused, with the reason.
    scene.only().edit_access_claims(|claims| claims["sub"] = json!("eve"));
    let response = client.refresh(refresh_token).await;
    assert_error(&response, 400, "invalid_grant");
    assert!(member(&response, "error_description").contains("user_unknown"), "{response:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_provider_is_down_people_see_a_page_once_and_can_start_again() {
    let scene = Scene::alone([LoginShape::plain(RESOURCE)]).await;
    let (mut browser, client) = (scene.browser(), scene.client().await);
    scene.only().refuse_logins("temporarily_unavailable");
    let seen = approve(&mut browser, &client, "generic").await;
    assert_eq!(client.error(&seen), "temporarily_unavailable");
    let visits = seen.way.iter().filter(|url| url.contains("/authorize")).count();
    assert!(visits <= 2, "no loop: {seen:?}");
    scene.only().heal();
    log_in(&mut browser, &client.for_new_login(), "generic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_leaves_during_the_discovery_ends_no_other_login() {
    let providers = start_providers([LoginShape::plain(RESOURCE)]).await;
    let stack = replica(&providers, SECRET).alone().workers(1).start().await;
    let scene = Scene { stack, providers };
    let client = scene.client().await;
    let provider = scene.only();
    provider.hold_metadata();
    let before = provider.metadata_requests().len();
    let (mut browser, leaving) = (scene.browser(), client.clone());
    let leaves = tokio::spawn(async move { approve(&mut browser, &leaving, "generic").await });
    let opened = Instant::now();
    while provider.metadata_requests().len() == before {
        assert!(opened.elapsed() < SOON, "the login waits for the provider's metadata");
        sleep(Duration::from_millis(5)).await;
    }
    leaves.abort();
    while scene.stack.envoy.active_requests().await != Some(0) {
        assert!(opened.elapsed() < SOON, "Envoy notices that the browser has left");
        sleep(Duration::from_millis(5)).await;
    }
    provider.heal();
    log_in(&mut scene.browser(), &client, "generic").await;
    assert_eq!(provider.metadata_requests().len(), before + 1, "its response served this login");
}
