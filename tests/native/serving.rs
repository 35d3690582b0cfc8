use std::path::Path;

use serde_json::json;
use testbed::{
    Algorithm, Bootstrap, ConfigurationForm, Document, Envoy, Fault, IdentityProvider, Response,
    SigningKey, repository_root,
};

use crate::support::{envoys, module, stack};

#[tokio::test(flavor = "multi_thread")]
async fn one_module_file_serves_in_every_supported_envoy() {
    for (version, envoy) in envoys() {
        let stack = stack().binary(envoy).start().await;
        let allowed = stack.call(&stack.token()).await;
        assert_eq!(allowed.status, 200, "{version}: {allowed:?}");
        let refused = stack.send_refused(stack.request()).await;
        assert_eq!((refused.status, refused.reason()), (401, "missing_token"), "{version}");
        let challenge = refused.header("www-authenticate");
        assert!(challenge.contains("resource_metadata="), "{version}: {challenge}");
        let forger = SigningKey::generate(Algorithm::Rs256, stack.provider.key().kid());
        let forged = stack.call_refused(&forger.token(&stack.claims())).await;
        assert_eq!(forged.reason(), "bad_signature", "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_differs_from_the_plugins_only_in_the_filter_and_runs() {
    let file = repository_root().join("envoy/native.yaml");
    let mut example = Bootstrap::from_file(&file);
    let mut plugin = Bootstrap::example();
    plugin.replace_plugin(Path::new("dist/libmcp_federated_auth.so"));
    assert_eq!(example.tree(), plugin.tree());

    let use_module = |bootstrap: &mut Bootstrap| {
        let filter = &mut bootstrap.http_filters()[0]["typed_config"];
        filter["dynamic_module_config"]["module"]["local"]["filename"] = json!(module());
    };
    let example = Bootstrap::from_file(&file);
    let envoy = Envoy::builder().bootstrap(example).edit(use_module).start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let refused = Response::read(client.get(envoy.url("/mcp")).send().await.unwrap()).await;
    assert_eq!((refused.status, refused.reason()), (401, "missing_token"));
    let metrics = envoy.admin("/stats/prometheus").await;
    let counted =
        "mcp_auth_requests{provider=\"none\",outcome=\"refused\",reason=\"missing_token\"} 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_fetched_while_the_request_waits() {
    let stack = stack().start().await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    stack.provider.rotate(Algorithm::Es256);
    assert_eq!(stack.call(&stack.token()).await.status, 200);
    assert_eq!(stack.provider.count(Document::KeySet), 2);
    let stranger = SigningKey::generate(Algorithm::Es256, "stranger");
    let response = stack.call_refused(&stranger.token(&stack.claims())).await;
    assert_eq!(response.reason(), "unknown_kid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_judged_before_its_head_is_forwarded() {
    for (version, envoy) in envoys() {
        let deny = |configuration: &mut serde_json::Value| {
            configuration["access"] = json!({"default": "allow", "rules": [{
                "name": "denied",
                "match": {"mcp_methods": ["tools/call"], "mcp_names": ["whoami"]},
                "require": {"roles": ["missing"]},
            }]});
        };
        let stack = stack().binary(envoy).configure(deny).start().await;
        let denied = stack.call_refused(&stack.token()).await;
        assert_eq!((denied.status, denied.reason()), (403, "access_denied"), "{version}");
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let request = stack.request().bearer_auth(stack.token()).json(&list);
        assert_eq!(stack.send(request).await.status, 200, "{version}");
        // A body in several chunks.
        let padding = "x".repeat(300_000);
        let large = json!({"jsonrpc": "2.0", "id": padding, "method": "tools/list"});
        let request = stack.request().bearer_auth(stack.token()).json(&large);
        let response = stack.send(request).await;
        assert_eq!(stack.server.count(), 2, "{version}: {response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_gets_the_identity_and_no_forged_one() {
    let stack = stack().start().await;
    let request = stack.request().bearer_auth(stack.token()).header("x-mcp-user", "root");
    assert_eq!(stack.send(request).await.status, 200);
    let recorded = stack.server.requests().pop().unwrap();
    assert_eq!(recorded.header("x-mcp-user"), [b"ada@example.com"]);
    assert!(recorded.header("authorization").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_arrive_before_the_keys_wait_for_them() {
    let provider = IdentityProvider::start().await;
    provider.fail(Document::Discovery, Fault::Hang);
    let stack = stack().provider(provider).start().await;
    let token = stack.token();
    let release = async {
        while stack.envoy.active_requests().await != Some(3) {
            tokio::task::yield_now().await;
        }
        stack.provider.heal(Document::Discovery);
    };
    let calls = async { tokio::join!(stack.call(&token), stack.call(&token), stack.call(&token)) };
    let ((first, second, third), ()) = tokio::join!(calls, release);
    for response in [first, second, third] {
        assert_eq!(response.status, 200, "{response:?}");
    }
    assert_eq!(stack.provider.count(Document::KeySet), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_why_a_configuration_is_refused() {
    let configure = |configuration: &mut serde_json::Value| {
        configuration["providers"][0]["client_ids"] = json!([]);
        configuration["typo"] = json!(1);
    };
    for form in [ConfigurationForm::Struct, ConfigurationForm::StringValue] {
        let log = stack().configure(configure).form(form).expect_refusal().await;
        assert!(log.contains("configuration refused: typo: "), "{log}");
        assert!(log.contains("configuration refused: providers[0].client_ids: "), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_validates_a_configuration_without_its_clusters() {
    for (_, envoy) in envoys() {
        Envoy::builder()
            .edit(|bootstrap| bootstrap.set_module(&testbed::module_path()))
            .native(module())
            .binary(envoy)
            .validate()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_and_labels_of_the_plugin() {
    for (version, envoy) in envoys() {
        let stack = stack().binary(envoy).start().await;
        stack.call(&stack.token()).await;
        stack.send(stack.request()).await;
        let metrics = stack.envoy.admin("/stats/prometheus").await;
        for metric in [
            "mcp_auth_requests{provider=\"demo\",outcome=\"allowed\",reason=\"none\"} 1",
            "mcp_auth_requests{provider=\"none\",outcome=\"refused\",reason=\"missing_token\"} 1",
            "mcp_auth_key_fetches{provider=\"demo\",result=\"success\"} 1",
            "mcp_auth_keys{provider=\"demo\"} ",
            // The metric exists from the start, so that an alert sees the first increase.
            "mcp_auth_panics{} 0",
        ] {
            assert!(metrics.lines().any(|line| line.starts_with(metric)), "{version}: {metric}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_once_for_all_workers() {
    let stack = stack().workers(4).start().await;
    for _ in 0..40 {
        assert_eq!(stack.call(&stack.token()).await.status, 200);
    }
    assert_eq!(stack.provider.count(Document::KeySet), 1);
}
