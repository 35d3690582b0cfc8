//! Proof Key for Code Exchange with S256 (RFC 7636).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::seal::Randomness;

/// The challenge of a verifier: SHA-256 in base64url, always 43 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodeChallenge(String);

/// The gateway's own verifier towards a provider.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct CodeVerifier(String);

impl CodeChallenge {
    /// Parses the parameter `code_challenge` of the method S256.
    #[must_use]
    pub(crate) fn parse(string: &str) -> Option<Self> {
        let digest = URL_SAFE_NO_PAD.decode(string).ok()?;
        (digest.len() == Sha256::output_size()).then(|| Self(string.to_owned()))
    }

    /// Whether this is the challenge of a verifier. A verifier has 43 to 128 unreserved characters
    /// (RFC 7636 §4.1).
    #[must_use]
    pub(crate) fn is_of(&self, verifier: &str) -> bool {
        let is_unreserved =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        (43..=128).contains(&verifier.len())
            && verifier.bytes().all(is_unreserved)
            && self.0 == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
    }

    /// The value of the parameter.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl CodeVerifier {
    /// A verifier of 256 random bits.
    #[must_use]
    pub(crate) fn new(random: &mut Randomness) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random.bytes::<32>()))
    }

    /// Its challenge.
    #[must_use]
    pub(crate) fn challenge(&self) -> CodeChallenge {
        CodeChallenge(URL_SAFE_NO_PAD.encode(Sha256::digest(&self.0)))
    }

    /// The value of the parameter.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeVerifier(_)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_challenge_of_a_verifier_is_recognised() {
        let challenge = CodeChallenge::parse(CHALLENGE).unwrap();
        assert!(challenge.is_of(VERIFIER));
        for other in ["", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl", CHALLENGE] {
            assert!(!challenge.is_of(other), "{other}");
        }
    }

    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        for (verifier, is_valid) in [
            ("a".repeat(42), false),
            ("a".repeat(43), true),
            ("a".repeat(128), true),
            ("a".repeat(129), false),
            (format!("{}+", "a".repeat(43)), false),
        ] {
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
            let challenge = CodeChallenge::parse(&challenge).unwrap();
            assert_eq!(challenge.is_of(&verifier), is_valid, "{verifier}");
        }
    }

    #[test]
    fn a_challenge_is_a_digest_in_base64url() {
        for string in
            ["", "abc", &CHALLENGE[1..], &format!("{CHALLENGE}="), VERIFIER.get(..42).unwrap()]
        {
            assert_eq!(CodeChallenge::parse(string), None, "{string}");
        }
    }

    #[test]
    fn a_generated_verifier_matches_its_challenge() {
        let verifier = CodeVerifier::new(&mut Randomness::from_seed([3; 32]));
        assert!(verifier.challenge().is_of(verifier.as_str()));
    }
}
