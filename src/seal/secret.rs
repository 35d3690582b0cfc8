//! The configured secret, from which all keys are derived.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hkdf::Hkdf;
use sha2::Sha256;

/// A secret of at least 32 bytes. It is never written anywhere.
#[derive(Clone)]
pub(crate) struct Secret(Vec<u8>);

/// Why a string is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretFault {
    /// It is neither base64 nor base64url.
    NotBase64,
    /// It has fewer than 32 bytes.
    TooShort {
        /// How many it has.
        bytes: usize,
    },
}

impl Secret {
    /// Minimum length in bytes.
    const MIN_LENGTH: usize = 32;

    /// Parses base64 or base64url, padded or not. One newline at the end is ignored, since files and
    /// Kubernetes secrets often have one.
    ///
    /// # Errors
    ///
    /// [`SecretFault`].
    pub(crate) fn parse(string: &str) -> Result<Self, SecretFault> {
        let string = string.strip_suffix('\n').unwrap_or(string);
        let string = string.strip_suffix('\r').unwrap_or(string);
        let config =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let alphabet = match string.contains(['-', '_']) {
            true => &alphabet::URL_SAFE,
            false => &alphabet::STANDARD,
        };
        let bytes = GeneralPurpose::new(alphabet, config)
            .decode(string)
            .map_err(|_| SecretFault::NotBase64)?;
        match bytes.len() {
            length if length < Self::MIN_LENGTH => Err(SecretFault::TooShort { bytes: length }),
            _ => Ok(Self(bytes)),
        }
    }

    /// A key for a purpose (HKDF with SHA-256, RFC 5869).
    #[must_use]
    pub(crate) fn derive<const LENGTH: usize>(&self, purpose: &str) -> [u8; LENGTH] {
        let mut key = [0; LENGTH];
        let hkdf = Hkdf::<Sha256>::new(Some(b"mcp-federated-auth"), &self.0);
        // HKDF has up to 8160 bytes.
        let derived = hkdf.expand(purpose.as_bytes(), &mut key);
        debug_assert!(derived.is_ok(), "no key has that many bytes");
        key
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(_)")
    }
}

impl fmt::Display for SecretFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64 => f.write_str("must be base64 or base64url"),
            Self::TooShort { bytes } => {
                write!(
                    f,
                    "must be at least {} bytes in base64, but has {bytes}",
                    Secret::MIN_LENGTH
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_base64_of_at_least_32_bytes() {
        let standard = "+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/8=";
        for string in [
            standard.to_owned(),
            standard.trim_end_matches('=').to_owned(),
            standard.replace('+', "-").replace('/', "_"),
            format!("{standard}\n"),
            format!("{standard}\r\n"),
        ] {
            assert!(Secret::parse(&string).is_ok(), "{string:?}");
        }
        for (string, fault) in [
            ("", SecretFault::TooShort { bytes: 0 }),
            ("c2hvcnQ=", SecretFault::TooShort { bytes: 5 }),
            ("not base64 at all!", SecretFault::NotBase64),
            ("+/+/-_-_+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/8=", SecretFault::NotBase64),
        ] {
            assert_eq!(Secret::parse(string).unwrap_err(), fault, "{string:?}");
        }
    }

    #[test]
    fn each_purpose_has_its_own_key() {
        let secret = Secret(vec![1; 32]);
        assert_ne!(secret.derive::<32>("a"), secret.derive::<32>("b"));
        assert_ne!(secret.derive::<32>("a"), Secret(vec![2; 32]).derive::<32>("a"));
        assert_eq!(secret.derive::<32>("a"), secret.derive::<32>("a"));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret(vec![65; 32])), "Secret(_)");
    }
}
