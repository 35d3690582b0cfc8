//! A route may have a whole configuration of its own.

use serde_json::{Value, json};
use testbed::{Bootstrap, IdentityProvider, Stack};

use crate::support::{envoys, stack};

const PER_ROUTE: &str = "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute";

const MODULE: &str = "mcp_federated_auth";

/// Gives the route `/other` this configuration, for the module of this name.
pub fn add_route(bootstrap: &mut Bootstrap, module: &str, configuration: &Value) {
    let routes = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
    let route = json!({
        "match": {"path": "/other"},
        "direct_response": {"status": 200, "body": {"inline_string": "other"}},
        "typed_per_filter_config": {"mcp-federated-auth": {
            "@type": PER_ROUTE,
            "dynamic_module_config": {"name": module},
            "per_route_config_name": "mcp-federated-auth",
            "filter_config": {
                "@type": "type.googleapis.com/google.protobuf.Struct",
                "value": configuration,
            },
        }},
    });
    routes.as_array_mut().unwrap().insert(0, route);
}

/// The example, and a route that trusts another provider.
async fn start(envoy: std::path::PathBuf) -> (Stack, IdentityProvider) {
    let other = IdentityProvider::start().await;
    let configuration = json!({
        "resource": {"url": "http://127.0.0.1:10000/other"},
        "providers": [{
            "name": "other",
            "issuer": other.issuer(),
            "client_ids": ["other"],
            "jwks_url": other.jwks_url(),
            "cluster": "other",
        }],
    });
    let modules = testbed::repository_root().join("dist");
    let stack = stack()
        .binary(envoy)
        .environment("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", modules.to_str().unwrap())
        .cluster("other", other.address())
        .edit(move |bootstrap| add_route(bootstrap, MODULE, &configuration))
        .start()
        .await;
    (stack, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_trusts_whom_its_own_configuration_names_and_nobody_else() {
    for (version, envoy) in envoys() {
        let (stack, other) = start(envoy).await;
        let token = other.token(&other.claims("other"));
        let call = async |path: &str, token: &str| {
            let request = stack.client().get(stack.envoy.url(path)).bearer_auth(token);
            let answer = stack.send(request).await;
            (answer.status, answer.reason().to_owned())
        };
        let unknown = (401, "unknown_issuer".to_owned());
        assert_eq!(call("/other", &token).await, (200, String::new()), "{version}");
        assert_eq!(call("/other", &stack.token()).await, unknown, "{version}");
        assert_eq!(call("/mcp", &token).await, unknown, "{version}");
        assert_eq!(stack.call(&stack.token()).await.status, 200, "{version}");
        let requests = stack.envoy.admin("/stats/prometheus").await;
        let counted = "mcp_auth_requests{provider=\"other\",outcome=\"allowed\",reason=\"none\"} 1";
        assert!(requests.contains(counted), "{version}: {requests}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_of_a_route_that_is_wrong_is_refused() {
    let modules = testbed::repository_root().join("dist");
    let log = stack()
        .environment("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", modules.to_str().unwrap())
        .edit(|bootstrap| add_route(bootstrap, MODULE, &json!({"typo": 1})))
        .expect_refusal()
        .await;
    assert!(log.contains("configuration refused: typo: "), "{log}");
}
