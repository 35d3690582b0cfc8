//! Signatures verified by Envoy's foreign function `verify_signature`.

use log::{info, warn};
use prost::{EncodeError, Message};
use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;

use crate::jose::{
    Algorithm, HashFunction, HostBacked, HostCrypto, HostCryptoError, PureRust, SignatureVerifier,
    Unfit,
};

/// Envoy's function if it can be trusted, else verification in the sandbox; the log says which.
pub(super) fn signature_verifier() -> Box<dyn SignatureVerifier> {
    match HostBacked::new(ForeignFunction) {
        Ok(verifier) => {
            let names: Vec<_> =
                HostBacked::<ForeignFunction>::algorithms().map(Algorithm::name).collect();
            info!("signatures of {} are verified by Envoy", names.join(", "));
            Box::new(verifier)
        }
        Err(Unfit::NoResult { why: HostCryptoError::Missing, .. }) => {
            info!("signatures are verified in the sandbox: the host has no verify_signature");
            Box::new(PureRust)
        }
        Err(unfit) => {
            warn!("signatures are verified in the sandbox: verify_signature is unfit: {unfit}");
            Box::new(PureRust)
        }
    }
}

/// The function. Envoy ends a call with `NotFound` when it has no such function, and with
/// `InternalFailure` when the plugin's capabilities include no foreign functions. On a status that
/// Envoy has no use for here the SDK would panic.
#[derive(Clone, Copy, Debug)]
struct ForeignFunction;

impl HostCrypto for ForeignFunction {
    fn verify(
        &self,
        hash: HashFunction,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, HostCryptoError> {
        let arguments = arguments([hash_name(hash).as_bytes(), key, signature, message])
            .map_err(|error| HostCryptoError::Failed(error.to_string()))?;
        let result = hostcalls::call_foreign_function("verify_signature", Some(&arguments))
            .map_err(|status| match status {
                Status::NotFound => HostCryptoError::Missing,
                other => HostCryptoError::Failed(format!("status {other:?}")),
            })?;
        VerifySignatureResult::decode(result.unwrap_or_default().as_slice())
            .map(|result| result.result)
            .map_err(|error| HostCryptoError::Failed(error.to_string()))
    }
}

/// Envoy's message `VerifySignatureResult`. It has a second field, the error when the result is
/// false: also a signature that is not valid is one.
#[derive(Message)]
struct VerifySignatureResult {
    #[prost(bool, tag = "1")]
    result: bool,
}

/// Envoy's message `VerifySignatureArguments`, of the fields with the numbers 1 to 4. Written by
/// hand because a derived message would want to own copies of all of them.
fn arguments(fields: [&[u8]; 4]) -> Result<Vec<u8>, EncodeError> {
    /// The number in the upper bits, and 2 for a value that its length precedes.
    const TAGS: [u8; 4] = [0x0a, 0x12, 0x1a, 0x22];
    /// A tag and a length of 32 bits take no more.
    const OVERHEAD: usize = 6;
    let capacity = fields.iter().map(|field| OVERHEAD + field.len()).sum();
    let mut message = Vec::with_capacity(capacity);
    for (tag, field) in TAGS.into_iter().zip(fields) {
        message.push(tag);
        prost::encode_length_delimiter(field.len(), &mut message)?;
        message.extend_from_slice(field);
    }
    Ok(message)
}

fn hash_name(hash: HashFunction) -> &'static str {
    match hash {
        HashFunction::Sha256 => "sha256",
        HashFunction::Sha384 => "sha384",
        HashFunction::Sha512 => "sha512",
    }
}
