//! Single-use tokens in several Envoys, with a real Redis and webdis.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testbed::{
    Algorithm, Bootstrap, Fault, FleetStore, Port, Response, SigningKey, Stack, StackBuilder,
    with_one_worker_and_with_four,
};

use crate::support::{
    SOON, add_providers, assert_none, assert_refusal, assert_tokens_accepted,
    assert_tokens_refused, assert_vm_lives, await_active_requests, call_together, call_until,
    claims_of, faults_of_refusal, named, static_provider, with, without,
};

/// The name of a provider that several Envoys share.
const ONCE: &str = "once";

/// An Envoy whose tokens are single-use across all Envoys that call this webdis.
fn member(workers: usize, webdis: SocketAddr, key: &SigningKey) -> StackBuilder {
    let provider = static_provider(ONCE, &[key], json!({"jti": "single_use"}));
    Stack::builder().workers(workers).cluster("webdis", webdis).configure(|configuration| {
        configuration["replay_store"] = json!({"redis": {"cluster": "webdis"}});
        add_providers(configuration, [provider]);
    })
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256, "k")
}

fn token(key: &SigningKey) -> String {
    key.token(&claims_of(ONCE))
}

async fn assert_replayed(stack: &Stack, token: &str) {
    assert_refusal(&stack.call_refused(token).await, "jti_replayed");
}

async fn assert_unavailable(stack: &Stack, token: &str, cause: &str) {
    assert_refusal(&stack.call_refused(token).await, "replay_store_unavailable");
    let line =
        format!("reason=replay_store_unavailable provider={ONCE} details={{\"cause\":\"{cause}");
    stack.envoy.await_log(&line, SOON).await;
}

