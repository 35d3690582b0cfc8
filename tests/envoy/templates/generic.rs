//! The generic template, and inputs that Envoy's log must name.

use serde_json::{Value, json};
use testbed::Stack;

use crate::support::{assert_none, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_generic_provider_is_what_its_configuration_says() {
    let stack = Stack::builder()
        .configure(|configuration| {
            configuration["providers"][0]["template"] = json!("generic");
            configuration["providers"][0]
                .as_object_mut()
                .expect("it is an object")
                .remove("user_claim");
        })
        .start()
        .await;
    // Keys of other providers verify nothing here.
    let mut claims = with(&stack.claims(), "oid", "ada");
    claims["permissions"] = json!(["write"]);
    claims["preferred_username"] = json!("service-account-demo-agent");
    claims["scp"] = json!("other");
    let response = stack.call(&stack.provider.token(&claims)).await;
    let seen = response.whoami();
    assert_eq!(seen["x-mcp-user"], "ada", "{response:?}");
    assert_eq!(seen["x-mcp-client-type"], "user", "{response:?}");
    assert_eq!(seen["x-mcp-scopes"], "mcp.tools", "{response:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_all_wrong_inputs_at_once() {
    let configure = |configuration: &mut Value| {
        let provider = |fields: Value| {
            let mut provider = json!({"client_ids": ["a"], "cluster": "identity_provider"});
            for (name, value) in fields.as_object().expect("they are an object") {
                provider[name] = value.clone();
            }
            provider
        };
        configuration["providers"] = json!([
            provider(json!({"name": "a", "template": "entra_id"})),
            provider(json!({"name": "b", "template": "entra_id", "tenant": "common"})),
            provider(
                json!({"name": "c", "template": "okta", "domain": "https://a.okta.com", "realm": "x"})
            ),
            provider(json!({"name": "d", "template": "ping"})),
        ]);
    };
    let log = Stack::builder().configure(configure).expect_refusal().await;
    let missing: Vec<String> = [
        "providers[0].tenant: is required by template entra_id",
        "providers[1].tenant: must be one tenant: common means many",
        "providers[2].domain: must be a host name alone, such as login.example.com",
        "providers[2].realm: is not an input of template okta",
        "providers[3].template: unknown variant `ping`",
    ]
    .into_iter()
    .filter(|fault| !log.contains(fault))
    .map(|fault| format!("{fault}\n{log}"))
    .collect();
    assert_none(&missing);
    assert_eq!(log.matches(" providers[0]").count(), 1, "{log}");
}
