//! The program and the plugin in real Envoy give the same result for the same tokens and file.

use std::fs;

use serde_json::{Value, json};
use testbed::{Algorithm, Document, Fault, IdentityProvider, SigningKey, Stack, now, random_id};

use crate::support::{file, mcp_auth, with};

/// Tokens that pass and tokens that do not, each with a name.
fn tokens(stack: &Stack, known: &SigningKey) -> Vec<(&'static str, String)> {
    let key = stack.provider.key();
    let claims = with(&stack.claims(), json!({"tid": "own", "scope": "mcp.tools"}));
    let token = |members: Value| key.token(&with(&claims, members));
    let headed = |members: Value| key.sign(&with(&key.header(), members), &claims);
    let good = token(json!({}));
    let forger = SigningKey::generate(Algorithm::Rs256, key.kid());
    let unheard = SigningKey::generate(Algorithm::Rs256, random_id());
    let small = json!({"aud": Stack::AUDIENCE, "iss": "https://pasted.example"});
    let pasted = |key: &SigningKey| key.token(&with(&claims, small.clone()));
    let graph = json!({"aud": "00000003-0000-0000-c000-000000000000"});
    vec![
        ("good", good.clone()),
        ("valid, with several audiences", token(json!({"aud": ["x", Stack::AUDIENCE]}))),
        ("valid, without kid", headed(json!({"kid": null}))),
        ("valid, expired within the skew", token(json!({"exp": now() - 200}))),
        ("valid, of the key in the configuration", pasted(known)),
        ("of another key than that in the configuration", pasted(&unheard)),
        ("nothing", "x".to_owned()),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned()),
        ("four parts", format!("{good}.a")),
        ("without signature", format!("{}.", good.rsplit_once('.').unwrap().0)),
        ("padded", format!("{good}==")),
        ("too long", token(json!({"x": "x".repeat(9000)}))),
        ("two aud", key.sign_raw(&key.header().to_string(), br#"{"aud":"a","aud":"b"}"#)),
        ("alg none", headed(json!({"alg": "none"}))),
        ("HS256", headed(json!({"alg": "HS256"}))),
        ("algorithm that is not allowed", headed(json!({"alg": "PS384"}))),
        ("crit", headed(json!({"crit": ["exp"]}))),
        ("b64", headed(json!({"b64": false}))),
        ("typ", headed(json!({"typ": "logout+jwt"}))),
        ("typ is a number", headed(json!({"typ": 5}))),
        ("Graph", key.sign(&with(&key.header(), json!({"nonce": "n"})), &with(&claims, graph))),
        (
            "nonce and wrong signature",
            forger.sign(&with(&forger.header(), json!({"nonce": "n"})), &claims),
        ),
        ("no iss", token(json!({"iss": null}))),
        ("unknown issuer", token(json!({"iss": "https://other.example"}))),
        ("slash at the end of iss", token(json!({"iss": format!("{}/", stack.provider.issuer())}))),
        ("expired", token(json!({"exp": now() - 400}))),
        ("no exp", token(json!({"exp": null}))),
        ("not yet valid", token(json!({"nbf": now() + 400}))),
        ("issued later", token(json!({"iat": now() + 400}))),
        ("too old", token(json!({"iat": now() - 90_000}))),
        ("other audience", token(json!({"aud": "other"}))),
        ("no audience", token(json!({"aud": null}))),
        ("unknown kid", unheard.token(&claims)),
        ("forged", forger.token(&claims)),
        ("required claim differs", token(json!({"tid": "other"}))),
        ("required claim is missing", token(json!({"tid": null}))),
        ("bound", token(json!({"cnf": {"jkt": "t"}}))),
        ("jti is missing", token(json!({"jti": null}))),
        ("user claim is missing", token(json!({"email": null}))),
        ("unknown user", token(json!({"email": "unknown@example.com"}))),
        ("locked user", token(json!({"email": "locked@example.com"}))),
        ("service on a person's record", token(json!({"sub": "c", "client_id": "c"}))),
        ("scope is lacking", token(json!({"scope": "other"}))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one flow from start to end")]
async fn the_program_and_the_plugin_give_the_same_result() {
    let path = file(".json", "");
    let known = SigningKey::generate(Algorithm::Es256, "pasted");
    let (written, own_key) = (path.clone(), known.public_jwk());
    let stack = Stack::builder()
        .configure(move |configuration| {
            let provider_fields = &mut configuration["providers"][0];
            provider_fields["required_claims"] = json!({"tid": "own"});
            provider_fields["jti"] = json!("require");
            provider_fields["max_token_age"] = json!("24h");
            provider_fields["algorithms"] = json!(["RS256"]);
            let pasted = json!({
                "name": "pasted", "issuer": "https://pasted.example",
                "client_ids": [Stack::AUDIENCE], "jwks": {"keys": [own_key]},
                "user_claim": "email",
            });
            configuration["providers"].as_array_mut().unwrap().push(pasted);
            for provider in configuration["providers"].as_array_mut().unwrap() {
                provider["user_field"] = json!("email");
            }
            configuration["users"] = json!({"records": [
                {"user_name": "ada", "email": "ada@example.com", "roles": ["itil"]},
                {"user_name": "eve", "email": "locked@example.com", "locked": true},
            ]});
            configuration["access"] = json!({"rules": [
                {"name": "all", "match": {}, "require": {"scopes": ["mcp.tools"]}},
            ]});
        })
        .edit(move |bootstrap| fs::write(written, bootstrap.tree().to_string()).unwrap())
        .start()
        .await;
    let mut faults = Vec::new();
    let mut reasons = Vec::new();
    for (name, token) in tokens(&stack, &known) {
        let response = stack.call(&token).await;
        let run = mcp_auth(&["explain", &path, "--json"], &token);
        let explanation = run.json();
        let reason = response.body["reason"].as_str();
        if explanation["reason"].as_str() != reason
            || (run.code == Some(0)) != (response.status == 200)
        {
            faults.push(format!("{name}: {} {reason:?}, but {explanation}", response.status));
        }
        if response.status == 200 {
            let seen = response.whoami().as_object().unwrap();
            let identity = explanation["identity"].as_array().unwrap();
            let same = identity.iter().all(|field| seen[field[0].as_str().unwrap()] == field[1]);
            if !same || identity.len() != seen.len() {
                faults.push(format!("{name}: {seen:?}, but {identity:?}"));
            }
        } else {
            let failed = |step: &&Value| step["status"] == "failed";
            let count = explanation["steps"].as_array().unwrap().iter().filter(failed).count();
            let has_remedy = explanation["cause"].is_string() && explanation["fix"].is_string();
            if count != 1 || !has_remedy {
                faults.push(format!("{name}: {explanation}"));
            }
        }
        reasons.extend(reason.map(str::to_owned));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    reasons.sort();
    reasons.dedup();
    assert_eq!(reasons.len(), 20, "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_and_the_plugin_agree_on_keys_that_cannot_be_fetched() {
    let path = file(".json", "");
    let written = path.clone();
    let provider = IdentityProvider::start().await;
    provider.fail(Document::KeySet, Fault::Status(500));
    let stack = Stack::builder()
        .alone()
        .provider(provider)
        .edit(move |bootstrap| fs::write(written, bootstrap.tree().to_string()).unwrap())
        .start()
        .await;
    let response = stack.call(&stack.token()).await;
    assert_eq!((response.status, response.reason()), (503, "keys_unavailable"));
    let explanation = mcp_auth(&["explain", &path, "--json"], &stack.token()).json();
    assert_eq!(explanation["reason"], "keys_unavailable");
    let cause = explanation["details"]["cause"].as_str().unwrap();
    assert!(stack.envoy.log().contains(cause), "{cause}");
}
