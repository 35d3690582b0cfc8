//! Keys that an operator uploads as X.509 certificates.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs1::der::{Decode, DecodePem, Encode};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use x509_cert::Certificate;
use x509_cert::spki::{ObjectIdentifier, SubjectPublicKeyInfoOwned};

use super::jwk::{Identifiers, Thumbprint};
use super::public_key::Curve;
use super::{Jwk, PublicKey, UnusableKey};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Reads one PEM certificate for its key. Issuer and validity are not checked: the operator who
/// configured the certificate vouches for it.
///
/// The key matches `x5t`, `x5t#S256`, and a `kid` that is either of them or the SHA-1 in hex.
///
/// # Errors
///
/// The string is not a PEM certificate, or its key cannot verify any supported algorithm.
pub(crate) fn certificate_key(pem: &str) -> Result<Jwk, CertificateFault> {
    let certificate =
        Certificate::from_pem(pem.trim().as_bytes()).map_err(|_| CertificateFault::Syntax)?;
    let der = certificate.to_der().map_err(|_| CertificateFault::Syntax)?;
    let sha1 = Sha1::digest(&der);
    let sha1_thumbprint = URL_SAFE_NO_PAD.encode(sha1);
    let sha256_thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&der));
    let public_key = public_key(&certificate.tbs_certificate.subject_public_key_info)
        .map_err(CertificateFault::Key)?;
    Ok(Jwk {
        identifiers: Identifiers {
            kids: vec![
                sha1_thumbprint.clone(),
                sha256_thumbprint.clone(),
                format!("{sha1:x}"),
                format!("{sha1:X}"),
            ],
            sha1_thumbprint: Some(Thumbprint::new(sha1_thumbprint)),
            sha256_thumbprint: Some(Thumbprint::new(sha256_thumbprint)),
        },
        public_key: Ok(public_key),
        algorithm: None,
        public_key_use: None,
        operations: None,
        from_certificate: true,
    })
}

/// Why a configured certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    Key(UnusableKey),
    Syntax,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(why) => write!(f, "the key of this certificate is not usable: {why}"),
            Self::Syntax => f.write_str("expected one X.509 certificate in PEM form"),
        }
    }
}

pub(super) fn public_key(info: &SubjectPublicKeyInfoOwned) -> Result<PublicKey, UnusableKey> {
    let bits = info.subject_public_key.as_bytes().ok_or(UnusableKey::Material)?;
    match info.algorithm.oid {
        RSA_ENCRYPTION => {
            let key = pkcs1::RsaPublicKey::from_der(bits).map_err(|_| UnusableKey::Material)?;
            PublicKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
        }
        EC_PUBLIC_KEY => {
            let parameters = info.algorithm.parameters.as_ref();
            let curve: ObjectIdentifier = parameters
                .and_then(|any| any.decode_as().ok())
                .ok_or_else(|| UnusableKey::Type("EC without a named curve".to_owned()))?;
            let curve = match curve {
                P256 => Curve::P256,
                P384 => Curve::P384,
                P521 => Curve::P521,
                other => return Err(UnusableKey::Type(format!("EC {other}"))),
            };
            PublicKey::elliptic(curve, bits)
        }
        ED25519 => PublicKey::ed25519(bits),
        other => Err(UnusableKey::Type(other.to_string())),
    }
}

/// Whether this is a certificate in PEM.
#[cfg(any(fuzzing, test))]
pub fn fuzz_certificate(pem: &str) -> bool {
    certificate_key(pem).is_ok()
}
