//! `mcp-auth keys`: how the plugin would read a provider's keys.

use serde_json::{Value, json};
use testbed::{Algorithm, Bootstrap, Document, Fault, IdentityProvider, SigningKey};

use crate::support::{configuration, file, key_set, mcp_auth, response, self_signed, serve, with};

fn configured(provider: &IdentityProvider) -> String {
    let provider = json!({
        "name": "own", "issuer": provider.issuer(), "client_ids": ["mcp"],
        "metadata_url": provider.metadata_url(), "cluster": "own",
    });
    file(".json", &configuration(json!([provider])).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_element_is_shown_as_used_or_dropped() {
    let provider = IdentityProvider::start().await;
    provider.set_cache_control("max-age=3600");
    let small = SigningKey::generate_rsa(Algorithm::Rs256, "small", 1024);
    let [free, enc, hmac] =
        ["free", "enc", "hmac"].map(|kid| SigningKey::generate(Algorithm::Es256, kid));
    provider.set_keys([SigningKey::generate(Algorithm::Es256, "good"), free, enc, hmac, small]);
    provider.edit(Document::KeySet, |document| {
        let keys = document["keys"].as_array_mut().unwrap();
        keys[1].as_object_mut().unwrap().remove("alg");
        keys[2]["use"] = json!("enc");
        keys[3]["alg"] = json!("HS256");
        keys.extend([json!(1), json!({"kid": "a"}), json!({"kty": "RSA", "kid": 5})]);
    });
    let run = mcp_auth(&["keys", &configured(&provider), "--json"], "");
    assert_eq!(run.code, Some(0), "{run:?}");
    let report = &run.json()["providers"][0];
    assert_eq!(report["is_usable"], true);
    // Fetched again 30 s before it expires, or up to 7.5 s later.
    let lifetime = report["lifetime_seconds"].as_u64().unwrap();
    assert!((3568..=3578).contains(&lifetime), "{lifetime}");
    let urls: Vec<&str> = report["fetches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value["url"].as_str().unwrap())
        .collect();
    assert_eq!(urls, [provider.metadata_url(), provider.jwks_url()]);
    let keys: Vec<_> = report["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| {
            let dropped = key["is_dropped"].as_bool().unwrap();
            (key["kid"].as_str(), key["algorithms"].clone(), dropped, key["problem"].as_str())
        })
        .collect();
    let usable = |kid| (Some(kid), json!(["ES256"]), false, None);
    let unusable = |kid, problem| (Some(kid), json!([]), false, Some(problem));
    assert_eq!(
        keys,
        [
            usable("good"),
            usable("free"),
            unusable("enc", "its use is enc, not sig"),
            unusable("hmac", "its alg HS256 does not fit its type"),
            unusable("small", "its RSA modulus has 1024 bits, not 2048 to 4096"),
            (None, json!([]), true, Some("it is not a JSON object")),
            (Some("a"), json!([]), true, Some("it has no kty")),
            (None, json!([]), true, Some("its kid has a wrong type")),
        ]
    );

    let run = mcp_auth(&["keys", &configured(&provider)], "");
    assert!(run.stdout.contains("usable    good  ES256"), "{run:?}");
    assert!(run.stdout.contains("dropped   a  it has no kty"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_keys_is_shown_with_cause_and_fix_next_to_the_others() {
    let mut provider = IdentityProvider::start().await;
    let config = {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let common = json!({"issuer": "https://id.example.com", "client_ids": ["mcp"]});
        let pasted = with(&common, json!({"name": "pasted", "jwks": key_set(&[&key])}));
        let fetched = with(
            &common,
            json!({"name": "fetched", "issuer": provider.issuer(),
                "metadata_url": provider.metadata_url(), "cluster": "own"}),
        );
        file(".json", &configuration(json!([pasted, fetched])).to_string())
    };
    provider.stop().await;
    let run = mcp_auth(&["keys", &config, "--json"], "");
    assert_eq!(run.code, Some(1));
    let json = run.json();
    assert_eq!(json["providers"][0]["keys"][0]["kid"], "k1");
    assert_eq!(json["providers"][1]["is_usable"], false);
    let cause = json["providers"][1]["remedy"]["cause"].as_str().unwrap();
    assert!(cause.contains("cannot be reached"), "{cause}");
    let only = |name| mcp_auth(&["keys", &config, "--provider", name], "").code;
    assert_eq!((only("pasted"), only("fetched")), (Some(0), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_envoy_lacks_is_not_called() {
    let provider = IdentityProvider::start().await;
    let mut bootstrap = Bootstrap::example();
    let provider_fields = &mut bootstrap.plugin_configuration()["providers"][0];
    provider_fields["issuer"] = json!(provider.issuer());
    provider_fields["metadata_url"] = json!(provider.metadata_url());
    provider_fields["cluster"] = json!("elsewhere");
    let config = file(".json", &bootstrap.tree().to_string());
    let run = mcp_auth(&["keys", &config, "--json"], "");
    assert_eq!(run.code, Some(1));
    let remedy = run.json()["providers"][0]["remedy"].clone();
    let text = remedy.to_string();
    assert!(text.contains("Envoy's file has no cluster"), "{text}");
    assert!(text.contains("providers[0].cluster`"), "{text}");
    assert_eq!(provider.requests().len(), 0);
}

#[test]
fn the_authority_given_with_an_option_is_trusted() {
    let (tls, certificate) = self_signed();
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let keys = key_set(&[&key]).to_string();
    let address = serve(Some(tls), move |path, _| {
        assert_eq!(path, "/jwks");
        response("200 OK", "", &keys)
    });
    let provider = json!({
        "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"], "cluster": "own",
        "jwks_url": format!("https://localhost:{}/jwks", address.port()),
    });
    let config = file(".json", &configuration(json!([provider])).to_string());
    let run = mcp_auth(&["keys", &config], "");
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("TLS handshake"), "{run:?}");
    let run = mcp_auth(&["keys", &config, "--ca", &file(".pem", &certificate)], "");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("usable    k1  ES256"), "{run:?}");
    let run = mcp_auth(&["keys", &config, "--ca", &config], "");
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("holds no certificate"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_key_is_shown_with_its_member_and_character() {
    let provider = IdentityProvider::start().await;
    let good = SigningKey::generate(Algorithm::Es256, "good");
    let key = with(&good.public_jwk(), json!({"kid": "bad"}));
    let mut nulls = good.public_jwk();
    nulls["alg"] = Value::Null;
    let keys = json!({"keys": [
        nulls,
        with(&key, json!({"x": "a+b/ "})),
        with(&key, json!({"y": "a-b_!"})),
        with(&key, json!({"x": null})),
        with(&key, json!({"key_ops": "verify"})),
    ]});
    let marked = format!("\u{feff}{keys}");
    provider.fail(Document::KeySet, Fault::Body(marked.into_bytes()));
    let run = mcp_auth(&["keys", &configured(&provider), "--json"], "");
    assert_eq!(run.code, Some(0), "{run:?}");
    let report = &run.json()["providers"][0]["keys"];
    let problems: Vec<_> =
        report.as_array().unwrap().iter().map(|key| key["problem"].as_str()).collect();
    assert_eq!(
        problems,
        [
            None,
            Some("its x is not valid plain base64: character 5 is ' '"),
            Some("its y is not valid base64url: character 5 is '!'"),
            Some("its x is missing"),
            Some("its key_ops has a wrong type"),
        ]
    );
}
