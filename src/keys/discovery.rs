//! The provider's metadata document (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).

use serde_json::Value;

use super::fetch::FetchFault;

/// Most bytes of a key set's URL: it is kept in shared data.
const LONGEST_URL: usize = 2048;

/// Takes the key set's URL out of a metadata document.
///
/// # Errors
///
/// The document is no JSON object, speaks for another issuer (OpenID Connect Discovery §4.3), or
/// names no key set.
pub(super) fn key_set_url(document: &[u8], issuer: &str) -> Result<String, FetchFault> {
    let document: Value =
        serde_json::from_slice(document).map_err(|_| FetchFault::NoMetadata("issuer"))?;
    let member = |name: &'static str| {
        document.get(name).and_then(Value::as_str).ok_or(FetchFault::NoMetadata(name))
    };
    let own_issuer = member("issuer")?;
    if own_issuer != issuer {
        return Err(FetchFault::OtherIssuer {
            configured: issuer.to_owned(),
            found: own_issuer.to_owned(),
        });
    }
    let url = member("jwks_uri")?;
    if url.len() > LONGEST_URL {
        return Err(FetchFault::NoMetadata("jwks_uri"));
    }
    Ok(url.to_owned())
}
