//! A route may have a whole configuration of its own.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testbed::{Bootstrap, IdentityProvider, Stack, StackBuilder};

use crate::support::{envoys, module, stack};

const PER_ROUTE: &str = "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute";

/// Adds a route with its own configuration, and with the module file from the search path.
fn add_route(bootstrap: &mut Bootstrap, configuration: &Value) {
    add_route_of(bootstrap, "/other", &json!({"name": "mcp_federated_auth"}), configuration);
}

/// The same at this path, with this module file.
pub fn add_route_of(bootstrap: &mut Bootstrap, path: &str, module: &Value, configuration: &Value) {
    let routes = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
    let route = json!({
        "match": {"path": path},
        "direct_response": {"status": 200, "body": {"inline_string": "other"}},
        "typed_per_filter_config": {"mcp-federated-auth": {
            "@type": PER_ROUTE,
            "dynamic_module_config": module,
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
async fn start(envoy: PathBuf) -> (Stack, IdentityProvider) {
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
        .edit(move |bootstrap| add_route(bootstrap, &configuration))
        .start()
        .await;
    (stack, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_trusts_only_the_providers_of_its_own_configuration() {
    for (version, envoy) in envoys() {
        let (stack, other) = start(envoy).await;
        let token = other.token(&other.claims("other"));
        let call = async |path: &str, token: &str| {
            let request = stack.client().get(stack.envoy.url(path)).bearer_auth(token);
            let response = stack.send(request).await;
            (response.status, response.reason().to_owned())
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
async fn a_wrong_configuration_of_a_route_is_refused() {
    let modules = testbed::repository_root().join("dist");
    let log = stack()
        .environment("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", modules.to_str().unwrap())
        .edit(|bootstrap| add_route(bootstrap, &json!({"typo": 1})))
        .expect_refusal()
        .await;
    assert!(log.contains("configuration refused: typo: "), "{log}");
}

/// A filter in report mode, with this module file, and a route that enforces.
fn strict_route(envoy: PathBuf, module: &Path, route_module: &Value) -> StackBuilder {
    let search_path = testbed::repository_root().join("dist");
    let route_module = route_module.clone();
    Stack::builder()
        .native(module.to_owned())
        .alone()
        .binary(envoy)
        .environment("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", search_path.to_str().unwrap())
        .edit(move |bootstrap| {
            let mut strict = bootstrap.plugin_configuration().clone();
            strict["mode"] = json!("enforce");
            bootstrap.plugin_configuration()["mode"] = json!("report");
            add_route(bootstrap, &strict);
            add_route_of(bootstrap, "/third", &route_module, &strict);
        })
}

/// The status of a request without a token.
async fn status(stack: &Stack, path: &str) -> u16 {
    stack.send(stack.client().get(stack.envoy.url(path))).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_configured_by_another_copy_of_the_module_gets_500() {
    // The MCP server's response to a GET.
    const FROM_SERVER: u16 = 405;
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("libmcp_federated_auth.so");
    std::fs::copy(module(), &copy).unwrap();
    let by_name = json!({"name": "mcp_federated_auth"});
    for (version, envoy) in envoys() {
        let same = strict_route(envoy.clone(), &module(), &by_name).start().await;
        assert_eq!(status(&same, "/other").await, 401, "{version}");
        assert_eq!(status(&same, "/mcp").await, FROM_SERVER, "{version}");
        // Both copies have configurations of routes, in an Envoy where the filter's copy can be
        // found.
        let of_filter = json!({"module": {"local": {"filename": copy}}});
        let third = if version == "1.40" { (&of_filter, 401) } else { (&by_name, 500) };
        let stack = strict_route(envoy, &copy, third.0).start().await;
        assert_eq!(status(&stack, "/other").await, 500, "{version}");
        assert_eq!(status(&stack, "/third").await, third.1, "{version}");
        assert_eq!(status(&stack, "/mcp").await, FROM_SERVER, "{version}");
        let log = stack.envoy.log();
        assert_eq!(log.matches("belongs to another module file").count(), 1, "{version}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_identity_header_moves_a_request_to_a_route_with_another_configuration() {
    for (version, envoy) in envoys() {
        let search_path = testbed::repository_root().join("dist");
        let stack = stack()
            .binary(envoy)
            .environment("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", search_path.to_str().unwrap())
            .edit(|bootstrap| {
                // The route's own configuration only reports, for requests with the role `admin`.
                let mut lenient = bootstrap.plugin_configuration().clone();
                lenient["mode"] = json!("report");
                add_route(bootstrap, &lenient);
                let routes = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"]
                    [0]["routes"];
                routes[0]["match"] = json!({
                    "prefix": "/",
                    "headers": [{"name": "x-mcp-roles", "string_match": {"exact": "admin"}}],
                });
            })
            .start()
            .await;
        let call = async |token: Option<&str>, is_forged: bool| {
            let mut request = stack.request();
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            if is_forged {
                request = request.header("x-mcp-roles", "admin");
            }
            stack.send(request).await.status
        };
        let mut claims = stack.claims();
        claims["roles"] = json!(["admin"]);
        let admin = stack.provider.token(&claims);
        assert_eq!(call(Some(&stack.token()), false).await, 200, "{version}");
        assert_eq!(call(None, false).await, 401, "{version}");
        // Judged by the lenient configuration, these requests would reach the strict route.
        assert_eq!(call(None, true).await, 500, "{version}");
        assert_eq!(call(Some(&stack.token()), true).await, 500, "{version}");
        // Judged by the strict configuration, this request would reach the lenient route.
        assert_eq!(call(Some(&admin), false).await, 500, "{version}");
        let log = stack.envoy.log();
        let line = "select a route with another configuration";
        assert_eq!(log.matches(line).count(), 1, "{version}: {log}");
    }
}
