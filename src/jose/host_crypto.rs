//! Verification by the host's native cryptography, outside of the sandbox: many times faster.

use std::fmt;

use super::known_answers::{KNOWN_ANSWERS, KnownAnswer};
use super::{Algorithm, PublicKey, PureRust, SignatureVerifier};

/// The host's signature verification: RSASSA-PKCS1-v1_5 and ECDSA.
pub trait HostCrypto {
    /// True if `signature` is a signature of `message` under `key`, a `SubjectPublicKeyInfo` in
    /// DER. ECDSA signatures are in DER too (RFC 3279 §2.2.3).
    ///
    /// # Errors
    ///
    /// The host returned no result.
    fn verify(
        &self,
        hash: HashFunction,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, HostCryptoError>;
}

/// A hash function of the SHA-2 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFunction {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Why a host returned no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostCryptoError {
    /// The call failed with this message.
    Failed(String),
    /// The host has no such function.
    Missing,
}

impl fmt::Display for HostCryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(how) => f.write_str(how),
            Self::Missing => f.write_str("it is missing"),
        }
    }
}

/// Verifies with the host where it supports the algorithm, and in Rust otherwise.
#[derive(Clone, Debug)]
pub(crate) struct HostBacked<H> {
    host: H,
}

impl<H: HostCrypto> HostBacked<H> {
    /// A verifier that uses this host, provided that the host passes the self-test.
    ///
    /// # Errors
    ///
    /// The host fails the self-test for at least one algorithm.
    pub(crate) fn new(host: H) -> Result<Self, SelfTestFault> {
        let verifier = Self { host };
        KNOWN_ANSWERS.iter().try_for_each(|known| verifier.check(known))?;
        Ok(verifier)
    }

    /// The algorithms that are delegated to the host.
    pub(crate) fn algorithms() -> impl Iterator<Item = Algorithm> {
        KNOWN_ANSWERS.iter().map(|known| known.algorithm)
    }

    fn check(&self, known: &KnownAnswer) -> Result<(), SelfTestFault> {
        let algorithm = known.algorithm;
        let known_answer = known.key().zip(known.signature());
        let forged = format!("{}!", known.message);
        for (message, expected) in [(known.message, true), (&forged, false)] {
            let result = known_answer.as_ref().and_then(|(key, signature)| {
                self.ask(algorithm, key, message.as_bytes(), signature)
            });
            match result {
                Some(Ok(result)) if result == expected => {}
                Some(Err(why)) => return Err(SelfTestFault::NoResult { algorithm, why }),
                _ if expected => return Err(SelfTestFault::RefusesValid(algorithm)),
                _ => return Err(SelfTestFault::AcceptsForged(algorithm)),
            }
        }
        Ok(())
    }

    /// `None` if the host does not support the algorithm.
    fn ask(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Option<Result<bool, HostCryptoError>> {
        use HashFunction::{Sha256, Sha384, Sha512};

        let ask = |hash, key: &[u8], signature: &[u8]| {
            Some(self.host.verify(hash, key, message, signature))
        };
        // RFC 7518 §3.4: r and s have full length; the conversion also checks their range.
        match (key, algorithm) {
            (PublicKey::Rsa(key), Algorithm::Rs256) => ask(Sha256, &key.info, signature),
            (PublicKey::Rsa(key), Algorithm::Rs384) => ask(Sha384, &key.info, signature),
            (PublicKey::Rsa(key), Algorithm::Rs512) => ask(Sha512, &key.info, signature),
            (PublicKey::P256(key), Algorithm::Es256) => {
                match p256::ecdsa::Signature::from_slice(signature) {
                    Ok(signature) => ask(Sha256, &key.info, signature.to_der().as_bytes()),
                    Err(_) => Some(Ok(false)),
                }
            }
            (PublicKey::P384(key), Algorithm::Es384) => {
                match p384::ecdsa::Signature::from_slice(signature) {
                    Ok(signature) => ask(Sha384, &key.info, signature.to_der().as_bytes()),
                    Err(_) => Some(Ok(false)),
                }
            }
            (PublicKey::P521(key), Algorithm::Es512) => {
                match p521::ecdsa::Signature::from_slice(signature) {
                    Ok(signature) => ask(Sha512, &key.info, signature.to_der().as_bytes()),
                    Err(_) => Some(Ok(false)),
                }
            }
            _ => None,
        }
    }
}

impl<H: HostCrypto> SignatureVerifier for HostBacked<H> {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match self.ask(algorithm, key, message, signature) {
            Some(Ok(is_valid)) => is_valid,
            // No result says nothing about the signature, so it is verified in Rust.
            Some(Err(_)) | None => PureRust.verify(algorithm, key, message, signature),
        }
    }

    fn cost(&self, algorithm: Algorithm, key: &PublicKey) -> u32 {
        match key {
            _ if !Self::algorithms().any(|of_host| of_host == algorithm) => {
                PureRust.cost(algorithm, key)
            }
            PublicKey::P384(_) => 5,
            PublicKey::P521(_) => 14,
            _ => 1,
        }
    }
}

/// Why a host is not trusted with signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SelfTestFault {
    /// It accepts a forged signature.
    AcceptsForged(Algorithm),
    /// It returns no result.
    NoResult { algorithm: Algorithm, why: HostCryptoError },
    /// It rejects a valid signature.
    RefusesValid(Algorithm),
}

impl fmt::Display for SelfTestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcceptsForged(algorithm) => {
                write!(f, "it accepts a forged signature of {algorithm}")
            }
            Self::NoResult { algorithm, why } => write!(f, "no result for {algorithm}: {why}"),
            Self::RefusesValid(algorithm) => {
                write!(f, "it rejects a valid signature of {algorithm}")
            }
        }
    }
}

