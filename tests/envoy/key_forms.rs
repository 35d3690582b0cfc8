//! Keys and documents as publishers write them: forms that other software accepts are accepted here
//! too, and for others the log says what is wrong.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testbed::{Algorithm, Document, Fault, IdentityProvider, SigningKey, Stack};

use crate::support::{
    add_providers, assert_none, assert_tokens_accepted, base64url, claims_of, faults_of_refusal,
    named, static_provider, token_of,
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const BINARY: [&str; 4] = ["n", "e", "x", "y"];

/// A way to write a key.
type Form = fn(&mut Value);

fn rewrite(key: &mut Value, members: &[&str], write: impl Fn(Vec<u8>) -> String) {
    for member in members {
        if let Some(text) = key[*member].as_str() {
            key[*member] = write(BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).into();
        }
    }
}

fn in_plain_base64(key: &mut Value) {
    rewrite(key, &BINARY, |bytes| BASE64_STANDARD.encode(bytes));
}

fn with_a_zero_before(key: &mut Value) {
    rewrite(key, &BINARY, |bytes| base64url([vec![0], bytes].concat()));
}

fn with_nulls(key: &mut Value) {
    for name in ["alg", "use", "key_ops", "x5t", "x5t#S256", "x5c", "x5u"] {
        key[name] = Value::Null;
    }
}

fn with_null_for_a_name(key: &mut Value) {
    with_nulls(key);
    key["kid"] = Value::Null;
}

/// A key whose plain base64 contains a `+` or a `/`.
fn key_of(algorithm: Algorithm) -> SigningKey {
    loop {
        let key = SigningKey::generate(algorithm, "k1");
        let mut plain = key.public_jwk();
        in_plain_base64(&mut plain);
        let has_either = |text: &str| text.contains(['+', '/']);
        if BINARY.iter().any(|name| plain[*name].as_str().is_some_and(has_either)) {
            return key;
        }
    }
}

/// The configuration of a provider whose key set is fetched from a URL.
fn configured(name: &str, provider: &IdentityProvider) -> Value {
    json!({
        "name": name, "issuer": provider.issuer(), "client_ids": [Stack::AUDIENCE],
        "jwks_url": provider.jwks_url(), "cluster": name,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_read_however_its_publisher_writes_it() {
    let forms: [(&str, Algorithm, Form); 13] = [
        ("plain-rsa", Algorithm::Rs256, in_plain_base64),
        ("plain-p256", Algorithm::Es256, in_plain_base64),
        ("plain-p384", Algorithm::Es384, in_plain_base64),
        ("plain-p521", Algorithm::Es512, in_plain_base64),
        ("plain-ed25519", Algorithm::EdDsa, in_plain_base64),
        ("zero-rsa", Algorithm::Rs256, with_a_zero_before),
        ("zero-p256", Algorithm::Es256, with_a_zero_before),
        ("zero-p384", Algorithm::Es384, with_a_zero_before),
        ("zero-p521", Algorithm::Es512, with_a_zero_before),
        ("null-rsa", Algorithm::Rs256, with_nulls),
        ("null-p256", Algorithm::Es256, with_nulls),
        ("null-name", Algorithm::Es256, with_null_for_a_name),
        ("as-usual", Algorithm::Rs256, |_| {}),
    ];
    let mut builder = Stack::builder();
    let mut providers = Vec::new();
    let mut accepted = Vec::new();
    for (name, algorithm, form) in forms {
        let key = key_of(algorithm);
        let provider = IdentityProvider::start().await;
        provider.set_keys([key.clone()]);
        provider.edit(Document::KeySet, move |document| form(&mut document["keys"][0]));
        accepted.push((name.to_owned(), token_of(&provider)));
        builder = builder.cluster(name, provider.address());
        let pasted = format!("{name}-pasted");
        let mut in_configuration = static_provider(&pasted, &[&key], json!({}));
        form(&mut in_configuration["jwks"]["keys"][0]);
        accepted.push((pasted.clone(), key.token(&claims_of(&pasted))));
        let both = [configured(name, &provider), in_configuration];
        builder = builder.configure(|configuration| add_providers(configuration, both));
        providers.push(provider);
    }
    let stack = builder.start().await;
    assert_tokens_accepted(&stack, accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_may_begin_with_a_byte_order_mark_and_have_members_that_are_null() {
    let provider = IdentityProvider::start().await;
    let marked = |document: Value| [BYTE_ORDER_MARK, document.to_string().as_bytes()].concat();
    let metadata = json!({
        "issuer": provider.issuer(), "jwks_uri": provider.jwks_url(),
        "registration_endpoint": null, "scopes_supported": null,
    });
    let keys = json!({"keys": [provider.key().public_jwk()], "more": null});
    provider.fail(Document::Discovery, Fault::Body(marked(metadata)));
    provider.fail(Document::KeySet, Fault::Body(marked(keys)));
    let stack = Stack::builder().provider(provider).start().await;
    assert_tokens_accepted(&stack, [("marked", stack.token())]).await;
}

/// Asserts that no token of these providers passes, and that the log has this line for each.
async fn assert_logged(
    cases: Vec<(&str, IdentityProvider, &str)>,
    configure: fn(&str, &IdentityProvider) -> Value,
) {
    let mut builder = Stack::builder().alone();
    for (name, provider, _) in &cases {
        let configured = configure(name, provider);
        builder = builder
            .cluster(name, provider.address())
            .configure(|configuration| add_providers(configuration, [configured]));
    }
    let stack = builder.start().await;
    let mut faults = Vec::new();
    for (name, provider, expected) in &cases {
        let response = stack.call_refused(&token_of(provider)).await;
        faults.extend(named(name, faults_of_refusal(&response, "keys_unavailable")));
        let log = stack.envoy.log();
        let start = format!("provider {name}: fetching keys from ");
        let line = log.lines().find(|line| line.contains("[warning]") && line.contains(&start));
        let line = line.unwrap_or_default();
        if !line.contains(expected) {
            faults.push(format!("{name}: {line:?} does not say {expected:?}"));
        }
    }
    assert_none(&faults);
    assert_tokens_accepted(&stack, [("of a sound provider", stack.token())]).await;
}

/// Unreadable keys, each with its fault.
fn broken() -> [(&'static str, Form, &'static str); 7] {
    [
        (
            "odd-character",
            |key| key["x"] = "AB*D".into(),
            "its x is not valid base64url: character 3 is '*'",
        ),
        (
            "plain-with-space",
            |key| key["y"] = "+/+/ +/+/".into(),
            "its y is not valid plain base64: character 5 is ' '",
        ),
        (
            "longer",
            |key| rewrite(key, &["x"], |bytes| base64url([vec![1], bytes].concat())),
            "its x has 33 bytes, and those of its curve 32",
        ),
        ("null-coordinate", |key| key["y"] = Value::Null, "its y is missing"),
        (
            "off-the-curve",
            |key| key["y"] = key["x"].clone(),
            "its values are not a valid public key",
        ),
        ("null-type", |key| key["kty"] = Value::Null, "it has no kty"),
        ("number-for-alg", |key| key["alg"] = json!(5), "its alg has a wrong type"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_key_is_logged_with_the_member_and_the_character() {
    let mut cases = Vec::new();
    for (name, form, expected) in broken() {
        let provider = IdentityProvider::start().await;
        provider.set_keys([SigningKey::generate(Algorithm::Es256, "k1")]);
        provider.edit(Document::KeySet, move |document| form(&mut document["keys"][0]));
        cases.push((name, provider, expected));
    }
    assert_logged(cases, configured).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_key_in_the_configuration_is_refused_with_the_same_fault() {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let mut builder = Stack::builder();
    for (name, form, _) in broken() {
        let mut provider = static_provider(name, &[&key], json!({}));
        form(&mut provider["jwks"]["keys"][0]);
        builder = builder.configure(|configuration| add_providers(configuration, [provider]));
    }
    let log = builder.expect_refusal().await;
    for (name, _, expected) in broken() {
        assert!(log.contains(expected), "{name}: {expected:?} is not in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_what_is_served_instead_of_a_key_set() {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00".to_vec();
    let text = |text: &str| Fault::Body(text.as_bytes().to_vec());
    let elsewhere = "https://login.example.com/keys?v=2";
    let certificates = json!({"a1": key.certificate_pem(), "b2": key.certificate_pem()});
    let faults = [
        ("no-signing-key", text("{}"), "it is an empty object, without `keys`"),
        ("login-page", text("<!DOCTYPE html>\n<html>"), "begins with \"<!DOCTYPE html>\\n<html>\""),
        ("gzip", Fault::Encoded("gzip", gzip), "it is compressed (content-encoding \"gzip\")"),
        ("list", Fault::Body(json!([key.public_jwk()]).to_string().into()), "it is a list"),
        ("bare-key", Fault::Body(key.public_jwk().to_string().into()), "it is a single key"),
        ("certificates", text(&certificates.to_string()), "an object of X.509 certificates"),
        ("metadata", text("{\"issuer\":\"a\"}"), "it has no member keys, only [\"issuer\"]"),
        ("null", text("{\"keys\":null}"), "its keys is null, not a list"),
        (
            "redirect",
            Fault::Redirect(elsewhere.to_owned()),
            "a redirect to \"https://login.example.com/keys?v=2\"",
        ),
    ];
    let mut cases = Vec::new();
    for (name, fault, expected) in faults {
        let provider = IdentityProvider::start().await;
        provider.fail(Document::KeySet, fault);
        cases.push((name, provider, expected));
    }
    assert_logged(cases, configured).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_what_is_served_instead_of_metadata() {
    let text = |text: &str| Fault::Body(text.as_bytes().to_vec());
    let elsewhere = "https://login.example.com/.well-known/openid-configuration";
    let faults = [
        ("empty-object", text("{}"), "it is an empty object, without `issuer`"),
        ("key-set", text("{\"keys\":[]}"), "it has no member issuer, only [\"keys\"]"),
        ("null-issuer", text("{\"issuer\":null}"), "its issuer is null, not a string"),
        ("login-page", text("<html>"), "it is not JSON and begins with \"<html>\""),
        ("brotli", Fault::Encoded("br", vec![0xb, 2, 0x80]), "content-encoding \"br\""),
        ("list", text("[1]"), "it is a list"),
        ("empty", text(""), "it is empty"),
        (
            "redirect",
            Fault::Redirect(elsewhere.to_owned()),
            "a redirect to \"https://login.example.com/.well-known/",
        ),
    ];
    let mut cases = Vec::new();
    for (name, fault, expected) in faults {
        let provider = IdentityProvider::start().await;
        provider.fail(Document::Discovery, fault);
        cases.push((name, provider, expected));
    }
    let provider = IdentityProvider::start().await;
    provider.edit(Document::Discovery, |document| {
        document["jwks_uri"] = json!("https://keys.example.com/jwks");
    });
    let expected = "the jwks_uri from the metadata document: no cluster is configured for its host \
         keys.example.com";
    cases.push(("host-without-cluster", provider, expected));
    assert_logged(cases, |name, provider| {
        json!({
            "name": name, "issuer": provider.issuer(), "client_ids": [Stack::AUDIENCE],
            "metadata_url": provider.metadata_url(),
            "clusters": {provider.address().to_string(): name},
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_is_used_no_longer_than_the_maximum() {
    let cases = [
        ("by-the-top-level", json!({}), 600),
        ("by-its-own", json!({"keys": {"max_age_cap": "1m"}}), 60),
        ("as-stated", json!({"keys": {"max_age_cap": "24h"}}), 7200),
    ];
    let mut builder = Stack::builder()
        .alone()
        .configure(|configuration| configuration["keys"] = json!({"max_age_cap": "10m"}));
    let mut providers = Vec::new();
    for (name, fields, _) in &cases {
        let provider = IdentityProvider::start().await;
        provider.set_cache_control("max-age=7200");
        let mut configured = configured(name, &provider);
        for (name, value) in fields.as_object().unwrap() {
            configured[name] = value.clone();
        }
        builder = builder
            .cluster(name, provider.address())
            .configure(|configuration| add_providers(configuration, [configured]));
        providers.push(provider);
    }
    let stack = builder.start().await;
    let tokens = cases.iter().zip(&providers).map(|((name, ..), value)| (*name, token_of(value)));
    assert_tokens_accepted(&stack, tokens).await;
    let log = stack.envoy.log();
    for (name, _, seconds) in &cases {
        let start = format!("provider {name}: fetched keys");
        let line = log.lines().find(|line| line.contains(&start)).unwrap_or_default();
        assert!(line.contains(&format!("valid for {seconds} s")), "{name}: {line:?}");
    }
}
