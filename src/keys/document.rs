//! A provider's response where a JSON object with certain members is expected: a metadata document
//! or a key set.

use std::fmt;

use serde_json::{Map, Value};

use crate::callout::{CalloutResponse, beginning};
use crate::json::without_byte_order_mark;
use crate::printable::clipped;

/// Parses a document as JSON; a leading byte order mark is ignored.
///
/// # Errors
///
/// It is not JSON.
pub(super) fn read(document: &[u8]) -> Result<Value, DocumentFault> {
    let text = without_byte_order_mark(document);
    serde_json::from_slice(text).map_err(|_| DocumentFault::from_invalid_json(document))
}

/// The member of this name.
///
/// # Errors
///
/// The document is not an object, or has no such member.
pub(super) fn member<'a>(
    document: &'a Value,
    name: &'static str,
) -> Result<&'a Value, DocumentFault> {
    let members = document.as_object().ok_or_else(|| DocumentFault::NotAnObject(kind(document)))?;
    members.get(name).ok_or_else(|| DocumentFault::without_member(name, members))
}

/// The elements of a key set document.
pub(super) fn elements(document: &Value) -> Result<&[Value], DocumentFault> {
    let keys = member(document, "keys")?;
    let found = kind(keys);
    let fault = DocumentFault::WrongType { name: "keys", expected: "a list", found };
    keys.as_array().map(Vec::as_slice).ok_or(fault)
}

/// What was found instead of a metadata document or a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DocumentFault {
    /// An object whose members are X.509 certificates, such as Google's `/oauth2/v1/certs`.
    Certificates,
    /// A compressed body, although none was requested: the value of `Content-Encoding`.
    Compressed(String),
    /// An empty body.
    Empty,
    /// This member is longer than allowed.
    MemberTooLong(&'static str),
    /// This member is missing.
    MissingMember {
        /// The name of the missing member.
        name: &'static str,
        /// The first names that are present.
        others: Vec<String>,
    },
    /// JSON, but not an object.
    NotAnObject(Kind),
    /// Not JSON: its beginning.
    NotJson(String),
    /// One key (RFC 7517 §4) without a set around it.
    SingleKey,
    /// This member has another type than expected.
    WrongType {
        /// The name of the member.
        name: &'static str,
        /// The expected type.
        expected: &'static str,
        /// The type that was found.
        found: Kind,
    },
}

/// A JSON type in words.
pub(crate) type Kind = &'static str;

/// The type of a value.
pub(super) fn kind(value: &Value) -> Kind {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl DocumentFault {
    /// How many names of members are listed.
    const MAX_NAMES: usize = 5;
    const MAX_NAME_CHARACTERS: usize = 40;

    /// Adds what the response headers reveal: a body that cannot be parsed may be compressed.
    #[must_use]
    pub(super) fn explained_by(self, response: &CalloutResponse) -> Self {
        match (self, &response.content_encoding) {
            (Self::NotJson(_), Some(coding)) => Self::Compressed(beginning(coding.as_bytes())),
            (fault, _) => fault,
        }
    }

    fn from_invalid_json(document: &[u8]) -> Self {
        match document.trim_ascii() {
            [] => Self::Empty,
            text => Self::NotJson(beginning(text)),
        }
    }

    fn without_member(name: &'static str, members: &Map<String, Value>) -> Self {
        let is_certificate = |value: &Value| {
            value.as_str().is_some_and(|text| text.trim_start().starts_with("-----BEGIN CERTIFI"))
        };
        if members.get("kty").is_some_and(Value::is_string) {
            return Self::SingleKey;
        }
        if !members.is_empty() && members.values().all(is_certificate) {
            return Self::Certificates;
        }
        let names = members.keys().take(Self::MAX_NAMES);
        let others = names.map(|name| clipped(name, Self::MAX_NAME_CHARACTERS)).collect();
        Self::MissingMember { name, others }
    }
}

/// A clause that completes a sentence about the document.
impl fmt::Display for DocumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates => f.write_str("it is an object of X.509 certificates"),
            Self::Compressed(coding) => write!(f, "it is compressed (content-encoding {coding:?})"),
            Self::Empty => f.write_str("it is empty"),
            Self::MemberTooLong(name) => write!(f, "its {name} is too long"),
            Self::MissingMember { name, others } if others.is_empty() => {
                write!(f, "it is an empty object, without `{name}`")
            }
            Self::MissingMember { name, others } => {
                write!(f, "it has no member {name}, only {others:?}")
            }
            Self::NotAnObject(kind) => write!(f, "it is {kind}"),
            Self::NotJson(beginning) => write!(f, "it is not JSON and begins with {beginning:?}"),
            Self::SingleKey => f.write_str("it is a single key without a list `keys` around it"),
            Self::WrongType { name, expected, found } => {
                write!(f, "its {name} is {found}, not {expected}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(document: &[u8]) -> String {
        let document = read(document);
        let keys = document.as_ref().map(|document| member(document, "keys"));
        keys.unwrap_or_else(|fault| Err(fault.clone())).unwrap_err().to_string()
    }

    #[test]
    fn documents_that_are_not_key_sets_are_named() {
        for (document, expected) in [
            (&b"{}"[..], "it is an empty object, without `keys`"),
            (
                b"{\"issuer\":1,\"jwks_uri\":2}",
                "it has no member keys, only [\"issuer\", \"jwks_uri\"]",
            ),
            (b"\n<!DOCTYPE html>", "it is not JSON and begins with \"<!DOCTYPE html>\""),
            (
                b"\xef\xbb\xbf\"\x1b[2J",
                "it is not JSON and begins with \"\\u{feff}\\\"\\u{1b}[2J\"",
            ),
            (b"{\"keys\":[", "it is not JSON and begins with \"{\\\"keys\\\":[\""),
            (b"", "it is empty"),
            (b" \n", "it is empty"),
            (b"[]", "it is a list"),
            (b"null", "it is null"),
            (b"\"x\"", "it is a string"),
            (b"{\"kty\":\"RSA\"}", "it is a single key without a list `keys` around it"),
            (
                b"{\"a\":\"-----BEGIN CERTIFICATE-----\\n\"}",
                "it is an object of X.509 certificates",
            ),
        ] {
            assert_eq!(fault_of(document), expected);
        }
    }

    #[test]
    fn long_documents_are_shortened_in_messages() {
        let page = "\u{0}".repeat(100_000);
        assert!(fault_of(page.as_bytes()).len() < 2000);
        let name = "n".repeat(1000);
        let members: Vec<String> =
            (0..1000).map(|number| format!("\"{number}{name}\":0")).collect();
        assert!(fault_of(format!("{{{}}}", members.join(",")).as_bytes()).len() < 500);
    }

    #[test]
    fn a_byte_order_mark_may_precede_a_document() {
        let document = read(b"\xef\xbb\xbf{\"keys\":[]}").unwrap();
        assert_eq!(member(&document, "keys"), Ok(&Value::Array(vec![])));
        assert!(read(b"\xef\xbb\xbf\xef\xbb\xbf{\"keys\":[]}").is_err());
    }
}
