//! Keys and signatures.

use super::*;

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn a_key_that_does_not_fit_the_token_is_refused() {
    let rsa = SigningKey::generate(Algorithm::Rs256, "rsa");
    let p256 = SigningKey::generate(Algorithm::Es256, "p256");
    let ed25519 = SigningKey::generate(Algorithm::EdDsa, "ed25519");
    let small = SigningKey::generate_rsa(Algorithm::Rs256, "rsa-1024", 1024);
    let edited = |kid: &str, name: &str, value: Value| {
        with(&without(&rsa.with_kid(kid).public_jwk(), "use"), name, value)
    };
    let mut jwks = vec![
        without(&rsa.public_jwk(), "alg"),
        without(&p256.public_jwk(), "alg"),
        without(&SigningKey::generate(Algorithm::Es384, "p384").public_jwk(), "alg"),
        without(&ed25519.public_jwk(), "alg"),
        small.public_jwk(),
        json!({"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "OKP", "crv": "X25519", "kid": "x25519", "x": ed25519.public_jwk()["x"]}),
        json!({"kty": "EC", "crv": "secp256k1", "kid": "secp256k1", "x": p256.public_jwk()["x"], "y": p256.public_jwk()["y"]}),
        // Not a point on the curve.
        json!({"kty": "EC", "crv": "P-256", "kid": "off-curve", "x": base64url([1; 32]), "y": base64url([1; 32])}),
        json!({"kty": "XYZ", "kid": "unheard-of"}),
        json!({"kty": "RSA", "kid": "no-modulus", "e": "AQAB"}),
    ];
    for (kid, name, value) in [
        ("for-rs512", "alg", json!("RS512")),
        ("for-oaep", "alg", json!("RSA-OAEP")),
        ("for-encryption", "use", json!("enc")),
        ("for-nothing", "use", json!("")),
        ("for-signing-only", "key_ops", json!(["sign"])),
        ("for-wrapping", "key_ops", json!(["wrapKey", "encrypt"])),
        ("for-no-operation", "key_ops", json!([])),
    ] {
        jwks.push(edited(kid, name, value));
    }
    for (kid, name, value) in [
        ("with-use", "use", json!("sig")),
        ("with-operations", "key_ops", json!(["sign", "verify"])),
        ("with-alg", "alg", json!("RS256")),
    ] {
        jwks.push(edited(kid, name, value));
    }
    let mut provider = static_provider("own", &[], json!({}));
    provider["jwks"]["keys"] = json!(jwks);
    let stack = Stack::builder()
        .configure(|configuration| add_providers(configuration, [provider]))
        .start()
        .await;
    let claims = claims_of("own");
    let by_rsa = |kid: &str| (kid.to_owned(), rsa.with_kid(kid).token(&claims), "key_mismatch");
    let cases = [
        ("RS256 by an EC key".to_owned(), rsa.with_kid("p256").token(&claims), "key_mismatch"),
        ("RS256 by an OKP key".to_owned(), rsa.with_kid("ed25519").token(&claims), "key_mismatch"),
        ("ES256 by an RSA key".to_owned(), p256.with_kid("rsa").token(&claims), "key_mismatch"),
        ("ES256 by a P-384 key".to_owned(), p256.with_kid("p384").token(&claims), "key_mismatch"),
        ("ES256 by an OKP key".to_owned(), p256.with_kid("ed25519").token(&claims), "key_mismatch"),
        ("EdDSA by an EC key".to_owned(), ed25519.with_kid("p256").token(&claims), "key_mismatch"),
        ("EdDSA by X25519".to_owned(), ed25519.with_kid("x25519").token(&claims), "key_mismatch"),
        (
            "ES256 by secp256k1".to_owned(),
            p256.with_kid("secp256k1").token(&claims),
            "key_mismatch",
        ),
        (
            "ES256 off the curve".to_owned(),
            p256.with_kid("off-curve").token(&claims),
            "key_mismatch",
        ),
        ("RSA of 1024 bits".to_owned(), small.token(&claims), "key_mismatch"),
        by_rsa("oct"),
        by_rsa("unheard-of"),
        by_rsa("no-modulus"),
        by_rsa("for-rs512"),
        by_rsa("for-oaep"),
        by_rsa("for-encryption"),
        by_rsa("for-nothing"),
        by_rsa("for-signing-only"),
        by_rsa("for-wrapping"),
        by_rsa("for-no-operation"),
    ];
    assert_tokens_refused(&stack, cases).await;
    let good = ["rsa", "with-use", "with-operations", "with-alg"]
        .map(|kid| (kid, rsa.with_kid(kid).token(&claims)));
    assert_tokens_accepted(&stack, good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kid_that_the_provider_does_not_publish_is_refused() {
    let stack = Stack::builder().start().await;
    assert_tokens_accepted(&stack, [("good", stack.token())]).await;
    let key = stack.provider.key();
    let kids = ["other", "", "KEY-1", "key-1 ", "key-1\0", "../key-1", "\u{202e}key", "\"\\"];
    let cases = kids.map(|kid| (kid, key.with_kid(kid).token(&stack.claims()), "unknown_kid"));
    assert_tokens_refused(&stack, cases).await;
}

// Requirement: token-401
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_refused() {
    let provider = IdentityProvider::start().await;
    let keys = Algorithm::ALL.map(|algorithm| SigningKey::generate(algorithm, algorithm.name()));
    provider.set_keys(keys.clone());
    let stack = Stack::builder().provider(provider).start().await;
    let claims = stack.claims();
    let mut cases = Vec::new();
    for key in &keys {
        let name = key.algorithm().name();
        let good = key.token(&claims);
        let (input, encoded) = good.rsplit_once('.').unwrap();
        let signature = key.sign_parts(input.as_bytes());
        let with_signature = |bytes: &[u8]| format!("{input}.{}", base64url(bytes));
        let (header, _) = input.split_once('.').unwrap();
        let eve = base64url(with(&claims, "sub", "eve").to_string());
        let stranger = SigningKey::generate(key.algorithm(), key.kid());
        let flipped = |at: usize| {
            let mut signature = signature.clone();
            signature[at] ^= 1;
            signature
        };
        for (fault, token) in [
            ("a bit changed at the start", with_signature(&flipped(0))),
            ("a bit changed at the end", with_signature(&flipped(signature.len() - 1))),
            ("a byte too few", with_signature(&signature[..signature.len() - 1])),
            ("half", with_signature(&signature[..signature.len() / 2])),
            ("one byte", with_signature(&signature[..1])),
            ("a byte too many", with_signature(&[&signature[..], &[0]].concat())),
            ("a zero in front", with_signature(&[&[0], &signature[..]].concat())),
            ("twice", with_signature(&signature.repeat(2))),
            ("all zeros", with_signature(&vec![0; signature.len()])),
            ("all ones", with_signature(&vec![0xff; signature.len()])),
            ("of another key", stranger.token(&claims)),
            ("of another payload", format!("{header}.{eve}.{encoded}")),
        ] {
            cases.push((format!("{name}: {fault}"), token, "bad_signature"));
        }
    }
    let [_, _, es256, _, _, ps256, _, _, rs256, ..] = &keys;
    let good = es256.token(&claims);
    let (input, _) = good.rsplit_once('.').unwrap();
    let fixed = es256.sign_parts(input.as_bytes());
    let der = Signature::from_slice(&fixed).unwrap().to_der();
    let der = format!("{input}.{}", base64url(der.as_bytes()));
    cases.push(("ES256: in DER".to_owned(), der, "bad_signature"));
    // Not only the key but also the padding must match.
    let pss = rs256.with_algorithm(Algorithm::Ps256).sign(&rs256.header(), &claims);
    cases.push(("RS256: by PSS".to_owned(), pss, "bad_signature"));
    let pkcs1 = ps256.with_algorithm(Algorithm::Rs256).sign(&ps256.header(), &claims);
    cases.push(("PS256: by PKCS #1".to_owned(), pkcs1, "bad_signature"));
    let longer = rs256.with_algorithm(Algorithm::Rs512).sign(&rs256.header(), &claims);
    cases.push(("RS256: by SHA-512".to_owned(), longer, "bad_signature"));
    assert_tokens_refused(&stack, cases).await;
    let good = keys.map(|key| (key.kid().to_owned(), key.token(&claims)));
    assert_tokens_accepted(&stack, good).await;
}
