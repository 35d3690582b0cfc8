//! Roles and groups that are the member names of an object, as Zitadel writes them, and the log
//! where that is not configured. The same for scopes.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, Stack};

use crate::support::{SOON, add_providers, assert_refusal, claims_of, static_provider, with};

const ZITADEL: &str = "urn:zitadel:iam:org:project:roles";

/// A stack with two additional static providers: `zitadel` reads member names, `other` a list; a
/// rule requires a role, or a group below /groups.
async fn start(key: &SigningKey) -> Stack {
    let names = json!({
        "roles_claim": {"keys_of": ZITADEL}, "groups_claim": {"keys_of": ["org", "groups"]},
    });
    let lists = json!({"roles_claim": ZITADEL, "groups_claim": ["org", "groups"]});
    let providers =
        [static_provider("zitadel", &[key], names), static_provider("other", &[key], lists)];
    Stack::builder()
        .alone()
        .configure(move |configuration| {
            add_providers(configuration, providers);
            configuration["errors"] = json!({"details": "full"});
            configuration["access"] = json!({"rules": [
                {"name": "of-groups", "match": {"paths": ["/groups"]}, "require": {"groups": ["ops"]}},
                {"name": "of-roles", "require": {"roles": ["admin"]}},
            ]});
        })
        .start()
        .await
}

fn claims(provider: &str, roles: Value) -> Value {
    with(&claims_of(provider), ZITADEL, roles)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_member_names_of_an_object_are_roles_if_configured() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let stack = start(&key).await;
    let granted = json!({"admin": {"178204": "acme.example"}, "a,b": {}, "read er": null});
    let groups = json!({"groups": {"ops": {}, "dev": {}}});
    let token = key.token(&with(&claims("zitadel", granted), "org", groups));
    let response = stack.call(&token).await;
    assert_eq!(response.whoami()["x-mcp-roles"], "a%2Cb,admin,read er", "{response:?}");
    assert_eq!(response.whoami()["x-mcp-groups"], "dev,ops", "{response:?}");

    for (roles, found) in [
        (json!({"reader": {"admin": "admin"}}), Value::Null),
        (json!({"Admin": {}}), Value::Null),
        (json!({}), Value::Null),
        (json!(null), Value::Null),
        (json!(["admin"]), json!("a list, not an object")),
        (json!("admin"), json!("not an object")),
    ] {
        let response = stack.call_refused(&key.token(&claims("zitadel", roles.clone()))).await;
        assert_refusal(&response, "access_denied");
        assert_eq!(response.body["details"]["found"], found, "{roles}: {response:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_roles_are_reported_where_a_rule_requires_roles() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let stack = start(&key).await;
    let listed = key.token(&claims("other", json!(["admin"])));
    assert_eq!(stack.call(&listed).await.status, 200);
    for (roles, found) in [
        (json!({"admin": {}}), json!("an object, not a list")),
        (json!({}), json!("an object, not a list")),
        (json!([{"name": "admin"}]), json!("a list without strings")),
        (json!(7), json!("neither a list nor a string")),
        (json!(["reader"]), Value::Null),
        (json!([]), Value::Null),
        (json!(null), Value::Null),
    ] {
        let response = stack.call_refused(&key.token(&claims("other", roles.clone()))).await;
        assert_refusal(&response, "access_denied");
        let details = &response.body["details"];
        assert_eq!(details["requires"], "roles", "{response:?}");
        assert_eq!(details["found"], found, "{roles}: {response:?}");
        let claim = if found.is_null() { Value::Null } else { json!(ZITADEL) };
        assert_eq!(details["claim"], claim, "{roles}: {response:?}");
    }
    stack.envoy.await_log("\"found\":\"an object, not a list\"", SOON).await;

    // A list of groups does not make the roles readable.
    let groups = json!({"groups": {"ops": {}}});
    let token = key.token(&with(&claims("other", json!(["admin"])), "org", groups));
    assert_eq!(stack.call(&token).await.status, 200);
    let url = stack.url().replace("/mcp", "/groups");
    let response = stack.send_refused(stack.client().post(url).bearer_auth(token)).await;
    assert_refusal(&response, "access_denied");
    assert_eq!(response.body["details"]["claim"], "org.groups", "{response:?}");
    assert_eq!(response.body["details"]["found"], "an object, not a list", "{response:?}");
}

/// A request for more scopes would not help, so there is no challenge. A token without scopes is
/// not one whose scopes are unreadable.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_scopes_are_reported_where_a_rule_requires_scopes() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let plain = static_provider("plain", &[&key], json!({}));
    let limited = static_provider("limited", &[&key], json!({"auth_scopes": ["mcp.tools"]}));
    let stack = Stack::builder()
        .alone()
        .configure(move |configuration| {
            add_providers(configuration, [plain, limited]);
            configuration["errors"] = json!({"details": "full"});
            configuration["access"] =
                json!({"rules": [{"name": "of-scopes", "require": {"scopes": ["mcp.tools"]}}]});
        })
        .start()
        .await;
    let token = |provider: &str, scope| key.token(&with(&claims_of(provider), "scope", scope));
    for provider in ["plain", "limited"] {
        for scope in [json!("mcp.tools"), json!(["mcp.tools"])] {
            assert_eq!(stack.call(&token(provider, scope)).await.status, 200, "{provider}");
        }
        for (scope, found) in [
            (json!({"mcp.tools": {}}), "an object, not a list"),
            (json!([1]), "a list without strings"),
            (json!(true), "neither a list nor a string"),
        ] {
            let response = stack.call_refused(&token(provider, scope.clone())).await;
            assert_refusal(&response, "access_denied");
            let details = &response.body["details"];
            assert_eq!(details["requires"], "scopes", "{response:?}");
            assert_eq!(details["claim"], "scope", "{response:?}");
            assert_eq!(details["found"], found, "{provider} {scope}: {response:?}");
        }
    }
    let response = stack.call_refused(&token("plain", json!(null))).await;
    assert_refusal(&response, "insufficient_scope");
    assert_eq!(stack.call(&token("limited", json!(null))).await.status, 200);
}