/// What is wrong unless one of these responses is the MCP server's and all others say that the
/// token was used before.
fn faults_unless_one_passed(name: &str, responses: &[Response]) -> Vec<String> {
    let (passed, refused): (Vec<_>, Vec<_>) =
        responses.iter().partition(|response| response.status == 200);
    let refused = refused.iter().flat_map(|response| faults_of_refusal(response, "jti_replayed"));
    let mut faults: Vec<_> = named(name, refused.collect()).collect();
    if passed.len() != 1 {
        faults.push(format!("{name}: {} passed", passed.len()));
    }
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_50_simultaneous_uses_of_a_token_reaches_the_server() {
    const ROUNDS: usize = 10;
    with_one_worker_and_with_four(|workers| async move {
        let store = FleetStore::start().await;
        let key = key();
        let stack = member(workers, store.webdis.address(), &key).start().await;
        let mut faults = Vec::new();
        for round in 1..=ROUNDS {
            let responses = call_together(&stack, vec![token(&key); 50]).await;
            faults.extend(faults_unless_one_passed(&format!("round {round}"), &responses));
        }
        assert_none(&faults);
        assert_eq!(stack.server.count(), ROUNDS);
        assert_eq!(store.redis.keys().len(), ROUNDS);
        assert_vm_lives(&stack).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_50_uses_of_a_token_at_two_envoys_reaches_a_server() {
    const ROUNDS: usize = 10;
    let store = FleetStore::start().await;
    let key = key();
    let one = member(2, store.webdis.address(), &key).start().await;
    let other = member(2, store.webdis.address(), &key).start().await;
    let mut faults = Vec::new();
    for round in 1..=ROUNDS {
        let token = token(&key);
        let half = || vec![token.clone(); 25];
        let (mut responses, others) =
            tokio::join!(call_together(&one, half()), call_together(&other, half()));
        responses.extend(others);
        faults.extend(faults_unless_one_passed(&format!("round {round}"), &responses));
    }
    assert_none(&faults);
    assert_eq!(one.server.count() + other.server.count(), ROUNDS);
    // The second Envoy gets the token only after the first.
    let token = token(&key);
    assert_tokens_accepted(&one, [("new", token.clone())]).await;
    assert_replayed(&other, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_starts_later_knows_the_spent_tokens() {
    let store = FleetStore::start().await;
    let key = key();
    let start = || member(1, store.webdis.address(), &key).alone().start();
    let stack = start().await;
    let token = token(&key);
    assert_tokens_accepted(&stack, [("new", token.clone())]).await;
    drop(stack);
    assert_replayed(&start().await, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_for_another_reason_is_not_spent() {
    let store = FleetStore::start().await;
    let key = key();
    let stack = member(1, store.webdis.address(), &key)
        .configure(|configuration| {
            configuration["allowed_origins"] = json!(["https://app.example.com"]);
            configuration["exempt"] = json!([{"path": "/healthz"}]);
            configuration["providers"][1]["required_claims"] = json!({"tenant": "t"});
            configuration["users"] = json!({"records": [
                {"user_name": "ada"}, {"user_name": "bob", "active": false},
            ]});
            configuration["access"] =
                json!({"rules": [{"name": "all", "require": {"scopes": ["mcp.tools"]}}]});
        })
        .start()
        .await;
    let claims = with(&claims_of(ONCE), "tenant", "t");
    let signed = |name, value: Value| key.token(&with(&claims, name, value));
    let id_jag = with(&key.header(), "typ", "oauth-id-jag+jwt");
    let cases = [
        ("a forged signature", self::key().token(&claims), "bad_signature"),
        ("another key", key.with_kid("unknown").token(&claims), "unknown_kid"),
        ("another type", key.sign(&id_jag, &claims), "wrong_token_type"),
        ("another audience", signed("aud", json!("other")), "audience_mismatch"),
        ("another issuer", signed("iss", json!("https://x.example")), "unknown_issuer"),
        ("expired", signed("exp", json!(testbed::now() - 1000)), "expired"),
        ("not yet valid", signed("nbf", json!(testbed::now() + 1000)), "not_yet_valid"),
        ("another tenant", signed("tenant", json!("other")), "claim_mismatch"),
        ("bound", signed("cnf", json!({"jkt": "x"})), "bound_token"),
        ("another scope", signed("scope", json!("other")), "insufficient_scope"),
        ("no subject", key.token(&without(&claims, "sub")), "missing_claim"),
        ("a stranger", signed("sub", json!("mallory")), "user_unknown"),
        ("a user who left", signed("sub", json!("bob")), "user_inactive"),
        ("without jti", key.token(&without(&claims, "jti")), "jti_missing"),
    ];
    assert_tokens_refused(&stack, cases).await;
    let good = key.token(&claims);
    let page = stack.request().header("origin", "https://evil.example").bearer_auth(&good);
    assert_refusal(&stack.send_refused(page).await, "origin_denied");
    let document = stack.envoy.url("/.well-known/oauth-protected-resource");
    let document = stack.client().get(document).bearer_auth(&good);
    assert_eq!(stack.send(document).await.status, 200);
    stack.send(stack.client().get(stack.envoy.url("/healthz")).bearer_auth(&good)).await;
    assert_eq!(store.redis.keys(), [""; 0]);

    assert_tokens_accepted(&stack, [("good", good.clone())]).await;
    assert_eq!(store.redis.keys().len(), 1);
    assert_replayed(&stack, &good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_holds_a_digest_for_as_long_as_the_token_could_be_used_and_little_longer() {
    let store = FleetStore::start().await;
    let key = key();
    let stack = member(1, store.webdis.address(), &key)
        .configure(|configuration| configuration["providers"][1]["clock_skew"] = json!("20s"))
        .start()
        .await;
    let lives = |exp: u64| {
        let (store, stack) = (&store, &stack);
        let token = key.token(&with(&claims_of(ONCE), "exp", exp));
        async move {
            let earliest = testbed::now();
            assert_tokens_accepted(stack, [("good", token)]).await;
            let keys = store.redis.keys();
            let left = store.redis.milliseconds_left(&keys[0]);
            let digest = keys[0].strip_prefix("mcp-auth:jti:").unwrap();
            assert_eq!(keys.len(), 1);
            assert_eq!(digest.len(), 32);
            assert!(digest.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{digest}");
            assert_eq!(store.redis.command(&["GET", &keys[0]]), ["1"]);
            store.redis.command(&["FLUSHALL"]);
            let ends = testbed::now() * 1000 + left;
            // Accepted until `exp` plus the clock skew; a minute more for the clocks of other
            // hosts, and some for rounding and the test itself.
            let last_use = (exp + 20) * 1000;
            let took = (testbed::now() - earliest + 1) * 1000;
            assert!(ends + took >= last_use + 60_000, "{ends} {last_use}");
            assert!(ends <= last_use + 60_000 + 2000 + took, "{ends} {last_use}");
        }
    };
    lives(testbed::now() + 100).await;
    // Still accepted for a few seconds, by the clock skew.
    lives(testbed::now() - 10).await;
    lives(testbed::now() + 1_000_000_000).await;
    // A token that never expires.
    let token = key.token(&with(&claims_of(ONCE), "exp", 10_000_000_000_u64));
    assert_tokens_accepted(&stack, [("for ever", token.clone())]).await;
    assert_replayed(&stack, &token).await;
    let century = 100 * 365 * 24 * 60 * 60 * 1000;
    assert!(store.redis.milliseconds_left(&store.redis.keys()[0]) > century);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_passes_while_the_store_is_down_and_they_do_afterwards() {
    with_one_worker_and_with_four(|workers| async move {
        let mut store = FleetStore::start().await;
        let key = key();
        let stack = member(workers, store.webdis.address(), &key).alone().start().await;
        let spent = token(&key);
        assert_tokens_accepted(&stack, [("before", spent.clone())]).await;

        store.webdis.stop();
        let kept = token(&key);
        assert_unavailable(&stack, &kept, "the response has status 503").await;
        assert_unavailable(&stack, &spent, "the response has status 503").await;
        store.webdis.start_again(&store.redis).await;
        // The token was not spent meanwhile.
        call_until(&stack, &kept, 200, SOON).await;
        assert_replayed(&stack, &kept).await;
        assert_replayed(&stack, &spent).await;

        store.redis.stop();
        let kept = token(&key);
        assert_unavailable(&stack, &kept, "the response has status 503 and says \\\"\\\"").await;
        store.redis.start_again().await;
        store.webdis.await_redis(&store.redis).await;
        call_until(&stack, &kept, 200, SOON).await;
        assert_replayed(&stack, &kept).await;
        assert_vm_lives(&stack).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_cannot_write_lets_no_token_pass() {
    let store = FleetStore::start().await;
    let key = key();
    let stack = member(1, store.webdis.address(), &key).alone().start().await;
    let kept = token(&key);
    for (wrong, right, cause) in [
        (vec!["CONFIG", "SET", "maxmemory", "1"], vec!["CONFIG", "SET", "maxmemory", "0"], "OOM"),
        (vec!["REPLICAOF", "127.0.0.1", "1"], vec!["REPLICAOF", "NO", "ONE"], "READONLY"),
        (
            vec!["ACL", "SETUSER", "default", "-set"],
            vec!["ACL", "SETUSER", "default", "+set"],
            "NOPERM",
        ),
    ] {
        store.redis.command(&wrong);
        let cause = format!("the store says \\\"{{\\\\\\\"SET\\\\\\\":[false,\\\\\\\"{cause}");
        assert_unavailable(&stack, &kept, &cause).await;
        store.redis.command(&right);
    }
    assert_tokens_accepted(&stack, [("kept", kept)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_on_the_way_to_the_store_lets_a_token_pass() {
    let store = FleetStore::start().await;
    let key = key();
    let stack = member(1, store.gateway.address(), &key)
        .configure(|configuration| {
            configuration["replay_store"]["redis"]["timeout"] = json!("300ms");
            configuration["replay_store"]["redis"]["path_prefix"] = json!("/spent/tokens/");
            configuration["replay_store"]["redis"]["authority"] = json!("store.example:8080");
        })
        .alone()
        .start()
        .await;
    assert_tokens_accepted(&stack, [("before", token(&key))]).await;
    let request = &store.gateway.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/spent/tokens/"));
    assert_eq!(request.header("host"), "store.example:8080");
    assert!(request.body.starts_with("SET/mcp-auth:jti:"), "{request:?}");

    let right = br#"{"SET":[true,"OK"]}"#;
    for (fault, cause) in [
        (Fault::Hang, "the response has status 504"),
        (Fault::HalfThenHang, "no response"),
        (Fault::HalfResponse, "no response"),
        (Fault::Reset, "the response has status 503"),
        (Fault::Status(500), "the response has status 500"),
        (Fault::Status(429), "the response has status 429"),
        (Fault::RightBody(201), "the response has status 201"),
        (Fault::Redirect("http://127.0.0.1:1/".to_owned()), "the response has status 302"),
        (Fault::Oversize(1025), "the response is longer"),
        (Fault::Oversize(10_000_000), "the response is longer"),
        (Fault::Body(b"".to_vec()), "the store says"),
        (Fault::Body(b"OK".to_vec()), "the store says"),
        (Fault::Body(right[..18].to_vec()), "the store says"),
        (Fault::Body([&right[..], b"x"].concat()), "the store says"),
    ] {
        let name = format!("{fault:?}");
        let token = token(&key);
        store.gateway.fail(fault);
        assert_unavailable(&stack, &token, cause).await;
        store.gateway.heal();
        // The token was spent although no Envoy knew, so it does not pass again.
        assert_replayed(&stack, &token).await;
        assert_tokens_accepted(&stack, [(name, self::token(&key))]).await;
    }
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_while_its_token_is_being_spent_has_spent_it() {
    let store = FleetStore::start().await;
    let key = key();
    let stack = member(1, store.gateway.address(), &key)
        .configure(|configuration| {
            configuration["replay_store"]["redis"]["timeout"] = json!("30s");
        })
        .start()
        .await;
    let token = token(&key);
    store.gateway.fail(Fault::Hang);
    let gone = tokio::spawn(stack.request().bearer_auth(&token).send());
    store.gateway.await_requests(1).await;
    gone.abort();
    await_active_requests(&stack, 0).await;
    store.gateway.heal();
    assert_replayed(&stack, &token).await;
    assert_tokens_accepted(&stack, [("another", self::token(&key))]).await;
    assert_eq!(stack.server.count(), 1);
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callouts_that_envoy_refuses_admit_no_token_and_do_not_crash_the_plugin() {
    let narrow = |bootstrap: &mut Bootstrap| {
        let clusters = bootstrap.tree()["static_resources"]["clusters"].as_array_mut().unwrap();
        let webdis = clusters.iter_mut().find(|cluster| cluster["name"] == "webdis").unwrap();
        webdis["circuit_breakers"] = json!({"thresholds": [{"max_connections": 1, "max_pending_requests": 1, "max_requests": 1}]});
    };
    let store = FleetStore::start().await;
    let key = key();
    let stack = member(1, store.webdis.address(), &key).edit(narrow).start().await;
    let tokens: Vec<String> = (0..200).map(|_| token(&key)).collect();
    let mut passed = 0;
    let mut faults = Vec::new();
    for response in call_together(&stack, tokens).await {
        if response.status == 200 {
            passed += 1;
        } else {
            faults.extend(faults_of_refusal(&response, "replay_store_unavailable"));
        }
    }
    assert_none(&faults);
    assert!((1..200).contains(&passed), "{passed}");
    assert_eq!(stack.server.count(), passed);
    assert_tokens_accepted(&stack, [("afterwards", token(&key))]).await;
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_healthy_host_or_a_cluster_no_token_passes() {
    for edit in [
        |_: &mut Bootstrap| {},
        |bootstrap: &mut Bootstrap| {
            bootstrap.add_empty_cluster("empty");
        },
    ] {
        let key = key();
        let stack = member(1, Port::free().address(), &key)
            .edit(edit)
            .configure(|configuration| {
                configuration["replay_store"]["redis"]["cluster"] = json!("empty");
            })
            .alone()
            .start()
            .await;
        let cause = "Envoy has no cluster \\\"empty\\\", or no healthy host in it";
        assert_unavailable(&stack, &token(&key), cause).await;
        // Tokens that may be used more than once do not need the store.
        assert_tokens_accepted(&stack, [("another provider", stack.token())]).await;
        assert_vm_lives(&stack).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn report_mode_forwards_a_spent_token_without_its_identity() {
    let mut store = FleetStore::start().await;
    let key = key();
    let stack = member(1, store.webdis.address(), &key)
        .configure(|configuration| configuration["mode"] = json!("report"))
        .alone()
        .start()
        .await;
    let spent = token(&key);
    for (token, has_identity) in [(&spent, true), (&spent, false), (&token(&key), false)] {
        stack.server.clear();
        assert_eq!(stack.call(token).await.status, 200);
        let request = &stack.server.requests()[0];
        assert_eq!(request.identity().is_empty(), !has_identity, "{request:?}");
        assert!(request.header("authorization").is_empty());
        if !has_identity {
            store.webdis.stop();
        }
    }
    for reason in ["jti_replayed", "replay_store_unavailable"] {
        let line =
            format!("allowed (report mode), would be refused: reason={reason} provider={ONCE} ");
        stack.envoy.await_log(&line, SOON).await;
    }
}
