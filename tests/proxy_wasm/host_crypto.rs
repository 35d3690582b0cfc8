use log::Level;
use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey};

use crate::host::{
    BAD_ARGUMENT, HostCrypto, INTERNAL_FAILURE, NOT_FOUND, SERIALIZATION_FAILURE, SharedData, Vm,
    log, log_of,
};
use crate::provider::{
    ISSUER, assert_accepted, assert_refused, claims, configuration, request, token,
};

/// The known answers with which the host's function is tested before it is trusted.
const TRIAL: usize = 12;

const BY_ENVOY: &str =
    "signatures of RS256, RS384, RS512, ES256, ES384, ES512 are verified by Envoy";

/// A provider with inline keys, one for each algorithm.
fn keys() -> (Value, Vec<SigningKey>) {
    let keys: Vec<_> = Algorithm::ALL
        .map(|algorithm| SigningKey::generate(algorithm, algorithm.name()))
        .into_iter()
        .collect();
    let mut document = configuration();
    let provider = document["providers"][0].as_object_mut().unwrap();
    provider.remove("metadata_url");
    provider.remove("cluster");
    let set: Vec<Value> = keys.iter().map(SigningKey::public_jwk).collect();
    provider.insert("jwks".to_owned(), json!({ "keys": set }));
    (document, keys)
}

fn start(crypto: HostCrypto, document: &Value) -> Vm {
    Vm::start_with(crypto, document.to_string().as_bytes(), &SharedData::default()).unwrap()
}

/// Asserts that valid tokens pass and forged ones do not, whatever their algorithm.
fn assert_judges(vm: &Vm, keys: &[SigningKey]) {
    for key in keys {
        assert_accepted(vm, &token(key));
        let forger = SigningKey::generate(key.algorithm(), key.kid());
        let (_, outcome) = request(vm, &token(&forger));
        assert_refused(&outcome, 401, "bad_signature");
        // The claims of one token with the signature of another.
        let mut other = claims(ISSUER, "mcp");
        other["email"] = json!("eve@example.com");
        let (right, other) = (token(key), key.token(&other));
        let signature = right.rsplit('.').next().unwrap();
        let (input, _) = other.rsplit_once('.').unwrap();
        let (_, outcome) = request(vm, &format!("{input}.{signature}"));
        assert_refused(&outcome, 401, "bad_signature");
    }
}

/// The log lines about where signatures are verified.
fn lines() -> Vec<String> {
    log().into_iter().filter(|line| line.starts_with("signatures ")).collect()
}

#[test]
fn the_host_verifies_the_signatures_it_can_and_the_log_says_so_once() {
    let (document, keys) = keys();
    let vm = start(HostCrypto::Works, &document);
    assert_eq!(vm.crypto_calls(), TRIAL);
    assert_judges(&vm, &keys);
    assert_eq!(lines(), [BY_ENVOY]);
    assert_eq!(log_of(Level::Warn), [""; 0]);
    // For RS* and ES*, one call for each of three tokens.
    assert_eq!(vm.crypto_calls(), TRIAL + 6 * 3);
}

#[test]
fn a_host_without_the_function_causes_no_warning() {
    let (document, keys) = keys();
    let vm = start(HostCrypto::Fails(NOT_FOUND), &document);
    assert_eq!(vm.crypto_calls(), 1);
    assert_judges(&vm, &keys);
    assert_eq!(
        lines(),
        ["signatures are verified in the sandbox: the host has no verify_signature"]
    );
    assert_eq!(log_of(Level::Warn), [""; 0]);
    assert_eq!(vm.crypto_calls(), 1);
}

#[test]
fn a_host_that_accepts_forged_signatures_is_not_trusted() {
    for (crypto, reason) in [
        (HostCrypto::ALWAYS_TRUE, "it accepts a forged signature of RS256"),
        (HostCrypto::ALWAYS_FALSE, "it rejects a valid signature of RS256"),
        (HostCrypto::Returns(b""), "it rejects a valid signature of RS256"),
        (HostCrypto::Returns(b"\x12\x01!"), "it rejects a valid signature of RS256"),
        (HostCrypto::Returns(b"\x08"), "no result for RS256: "),
        (HostCrypto::Returns(b"\x0a\x01\x01"), "no result for RS256: "),
        (HostCrypto::Returns(b"\xff\xff\xff"), "no result for RS256: "),
        (HostCrypto::Returns(b"true"), "no result for RS256: "),
        (HostCrypto::Fails(BAD_ARGUMENT), "no result for RS256: status BadArgument"),
        (
            HostCrypto::Fails(SERIALIZATION_FAILURE),
            "no result for RS256: status SerializationFailure",
        ),
        (HostCrypto::Fails(INTERNAL_FAILURE), "no result for RS256: status InternalFailure"),
    ] {
        let (document, keys) = keys();
        let vm = start(crypto, &document);
        let calls = vm.crypto_calls();
        assert_judges(&vm, &keys);
        let expected = format!(
            "signatures are verified in the sandbox: verify_signature failed its self-test: {reason}"
        );
        let lines = lines();
        assert_eq!(lines.len(), 1, "{crypto:?}: {lines:?}");
        assert!(lines[0].starts_with(&expected), "{crypto:?}: {lines:?}");
        assert_eq!(log_of(Level::Warn), lines, "{crypto:?}");
        assert_eq!(vm.crypto_calls(), calls, "{crypto:?}");
    }
}

#[test]
fn if_a_host_starts_to_fail_no_token_passes_and_nothing_crashes() {
    let (document, keys) = keys();
    let vm = start(HostCrypto::Works, &document);
    for crypto in [
        HostCrypto::Fails(NOT_FOUND),
        HostCrypto::Fails(BAD_ARGUMENT),
        HostCrypto::Fails(SERIALIZATION_FAILURE),
        HostCrypto::Fails(INTERNAL_FAILURE),
        HostCrypto::Returns(b"\xff\xff\xff"),
        HostCrypto::Returns(b"true"),
        HostCrypto::Works,
    ] {
        vm.set_crypto(crypto);
        assert_judges(&vm, &keys);
    }
    assert_eq!(lines(), [BY_ENVOY]);
}

#[test]
fn each_configuration_tests_the_host_again() {
    let (document, keys) = keys();
    assert_judges(&start(HostCrypto::ALWAYS_TRUE, &document), &keys);
    let vm = start(HostCrypto::Works, &document);
    assert_judges(&vm, &keys);
    assert_eq!(lines(), [BY_ENVOY]);
}
