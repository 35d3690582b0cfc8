//! Public keys that can verify a signature.

use std::fmt;

use jwt_compact::alg::{Ed25519, RsaPublicKey};
use jwt_compact::jwk::JsonWebKey;
use x509_cert::spki::EncodePublicKey;

use super::Algorithm;
use super::key_encoding::EncodingFault;
use crate::printable::Printable;

/// A public key of a type, curve and size that this crate accepts.
#[derive(Clone)]
pub(crate) enum PublicKey {
    /// RSA with a modulus of 2048 to 4096 bits.
    Rsa(Box<Encoded<RsaPublicKey>>),
    /// A point on P-256.
    P256(Box<Encoded<p256::ecdsa::VerifyingKey>>),
    /// A point on P-384.
    P384(Box<Encoded<p384::ecdsa::VerifyingKey>>),
    /// A point on P-521.
    P521(Box<Encoded<p521::ecdsa::VerifyingKey>>),
    /// An Ed25519 key.
    Ed25519(Box<<Ed25519 as jwt_compact::Algorithm>::VerifyingKey>),
}

/// A key together with its encoding, which is computed once rather than for each signature.
#[derive(Clone)]
pub(crate) struct Encoded<K> {
    pub(super) key: K,
    /// The `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) in DER.
    pub(super) info: Vec<u8>,
}

/// A curve of RFC 7518 §6.2.1.1.
#[derive(Clone, Copy)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl PublicKey {
    /// Smallest RSA modulus (RFC 7518 §3.3, §3.5).
    const RSA_MIN_BITS: usize = 2048;
    /// Largest RSA modulus, to bound the cost of one verification.
    const RSA_MAX_BITS: usize = 4096;

    /// An RSA key from big-endian modulus and exponent.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, UnusableKey> {
        let bits = bit_length(modulus);
        if !(Self::RSA_MIN_BITS..=Self::RSA_MAX_BITS).contains(&bits) {
            return Err(UnusableKey::RsaSize(bits));
        }
        let jwk = JsonWebKey::Rsa {
            modulus: modulus.into(),
            public_exponent: exponent.into(),
            private_parts: None,
        };
        let key = RsaPublicKey::try_from(&jwk).map_err(|_| UnusableKey::Material)?;
        Encoded::new(key.clone(), &key).map(Self::Rsa)
    }

    /// A point in SEC 1 encoding.
    pub(super) fn elliptic(curve: Curve, point: &[u8]) -> Result<Self, UnusableKey> {
        let off_the_curve = |_| UnusableKey::Material;
        match curve {
            Curve::P256 => {
                let point = p256::PublicKey::from_sec1_bytes(point).map_err(off_the_curve)?;
                Encoded::new(point.into(), &point).map(Self::P256)
            }
            Curve::P384 => {
                let point = p384::PublicKey::from_sec1_bytes(point).map_err(off_the_curve)?;
                Encoded::new(point.into(), &point).map(Self::P384)
            }
            Curve::P521 => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point);
                let point = p521::PublicKey::from_sec1_bytes(point).map_err(off_the_curve)?;
                Encoded::new(key.map_err(|_| UnusableKey::Material)?, &point).map(Self::P521)
            }
        }
    }

    /// The 32 bytes of an Ed25519 key.
    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, UnusableKey> {
        <Ed25519 as jwt_compact::Algorithm>::VerifyingKey::from_slice(bytes)
            .map(|key| Self::Ed25519(Box::new(key)))
            .map_err(|_| UnusableKey::Material)
    }

    /// True if signatures of `algorithm` are made with keys of this type and curve. The token's own
    /// `alg` never decides how a key is used (RFC 8725 §3.1).
    #[must_use]
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(_) => matches!(
                algorithm,
                Algorithm::Rs256
                    | Algorithm::Rs384
                    | Algorithm::Rs512
                    | Algorithm::Ps256
                    | Algorithm::Ps384
                    | Algorithm::Ps512
            ),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::P384(_) => algorithm == Algorithm::Es384,
            Self::P521(_) => algorithm == Algorithm::Es512,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }
}

impl<K> Encoded<K> {
    /// `source` is the same key in a type that can be encoded.
    fn new(key: K, source: &impl EncodePublicKey) -> Result<Box<Self>, UnusableKey> {
        let info = source.to_public_key_der().map_err(|_| UnusableKey::Material)?;
        Ok(Box::new(Self { key, info: info.into_vec() }))
    }
}

impl Curve {
    /// Length of a coordinate in bytes.
    pub(super) fn coordinate_length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "P-256" => Some(Self::P256),
            "P-384" => Some(Self::P384),
            "P-521" => Some(Self::P521),
            _ => None,
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa(_) => "RSA",
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
            Self::P521(_) => "P-521",
            Self::Ed25519(_) => "Ed25519",
        })
    }
}

/// Why a key of a key set or a certificate cannot verify any supported algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnusableKey {
    /// A coordinate is longer than the curve allows, leading zeros not counted.
    CoordinateLength {
        /// `x` or `y`.
        member: &'static str,
        /// Its length in bytes.
        found: usize,
        /// The length of coordinates on the curve in bytes.
        expected: usize,
    },
    /// A member that the key type requires is neither base64url nor plain base64.
    Encoding {
        /// The name of the member.
        member: &'static str,
        fault: EncodingFault,
    },
    /// A member that the key type requires is missing or null.
    Missing(&'static str),
    /// A member that the key type requires is not a string.
    NotAString(&'static str),
    /// The values do not form a key of that type (a point off the curve, an even modulus, …).
    Material,
    /// An RSA modulus of this many bits: below 2048, or above 4096.
    RsaSize(usize),
    /// A key type or curve that is not supported.
    Type(String),
}

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoordinateLength { member, found, expected } => {
                write!(f, "its {member} has {found} bytes, and those of its curve {expected}")
            }
            Self::Encoding { member, fault } => write!(f, "its {member} is not valid {fault}"),
            Self::Missing(member) => write!(f, "its {member} is missing"),
            Self::NotAString(member) => write!(f, "its {member} is not a string"),
            Self::Material => f.write_str("its values are not a valid public key"),
            Self::RsaSize(bits) => write!(f, "its RSA modulus has {bits} bits, not 2048 to 4096"),
            Self::Type(name) => write!(f, "its type {} is not supported", Printable::line(name)),
        }
    }
}

fn bit_length(big_endian: &[u8]) -> usize {
    let Some(first) = big_endian.iter().position(|&byte| byte != 0) else { return 0 };
    let significant = big_endian.get(first..).unwrap_or_default();
    let leading_zeros = significant.first().map_or(0, |byte| byte.leading_zeros());
    significant.len() * 8 - usize::try_from(leading_zeros).unwrap_or(0)
}
