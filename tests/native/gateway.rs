//! `envoy/gateway`: resources that Envoy Gateway 1.8 and 1.9 accept, and the configuration it makes
//! of them.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use testbed::{ConfigurationForm, IdentityProvider, Stack, repository_root, yaml};

use crate::support::{envoys, module};

/// An element of `EnvoyProxy.spec.dynamicModules`, with the fields of the CRD: any other field is
/// refused or dropped.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Registered {
    name: String,
    source: Source,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    r#type: String,
    local: Local,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Local {
    path: String,
}

/// The field `EnvoyExtensionPolicy.spec.dynamicModule`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Used {
    name: String,
    filter_name: String,
    config: Value,
}

fn spec(name: &str, kind: &str) -> Value {
    let text = fs::read_to_string(repository_root().join("envoy/gateway").join(name)).unwrap();
    let resource = yaml(&text);
    assert_eq!(resource["apiVersion"], "gateway.envoyproxy.io/v1alpha1");
    assert_eq!(resource["kind"], kind);
    resource["spec"].clone()
}

fn registered() -> Registered {
    let spec = spec("envoyproxy.yaml", "EnvoyProxy");
    serde_json::from_value(spec["dynamicModules"][0].clone()).unwrap()
}

fn used() -> Used {
    let spec = spec("extensionpolicy.yaml", "EnvoyExtensionPolicy");
    serde_json::from_value(spec["dynamicModule"][0].clone()).unwrap()
}

#[test]
fn the_policy_uses_the_registered_module() {
    let (registered, used) = (registered(), used());
    assert_eq!(registered.name, used.name);
    assert_eq!(registered.source.r#type, "Local");
    assert_eq!(used.filter_name, "mcp-federated-auth");
    let names = used.name.chars().all(|sign| sign.is_ascii_lowercase() || ".-".contains(sign));
    assert!(names, "{}", used.name);
}

#[test]
fn the_file_is_copied_to_the_path_where_the_module_is_registered() {
    let path = registered().source.local.path;
    let deployment =
        spec("envoyproxy.yaml", "EnvoyProxy")["provider"]["kubernetes"]["envoyDeployment"].clone();
    let copying = &deployment["initContainers"][0];
    assert_eq!(copying["command"][2], path.as_str());
    let volume = deployment["pod"]["volumes"][0]["name"].as_str().unwrap();
    for container in [copying, &deployment["container"]] {
        let mount = &container["volumeMounts"][0];
        assert_eq!(mount["name"], volume);
        assert!(Path::new(&path).starts_with(mount["mountPath"].as_str().unwrap()), "{path}");
    }
}

/// Envoy Gateway writes the configuration as a string, disables the filter, and enables it on the
/// policy's routes.
#[tokio::test(flavor = "multi_thread")]
async fn the_generated_filter_decides_only_on_the_policys_routes() {
    for (version, envoy) in envoys() {
        let Used { mut config, .. } = used();
        let other = IdentityProvider::start().await;
        config["providers"] = json!([{
            "name": "keycloak",
            "issuer": other.issuer(),
            "client_ids": ["incident-mcp"],
            "jwks_url": other.jwks_url(),
            "cluster": "sso",
        }]);
        let stack = Stack::builder()
            .native(module())
            .alone()
            .binary(envoy)
            .cluster("sso", other.address())
            .configure(move |written| *written = config)
            .form(ConfigurationForm::StringValue)
            .edit(|bootstrap| {
                bootstrap.http_filters()[0]["disabled"] = json!(true);
                let routes = &mut bootstrap.connection_manager()["route_config"]["virtual_hosts"]
                    [0]["routes"];
                let response = json!({"status": 200, "body": {"inline_string": "here"}});
                let enabled = json!({"mcp-federated-auth": {
                    "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                    "config": {},
                }});
                *routes = json!([
                    {"match": {"prefix": "/mcp"}, "direct_response": response,
                     "typed_per_filter_config": enabled},
                    {"match": {"prefix": "/"}, "direct_response": response},
                ]);
            })
            .start()
            .await;
        let call = async |path: &str, token: &str| {
            let request = stack.client().get(stack.envoy.url(path)).bearer_auth(token);
            stack.send(request).await.status
        };
        let token = other.token(&other.claims("incident-mcp"));
        assert_eq!(call("/mcp", &token).await, 200, "{version}");
        assert_eq!(call("/mcp", "no-token").await, 401, "{version}");
        assert_eq!(call("/elsewhere", "no-token").await, 200, "{version}");
    }
}
