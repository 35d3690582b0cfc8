//! Key sources that fail. Every request gets a response in time, the log names the party at fault,
//! and requests pass again once the source has recovered.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Algorithm, Document, Fault, IdentityProvider, Stack, with_one_worker_and_with_four};

use crate::support::{
    SOON, add_providers, assert_none, assert_refusal, assert_vm_lives, call_together, call_until,
    counts, faults_of_refusal, named, token_of, with_keys,
};

/// The contract's maximum for a waiting request: `timeout` of one second, and two more.
const MAX_WAIT: Duration = Duration::from_secs(3);

struct Case {
    name: &'static str,
    provider: IdentityProvider,
    /// The cause in the log.
    cause: String,
}

/// Providers that each fail in another way. `stranger` is a host that the configuration does not
/// have.
async fn cases(stranger: &IdentityProvider) -> Vec<Case> {
    use Document::{Discovery, KeySet};
    let too_long = 300 * 1024;
    let elsewhere = stranger.jwks_url();
    let faults: [(&str, Document, Fault, &str); 23] = [
        ("metadata-500", Discovery, Fault::Status(500), "status 500"),
        ("metadata-404", Discovery, Fault::Status(404), "status 404"),
        ("metadata-redirects", Discovery, Fault::Redirect(stranger.metadata_url()), "status 302"),
        ("metadata-hangs", Discovery, Fault::Hang, "timeout"),
        ("metadata-resets", Discovery, Fault::Reset, "reset"),
        ("metadata-half", Discovery, Fault::HalfResponse, ""),
        ("metadata-half-and-hangs", Discovery, Fault::HalfThenHang, "timeout"),
        ("metadata-203", Discovery, Fault::RightBody(203), "status 203"),
        ("metadata-too-long", Discovery, Fault::Oversize(too_long), "keys.max_body"),
        ("metadata-html", Discovery, Fault::Body(b"<html></html>".to_vec()), "not JSON"),
        ("metadata-empty", Discovery, Fault::Body(Vec::new()), "not JSON"),
        ("metadata-array", Discovery, Fault::Body(b"[]".to_vec()), "issuer"),
        ("keys-500", KeySet, Fault::Status(500), "status 500"),
        ("keys-redirect", KeySet, Fault::Redirect(elsewhere), "status 302"),
        ("keys-hang", KeySet, Fault::Hang, "timeout"),
        ("keys-reset", KeySet, Fault::Reset, "reset"),
        ("keys-half", KeySet, Fault::HalfResponse, ""),
        ("keys-half-and-hang", KeySet, Fault::HalfThenHang, "timeout"),
        ("keys-203", KeySet, Fault::RightBody(203), "status 203"),
        ("keys-too-long", KeySet, Fault::Oversize(too_long), "keys.max_body"),
        ("keys-not-json", KeySet, Fault::Body(b"{\"keys\":[".to_vec()), "not a JSON Web Key Set"),
        ("keys-empty", KeySet, Fault::Body(b"{\"keys\":[]}".to_vec()), "no key"),
        ("keys-no-array", KeySet, Fault::Body(b"{\"keys\":{}}".to_vec()), "not a JSON Web Key Set"),
    ];
    let mut cases = Vec::new();
    for (name, document, fault, cause) in faults {
        let provider = IdentityProvider::start().await;
        provider.fail(document, fault);
        cases.push(Case { name, provider, cause: cause.to_owned() });
    }
    let provider = IdentityProvider::start().await;
    let issuer = format!("{}/other", provider.issuer());
    provider.edit(Discovery, {
        let issuer = issuer.clone();
        move |document| document["issuer"] = json!(issuer)
    });
    cases.push(Case { name: "issuer-differs", provider, cause: issuer });
    let provider = IdentityProvider::start().await;
    provider.edit(Discovery, |document| document["jwks_uri"] = Value::Null);
    cases.push(Case { name: "no-jwks-uri", provider, cause: "jwks_uri".to_owned() });
    let provider = IdentityProvider::start().await;
    let plain = "http://keys.example/jwks";
    provider.edit(Discovery, move |document| document["jwks_uri"] = json!(plain));
    cases.push(Case { name: "plain-http", provider, cause: "https".to_owned() });
    let provider = IdentityProvider::start().await;
    let stranger = stranger.address().to_string();
    let url = format!("http://localhost:{}/jwks", stranger.rsplit(':').next().unwrap());
    provider.edit(Discovery, move |document| document["jwks_uri"] = json!(url));
    cases.push(Case { name: "host-without-cluster", provider, cause: "localhost".to_owned() });
    let mut provider = IdentityProvider::start().await;
    provider.stop().await;
    cases.push(Case { name: "down", provider, cause: String::new() });
    cases
}

