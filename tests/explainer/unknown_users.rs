//! `mcp-auth explain` names records that are similar to an unknown user.

use serde_json::{Value, json};
use testbed::{Algorithm, SigningKey, now};

use crate::support::{configuration, file, key_set, mcp_auth, with};

/// The explanation for a token of this user.
fn explained(users: &Value, user: &str) -> Value {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let provider = |name: &str| {
        json!({
            "name": name, "issuer": format!("https://{name}.example"), "client_ids": ["mcp"],
            "jwks": key_set(&[&key]), "user_field": "email",
        })
    };
    let providers = json!([provider("own"), provider("other")]);
    let setup = with(&configuration(providers), json!({ "users": users }));
    let token = key.token(&json!({
        "iss": "https://own.example", "aud": "mcp", "sub": user, "exp": now() + 600,
    }));
    let run = mcp_auth(&["explain", &file(".json", &setup.to_string()), "--json"], &token);
    run.json()
}

#[test]
fn the_most_similar_record_is_named() {
    let records = json!([
        {"user_name": "ada", "email": "ada@example.com"},
        {"user_name": "eve", "email": "eve@example.com", "provider": "other"},
    ]);
    for (unknown, user, cause) in [
        ("reject", "Ada@example.com", Some("the record of \"ada\" differs only in upper")),
        ("reject", r"CORP\ada", Some("the record of \"ada\" differs only by a domain")),
        (
            "reject",
            "eve@example.com",
            Some("the record of \"eve\" has this value, but its `provider`"),
        ),
        ("allow", "ada", Some("the value is the user_name of the record of \"ada\"")),
        ("reject", "ada@example.org", None),
    ] {
        let explanation = explained(&json!({"unknown": unknown, "records": records}), user);
        assert_eq!(explanation["reason"], "user_unknown", "{explanation}");
        assert!(
            explanation["cause"].as_str().unwrap().contains("no user here has its sub"),
            "{explanation}"
        );
        match cause {
            Some(cause) => {
                assert!(explanation["cause"].as_str().unwrap().contains(cause), "{explanation}");
                assert!(
                    explanation["details"]["cause"].as_str().unwrap().contains(cause),
                    "{explanation}"
                );
                assert!(
                    explanation["fix"].as_str().unwrap().contains("record's `provider`"),
                    "{explanation}"
                );
            }
            None => assert!(explanation["details"].get("cause").is_none(), "{explanation}"),
        }
    }
    // No similar record matters where all users are allowed.
    let explanation =
        explained(&json!({"unknown": "allow", "records": records}), "Ada@example.com");
    assert_eq!(explanation["verdict"], "accepted", "{explanation}");
}
