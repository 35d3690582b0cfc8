//! The trait through which all signatures are verified.

use jwt_compact::alg::{Ed25519, Es256, Rsa};
use jwt_compact::{Algorithm as JwtAlgorithm, AlgorithmSignature};
use p384::ecdsa::signature::Verifier as _;

use super::{Algorithm, PublicKey};

/// Verifies one signature with one key. Callers have already checked that the key may be used with
/// the algorithm.
pub(crate) trait SignatureVerifier {
    /// True only if `signature` is a signature of `message` under `key` and `algorithm`.
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool;

    /// Approximate duration of one verification in tenths of a millisecond; never 0.
    fn cost(&self, algorithm: Algorithm, key: &PublicKey) -> u32;
}

/// Verifies in Rust, in the sandbox: jwt-compact, and p384 and p521 for the curves it lacks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PureRust;

impl SignatureVerifier for PureRust {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match (key, algorithm) {
            (PublicKey::Rsa(key), _) => {
                rsa(algorithm).is_some_and(|algorithm| by(algorithm, &key.key, message, signature))
            }
            (PublicKey::P256(key), Algorithm::Es256) => by(Es256, &key.key, message, signature),
            (PublicKey::P384(key), Algorithm::Es384) => {
                p384::ecdsa::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.key.verify(message, &signature).is_ok())
            }
            (PublicKey::P521(key), Algorithm::Es512) => {
                p521::ecdsa::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.key.verify(message, &signature).is_ok())
            }
            (PublicKey::Ed25519(key), Algorithm::EdDsa) => by(Ed25519, &**key, message, signature),
            _ => false,
        }
    }

    fn cost(&self, _: Algorithm, key: &PublicKey) -> u32 {
        match key {
            PublicKey::Rsa(key) => match key.info.len() {
                // For 2048, 3072 and 4096 bits: time grows with the square.
                ..=320 => 8,
                321..=448 => 18,
                449.. => 32,
            },
            PublicKey::Ed25519(_) => 2,
            PublicKey::P256(_) => 8,
            PublicKey::P384(_) => 50,
            PublicKey::P521(_) => 64,
        }
    }
}

fn rsa(algorithm: Algorithm) -> Option<Rsa> {
    match algorithm {
        Algorithm::Rs256 => Some(Rsa::rs256()),
        Algorithm::Rs384 => Some(Rsa::rs384()),
        Algorithm::Rs512 => Some(Rsa::rs512()),
        Algorithm::Ps256 => Some(Rsa::ps256()),
        Algorithm::Ps384 => Some(Rsa::ps384()),
        Algorithm::Ps512 => Some(Rsa::ps512()),
        _ => None,
    }
}

fn by<A: JwtAlgorithm>(
    algorithm: A,
    key: &A::VerifyingKey,
    message: &[u8],
    signature: &[u8],
) -> bool {
    // jwt-compact's own token type checks the length; some signature types panic without.
    A::Signature::LENGTH.is_none_or(|length| length.get() == signature.len())
        && A::Signature::try_from_slice(signature)
            .is_ok_and(|signature| algorithm.verify_signature(&signature, key, message))
}

#[cfg(test)]
pub(super) mod tests {
    use testkit::SigningKey;

    use super::*;
    use crate::jose::host_crypto::tests::AwsLc;
    use crate::jose::native::NativeSignatures;
    use crate::jose::{HostBacked, Jwk};

    /// All implementations, with their names.
    pub(in crate::jose) fn verifiers() -> [(&'static str, Box<dyn SignatureVerifier>); 3] {
        let host_backed = HostBacked::new(AwsLc).unwrap();
        [
            ("pure Rust", Box::new(PureRust)),
            ("host", Box::new(host_backed)),
            ("native", Box::new(NativeSignatures::default())),
        ]
    }

    pub(in crate::jose) fn public_key(signer: &SigningKey, algorithm: Algorithm) -> PublicKey {
        let jwk = Jwk::from_json(&signer.public_jwk()).unwrap();
        jwk.for_algorithm(algorithm).unwrap().clone()
    }

    #[test]
    fn only_rs_and_es256_verified_by_the_host_are_cheap() {
        let [(_, pure_rust), (_, host_backed), _] = verifiers();
        for algorithm in testkit::Algorithm::ALL {
            let ours = Algorithm::from_name(algorithm.name()).unwrap();
            let key = public_key(&SigningKey::generate(algorithm, "signer"), ours);
            let (rust, host) = (pure_rust.cost(ours, &key), host_backed.cost(ours, &key));
            let is_cheap = ours.name().starts_with("RS") || ours.name() == "ES256";
            assert!(
                (2..100).contains(&rust) && (1..=rust).contains(&host),
                "{ours}: {rust}, {host}"
            );
            assert_eq!(host == 1, is_cheap, "{ours}: {host}");
        }
        for (bits, expected) in [(2048, 8), (3072, 18), (4096, 32)] {
            let signer = SigningKey::generate_rsa(testkit::Algorithm::Ps256, "signer", bits);
            let key = public_key(&signer, Algorithm::Ps256);
            assert_eq!(host_backed.cost(Algorithm::Ps256, &key), expected, "{bits} bits");
        }
    }

    #[test]
    fn every_algorithm_verifies_what_an_independent_signer_signed_and_nothing_else() {
        for algorithm in testkit::Algorithm::ALL {
            let ours = Algorithm::from_name(algorithm.name()).unwrap();
            let signer = SigningKey::generate(algorithm, "signer");
            let other = SigningKey::generate(algorithm, "other");
            let key = public_key(&signer, ours);
            let other_key = public_key(&other, ours);
            let signature = signer.sign_parts(b"message");
            for (name, verifier) in verifiers() {
                let verify = |key: &PublicKey, message: &[u8], signature: &[u8]| {
                    verifier.verify(ours, key, message, signature)
                };

                assert!(verify(&key, b"message", &signature), "{name}, {ours}");
                assert!(!verify(&other_key, b"message", &signature), "{name}, {ours}");
                assert!(!verify(&key, b"messagf", &signature), "{name}, {ours}");
                for at in [0, signature.len() / 2, signature.len() - 1] {
                    let mut changed = signature.clone();
                    changed[at] ^= 1;
                    assert!(!verify(&key, b"message", &changed), "{name}, {ours}, byte {at}");
                }
                let longer = [signature.as_slice(), &[0]].concat();
                let zeros = vec![0; signature.len()];
                let ones = vec![0xff; signature.len()];
                for wrong in [&[][..], &[0], &signature[1..], &longer, &zeros, &ones] {
                    let length = wrong.len();
                    assert!(!verify(&key, b"message", wrong), "{name}, {ours}, {length} bytes");
                }
                for another in Algorithm::ALL.into_iter().filter(|another| *another != ours) {
                    assert!(
                        !verifier.verify(another, &key, b"message", &signature),
                        "{name}, {ours}, {another}"
                    );
                }
            }
        }
    }
}
