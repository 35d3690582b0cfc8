//! JOSE: compact JWS, keys from JWKs and certificates, algorithms, and the trait through which
//! signatures are verified. Independent of issuers, claims and time.

mod algorithm;
mod certificate;
mod host_crypto;
mod jwk;
mod jws;
mod key_encoding;
mod known_answers;
mod malformed_token;
#[cfg(any(feature = "native-signatures", test))]
mod native;
mod protected_header;
mod public_key;
mod verifier;
#[cfg(test)]
mod wycheproof;

pub(crate) use algorithm::Algorithm;
pub(crate) use certificate::certificate_key;
#[cfg(any(fuzzing, test))]
pub use certificate::fuzz_certificate;
pub use host_crypto::{HashFunction, HostCrypto, HostCryptoError};
pub(crate) use host_crypto::{HostBacked, SelfTestFault};
pub(crate) use jwk::{Jwk, KeyMismatch};
pub(crate) use jws::CompactJws;
#[cfg(any(fuzzing, test))]
pub use jws::fuzz_jws;
pub(crate) use malformed_token::{MalformedToken, Segment};
#[cfg(feature = "native-signatures")]
pub(crate) use native::NativeSignatures;
pub(crate) use protected_header::{ProtectedHeader, TokenType};
pub(crate) use public_key::{PublicKey, UnusableKey};
pub(crate) use verifier::{PureRust, SignatureVerifier};
