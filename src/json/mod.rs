//! Strict JSON: like `serde_json`, but rejects duplicate members at every depth (RFC 7515 §4,
//! RFC 7519 §4).

mod fault;
mod object;
mod reader;
mod value;

use serde::Deserializer;
use serde_json::Value;

use self::reader::Document;

pub(crate) use self::fault::JsonFault;
pub(crate) use self::object::Object;
pub(crate) use self::value::{Elements, Json, Members};

/// Parses JSON and rejects duplicate members at every depth.
///
/// # Errors
///
/// The text is not JSON, nests deeper than 128 levels, or has a duplicate member.
pub(crate) fn parse_strict(text: &[u8]) -> Result<Value, JsonFault> {
    Ok(Document::read_strict(text.to_vec())?.value().into())
}

/// Parses JSON and also returns the paths of all duplicate members. The value has the last one of
/// each.
///
/// # Errors
///
/// The text is not JSON, or has 100 duplicate members.
pub(crate) fn parse_reporting(text: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let text = str::from_utf8(text).map_err(serde::de::Error::custom)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = read_reporting(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// Reads JSON, or another format such as YAML, and also returns the paths of all duplicate members.
/// The value has the last of each.
///
/// # Errors
///
/// The reader fails, or there are 100 duplicate members.
pub fn read_reporting<'de, D: Deserializer<'de>>(
    reader: D,
) -> Result<(Value, Vec<String>), D::Error> {
    let (document, repeated) = Document::read_reporting(reader)?;
    Ok((document.value().into(), repeated))
}

/// Strips a byte order mark (U+FEFF in UTF-8), which some Windows software writes. RFC 8259 §8.1
/// allows this. Tokens are not stripped.
#[must_use]
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_named_twice_is_reported_with_its_path() {
        let (_, repeated) = parse_reporting(br#"{"a":[{"b":1},{"b":1,"b":2}],"a":3}"#).unwrap();
        assert_eq!(repeated, ["a[1].b", "a"]);
    }

    #[test]
    fn an_escaped_spelling_of_a_name_is_the_same_name() {
        assert!(matches!(
            parse_strict(br#"{"iss":"a","i\u0073s":"b"}"#),
            Err(JsonFault::Repeated(path)) if path == "iss"
        ));
    }

    #[test]
    fn anything_but_a_single_json_value_is_refused() {
        let deep = [b"[".repeat(200_000), b"]".repeat(200_000)].concat();
        for text in [&b""[..], b"{", b"{}x", b"\xff", b"{\"a\":1e999}", b"\"\xff\"", &deep] {
            assert!(matches!(parse_strict(text), Err(JsonFault::Syntax)));
        }
    }

    #[test]
    fn reading_ends_before_the_paths_of_repeated_members_fill_the_memory() {
        let name = "n".repeat(100_000);
        let inner = vec!["\"a\":1"; 100_000].join(",");
        let bomb = format!("{{\"{name}\":{{{inner}}}}}");
        let path = format!("{name}.a");
        assert!(matches!(
            parse_strict(bomb.as_bytes()),
            Err(JsonFault::Repeated(found)) if found == path
        ));
        assert!(parse_reporting(bomb.as_bytes()).is_err());
    }
}
