//! Verification by aws-lc, for the native module: several times faster than in Rust.

use std::cell::RefCell;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};

use super::{Algorithm, PublicKey, SignatureVerifier};

/// Verifies every algorithm by aws-lc. Keys are parsed once.
#[derive(Default)]
pub(crate) struct NativeSignatures {
    parsed: RefCell<Vec<ParsedKey>>,
}

/// A key for one algorithm: aws-lc's parsed keys carry theirs.
struct ParsedKey {
    algorithm: Algorithm,
    encoded: Vec<u8>,
    key: ParsedPublicKey,
}

impl NativeSignatures {
    /// Maximum number of parsed keys. They come from key sets, never from clients.
    const MAX_KEYS: usize = 128;
}

impl SignatureVerifier for NativeSignatures {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        if !key.fits(algorithm) {
            return false;
        }
        let encoded = encoded(key);
        let mut parsed = self.parsed.borrow_mut();
        let known = parsed
            .iter()
            .find(|known| known.algorithm == algorithm && known.encoded == encoded)
            .map(|known| known.key.verify_sig(message, signature).is_ok());
        if let Some(is_valid) = known {
            return is_valid;
        }
        let Ok(key) = ParsedPublicKey::new(parameters(algorithm), encoded) else { return false };
        let is_valid = key.verify_sig(message, signature).is_ok();
        if parsed.len() >= Self::MAX_KEYS {
            parsed.clear();
        }
        parsed.push(ParsedKey { algorithm, encoded: encoded.to_vec(), key });
        is_valid
    }

    fn cost(&self, _: Algorithm, key: &PublicKey) -> u32 {
        match key {
            PublicKey::P384(_) => 3,
            PublicKey::P521(_) => 6,
            PublicKey::Rsa(_) | PublicKey::P256(_) | PublicKey::Ed25519(_) => 1,
        }
    }
}

/// The key as aws-lc reads it.
fn encoded(key: &PublicKey) -> &[u8] {
    match key {
        PublicKey::Rsa(key) => &key.info,
        PublicKey::P256(key) => &key.info,
        PublicKey::P384(key) => &key.info,
        PublicKey::P521(key) => &key.info,
        PublicKey::Ed25519(key) => key.as_ref().as_ref(),
    }
}

fn parameters(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDsa => &signature::ED25519,
    }
}
