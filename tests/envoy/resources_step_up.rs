//! A token that lacks scopes at one of several servers: the challenge requests this server's
//! scopes, under the names that it publishes, and points to its own document.

use serde_json::{Value, json};
use testbed::Stack;

use crate::support::{assert_refusal, with};
use crate::two_servers::{ALONE, ONE, PLACES, Place, TWO, TwoServers};

/// Three servers whose rules require the same scope, which each publishes under another name.
fn configure(configuration: &mut Value) {
    let supported = [
        json!(["files.read", "files.write"]),
        json!(["api://one/files.read", "api://one/files.write"]),
        json!(["api://two/files.read", "api://two/files.write"]),
    ];
    let resources = configuration["resources"].as_array_mut().unwrap();
    for (resource, supported) in resources.iter_mut().zip(supported) {
        resource["scopes_supported"] = supported;
    }
    configuration["access"] = json!({
        "rules": [{"require": {"scopes": ["files.write"]}}],
        "scope_hierarchy": {"files.admin": ["files.write"]},
    });
    // Only this server has `two.extra`.
    configuration["resources"][2]["access"] = json!({
        "rules": [{"require": {"scopes": ["files.write"], "any_scope": ["two.extra", "two.more"]}}],
    });
}

async fn start(workers: usize) -> TwoServers {
    TwoServers::start(Stack::builder().workers(workers), configure).await
}

fn token(servers: &TwoServers, scope: &str) -> String {
    let mut claims = servers.stack.claims();
    claims["aud"] = json!(PLACES.map(|place| place.audience));
    servers.stack.provider.token(&with(&claims, "scope", scope))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_names_scopes_and_document_of_the_server_in_each_order() {
    let asked = |place: Place| match place.id {
        "alone" => "files.write files.read",
        "one" => "api://one/files.write api://one/files.read",
        _ => "api://two/files.write two.extra api://two/files.read",
    };
    for workers in [1, 4] {
        let servers = start(workers).await;
        for places in [[ALONE, ONE, TWO], [TWO, ONE, ALONE], [ONE, TWO, ALONE]] {
            let narrow = token(&servers, "files.read two.extra openid");
            for place in places.into_iter().chain(places) {
                let refused = servers.call_at(place, &narrow).await;
                if place == TWO {
                    // The token has `two.extra`: only the other scope is missing.
                    assert_refusal(&refused, "insufficient_scope");
                    assert_challenge(
                        refused.header("www-authenticate"),
                        place,
                        "api://two/files.write api://two/files.read two.extra",
                    );
                    continue;
                }
                assert_refusal(&refused, "insufficient_scope");
                assert_challenge(refused.header("www-authenticate"), place, asked(place));
            }
            let bare = token(&servers, "files.read");
            let refused = servers.call_at(TWO, &bare).await;
            assert_challenge(refused.header("www-authenticate"), TWO, asked(TWO));
        }
        assert_eq!(servers.reached(), []);
        // The twin: with the requested scopes, each server is reached.
        let broad = token(&servers, "files.read files.write two.more");
        for place in PLACES {
            assert_eq!(servers.call_at(place, &broad).await.status, 200, "{}", place.id);
        }
    }
}

fn assert_challenge(challenge: &str, place: Place, scope: &str) {
    let document = format!(
        "resource_metadata=\"https://{}/.well-known/oauth-protected-resource{}\"",
        place.host, place.path
    );
    let end = format!(", {document}, scope=\"{scope}\"");
    assert!(challenge.ends_with(&end), "{}: {challenge}", place.id);
    assert!(challenge.starts_with("Bearer error=\"insufficient_scope\", "), "{challenge}");
    assert_eq!(challenge.matches("resource_metadata").count(), 1, "{challenge}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_only_another_server_has_is_not_requested() {
    let servers = start(1).await;
    // The token has both, and `two.extra` has no meaning at `one`.
    let refused = servers.call_at(ONE, &token(&servers, "two.extra files.read")).await;
    assert_challenge(
        refused.header("www-authenticate"),
        ONE,
        "api://one/files.write api://one/files.read",
    );
    let refused = servers.call_at(TWO, &token(&servers, "two.extra files.read")).await;
    assert!(refused.header("www-authenticate").contains("two.extra"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_a_server_replace_the_common_scope_hierarchy() {
    let servers = start(1).await;
    let token = token(&servers, "files.admin two.more");
    for place in [ALONE, ONE] {
        assert_eq!(servers.call_at(place, &token).await.status, 200, "{}", place.id);
    }
    assert_refusal(&servers.call_at(TWO, &token).await, "insufficient_scope");
}
