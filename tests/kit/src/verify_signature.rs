use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use prost::Message;

/// Verifies like Envoy's foreign function of this name, with aws-lc: whether `signature` is a valid
/// RSASSA-PKCS1-v1_5 or ECDSA signature of `text`, depending on the key. `None` if the key, a
/// `SubjectPublicKeyInfo` in DER, is not RSA, P-256, P-384 or P-521.
pub fn verify_signature(
    hash: &str,
    public_key: &[u8],
    signature: &[u8],
    text: &[u8],
) -> Option<bool> {
    /// The first byte of a `SubjectPublicKeyInfo`; a bare point starts with another.
    const SEQUENCE: u8 = 0x30;
    let algorithms: [&'static dyn VerificationAlgorithm; 4] = match hash {
        "sha256" => [
            &signature::RSA_PKCS1_2048_8192_SHA256,
            &signature::ECDSA_P256_SHA256_ASN1,
            &signature::ECDSA_P384_SHA256_ASN1,
            &signature::ECDSA_P521_SHA256_ASN1,
        ],
        "sha384" => [
            &signature::RSA_PKCS1_2048_8192_SHA384,
            &signature::ECDSA_P256_SHA384_ASN1,
            &signature::ECDSA_P384_SHA384_ASN1,
            &signature::ECDSA_P521_SHA384_ASN1,
        ],
        "sha512" => [
            &signature::RSA_PKCS1_2048_8192_SHA512,
            &signature::ECDSA_P256_SHA512_ASN1,
            &signature::ECDSA_P384_SHA512_ASN1,
            &signature::ECDSA_P521_SHA512_ASN1,
        ],
        _ => return Some(false),
    };
    if public_key.first() != Some(&SEQUENCE) {
        return None;
    }
    let keys = algorithms
        .into_iter()
        .filter_map(|algorithm| ParsedPublicKey::new(algorithm, public_key).ok());
    keys.map(|key| key.verify_sig(text, signature).is_ok()).reduce(|any, value| any || value)
}

/// The arguments of Envoy's foreign function `verify_signature`, encoded; the signed text comes
/// last.
pub fn verify_signature_arguments(
    hash: &str,
    public_key: Vec<u8>,
    signature: Vec<u8>,
    text: Vec<u8>,
) -> Vec<u8> {
    let hash_function = hash.to_owned();
    VerifySignatureArguments { hash_function, public_key, signature, text }.encode_to_vec()
}

/// The result of Envoy's foreign function `verify_signature` for these arguments; `None` if it
/// rejects them.
pub fn verify_signature_result(arguments: &[u8]) -> Option<Vec<u8>> {
    let arguments = VerifySignatureArguments::decode(arguments).ok()?;
    let result = verify_signature(
        &arguments.hash_function,
        &arguments.public_key,
        &arguments.signature,
        &arguments.text,
    )?;
    let error = if result { "" } else { "Failed to verify digest. Error code: 0" };
    Some(VerifySignatureResult { result, error: error.to_owned() }.encode_to_vec())
}

/// A message of Envoy's.
#[derive(Message)]
struct VerifySignatureArguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    text: Vec<u8>,
}

/// A message of Envoy's.
#[derive(Message)]
struct VerifySignatureResult {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(string, tag = "2")]
    error: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, SigningKey};

    #[test]
    fn requests_get_correct_results() {
        let key = SigningKey::generate(Algorithm::Rs256, "k1");
        let (info, signature) = (key.public_key_info(), key.sign_parts(b"message"));
        let mut arguments =
            verify_signature_arguments("sha256", info, signature, b"message".to_vec());
        assert_eq!(verify_signature_result(&arguments), Some(vec![0x08, 0x01]));
        let last = arguments.last_mut().expect("the text comes last");
        *last = b'!';
        let result = verify_signature_result(&arguments).expect("it is still a call");
        assert_eq!(result.first(), Some(&0x12));
    }
}
