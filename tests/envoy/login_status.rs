//! What operators see of logins: the status page and the metric.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Bootstrap, LoginShape, Port};

use crate::login_support::{
    ORIGIN, RESOURCE, SECRET, Scene, approve, log_in, member, replica, start_providers,
};
use crate::support::SOON;

/// An Envoy with the login and the status page.
struct Watched {
    scene: Scene,
    port: Port,
}

impl Watched {
    async fn start() -> Self {
        let port = Port::free();
        let number = port.number();
        let providers = start_providers([LoginShape::plain(RESOURCE), LoginShape::okta()]).await;
        let builder = replica(&providers, SECRET).alone().bootstrap(Bootstrap::status_example());
        let builder = builder.edit(move |bootstrap| bootstrap.set_status_port(number));
        Self { scene: Scene { stack: builder.start().await, providers }, port }
    }

    async fn text(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.port.address());
        let response = self.scene.stack.send(self.scene.stack.client().get(url)).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.text
    }

    /// Returns the login on the page once a step at a provider has this kind of result.
    async fn login_with(&self, step: &str, provider: Option<&str>, kind: &str) -> Value {
        let asked = Instant::now();
        loop {
            let status: Value = serde_json::from_str(&self.text("/status.json").await).unwrap();
            let login = &status["configurations"][0]["login"];
            if !step_of(login, step, provider)[kind].is_null() {
                return login.clone();
            }
            assert!(asked.elapsed() < SOON, "{step} {provider:?} {kind}: {status:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The results of a step at a provider; null if it was not taken.
fn step_of<'a>(login: &'a Value, step: &str, provider: Option<&str>) -> &'a Value {
    let steps = login["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = steps.iter().find(|own| own["step"] == step && own["provider"] == json!(provider));
    found.unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_redirect_uris_and_the_last_results_of_each_step_and_no_secret() {
    let watched = Watched::start().await;
    let scene = &watched.scene;
    let client = scene.client().await;
    let login = watched.login_with("register", None, "ok").await;
    assert_eq!(login["issuer"], ORIGIN);
    let redirect_uri = |name: &str| json!({"name": name, "redirect_uri": format!("{ORIGIN}/oauth/callback/{name}")});
    assert_eq!(login["providers"], json!([redirect_uri("generic"), redirect_uri("okta")]));

    let mut browser = scene.browser();
    let issued = log_in(&mut browser, &client, "generic").await;
    let refreshed = client.refresh(member(&issued, "refresh_token")).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    for (step, provider) in [
        ("authorize", None),
        ("approve", Some("generic")),
        ("callback", Some("generic")),
        ("token", Some("generic")),
        ("refresh", Some("generic")),
    ] {
        let login = watched.login_with(step, provider, "ok").await;
        let shown = step_of(&login, step, provider);
        assert!(shown["refused"].is_null() && shown["failed"].is_null(), "{login:#}");
    }

    // A fault of the operator and one of the client, at steps that succeeded before.
    let code = client.code(&approve(&mut browser, &client, "generic").await);
    scene.provider("generic").fail_token(401, json!({"error": "invalid_client"}));
    assert_eq!(client.redeem(&code).await.status, 503);
    scene.provider("generic").heal();
    assert_eq!(client.redeem("no-code-of-this-gateway").await.status, 400);
    watched.login_with("token", None, "refused").await;
    let login = watched.login_with("token", Some("generic"), "failed").await;
    let token = step_of(&login, "token", Some("generic"));
    let fault = token["failed"]["fault"].as_str().unwrap();
    assert!(fault.contains("invalid_client") && fault.contains("client_secret_env"), "{fault}");
    assert!(!token["ok"].is_null(), "a failure hides no success: {login:#}");
    assert!(token["failed"]["at"].as_str() >= token["ok"].as_str(), "{login:#}");
    assert!(step_of(&login, "token", Some("okta")).is_null(), "nobody logged in there: {login:#}");

    let page = watched.text("/").await;
    let redirect_uri = format!("<code>{ORIGIN}/oauth/callback/okta</code>");
    for shown in ["<td>refresh</td>", "invalid_client", &redirect_uri] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let everything = page + &watched.text("/status.json").await;
    let mut secrets = scene.provider("generic").secrets();
    secrets.extend([client.client_id.clone(), client.verifier().to_owned(), code]);
    secrets.extend(["access_token", "refresh_token"].map(|kind| member(&issued, kind).to_owned()));
    secrets.extend([SECRET.to_owned(), "no-code-of-this-gateway".to_owned()]);
    for secret in secrets {
        assert!(!everything.contains(&secret), "{secret} is shown: {everything}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metric_counts_each_step_by_provider_and_result() {
    let scene = Scene::alone([LoginShape::plain(RESOURCE)]).await;
    let client = scene.client().await;
    let mut browser = scene.browser();
    let issued = log_in(&mut browser, &client, "generic").await;
    for _ in 0..2 {
        client.refresh(member(&issued, "refresh_token")).await;
    }
    client.redeem("forged").await;
    let code = client.code(&approve(&mut browser, &client, "generic").await);
    scene.only().fail_token(500, json!({}));
    client.redeem(&code).await;
    scene.browser().open(&format!("{ORIGIN}/oauth/callback/generic?code=x&state=forged")).await;
    let page = browser.open(&client.authorization_url("mcp.tools")).await;
    browser.press(&page, "cancel", "1").await;
    let expected = [
        ("generic", "approve", "ok", 2),
        ("generic", "callback", "ok", 2),
        ("generic", "callback", "refused", 1),
        ("generic", "refresh", "ok", 2),
        ("generic", "token", "failed", 1),
        ("generic", "token", "ok", 1),
        ("none", "approve", "refused", 1),
        ("none", "authorize", "ok", 3),
        ("none", "register", "ok", 1),
        ("none", "token", "refused", 1),
    ];
    let expected = expected.map(|(provider, step, result, count)| {
        (format!("provider.{provider}.step.{step}.result.{result}"), count)
    });
    // The native module passes its counts to Envoy within 50 ms.
    let asked = Instant::now();
    loop {
        let mut counted: Vec<(String, u64)> = scene
            .stack
            .envoy
            .stats()
            .await
            .into_iter()
            .filter_map(|(name, count)| {
                Some((name.split_once("mcp_auth_logins.")?.1.to_owned(), count))
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        counted.sort();
        if counted == expected {
            break;
        }
        assert!(asked.elapsed() < SOON, "{counted:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
