//! What the targets share.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_federated_auth::fuzzing::Fields;

/// A configuration whose keys nobody has the private half of.
pub const CONFIGURATION: &[u8] = include_bytes!("configuration.json");

/// A request as text: lines of `name: value`, an empty line, and the body.
pub fn request(text: &[u8]) -> (Fields, &[u8]) {
    let end = text.windows(2).position(|pair| pair == b"\n\n").unwrap_or(text.len());
    let (head, body) = text.split_at(end);
    let lines = head.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| {
        // Pseudo-headers begin with a colon.
        let at = 1 + line.get(1..)?.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line.get(..at)?, line.get(at + 1..)?);
        let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
        Some((name, value.trim_ascii().to_vec()))
    });
    (fields.collect(), body.get(2..).unwrap_or_default())
}

/// A request with a token that has these claims.
pub fn bearer_request(claims: &[u8]) -> Fields {
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"ES256","kid":"1"}"#);
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let fields = [
        (":method", "POST".to_owned()),
        (":path", "/mcp".to_owned()),
        ("authorization", format!("Bearer {header}.{claims}.AAAA")),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
}
