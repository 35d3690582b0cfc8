//! Files as people write them.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::json;

/// A JSON or YAML document.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says. Of members that are duplicated, the last.
    pub value: Value,
    /// The paths of members that their object names more than once.
    pub duplicates: Vec<String>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let (value, duplicates) = json::read_reporting(reader)?;
        Ok(Self { value, duplicates })
    }
}

/// The bytes of a file without the byte order mark of UTF-8 that they may begin with.
#[must_use]
pub fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    json::without_byte_order_mark(bytes)
}

/// True when these bytes begin as text in UTF-16 does, in either byte order, with a byte order mark
/// or without.
#[must_use]
pub fn is_utf16(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    // In UTF-16, every ASCII character has a zero byte, always on the same side.
    let (units, _) = bytes.as_chunks::<2>();
    let first = units.get(..units.len().min(4)).unwrap_or_default();
    let all = |is_ascii: fn(&[u8; 2]) -> bool| !first.is_empty() && first.iter().all(is_ascii);
    all(|[first, second]| *first != 0 && *second == 0)
        || all(|[first, second]| *first == 0 && *second != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_utf_16_is_told_from_other_text() {
        for text in ["eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "# ä\n", "e\r\n"] {
            let units = || text.encode_utf16();
            let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
            assert!(is_utf16(&little) && is_utf16(&big), "{text:?}");
            assert!(is_utf16(&[b"\xff\xfe", &little[..]].concat()), "{text:?}");
            assert!(is_utf16(&[b"\xfe\xff", &big[..]].concat()), "{text:?}");
            assert!(!is_utf16(text.as_bytes()), "{text:?}");
            assert!(!is_utf16(&[b"\xef\xbb\xbf", text.as_bytes()].concat()), "{text:?}");
        }
        for bytes in [&b""[..], b"e", b"\0", b"\0\0\0\0", b"\xff"] {
            assert!(!is_utf16(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn what_a_document_names_twice_is_reported_beside_what_it_says() {
        let Document { value, duplicates } =
            serde_saphyr::from_multiple_with_options::<Document>(TWICE, options())
                .unwrap()
                .remove(0);
        assert_eq!(value, serde_json::json!({"a": [{"b": 2, "c": null}], "d": {"e": 1, "f": 3}}));
        assert_eq!(duplicates, ["a[0].b"]);
    }

    /// What is merged (`<<`) may be overridden: that is what merging is for.
    const TWICE: &str = "a: [{b: 1, b: 2, c: }]\nd: {<<: {e: 1, f: 2}, f: 3}\n";

    fn options() -> serde_saphyr::Options {
        serde_saphyr::options! {
            duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        }
    }
}
