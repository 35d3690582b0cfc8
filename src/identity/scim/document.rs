//! SCIM documents: JSON in which attribute names ignore case (RFC 7643 §2.1) and `null` means absent
//! (§2.5).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::json::{self, JsonFault};
use crate::refusal::{DirectoryFault, clipped};

/// Parses a document. Duplicate attributes, ignoring case, are refused, since parsers differ in which
/// one they use.
///
/// # Errors
///
/// [`DirectoryFault::NotAList`] if it is not a JSON object, [`DirectoryFault::Repeated`] if an object
/// has an attribute twice.
pub(super) fn parse(text: &[u8]) -> Result<Map<String, Value>, DirectoryFault> {
    match json::parse_strict(json::without_byte_order_mark(text)) {
        Ok(Value::Object(document)) => {
            refuse_repeated(&document)?;
            Ok(document)
        }
        Err(JsonFault::Repeated(path)) => Err(DirectoryFault::Repeated(clipped(&path))),
        Ok(_) | Err(_) => Err(DirectoryFault::NotAList),
    }
}

/// The value of an attribute; `None` if it is absent or null.
#[must_use]
pub(super) fn attribute<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let (_, value) = object.iter().find(|(member, _)| member.eq_ignore_ascii_case(name))?;
    (!value.is_null()).then_some(value)
}

/// Whether this is a schema URN, the name of an extension (RFC 7643 §3.3).
#[must_use]
pub(super) fn is_urn(name: &str) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"))
}

/// Recurses at most as deep as the JSON parser allows.
fn refuse_repeated(object: &Map<String, Value>) -> Result<(), DirectoryFault> {
    let mut names = BTreeSet::new();
    for (name, value) in object {
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(DirectoryFault::Repeated(clipped(name)));
        }
        refuse_repeated_within(value)?;
    }
    Ok(())
}

fn refuse_repeated_within(value: &Value) -> Result<(), DirectoryFault> {
    match value {
        Value::Object(object) => refuse_repeated(object),
        Value::Array(elements) => elements.iter().try_for_each(refuse_repeated_within),
        _ => Ok(()),
    }
}
