//! Single-use tokens in one Envoy.

use serde_json::{Value, json};
use testbed::{
    Algorithm, Port, Response, SigningKey, Stack, StackBuilder, random_id,
    with_one_worker_and_with_four,
};

use crate::support::{
    SOON, add_listener, add_providers, assert_none, assert_refusal, assert_tokens_accepted,
    assert_tokens_refused, assert_vm_lives, call_together, claims_of, faults_of_refusal, named,
    static_provider, with, without,
};

/// The example, with single-use tokens.
fn single_use(workers: usize) -> StackBuilder {
    Stack::builder().workers(workers).configure(|configuration| {
        configuration["providers"][0]["jti"] = json!("single_use");
    })
}

/// Sends a token often enough for each worker to see it.
async fn assert_replayed(stack: &Stack, token: &str) {
    for response in call_together(stack, vec![token.to_owned(); 20]).await {
        assert_refusal(&response, "jti_replayed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_use_token_passes_once() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = single_use(workers).start().await;
        let mut tokens = Vec::new();
        for _ in 0..20 {
            let claims = stack.claims();
            let token = stack.provider.token(&claims);
            let response = stack.call(&token).await;
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(response.whoami()["x-mcp-token-id"], claims["jti"]);
            // Another token of the issuer with the same `jti` is refused as well.
            tokens.push(token);
            tokens.push(stack.provider.token(&with(&claims, "sub", "bob")));
        }
        for token in &tokens {
            let response = stack.call(token).await;
            assert_refusal(&response, "jti_replayed");
        }
        assert_eq!(stack.server.count(), 20);
        assert_vm_lives(&stack).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_50_simultaneous_uses_of_a_token_reaches_the_server() {
    const USES: usize = 50;
    const ROUNDS: usize = 20;
    with_one_worker_and_with_four(|workers| async move {
        let stack = single_use(workers).start().await;
        let mut faults = Vec::new();
        for round in 1..=ROUNDS {
            let responses = call_together(&stack, vec![stack.token(); USES]).await;
            let (passed, refused): (Vec<_>, Vec<_>) =
                responses.iter().partition(|response| response.status == 200);
            if passed.len() != 1 || stack.server.count() != round {
                faults.push(format!("round {round}: {} passed", passed.len()));
            }
            for response in refused {
                let response_faults = faults_of_refusal(response, "jti_replayed");
                faults.extend(named(&format!("round {round}"), response_faults));
            }
        }
        assert_none(&faults);
        let served = stack.envoy.connections_per_worker().await;
        assert_eq!(served.len(), workers, "{served:?}");
        assert!(served.iter().all(|connections| *connections > 20), "{served:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_for_another_reason_is_not_spent() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = single_use(workers)
            .configure(|configuration| {
                configuration["allowed_origins"] = json!(["https://app.example.com"]);
                configuration["providers"][0]["required_claims"] = json!({"tenant": "t"});
                configuration["access"] =
                    json!({"rules": [{"name": "all", "require": {"scopes": ["mcp.tools"]}}]});
            })
            .start()
            .await;
        let provider = &stack.provider;
        let claims = with(&stack.claims(), "tenant", "t");
        let stranger = SigningKey::generate(Algorithm::Rs256, provider.key().kid());
        let unknown = SigningKey::generate(Algorithm::Rs256, "unknown");
        let id_jag = with(&provider.key().header(), "typ", "oauth-id-jag+jwt");
        let token = |name, value: Value| provider.token(&with(&claims, name, value));
        let past = testbed::now() - 1000;
        let future = testbed::now() + 1000;
        let cases = [
            ("a forged signature", stranger.token(&claims), "bad_signature"),
            ("another key", unknown.token(&claims), "unknown_kid"),
            ("another audience", token("aud", json!("other")), "audience_mismatch"),
            ("expired", token("exp", json!(past)), "expired"),
            ("not yet valid", token("nbf", json!(future)), "not_yet_valid"),
            ("another type", provider.key().sign(&id_jag, &claims), "wrong_token_type"),
            ("another tenant", token("tenant", json!("other")), "claim_mismatch"),
            ("bound", token("cnf", json!({"jkt": "x"})), "bound_token"),
            ("another scope", token("scope", json!("other")), "insufficient_scope"),
            ("no user claim", provider.token(&without(&claims, "email")), "missing_claim"),
        ];
        assert_tokens_refused(&stack, cases).await;
        let good = provider.token(&claims);
        let page = stack.request().header("origin", "https://evil.example").bearer_auth(&good);
        assert_refusal(&stack.send_refused(page).await, "origin_denied");
        let document = stack.envoy.url("/.well-known/oauth-protected-resource");
        let document = stack.client().get(document).bearer_auth(&good);
        assert_eq!(stack.send(document).await.status, 200);

        assert_tokens_accepted(&stack, [("good", good.clone())]).await;
        assert_replayed(&stack, &good).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn report_mode_forwards_a_spent_token_without_its_identity() {
    let stack = single_use(1)
        .configure(|configuration| configuration["mode"] = json!("report"))
        .alone()
        .start()
        .await;
    let token = stack.token();
    for has_identity in [true, false] {
        stack.server.clear();
        assert_eq!(stack.call(&token).await.status, 200);
        let request = &stack.server.requests()[0];
        assert_eq!(request.identity().contains_key("x-mcp-user"), has_identity, "{request:?}");
        assert_eq!(request.identity().is_empty(), !has_identity, "{request:?}");
        assert!(request.header("authorization").is_empty());
    }
    let line = "allowed (report mode), would be refused: reason=jti_replayed provider=demo ";
    stack.envoy.await_log(line, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_jti_does_not_pass() {
    let stack = single_use(1).start().await;
    let claims = stack.claims();
    let cases = [
        ("missing", without(&claims, "jti")),
        ("null", with(&claims, "jti", Value::Null)),
        ("a number", with(&claims, "jti", 1)),
        ("an array", with(&claims, "jti", json!(["x"]))),
    ]
    .map(|(name, claims)| (name, stack.provider.token(&claims), "jti_missing"));
    assert_tokens_refused(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_jti_of_two_issuers_is_two_tokens_and_each_provider_has_its_own_setting() {
    with_one_worker_and_with_four(|workers| async move {
        let key = SigningKey::generate(Algorithm::Es256, "k");
        let rules = [("once", "single_use"), ("required", "require"), ("ignored", "ignore")];
        let providers =
            rules.map(|(name, rule)| static_provider(name, &[&key], json!({"jti": rule})));
        let stack = single_use(workers)
            .configure(move |configuration| add_providers(configuration, providers))
            .start()
            .await;
        for token_id in ["1", "", "ä\u{0}\"", &"x".repeat(2000)] {
            let unrelated = stack.provider.token(&with(&stack.claims(), "jti", token_id));
            let [once, required, ignored] =
                rules.map(|(name, _)| key.token(&with(&claims_of(name), "jti", token_id)));
            let first = [("own", unrelated.clone()), ("once", once.clone())];
            assert_tokens_accepted(&stack, first).await;
            for token in [&unrelated, &once] {
                assert_replayed(&stack, token).await;
            }
            for _ in 0..5 {
                let again = [("required", required.clone()), ("ignored", ignored.clone())];
                assert_tokens_accepted(&stack, again).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_listener_or_configuration_keeps_the_spent_tokens() {
    with_one_worker_and_with_four(|workers| async move {
        let mut stack = single_use(workers).updatable().start().await;
        let mut spent = Vec::new();
        for update in 0..4 {
            let token = stack.token();
            assert_tokens_accepted(&stack, [("new", token.clone())]).await;
            spent.push(token);
            match update {
                0 => stack.envoy.update(|bootstrap| bootstrap.respond_directly("/more")).await,
                1 => {
                    let other = SigningKey::generate(Algorithm::Es256, "own");
                    let provider = static_provider("own", &[&other], json!({}));
                    stack
                        .reconfigure(|configuration| add_providers(configuration, [provider]))
                        .await;
                }
                2 => {
                    stack
                        .reconfigure(|configuration| {
                            configuration["providers"][0]["name"] = json!("renamed");
                            configuration["resource"]["url"] = json!("https://mcp.example.com/mcp");
                        })
                        .await;
                }
                _ => {}
            }
            for token in &spent {
                assert_replayed(&stack, token).await;
            }
        }
        assert_eq!(stack.server.count(), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_spent_at_one_listener_is_spent_at_all() {
    let port = Port::free();
    let number = port.number();
    let stack = single_use(4)
        .edit(move |bootstrap| {
            add_listener(bootstrap, number, |configuration| {
                configuration["resource"]["url"] = json!("https://other.example.com/mcp");
            });
        })
        .start()
        .await;
    let token = stack.token();
    assert_tokens_accepted(&stack, [("here", token.clone())]).await;
    let there = format!("http://127.0.0.1:{number}/mcp");
    let request = |token: &str| Response::mcp_call(stack.client(), &there).bearer_auth(token);
    assert_refusal(&stack.send_refused(request(&token)).await, "jti_replayed");
    let other = stack.provider.token(&with(&stack.claims(), "jti", random_id()));
    assert_eq!(stack.send(request(&other)).await.status, 200);
    assert_replayed(&stack, &other).await;
}
