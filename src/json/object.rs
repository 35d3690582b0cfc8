//! A JSON object for tokens: parsed strictly, with its strings as slices of the source text. It
//! needs few allocations and keeps the members in source order.

use std::fmt;

use serde_json::{Map, Value};

use super::fault::JsonFault;
use super::reader::Document;
use super::value::{Json, Member, Members, Node};

/// A JSON object without duplicate members at any depth.
#[derive(Default)]
pub(crate) struct Object {
    /// The source text, followed by the strings that are escaped in it. Spans point into it.
    text: String,
    members: Vec<Member>,
}

impl Object {
    /// Parses a JSON object.
    ///
    /// # Errors
    ///
    /// The text is not JSON, nests deeper than 128 levels, has a duplicate member, or is not an
    /// object.
    pub(crate) fn read(text: Vec<u8>) -> Result<Self, JsonFault> {
        let Document { text, root } = Document::read_strict(text)?;
        match root {
            Node::Object(members) => Ok(Self { text, members }),
            _ => Err(JsonFault::NotAnObject),
        }
    }

    /// The value of a member.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<Json<'_>> {
        self.members().get(name)
    }

    /// Whether the object has this member.
    #[must_use]
    pub(crate) fn contains_key(&self, name: &str) -> bool {
        self.members().contains_key(name)
    }

    #[must_use]
    pub(crate) fn members(&self) -> Members<'_> {
        Members::new(&self.members, &self.text)
    }

    /// Copies the members whose names `is_kept` accepts.
    #[must_use]
    pub(crate) fn retain(&self, is_kept: impl Fn(&str) -> bool) -> Self {
        let mut text = String::new();
        let named =
            self.members.iter().map(|member| (member.name.slice(&self.text), &member.value));
        let kept = named.filter(|(name, _)| is_kept(name));
        let copied =
            kept.map(|(name, value)| Member::copied(name, Json::new(value, &self.text), &mut text));
        let members = copied.collect();
        Self { text, members }
    }

    /// Size in bytes.
    #[must_use]
    pub(crate) fn size(&self) -> usize {
        self.text.capacity() + self.members().size()
    }
}

impl From<&Map<String, Value>> for Object {
    fn from(members: &Map<String, Value>) -> Self {
        // A map has no duplicates, so its serialisation always parses.
        let text = serde_json::to_vec(members).unwrap_or_default();
        Self::read(text).unwrap_or_default()
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        Json::Object(self.members()) == Value::from(Json::Object(other.members()))
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.members().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Object {
        Object::read(text.into()).unwrap()
    }

    #[test]
    fn a_member_is_found_by_its_name_with_and_without_escapes() {
        let object = read(r#"{"iss":"a","i\u0061t":1,"i_t":{"\u00fc":["\"",null]},"":""}"#);
        assert_eq!(object.get("iss").and_then(Json::as_str), Some("a"));
        assert_eq!(object.get("iat").map(Value::from), Some(json!(1)));
        assert_eq!(object.get("i_t").map(Value::from), Some(json!({"ü": ["\"", null]})));
        assert_eq!(object.get("").and_then(Json::as_str), Some(""));
        for other in ["is", "isss", "ISS", "i\\u0061t", "ü"] {
            assert!(!object.contains_key(other), "{other}");
        }
    }

    #[test]
    fn kept_members_are_unchanged() {
        let object = read(r#"{"a":"1","b":["2\n"],"c":{"d":3.5},"e":null}"#);
        let kept = object.retain(|name| "bce".contains(name));
        assert_eq!(kept, read(r#"{"e":null,"c":{"d":3.5},"b":["2\n"]}"#));
        assert!(kept.size() < object.size());
    }
}
