//! Envoy's foreign function `verify_signature`.

use mcp_federated_auth::host::{HashFunction, HostCrypto, HostCryptoError};
use prost::{EncodeError, Message};
use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;

/// The function. Envoy ends a call with `NotFound` when it has no such function, and with
/// `InternalFailure` when the plugin's capabilities include no foreign functions. The SDK panics on
/// statuses that Envoy does not use here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerifySignature;

impl HostCrypto for VerifySignature {
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

/// Envoy's message `VerifySignatureResult`. Its second field is an error message, also set when a
/// signature is merely invalid.
#[derive(Message)]
struct VerifySignatureResult {
    #[prost(bool, tag = "1")]
    result: bool,
}

/// Envoy's message `VerifySignatureArguments`, of the fields with the numbers 1 to 4. Encoded by
/// hand: a derived message would own copies of all of them.
fn arguments(fields: [&[u8]; 4]) -> Result<Vec<u8>, EncodeError> {
    /// The field number in the upper bits, and 2 for a length-delimited value.
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