/// Hosts for tests.
#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use testkit::SigningKey;

    use super::*;
    use crate::jose::verifier::tests::public_key;

    /// Verifies as Envoy does, with another library.
    pub(in crate::jose) struct AwsLc;

    impl HostCrypto for AwsLc {
        fn verify(
            &self,
            hash: HashFunction,
            key: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<bool, HostCryptoError> {
            let hash = match hash {
                HashFunction::Sha256 => "sha256",
                HashFunction::Sha384 => "sha384",
                HashFunction::Sha512 => "sha512",
            };
            testkit::verify_signature(hash, key, signature, message)
                .ok_or_else(|| HostCryptoError::Failed("no such key".to_owned()))
        }
    }

    /// Behaves like [`AwsLc`] for a number of calls, and returns a fixed result from then on.
    struct Turning {
        after: usize,
        result: Result<bool, HostCryptoError>,
        questions: Cell<usize>,
    }

    impl Turning {
        fn new(after: usize, result: Result<bool, HostCryptoError>) -> Self {
            Self { after, result, questions: Cell::new(0) }
        }
    }

    impl HostCrypto for Turning {
        fn verify(
            &self,
            hash: HashFunction,
            key: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<bool, HostCryptoError> {
            let asked = self.questions.replace(self.questions.get() + 1);
            if asked < self.after {
                AwsLc.verify(hash, key, message, signature)
            } else {
                self.result.clone()
            }
        }
    }

    fn failed() -> HostCryptoError {
        HostCryptoError::Failed("status InternalFailure".to_owned())
    }

    #[test]
    fn the_known_answers_are_valid() {
        for known in &KNOWN_ANSWERS {
            let (key, signature) = (known.key().unwrap(), known.signature().unwrap());
            let message = known.message.as_bytes();
            assert!(PureRust.verify(known.algorithm, &key, message, &signature));
        }
        assert!(HostBacked::new(AwsLc).is_ok());
    }

    #[test]
    fn a_host_that_errs_on_any_algorithm_is_unfit() {
        for (index, algorithm) in HostBacked::<AwsLc>::algorithms().enumerate() {
            let (valid, forged) = (2 * index, 2 * index + 1);
            let fault = |after, result| HostBacked::new(Turning::new(after, result)).err();
            assert_eq!(fault(valid, Ok(false)), Some(SelfTestFault::RefusesValid(algorithm)));
            assert_eq!(fault(forged, Ok(true)), Some(SelfTestFault::AcceptsForged(algorithm)));
            for why in [failed(), HostCryptoError::Missing] {
                for after in [valid, forged] {
                    let expected = Some(SelfTestFault::NoResult { algorithm, why: why.clone() });
                    assert_eq!(fault(after, Err(why.clone())), expected);
                }
            }
        }
    }

    #[test]
    fn the_host_verifies_rs_and_es_once_and_nothing_else() {
        let asked = 2 * KNOWN_ANSWERS.len();
        let verifier = HostBacked::new(Turning::new(usize::MAX, Err(failed()))).unwrap();
        for algorithm in Algorithm::ALL {
            let signer = SigningKey::generate(for_signing(algorithm), "signer");
            let key = public_key(&signer, algorithm);
            let signature = signer.sign_parts(b"message");
            verifier.host.questions.set(asked);
            assert!(verifier.verify(algorithm, &key, b"message", &signature), "{algorithm}");
            let questions = verifier.host.questions.get() - asked;
            let is_for_host = ["RS", "ES"].contains(&&algorithm.name()[..2]);
            assert_eq!(questions, usize::from(is_for_host), "{algorithm}");
        }
    }

    #[test]
    fn the_host_sees_no_ecdsa_signature_of_wrong_length_or_range() {
        for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512] {
            let signer = SigningKey::generate(for_signing(algorithm), "signer");
            let key = public_key(&signer, algorithm);
            let signature = signer.sign_parts(b"message");
            let (r, s) = signature.split_at(signature.len() / 2);
            let (zero, all_ones) = (vec![0; r.len()], vec![0xff; r.len()]);
            // From here on the host accepts everything.
            let verifier =
                HostBacked::new(Turning::new(2 * KNOWN_ANSWERS.len(), Ok(true))).unwrap();
            assert!(verifier.verify(algorithm, &key, b"message", &signature));
            for wrong in [
                [&zero, s].concat(),
                [r, &zero].concat(),
                [&all_ones, s].concat(),
                [r, &all_ones].concat(),
                [r, s, &[0]].concat(),
                [&[0], r, s].concat(),
                [&[0], r, &[0], s].concat(),
                signature[1..].to_vec(),
                signature[..signature.len() - 1].to_vec(),
                r.to_vec(),
                vec![],
            ] {
                assert!(!verifier.verify(algorithm, &key, b"message", &wrong), "{wrong:x?}");
            }
        }
    }

    #[test]
    fn when_the_host_fails_later_signatures_are_verified_in_rust() {
        for why in [failed(), HostCryptoError::Missing] {
            let host = Turning::new(2 * KNOWN_ANSWERS.len(), Err(why));
            let verifier = HostBacked::new(host).unwrap();
            for algorithm in Algorithm::ALL {
                let signer = SigningKey::generate(for_signing(algorithm), "signer");
                let key = public_key(&signer, algorithm);
                let signature = signer.sign_parts(b"message");
                assert!(verifier.verify(algorithm, &key, b"message", &signature), "{algorithm}");
                assert!(!verifier.verify(algorithm, &key, b"massage", &signature), "{algorithm}");
            }
        }
    }

    fn for_signing(algorithm: Algorithm) -> testkit::Algorithm {
        let mut all = testkit::Algorithm::ALL.into_iter();
        all.find(|known| known.name() == algorithm.name()).unwrap()
    }
}
