//! A token that is cached after a request to one resource is judged at another by that one's
//! audiences, providers and rules: in each order, with one worker and with four, and with single
//! use.

use serde_json::json;
use testbed::{Algorithm, Document, Response, SigningKey, Stack};

use crate::support::{add_providers, assert_refusal, issuer_of, static_provider, with};
use crate::two_servers::{ALONE, ONE, PLACES, Place, TWO, TwoServers};

/// Enough requests for each of four workers to get one.
const TIMES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_passes_at_its_own_server_in_any_order() {
    for workers in [1, 4] {
        let servers = TwoServers::start(Stack::builder().workers(workers), |_| {}).await;
        for first in PLACES {
            let token = servers.token(first.audience);
            for _ in 0..TIMES {
                for place in [first].into_iter().chain(PLACES) {
                    let response = servers.call_at(place, &token).await;
                    assert_place(&response, place, place == first);
                }
            }
        }
        // Whatever the number of resources and workers, the keys are fetched once.
        assert_eq!(servers.stack.provider.count(Document::KeySet), 1, "{workers}");
    }
}

/// Asserts a response of the server with the id of this resource, or a refusal for the audience.
fn assert_place(response: &Response, place: Place, passes: bool) {
    if passes {
        assert_eq!(response.status, 200, "{}: {response:?}", place.id);
        assert_eq!(response.whoami()["x-mcp-resource"], place.id, "{response:?}");
    } else {
        assert_refusal(response, "audience_mismatch");
        let document =
            format!("https://{}/.well-known/oauth-protected-resource{}", place.host, place.path);
        let challenge = response.header("www-authenticate");
        assert!(challenge.contains(&format!("resource_metadata=\"{document}\"")), "{challenge}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_several_servers_is_judged_by_the_rules_of_each() {
    for workers in [1, 4] {
        let servers = TwoServers::start(Stack::builder().workers(workers), |configuration| {
            configuration["resources"][2]["access"] =
                json!({"rules": [{"name": "all", "require": {"scopes": ["two.read"]}}]});
        })
        .await;
        let mut claims = servers.stack.claims();
        claims["aud"] = json!([ONE.audience, TWO.audience]);
        let narrow = servers.stack.provider.token(&with(&claims, "scope", "mcp.tools"));
        let broad = servers.stack.provider.token(&with(&claims, "scope", "two.read"));
        for _ in 0..TIMES {
            assert_eq!(servers.call_at(ONE, &narrow).await.status, 200);
            assert_refusal(&servers.call_at(TWO, &narrow).await, "insufficient_scope");
            assert_eq!(servers.call_at(TWO, &broad).await.status, 200);
            assert_eq!(servers.call_at(ONE, &broad).await.status, 200);
            assert_refusal(&servers.call_at(ALONE, &broad).await, "audience_mismatch");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_use_token_is_spent_at_all_servers() {
    for workers in [1, 4] {
        let servers = TwoServers::start(Stack::builder().workers(workers), |configuration| {
            configuration["providers"][0]["jti"] = json!("single_use");
        })
        .await;
        for places in [[ONE, TWO], [TWO, ONE]] {
            for round in 0..TIMES {
                let mut claims = servers.stack.claims();
                claims["aud"] = json!([ONE.audience, TWO.audience]);
                claims["jti"] = json!(format!("{}-{round}", places[0].id));
                let token = servers.stack.provider.token(&claims);
                // A refusal for the audience does not spend the token.
                assert_refusal(&servers.call_at(ALONE, &token).await, "audience_mismatch");
                assert_eq!(servers.call_at(places[0], &token).await.status, 200);
                for place in places {
                    assert_refusal(&servers.call_at(place, &token).await, "jti_replayed");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_a_server_does_not_accept_is_unknown_there() {
    let key = SigningKey::generate(Algorithm::Es256, "partner");
    let partner = static_provider("partner", &[&key], json!({"client_ids": ["for-partner"]}));
    for workers in [1, 4] {
        let partner = partner.clone();
        let servers = TwoServers::start(Stack::builder().workers(workers), |configuration| {
            add_providers(configuration, [partner]);
            configuration["resources"][0]["providers"] = json!(["demo"]);
            for index in [1, 2] {
                let resource = &mut configuration["resources"][index];
                let own = resource["audiences"].take();
                resource["audiences"] = json!({"demo": own});
            }
            configuration["resources"][2]["providers"] = json!(["partner", "demo"]);
        })
        .await;
        let token = key.token(&testbed::claims(&issuer_of("partner"), "for-partner"));
        for places in [PLACES, [TWO, ONE, ALONE]] {
            for place in places.into_iter().chain(places) {
                let response = servers.call_at(place, &token).await;
                if place == ALONE {
                    assert_refusal(&response, "unknown_issuer");
                } else {
                    assert_eq!(response.whoami()["x-mcp-provider"], "partner", "{response:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_once_for_a_provider_whatever_the_number_of_resources() {
    for (workers, further) in [(1, 0), (1, 20), (4, 20)] {
        let servers = TwoServers::start(Stack::builder().workers(workers), move |configuration| {
            let resources = configuration["resources"].as_array_mut().unwrap();
            for number in 0..further {
                let url = format!("https://gateway.example/further/{number}");
                resources.push(json!({"id": format!("r{number}"), "url": url, "audiences": [url]}));
            }
        })
        .await;
        for place in PLACES.into_iter().cycle().take(TIMES) {
            let response = servers.call_at(place, &servers.token(place.audience)).await;
            assert_place(&response, place, true);
        }
        let fetched =
            [Document::Discovery, Document::KeySet].map(|what| servers.stack.provider.count(what));
        assert_eq!(fetched, [1, 1], "{workers} workers, {further} further resources");
    }
}
