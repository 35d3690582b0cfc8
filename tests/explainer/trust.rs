//! `mcp-auth check` warns where several providers are trusted alike.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey};

use crate::support::{configuration, file, key_set, mcp_auth, with};

fn provider(name: &str, fields: Value) -> Value {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let provider = json!({
        "name": name, "issuer": format!("https://{name}.example"), "client_ids": ["mcp"],
        "jwks": key_set(&[&key]),
    });
    with(&provider, fields)
}

/// The warnings for these providers, users and rules.
fn warnings(providers: &[Value], parts: Value) -> Vec<String> {
    let configuration = with(&configuration(json!(providers)), parts);
    let run = mcp_auth(&["check", &file(".json", &configuration.to_string()), "--json"], "");
    let report = run.json();
    assert_eq!((report["verdict"].as_str(), run.code), (Some("good"), Some(0)), "{report}");
    let warnings = report["plugins"][0]["warnings"].as_array().unwrap();
    warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
}

fn two() -> [Value; 2] {
    [provider("staff", json!({})), provider("guests", json!({"user_field": "email"}))]
}

#[test]
fn a_record_that_several_providers_reach_causes_a_warning() {
    let ada = json!({"user_name": "ada", "email": "ada@example.com"});
    let bob = json!({"user_name": "bob", "provider": "staff"});
    let records = |records: Value| json!({"users": {"records": records}});
    let found = warnings(&two(), records(json!([bob, ada, ada_of("eve"), ada_of("kim")])));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("users.records[1]: tokens of staff and guests"), "{found:?}");
    assert!(found[0].contains("2 other records") && found[0].contains("`provider`"), "{found:?}");
    let found = warnings(&two(), records(json!([ada])));
    assert!(found[0].contains("find this user, and each"), "{found:?}");
    for (name, providers, listed) in [
        ("of one provider", &two()[..], json!([with(&ada, json!({"provider": "guests"}))])),
        ("of both, by name", &two(), json!([with(&ada, json!({"provider": ["guests", "staff"]}))])),
        ("one provider", &two()[..1], json!([ada, bob])),
        (
            "found by one provider only",
            &two(),
            json!([
                {"user_name": "bob"}, with(&ada, json!({"provider": "guests"})),
            ]),
        ),
    ] {
        assert_eq!(warnings(providers, records(listed)), [""; 0], "{name}");
    }
}

fn ada_of(name: &str) -> Value {
    json!({"user_name": name, "email": format!("{name}@example.com")})
}

#[test]
fn a_rule_that_requires_roles_of_any_provider_causes_a_warning() {
    let rules = |require: Value| json!({"access": {"rules": [{"require": {"scopes": ["s"]}}, {"require": require}]}});
    for (require, words) in [
        (
            json!({"roles": ["admin"]}),
            "access.rules[1].require: tokens of staff and guests can have these roles",
        ),
        (json!({"groups": ["ops"]}), "can have these groups"),
        (json!({"groups": ["ops"], "roles": ["admin"], "providers": []}), "these roles and groups"),
    ] {
        let found = warnings(&two(), rules(require));
        assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        assert!(found[0].contains("`require.providers`"), "{found:?}");
    }
    for require in [
        json!({"roles": ["admin"], "providers": ["staff"]}),
        json!({"roles": ["admin"], "providers": ["staff", "guests"]}),
        json!({"scopes": ["s"], "roles": []}),
    ] {
        assert_eq!(warnings(&two(), rules(require.clone())), [""; 0], "{require}");
    }
    let asks = rules(json!({"roles": ["admin"]}));
    assert_eq!(warnings(&two()[..1], asks.clone()), [""; 0]);
    // Tokens of these providers pass only where a rule names them.
    let restricted = provider("partners", json!({"restrict_to_policies": true}));
    let [staff, _] = two();
    assert_eq!(warnings(&[staff, restricted], asks), [""; 0]);
}
