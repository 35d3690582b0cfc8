//! The provider's metadata document (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).

use serde_json::Value;

use super::FetchFault;
use super::document::{self, DocumentFault};
use crate::printable::clipped;

/// Maximum size of a key set's URL in bytes: it is kept in shared data.
const MAX_URL_LENGTH: usize = 2048;
/// Maximum number of characters of another issuer that the log shows.
const MAX_ISSUER_CHARACTERS: usize = 200;

/// Extracts the key set's URL from a metadata document.
///
/// # Errors
///
/// The document is not a JSON object, belongs to another issuer (OpenID Connect Discovery §4.3), or
/// names no key set.
pub(super) fn key_set_url(bytes: &[u8], issuer: &str) -> Result<String, FetchFault> {
    let metadata_fault = |fault| FetchFault::Metadata("issuer", fault);
    let document = document::read(bytes).map_err(metadata_fault)?;
    let own_issuer = string(&document, "issuer")?;
    if own_issuer != issuer {
        return Err(FetchFault::OtherIssuer {
            configured: issuer.to_owned(),
            found: clipped(own_issuer, MAX_ISSUER_CHARACTERS),
        });
    }
    let url = string(&document, "jwks_uri")?;
    if url.len() > MAX_URL_LENGTH {
        let fault = DocumentFault::MemberTooLong("jwks_uri");
        return Err(FetchFault::Metadata("jwks_uri", fault));
    }
    Ok(url.to_owned())
}

fn string<'a>(document: &'a Value, name: &'static str) -> Result<&'a str, FetchFault> {
    let value = document::member(document, name).and_then(|value| {
        let found = document::kind(value);
        value.as_str().ok_or(DocumentFault::WrongType { name, expected: "a string", found })
    });
    value.map_err(|fault| FetchFault::Metadata(name, fault))
}

/// Whether this is a metadata document of an issuer.
#[cfg(any(fuzzing, test))]
pub fn fuzz_metadata(document: &[u8]) -> bool {
    key_set_url(document, "https://id.example.com").is_ok()
}
