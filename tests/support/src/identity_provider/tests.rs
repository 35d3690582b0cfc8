use reqwest::Client;
use tokio::task::JoinSet;

use super::*;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn serves_discovery_and_keys_and_logs_the_requests() {
    let provider = IdentityProvider::start().await;
    provider.set_cache_control("max-age=60");
    provider.add_key(SigningKey::generate(Algorithm::Es256, "second"));
    let discovery: Value = get(&provider.metadata_url()).await.json().await.unwrap();
    assert_eq!(discovery["issuer"], provider.issuer());
    let url = discovery["jwks_uri"].as_str().unwrap();
    let response = get(url).await;
    assert_eq!(response.headers()["cache-control"], "max-age=60");
    let keys: Value = response.json().await.unwrap();
    assert_eq!(keys["keys"][0]["kid"], "key-1");
    assert_eq!(keys["keys"][1], provider.key().public_jwk());

    assert_eq!(provider.count(Document::Discovery), 1);
    assert_eq!(provider.requests()[1].path, "/jwks");
    provider.clear_log();
    assert_eq!(provider.count(Document::KeySet), 0);
}

#[tokio::test]
async fn edits_and_rotation_show_in_the_next_response() {
    let provider = IdentityProvider::start().await;
    provider.edit(Document::KeySet, |keys| keys["keys"][0]["use"] = json!("enc"));
    let new = provider.rotate(Algorithm::EdDsa);
    let keys: Value = get(&provider.jwks_url()).await.json().await.unwrap();
    assert_eq!(keys["keys"][0]["kid"], new.kid());
    assert_eq!(keys["keys"][0]["use"], "enc");
    provider.undo_edits(Document::KeySet);
    let keys: Value = get(&provider.jwks_url()).await.json().await.unwrap();
    assert_eq!(keys, json!({"keys": [new.public_jwk()]}));
}

#[tokio::test]
async fn faults_do_what_they_say() {
    let provider = IdentityProvider::start().await;
    let url = provider.jwks_url();
    let fail = |fault| provider.fail(Document::KeySet, fault);

    fail(Fault::Status(503));
    assert_eq!(get(&url).await.status(), 503);
    fail(Fault::Body(b"{".to_vec()));
    assert_eq!(get(&url).await.text().await.unwrap(), "{");
    fail(Fault::Redirect("http://127.0.0.1:1/".to_owned()));
    assert_eq!(get(&url).await.status(), 302);
    fail(Fault::Oversize(100_000));
    let body = get(&url).await.bytes().await.unwrap();
    assert_eq!(body.len(), 100_000);
    let keys: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(keys["keys"][0], provider.key().public_jwk());
    fail(Fault::RightBody(203));
    let response = get(&url).await;
    assert_eq!(response.status(), 203);
    assert_eq!(response.json::<Value>().await.unwrap()["keys"], keys["keys"]);
    fail(Fault::HalfResponse);
    assert!(get(&url).await.bytes().await.is_err());
    fail(Fault::Reset);
    let error = client().get(&url).send().await.unwrap_err();
    assert!(format!("{error:?}").contains("ConnectionReset"), "{error:?}");
    let asked = Instant::now();
    fail(Fault::Delay(Duration::from_millis(50)));
    assert_eq!(get(&url).await.status(), 200);
    assert!(asked.elapsed() >= Duration::from_millis(50));
    assert_eq!(get(&provider.metadata_url()).await.status(), 200);
}

#[tokio::test]
async fn each_document_has_its_own_content_type() {
    let provider = IdentityProvider::start().await;
    provider.set_content_type(Document::Discovery, None);
    provider.set_content_type(Document::KeySet, Some("text/plain"));
    let response = get(&provider.metadata_url()).await;
    assert!(!response.headers().contains_key("content-type"), "{response:?}");
    assert_eq!(get(&provider.jwks_url()).await.headers()["content-type"], "text/plain");
}

#[tokio::test]
async fn gaps_lie_between_requests_of_the_same_document() {
    let provider = IdentityProvider::start().await;
    for url in [provider.jwks_url(), provider.metadata_url(), provider.jwks_url()] {
        get(&url).await;
    }
    let requests = provider.requests();
    assert_eq!(provider.gaps(Document::KeySet), [requests[2].at - requests[0].at]);
    assert!(provider.gaps(Document::Discovery).is_empty());
}

#[tokio::test]
async fn a_response_may_stop_halfway_for_long() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::KeySet, Fault::HalfThenHang);
    let url = provider.jwks_url();
    let asking = tokio::spawn(async move { get(&url).await.bytes().await });
    provider.await_count(Document::KeySet, 1, SOON).await;
    assert_eq!(provider.max_in_flight(Document::KeySet), 1);
    assert!(!asking.is_finished());
    provider.heal(Document::KeySet);
    assert!(asking.await.unwrap().is_err());
}

#[tokio::test]
async fn documents_can_have_other_paths() {
    let provider = IdentityProvider::start().await;
    provider.serve_at(Document::KeySet, "/realms/a/certs");
    assert_eq!(get(&provider.url("/jwks")).await.status(), 404);
    assert_eq!(get(&provider.jwks_url()).await.status(), 200);
    let document: Value = get(&provider.metadata_url()).await.json().await.unwrap();
    assert_eq!(document["jwks_uri"], provider.url("/realms/a/certs"));
    assert_eq!(provider.count(Document::KeySet), 1);
}

#[tokio::test]
async fn hanging_requests_get_responses_once_healed() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::KeySet, Fault::Hang);
    let url = provider.jwks_url();
    let asking: JoinSet<_> = (0..3)
        .map(|_| {
            let url = url.clone();
            async move { get(&url).await.status() }
        })
        .collect();
    provider.await_count(Document::KeySet, 3, SOON).await;
    assert_eq!(provider.max_in_flight(Document::KeySet), 3);
    provider.heal(Document::KeySet);
    assert_eq!(timeout(SOON, asking.join_all()).await.unwrap(), [200; 3]);
}

#[tokio::test]
async fn an_abandoned_request_is_no_longer_in_flight() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::KeySet, Fault::Hang);
    for round in 1..=3 {
        let asking = tokio::spawn({
            let url = provider.jwks_url();
            async move { get(&url).await.status() }
        });
        provider.await_count(Document::KeySet, round, SOON).await;
        asking.abort();
        provider.await_idle(Document::KeySet, SOON).await;
    }
    assert_eq!(provider.max_in_flight(Document::KeySet), 1);
}

#[tokio::test]
async fn a_stopped_provider_refuses_connections_until_it_starts_again() {
    let mut provider = IdentityProvider::start().await;
    let url = provider.jwks_url();
    for _ in 0..3 {
        provider.stop().await;
        assert!(client().get(&url).send().await.unwrap_err().is_connect());
        provider.start_again();
        assert_eq!(get(&url).await.status(), 200);
    }
}

fn client() -> Client {
    Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn get(url: &str) -> reqwest::Response {
    client().get(url).send().await.unwrap()
}
