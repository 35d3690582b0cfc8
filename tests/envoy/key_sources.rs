//! Where keys come from: inline, a key set's URL, or a metadata document.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use testbed::{Algorithm, Document, Fault, IdentityProvider, SigningKey, Stack};

use crate::support::{
    add_providers, assert_tokens_accepted, assert_tokens_refused, base64url, claims_of, issuer_of,
    static_provider, token_of, with, without,
};

/// The configuration of a provider whose keys are fetched.
fn remote(name: &str, provider: &IdentityProvider, fields: Value) -> Value {
    let mut configuration = json!({
        "name": name, "issuer": provider.issuer(), "client_ids": [Stack::AUDIENCE],
    });
    for (name, value) in fields.as_object().expect("they are an object") {
        configuration[name] = value.clone();
    }
    configuration
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_metadata_or_a_key_set_by_the_cluster_of_their_host() {
    let names = ["cluster", "host", "host-and-port", "both", "jwks-by-cluster", "jwks-by-host"];
    let mut providers = BTreeMap::new();
    for name in names {
        providers.insert(name, IdentityProvider::start().await);
    }
    let configured = names.map(|name| {
        let provider = &providers[name];
        let (metadata, key_set) = (provider.metadata_url(), provider.jwks_url());
        let address = provider.address().to_string();
        let fields = match name {
            "cluster" => json!({"metadata_url": metadata, "cluster": name}),
            "host" => json!({"metadata_url": metadata, "clusters": {"127.0.0.1": name}}),
            "host-and-port" => json!({"metadata_url": metadata, "clusters": {address: name}}),
            // The entry with the port is used; the other names a cluster without a server.
            "both" => json!({
                "metadata_url": metadata, "clusters": {address: name, "127.0.0.1": "nowhere"},
            }),
            "jwks-by-cluster" => json!({"jwks_url": key_set, "cluster": name}),
            _ => json!({"jwks_url": key_set, "clusters": {address: name}}),
        };
        remote(name, provider, fields)
    });
    let mut builder =
        Stack::builder().configure(|configuration| add_providers(configuration, configured));
    for (name, provider) in &providers {
        builder = builder.cluster(name, provider.address());
    }
    let stack = builder.cluster("nowhere", ([127, 0, 0, 1], 1).into()).start().await;
    for (name, provider) in &providers {
        let response = stack.call(&provider.token(&provider.claims(Stack::AUDIENCE))).await;
        assert_eq!(response.whoami()["x-mcp-provider"], *name, "{response:?}");
        let discoveries = usize::from(!name.starts_with("jwks"));
        assert_eq!(provider.count(Document::Discovery), discoveries, "{name}");
        assert_eq!(provider.count(Document::KeySet), 1, "{name}");
        for request in provider.requests() {
            let host = request.headers.iter().find(|(name, _)| name == "host").cloned();
            assert_eq!(host.unwrap().1, provider.address().to_string(), "{request:?}");
            assert_eq!(request.method, "GET");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_the_configuration_need_no_callout() {
    let keys =
        [SigningKey::generate(Algorithm::Rs256, "a"), SigningKey::generate(Algorithm::Es384, "b")];
    let provider = static_provider("own", &keys.each_ref(), json!({}));
    let mut down = IdentityProvider::start().await;
    down.stop().await;
    let stack = Stack::builder()
        .provider(down)
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    let cases = keys.each_ref().map(|key| (key.kid(), key.token(&claims_of("own"))));
    assert_tokens_accepted(&stack, cases).await;
    let unknown = keys[0].with_kid("c").token(&claims_of("own"));
    assert_tokens_refused(&stack, [("not among them", unknown, "unknown_kid")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_certificates_are_found_by_their_thumbprints() {
    let keys = [
        Algorithm::Rs256,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
    ]
    .map(|algorithm| SigningKey::generate(algorithm, "as uploaded"));
    let certificates = keys.each_ref().map(SigningKey::certificate_pem);
    let mut provider = without(&static_provider("own", &[], json!({})), "jwks");
    provider["certificates"] = json!(certificates);
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    let claims = claims_of("own");
    let mut accepted = Vec::new();
    let mut refused = Vec::new();
    for (key, pem) in keys.iter().zip(&certificates) {
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = BASE64_STANDARD.decode(base64).unwrap();
        let (sha1, sha256) = (Sha1::digest(&der), Sha256::digest(&der));
        let (x5t, x5t_s256) = (base64url(sha1), base64url(sha256));
        let bare = without(&key.header(), "kid");
        for (name, header) in [
            ("kid is x5t", with(&bare, "kid", x5t.clone())),
            ("kid is x5t#S256", with(&bare, "kid", x5t_s256.clone())),
            ("kid is SHA-1 in hex", with(&bare, "kid", format!("{sha1:x}"))),
            ("kid is SHA-1 in upper-case hex", with(&bare, "kid", format!("{sha1:X}"))),
            ("x5t", with(&bare, "x5t", x5t.clone())),
            ("x5t#S256", with(&bare, "x5t#S256", x5t_s256.clone())),
            ("x5t and a kid of its own", with(&with(&bare, "x5t", x5t.clone()), "kid", "own")),
            ("neither kid nor x5t", bare.clone()),
            ("an unknown kid", with(&bare, "kid", "own")),
        ] {
            let name = format!("{}: {name}", key.algorithm());
            accepted.push((name.clone(), key.sign(&header, &claims)));
            let stranger = SigningKey::generate(key.algorithm(), "stranger");
            refused.push((name, stranger.sign(&header, &claims), "bad_signature"));
        }
    }
    // The header has the thumbprint of another key's certificate.
    let first: String = certificates[0].lines().filter(|line| !line.starts_with('-')).collect();
    let first = base64url(Sha1::digest(BASE64_STANDARD.decode(first).unwrap()));
    let elliptic = &keys[2];
    let misled = with(&without(&elliptic.header(), "kid"), "x5t", first);
    refused.push(("misled".to_owned(), elliptic.sign(&misled, &claims), "key_mismatch"));
    assert_tokens_accepted(&stack, accepted).await;
    assert_tokens_refused(&stack, refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_kid_is_verified_only_by_keys_of_its_algorithm() {
    let provider = IdentityProvider::start().await;
    let mut keys = vec![SigningKey::generate(Algorithm::Rs256, "rsa")];
    keys.extend((0..10).map(|index| SigningKey::generate(Algorithm::Es256, format!("ec-{index}"))));
    provider.set_keys(keys.clone());
    let stack = Stack::builder().provider(provider).start().await;
    let token = |key: &SigningKey| key.sign(&without(&key.header(), "kid"), &stack.claims());
    let accepted = keys[..9].iter().map(|key| (key.kid(), token(key)));
    assert_tokens_accepted(&stack, accepted).await;
    let refused = keys[9..].iter().map(|key| (key.kid(), token(key), "bad_signature"));
    assert_tokens_refused(&stack, refused).await;
    let none_fits = SigningKey::generate(Algorithm::EdDsa, "x");
    assert_tokens_refused(&stack, [("no key of its type", token(&none_fits), "unknown_kid")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_with_bad_elements_provides_the_good_ones() {
    let provider = IdentityProvider::start().await;
    provider.add_key(SigningKey::generate(Algorithm::Es256, "second"));
    provider.edit(Document::KeySet, |document| {
        let keys = document["keys"].as_array_mut().expect("there are keys");
        keys.insert(0, Value::Null);
        keys.insert(0, json!({"kid": "without-kty"}));
        keys.insert(0, json!({"kty": "RSA", "kid": 7, "n": "AQAB", "e": "AQAB"}));
        keys.insert(0, json!({"kty": "RSA", "kid": "broken", "n": "?", "e": "AQAB"}));
        keys.insert(0, json!({"kty": "new-kind", "kid": "of-tomorrow"}));
        keys.push(json!("text"));
        document["more"] = json!({"keys": []});
    });
    let stack = Stack::builder().provider(provider).start().await;
    let keys = stack.provider.keys();
    let cases = keys.iter().map(|key| (key.kid(), key.token(&stack.claims())));
    assert_tokens_accepted(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_without_alg_or_kid_verify_tokens_of_their_type() {
    let provider = IdentityProvider::start().await;
    let keys = [
        SigningKey::generate(Algorithm::Rs256, "rsa"),
        SigningKey::generate(Algorithm::Es256, "ec"),
        SigningKey::generate(Algorithm::EdDsa, "ed"),
    ];
    provider.set_keys(keys.clone());
    provider.edit(Document::KeySet, |document| {
        for key in document["keys"].as_array_mut().expect("there are keys") {
            for member in ["alg", "kid", "use"] {
                key.as_object_mut().expect("it is a key").remove(member);
            }
        }
    });
    let stack = Stack::builder().provider(provider).start().await;
    let mut cases = Vec::new();
    for key in &keys {
        let nameless = key.sign(&without(&key.header(), "kid"), &stack.claims());
        cases.push((format!("{} without kid", key.algorithm()), nameless));
        cases.push((key.kid().to_owned(), key.token(&stack.claims())));
    }
    let as_ps256 = keys[0].with_algorithm(Algorithm::Ps256).token(&stack.claims());
    cases.push(("another algorithm of its type".to_owned(), as_ps256));
    assert_tokens_accepted(&stack, cases).await;
    let stranger = SigningKey::generate(Algorithm::Es256, "ec").token(&stack.claims());
    assert_tokens_refused(&stack, [("a stranger", stranger, "bad_signature")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_may_have_any_content_type() {
    let types = [None, Some("text/plain"), Some("application/jwk-set+json"), Some("text/html")];
    let mut providers = Vec::new();
    let mut builder = Stack::builder();
    for (number, content_type) in types.into_iter().enumerate() {
        let provider = IdentityProvider::start().await;
        provider.set_content_type(Document::Discovery, content_type);
        provider.set_content_type(Document::KeySet, content_type);
        let name = format!("provider-{number}");
        let fields = json!({"metadata_url": provider.metadata_url(), "cluster": name});
        let configured = remote(&name, &provider, fields);
        builder = builder
            .cluster(&name, provider.address())
            .configure(|configuration| add_providers(configuration, [configured]));
        providers.push((format!("{content_type:?}"), provider));
    }
    let stack = builder.start().await;
    let cases = providers.iter().map(|(name, provider)| (name, token_of(provider)));
    assert_tokens_accepted(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_same_kid_do_not_mix_between_providers() {
    let keys = [(); 3].map(|()| SigningKey::generate(Algorithm::Rs256, "same"));
    let remote_provider = IdentityProvider::start().await;
    remote_provider.set_keys([keys[0].clone()]);
    let others = [
        static_provider("first", &[&keys[1]], json!({})),
        static_provider("second", &[&keys[2]], json!({})),
    ];
    let stack = Stack::builder()
        .provider(remote_provider)
        .configure(|configuration| add_providers(configuration, others))
        .start()
        .await;
    let claims = [stack.claims(), claims_of("first"), claims_of("second")];
    for (signer, key) in keys.iter().enumerate() {
        for (issuer, claims) in claims.iter().enumerate() {
            let name = format!("key of {signer}, issuer {issuer}");
            if signer == issuer {
                assert_tokens_accepted(&stack, [(name, key.token(claims))]).await;
            } else {
                assert_tokens_refused(&stack, [(name, key.token(claims), "bad_signature")]).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kid_of_one_provider_is_unknown_to_another() {
    let (mine, other) = (
        SigningKey::generate(Algorithm::Es256, "mine"),
        SigningKey::generate(Algorithm::Es256, "other"),
    );
    let providers = [
        static_provider("first", &[&mine], json!({})),
        static_provider("second", &[&other], json!({})),
    ];
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, providers))
        .start()
        .await;
    let cases =
        [("first", other.token(&claims_of("first"))), ("second", mine.token(&claims_of("second")))]
            .map(|(name, token)| (name, token, "unknown_kid"));
    assert_tokens_refused(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audience_selects_one_of_the_providers_of_an_issuer() {
    let (first, second) = (
        SigningKey::generate(Algorithm::Es256, "same"),
        SigningKey::generate(Algorithm::Es256, "same"),
    );
    let issuer = issuer_of("shared");
    let providers = [
        static_provider(
            "first",
            &[&first],
            json!({
                "issuer": issuer, "client_ids": ["a", "b"], "user_claim": "sub",
            }),
        ),
        static_provider(
            "second",
            &[&second],
            json!({
                "issuer": issuer, "client_ids": ["c"], "user_claim": "email",
            }),
        ),
    ];
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, providers))
        .start()
        .await;
    let claims = |audience: Value| with(&claims_of("shared"), "aud", audience);
    for (key, audience, provider, user) in [
        (&first, json!("a"), "first", "ada"),
        (&first, json!(["x", "b"]), "first", "ada"),
        (&second, json!("c"), "second", "ada@example.com"),
        (&second, json!(["x", "c"]), "second", "ada@example.com"),
    ] {
        let response = stack.call(&key.token(&claims(audience.clone()))).await;
        assert_eq!(response.whoami()["x-mcp-provider"], provider, "{audience}: {response:?}");
        assert_eq!(response.whoami()["x-mcp-user"], user, "{audience}: {response:?}");
    }
    let cases = [
        ("for the other", first.token(&claims(json!("c"))), "bad_signature"),
        ("for the one", second.token(&claims(json!("a"))), "bad_signature"),
        ("for neither", first.token(&claims(json!("d"))), "audience_mismatch"),
    ];
    assert_tokens_refused(&stack, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_have_several_issuers() {
    let key = SigningKey::generate(Algorithm::Es256, "k");
    let more = "https://sts.example/tenant/";
    let provider = static_provider("own", &[&key], json!({"additional_issuers": [more]}));
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    for issuer in [issuer_of("own").as_str(), more] {
        let response = stack.call(&key.token(&with(&claims_of("own"), "iss", issuer))).await;
        assert_eq!(response.whoami()["x-mcp-issuer"], issuer, "{response:?}");
        assert_eq!(response.whoami()["x-mcp-provider"], "own");
    }
    let other = key.token(&with(&claims_of("own"), "iss", "https://sts.example/tenant"));
    assert_tokens_refused(&stack, [("without its slash", other, "unknown_issuer")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_may_be_as_long_as_configured() {
    let longest = 64 * 1024;
    let limit = json!({"max_body": "64KiB"});
    let (fits, exceeds) = (IdentityProvider::start().await, IdentityProvider::start().await);
    for document in [Document::Discovery, Document::KeySet] {
        fits.fail(document, Fault::Oversize(longest));
        exceeds.fail(document, Fault::Oversize(longest + 1));
    }
    let configured = [("fits", &fits), ("exceeds", &exceeds)].map(|(name, provider)| {
        let fields = json!({
            "metadata_url": provider.metadata_url(), "cluster": name, "keys": limit,
        });
        remote(name, provider, fields)
    });
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, configured))
        .cluster("fits", fits.address())
        .cluster("exceeds", exceeds.address())
        .start()
        .await;
    let token = fits.token(&fits.claims(Stack::AUDIENCE));
    assert_tokens_accepted(&stack, [("fits", token)]).await;
    let token = exceeds.token(&exceeds.claims(Stack::AUDIENCE));
    assert_tokens_refused(&stack, [("exceeds", token, "keys_unavailable")]).await;
}
