//! Signatures that Envoy verifies for the plugin, with its foreign function `verify_signature`.

use serde_json::{Map, Value, json};
use testbed::{Algorithm, Bootstrap, SigningKey, Stack, StackBuilder};
use wasmparser::{Parser, Payload};

use crate::support::{
    SOON, add_providers, assert_tokens_accepted, assert_tokens_refused, assert_vm_lives, base64url,
    claims_of, static_provider,
};

const BY_ENVOY: &str =
    "signatures of RS256, RS384, RS512, ES256, ES384, ES512 are verified by Envoy";
const IN_THE_SANDBOX: &str = "signatures are verified in the sandbox";
/// Envoy logs this at level trace when the plugin calls a foreign function.
const CALL: &str = "env.proxy_call_foreign_function(";

/// A stack with a key for each algorithm, of the provider `keyed`.
fn keyed() -> (StackBuilder, Vec<SigningKey>) {
    let mut keys: Vec<_> = Algorithm::ALL
        .map(|algorithm| SigningKey::generate(algorithm, algorithm.name()))
        .into_iter()
        .collect();
    for bits in [3072, 4096] {
        keys.push(SigningKey::generate_rsa(Algorithm::Rs256, format!("{bits} bits"), bits));
    }
    let provider = static_provider("keyed", &keys.iter().collect::<Vec<_>>(), json!({}));
    (Stack::builder().configure(|configuration| add_providers(configuration, [provider])), keys)
}

fn good(keys: &[SigningKey]) -> impl Iterator<Item = (String, String)> {
    keys.iter().map(|key| (key.kid().to_owned(), key.token(&claims_of("keyed"))))
}

/// Tokens forged under the `kid` of each key; for ECDSA also forgeries of the signature's own
/// encoding.
fn forged(keys: &[SigningKey]) -> Vec<(String, String, &'static str)> {
    let mut cases = Vec::new();
    for key in keys {
        let token = key.token(&claims_of("keyed"));
        let (input, _) = token.rsplit_once('.').unwrap();
        let right = key.sign_parts(input.as_bytes());
        let mut signatures = vec![
            ("a byte too many", [&right[..], &[0]].concat()),
            ("a byte too many in front", [&[0], &right[..]].concat()),
            ("a byte too few", right[..right.len() - 1].to_vec()),
            ("the signature of another message", key.sign_parts(b"another message")),
            (
                "the signature of another key",
                SigningKey::generate(key.algorithm(), key.kid()).sign_parts(input.as_bytes()),
            ),
        ];
        for at in 0..8 {
            let mut changed = right.clone();
            changed[at * right.len() / 8] ^= 1 << at;
            signatures.push(("a changed bit", changed));
        }
        if let Some(der) = der(key.algorithm(), &right) {
            let (r, s) = right.split_at(right.len() / 2);
            let (zero, ones) = (vec![0; r.len()], vec![0xff; r.len()]);
            signatures.extend([
                ("in DER", der),
                ("halves swapped", [s, r].concat()),
                ("padded halves", [&[0], r, &[0], s].concat()),
                ("r is zero", [&zero, s].concat()),
                ("s is zero", [r, &zero].concat()),
                ("r is too large", [&ones, s].concat()),
                ("s is too large", [r, &ones].concat()),
            ]);
        }
        for (name, signature) in signatures {
            let token = format!("{input}.{}", base64url(signature));
            cases.push((format!("{}: {name}", key.kid()), token, "bad_signature"));
        }
    }
    cases
}

/// Lets the plugin use everything that it imports or exports except this.
pub(crate) fn forbid(bootstrap: &mut Bootstrap, capability: &str) {
    let mut capabilities = capabilities();
    assert!(capabilities.remove(capability).is_some());
    bootstrap.plugin()["capability_restriction_config"] =
        json!({ "allowed_capabilities": capabilities });
}

/// Everything that the module imports or exports, in the form of Envoy's list.
fn capabilities() -> Map<String, Value> {
    let module = std::fs::read(testbed::module_path()).unwrap();
    let mut names = Map::new();
    for payload in Parser::new(0).parse_all(&module) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                let imports = section.into_imports().map(|import| import.unwrap().name);
                names.extend(imports.map(|name| (name.to_owned(), json!({}))));
            }
            Payload::ExportSection(section) => {
                let exports = section.into_iter().map(|export| export.unwrap().name);
                names.extend(exports.map(|name| (name.to_owned(), json!({}))));
            }
            _ => {}
        }
    }
    names
}

/// The form of an ECDSA signature that Envoy needs instead of that of JWS (RFC 7518 §3.4).
fn der(algorithm: Algorithm, signature: &[u8]) -> Option<Vec<u8>> {
    match algorithm {
        Algorithm::Es256 => {
            Some(p256::ecdsa::Signature::from_slice(signature).unwrap().to_der().as_bytes().into())
        }
        Algorithm::Es384 => {
            Some(p384::ecdsa::Signature::from_slice(signature).unwrap().to_der().as_bytes().into())
        }
        Algorithm::Es512 => {
            Some(p521::ecdsa::Signature::from_slice(signature).unwrap().to_der().as_bytes().into())
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_verifies_signatures_and_refuses_forged_ones() {
    let (builder, keys) = keyed();
    let stack = builder.alone().start().await;
    stack.envoy.await_log(BY_ENVOY, SOON).await;
    assert_tokens_accepted(&stack, good(&keys)).await;
    assert_tokens_refused(&stack, forged(&keys)).await;
    assert_tokens_accepted(&stack, good(&keys)).await;
    assert!(!stack.envoy.log().contains(IN_THE_SANDBOX), "{}", stack.envoy.log());
    assert_vm_lives(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_is_called_once_for_each_signature_that_it_can_verify() {
    let (builder, keys) = keyed();
    let stack = builder.component_log_level("wasm:trace").alone().start().await;
    for key in &keys {
        let calls = || stack.envoy.log().matches(CALL).count();
        let before = calls();
        assert!(before > 0, "{}", stack.envoy.log());
        assert_eq!(stack.call(&key.token(&claims_of("keyed"))).await.status, 200);
        let name = key.algorithm().name();
        let expected = usize::from(name.starts_with("RS") || name.starts_with("ES"));
        assert_eq!(calls() - before, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_may_not_call_foreign_functions_verifies_in_the_sandbox() {
    let (builder, keys) = keyed();
    let stack = builder
        .edit(|bootstrap| forbid(bootstrap, "proxy_call_foreign_function"))
        .alone()
        .start()
        .await;
    let reason =
        "verify_signature failed its self-test: no result for RS256: status InternalFailure";
    let line = format!("{IN_THE_SANDBOX}: {reason}");
    stack.envoy.await_log(&line, SOON).await;
    assert_tokens_accepted(&stack, good(&keys)).await;
    assert_tokens_refused(&stack, forged(&keys)).await;
    assert!(!stack.envoy.log().contains(BY_ENVOY), "{}", stack.envoy.log());
    // One VM tries the configuration and another serves requests: each tests the host once.
    let attempts = stack.envoy.log().matches("restricted proxy-wasm capability").count();
    let lines = stack.envoy.log().matches(IN_THE_SANDBOX).count();
    assert_eq!(attempts, lines, "{}", stack.envoy.log());
}