fn configuration(case: &Case) -> Value {
    let provider = &case.provider;
    json!({
        "name": case.name,
        "issuer": provider.issuer(),
        "client_ids": [Stack::AUDIENCE],
        "metadata_url": provider.metadata_url(),
        "clusters": {provider.address().to_string(): case.name},
        "keys": {"timeout": "1s"},
    })
}

/// Waits until a warning about the source names the cause. On a busy machine, its first fetches may
/// time out.
async fn await_cause(stack: &Stack, case: &Case) {
    let asked = Instant::now();
    loop {
        let log = stack.envoy.log();
        let about = |line: &&str| {
            line.contains("[warning]") && line.contains(&format!("provider {}:", case.name))
        };
        let lines: Vec<&str> = log.lines().filter(about).collect();
        if lines.iter().any(|line| line.contains(&case.cause)) {
            return;
        }
        assert!(
            asked.elapsed() < SOON,
            "{}: the log does not say {:?}: {lines:?}",
            case.name,
            case.cause
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one flow from start to end")]
async fn requests_get_a_response_in_time_however_a_source_fails_and_pass_once_it_recovers() {
    with_one_worker_and_with_four(|workers| async move {
        /// For each provider.
        const CALLS: usize = 4;
        let stranger = IdentityProvider::start().await;
        let mut cases = cases(&stranger).await;
        let configurations: Vec<Value> = cases.iter().map(configuration).collect();
        let mut builder = Stack::builder()
            .alone()
            .workers(workers)
            .configure(|configuration| add_providers(configuration, configurations))
            .cluster("stranger", stranger.address());
        for case in &cases {
            builder = builder.cluster(case.name, case.provider.address());
        }
        let stack = builder.start().await;
        let tokens: Vec<String> = cases
            .iter()
            .map(|case| case.provider.token(&case.provider.claims(Stack::AUDIENCE)))
            .collect();

        // All at once, with some requests on each worker: no source delays another.
        let calls =
            cases.iter().zip(&tokens).cycle().take(CALLS * cases.len()).map(|(case, token)| {
                let request = stack.request().bearer_auth(token);
                let call = tokio::spawn(async move {
                    let asked = Instant::now();
                    let response =
                        testbed::Response::read(request.send().await.expect("Envoy responds"))
                            .await;
                    (response, asked.elapsed())
                });
                (case, call)
            });
        let calls: Vec<_> = calls.collect();
        let mut faults = Vec::new();
        for (case, call) in calls {
            let (response, waited) = call.await.unwrap();
            faults.extend(named(case.name, faults_of_refusal(&response, "keys_unavailable")));
            if waited > MAX_WAIT {
                faults.push(format!("{}: response after {waited:?}", case.name));
            }
            let seconds: u64 = response.header("retry-after").parse().unwrap_or_default();
            if !(1..=5).contains(&seconds) {
                faults.push(format!("{}: Retry-After {seconds}", case.name));
            }
        }
        assert_none(&faults);
        for case in &cases {
            await_cause(&stack, case).await;
        }
        assert_eq!(stack.server.count(), 0);
        assert!(stranger.requests().is_empty(), "{:?}", stranger.requests());

        // Requests with tokens of the healthy provider were never delayed by the others.
        assert_eq!(stack.call(&stack.token()).await.status, 200);

        for case in &mut cases {
            for document in [Document::Discovery, Document::KeySet] {
                case.provider.heal(document);
                case.provider.undo_edits(document);
            }
            case.provider.start_again();
        }
        for (case, token) in cases.iter().zip(&tokens) {
            let response = call_until(&stack, token, 200, SOON).await;
            assert_eq!(response.whoami()["x-mcp-provider"], case.name);
            for document in [Document::Discovery, Document::KeySet] {
                assert!(case.provider.max_in_flight(document) <= 1, "{}", case.name);
            }
        }
        assert_vm_lives(&stack).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_cluster_and_one_without_hosts_are_named_in_the_log() {
    with_one_worker_and_with_four(|workers| async move {
        let names = ["nowhere", "empty"];
        let providers = [IdentityProvider::start().await, IdentityProvider::start().await];
        let configured: Vec<Value> = names
            .iter()
            .zip(&providers)
            .map(|(name, provider)| {
                json!({
                    "name": name, "issuer": provider.issuer(), "cluster": name,
                    "client_ids": [Stack::AUDIENCE], "metadata_url": provider.metadata_url(),
                    "keys": {"timeout": "1s"},
                })
            })
            .collect();
        let stack = Stack::builder()
            .alone()
            .workers(workers)
            .configure(|configuration| add_providers(configuration, configured))
            .edit(|bootstrap| bootstrap.add_empty_cluster("empty"))
            .start()
            .await;
        for (name, provider) in names.iter().zip(&providers) {
            let asked = Instant::now();
            for response in call_together(&stack, vec![token_of(provider); 20]).await {
                assert_refusal(&response, "keys_unavailable");
            }
            assert!(asked.elapsed() < MAX_WAIT, "{name}: {:?}", asked.elapsed());
            let log = stack.envoy.log();
            let in_log = |line: &str| line.matches(name).count() >= 2;
            assert!(log.lines().any(in_log), "the provider and its cluster, {name}: {log}");
            assert!(provider.requests().is_empty());
        }
        assert_vm_lives(&stack).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_that_moved_is_discovered_again() {
    with_one_worker_and_with_four(|workers| async move {
        // The discovered URL is kept only as long as it works.
        let provider = IdentityProvider::start().await;
        let moved = IdentityProvider::start().await;
        let stack = Stack::builder()
            .workers(workers)
            .provider(provider)
            .cluster("moved", moved.address())
            .configure({
                let address = moved.address().to_string();
                move |configuration| {
                    let provider = &mut configuration["providers"][0];
                    let authority = provider["issuer"].as_str().unwrap().replace("http://", "");
                    provider["clusters"] =
                        json!({authority: "identity_provider", address: "moved"});
                    provider.as_object_mut().unwrap().remove("cluster");
                    configuration["keys"] = json!({"timeout": "1s", "max_age": "2s"});
                }
            })
            .start()
            .await;
        let old = stack.token();
        assert_eq!(stack.call(&old).await.status, 200);
        let token = moved.rotate(Algorithm::Es256).token(&stack.claims());
        let url = moved.jwks_url();
        stack.provider.edit(Document::Discovery, move |document| document["jwks_uri"] = json!(url));
        stack.provider.fail(Document::KeySet, Fault::Status(404));
        let response = call_until(&stack, &token, 200, SOON).await;
        assert_eq!(response.whoami()["x-mcp-provider"], "demo");
        // The keys published there are used, and those published here no longer are.
        assert_refusal(&stack.call_refused(&old).await, "unknown_kid");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_discovery_does_not_matter_while_the_known_key_set_can_be_fetched() {
    with_one_worker_and_with_four(|workers| async move {
        let stack = with_keys(workers, json!({"timeout": "1s", "max_age": "1s"})).start().await;
        let known = stack.token();
        assert_eq!(stack.call(&known).await.status, 200);
        stack.provider.fail(Document::Discovery, Fault::Reset);
        // The key set's URL is looked up again once fetching from it fails.
        stack.provider.fail(Document::KeySet, Fault::Status(503));
        let discoveries = stack.provider.count(Document::Discovery);
        stack.provider.await_count(Document::Discovery, discoveries + 1, SOON).await;
        assert_eq!(stack.call(&known).await.status, 200);
        let new = stack.provider.rotate(Algorithm::Es256);
        stack.provider.heal(Document::KeySet);
        let asked = Instant::now();
        while stack.call(&known).await.status == 200 {
            assert!(asked.elapsed() < SOON, "the key set is not asked for again");
        }
        let response = stack.call(&new.token(&stack.claims())).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_refusal(&stack.call_refused(&known).await, "unknown_kid");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_slow_but_in_time_is_waited_for() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Delay(Duration::from_millis(400)));
    provider.fail(Document::KeySet, Fault::Delay(Duration::from_millis(400)));
    let stack = Stack::builder()
        .provider(provider)
        .configure(|configuration| configuration["keys"] = json!({"timeout": "3s"}))
        .start()
        .await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_source_is_retried_after_growing_pauses() {
    with_one_worker_and_with_four(|workers| async move {
        let provider = IdentityProvider::start().await;
        provider.fail(Document::Discovery, Fault::Status(500));
        let stack = Stack::builder().workers(workers).provider(provider).start().await;
        while stack.provider.count(Document::Discovery) < 4 {
            let responses = call_together(&stack, vec![stack.token(); 10]).await;
            responses.iter().for_each(|response| assert_refusal(response, "keys_unavailable"));
        }
        // Jitter shortens each pause by at most a quarter. After an attempt that arrives late, the
        // next one seems to come earlier; a pause that has not grown would be half as long.
        let gaps = stack.provider.gaps(Document::Discovery);
        for (gap, seconds) in gaps.iter().zip([1, 2, 4]) {
            let min = Duration::from_secs(seconds) * 3 / 4 - Duration::from_millis(200);
            assert!(*gap >= min, "{seconds} s: {gaps:?}");
        }
        assert_eq!(stack.provider.max_in_flight(Document::Discovery), 1);
        assert_eq!(stack.provider.count(Document::KeySet), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_down_at_the_start_is_used_soon_after_it_recovers() {
    with_one_worker_and_with_four(|workers| async move {
        /// The longest pause while no keys are held, and a second of tolerance.
        const MAX_PAUSE: Duration = Duration::from_secs(5 + 1);
        let mut provider = IdentityProvider::start().await;
        provider.stop().await;
        let mut stack = Stack::builder().alone().workers(workers).provider(provider).start().await;
        // After four failures the pause has its maximum; without a maximum it would be longer.
        let asked = Instant::now();
        let failed = "cluster.identity_provider.upstream_cx_connect_fail";
        while stack.envoy.stat(failed).await < Some(4) {
            assert!(asked.elapsed() < SOON, "it is not tried again");
            let response = stack.call_refused(&stack.token()).await;
            assert_refusal(&response, "keys_unavailable");
        }
        // This happens without any request.
        stack.provider.start_again();
        stack.provider.await_count(Document::KeySet, 1, MAX_PAUSE).await;
        for response in call_together(&stack, vec![stack.token(); 20]).await {
            assert_eq!(response.status, 200, "{response:?}");
        }
        assert_eq!(counts(&stack.provider), [1, 1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_and_the_body_have_the_same_time_to_retry() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Status(500));
    let stack = Stack::builder()
        .provider(provider)
        .configure(|configuration| configuration["errors"] = json!({"details": "full"}))
        .start()
        .await;
    // Pauses of one, two and four seconds, which jitter shortens.
    while stack.provider.count(Document::Discovery) < 4 {
        let response = stack.call_refused(&stack.token()).await;
        let retry_after = &response.body["details"]["retry_after"];
        assert_eq!(response.header("retry-after"), retry_after.to_string(), "{response:?}");
    }
}
