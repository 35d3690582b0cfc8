//! A flood of unauthenticated requests costs the gateway no lasting memory, and the provider no
//! request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Document, Fault, IdentityProvider, LoginClient, LoginShape, Stack, form_of};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::login_support::{
    HOST, RESOURCE, SECRET, Scene, log_in, member, replica, start_providers,
};
use crate::support::{SOON, await_active_requests};

const COUNT: usize = 10_000;
/// This many connections at the same time.
const STREAMS: usize = 16;

/// Sends this many requests of this kind, and counts the responses with this status.
async fn flood<F>(count: usize, status: u16, send: impl Fn(usize) -> F + Send + Sync + 'static)
where
    F: Future<Output = u16> + Send,
{
    let send = Arc::new(send);
    let streams: Vec<_> = (0..STREAMS)
        .map(|stream| {
            let send = send.clone();
            tokio::spawn(async move {
                for index in (stream..count).step_by(STREAMS) {
                    assert_eq!(send(index).await, status, "request {index}");
                }
            })
        })
        .collect();
    for stream in streams {
        stream.await.expect("the stream ends");
    }
}

/// Asserts that many requests leave no more memory in use than a few: a cache may fill, and nothing
/// else may grow.
async fn assert_leaves_nothing<F: Future<Output = ()>>(stack: &Stack, round: impl Fn(usize) -> F) {
    /// 40 bytes for each request.
    const MARGIN: u64 = 800 * 1024;
    round(COUNT / 5).await;
    let before = stack.envoy.memory();
    round(COUNT).await;
    let after = stack.envoy.memory();
    println!("{before} bytes before, {after} after");
    assert!(after < before + MARGIN, "{before} bytes became {after}");
}

// Requirement: login-register-load
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_registrations_and_forged_codes_use_no_memory_and_cause_no_callout() {
    let providers = start_providers([LoginShape::plain(RESOURCE)]).await;
    let stack = replica(&providers, SECRET).alone().start().await;
    let scene = Scene { stack, providers };
    let client = scene.client().await;
    let issued = log_in(&mut scene.browser(), &client, "generic").await;
    let asked = scene.only().token_requests().len();
    let kept = client.with_kept_connections();
    assert_leaves_nothing(&scene.stack, |count| {
        let client = kept.clone();
        async move {
            let registering = client.clone();
            flood(count, 201, move |index| {
                let client = registering.clone();
                async move { register(&client, index).await }
            })
            .await;
            flood(count, 400, move |index| {
                let client = client.clone();
                async move { forge(&client, index).await }
            })
            .await;
        }
    })
    .await;
    assert_eq!(scene.only().token_requests().len(), asked, "the provider got a request");
    assert!(scene.stack.envoy.is_running());
    assert_eq!(client.refresh(member(&issued, "refresh_token")).await.status, 200);
}

/// Clients that announce forms and send none take all places.
#[tokio::test(flavor = "multi_thread")]
async fn forms_that_never_arrive_do_not_block_other_clients() {
    let providers = start_providers([LoginShape::plain(RESOURCE)]).await;
    let stack = replica(&providers, SECRET).alone().workers(1).start().await;
    let scene = Scene { stack, providers };
    let client = scene.client().await;
    let head = format!(
        "POST /oauth/register HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n\
         content-length: 10\r\n\r\n"
    );
    let mut withheld = Vec::new();
    for _ in 0..1100 {
        let mut stream = TcpStream::connect(scene.stack.envoy.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        withheld.push(stream);
    }
    // The oldest ones are ended to make room for later ones.
    let mut response = [0; 12];
    withheld[0].read_exact(&mut response).await.unwrap();
    assert_eq!(&response, b"HTTP/1.1 408");
    let issued = log_in(&mut scene.browser(), &client, "generic").await;
    assert_eq!(client.refresh(member(&issued, "refresh_token")).await.status, 200);
    scene.client().await;
    assert!(scene.stack.envoy.is_running());
}

/// The first visitor opens the page of a client whose metadata document has not been read yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_leaves_before_the_document_arrives_blocks_no_other() {
    const CLIENT_ID: &str = "https://app.example.com/oauth/mcp.json";
    const REDIRECT_URI: &str = "https://app.example.com/callback";
    let publisher = IdentityProvider::start().await;
    publisher.serve_at(Document::Discovery, "/oauth/mcp.json");
    publisher.edit(Document::Discovery, |document| {
        *document = json!({"client_id": CLIENT_ID, "redirect_uris": [REDIRECT_URI]});
    });
    publisher.fail(Document::Discovery, Fault::Hang);
    let providers = start_providers([LoginShape::plain(RESOURCE)]).await;
    let stack = replica(&providers, SECRET)
        .alone()
        .workers(1)
        .cluster("app", publisher.address())
        .configure(|plugin| {
            plugin["login"] = json!({"client_metadata": {"app.example.com": "app"}});
        });
    let scene = Scene { stack: stack.start().await, providers };
    let mut client = LoginClient::discover(RESOURCE, scene.stack.envoy.address()).await;
    CLIENT_ID.clone_into(&mut client.client_id);
    REDIRECT_URI.clone_into(&mut client.redirect_uri);
    let url = client.authorization_url("mcp.tools");
    let mut leaving = TcpStream::connect(scene.stack.envoy.address()).await.unwrap();
    let (_, path) = url.split_once("/oauth/").unwrap();
    let head = format!("GET /oauth/{path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    leaving.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    while publisher.count(Document::Discovery) == 0 {
        assert!(begun.elapsed() < SOON, "the document is fetched");
        sleep(Duration::from_millis(5)).await;
    }
    drop(leaving);
    await_active_requests(&scene.stack, 0).await;
    // The next visitor waits for the same fetch.
    let mut browser = scene.browser();
    let (page, ()) = tokio::join!(browser.open(&url), async {
        await_active_requests(&scene.stack, 1).await;
        publisher.heal(Document::Discovery);
    });
    assert!(page.asks_for_consent(), "{page:?}");
    assert_eq!(publisher.count(Document::Discovery), 1);
}

async fn register(client: &LoginClient, index: usize) -> u16 {
    let metadata = json!({
        "client_name": format!("client {index}"),
        "redirect_uris": [format!("http://127.0.0.1:{}/callback/{index}", 1024 + index % 60_000)],
    });
    client.register_with(metadata).await.status
}

/// A code in the right form and of a possible length.
async fn forge(client: &LoginClient, index: usize) -> u16 {
    let code = format!("{index:06}{}", "Ab3_-".repeat(60 + index % 40));
    let form = form_of(&[
        ("grant_type", "authorization_code"),
        ("client_id", &client.client_id),
        ("code", &code),
        ("redirect_uri", &client.redirect_uri),
        ("code_verifier", client.verifier()),
    ]);
    client.post_form("token_endpoint", &form).await.status
}
