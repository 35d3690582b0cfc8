//! A JSON object for tokens: parsed strictly, with its strings as slices of the source text. It
//! needs few allocations and keeps the members in source order.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::JsonFault;
use super::reader::Document;

/// A JSON object without duplicate members at any depth.
#[derive(Default)]
pub(crate) struct Object {
    /// The source text, followed by the strings that are escaped in it. Spans point into it.
    text: String,
    members: Vec<Member>,
}

/// A value in an [`Object`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a Number),
    String(&'a str),
    Array(Elements<'a>),
    Object(Members<'a>),
}

/// The elements of an array.
#[derive(Clone, Copy)]
pub(crate) struct Elements<'a> {
    text: &'a str,
    elements: &'a [Node],
}

/// The members of an object.
#[derive(Clone, Copy)]
pub(crate) struct Members<'a> {
    text: &'a str,
    members: &'a [Member],
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
        Members { text: &self.text, members: &self.members }
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

impl<'a> Json<'a> {
    /// `None` unless it is a string.
    #[must_use]
    pub(crate) fn as_str(self) -> Option<&'a str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// `None` unless it is an array.
    #[must_use]
    pub(crate) fn as_array(self) -> Option<Elements<'a>> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// `None` unless it is an object.
    #[must_use]
    pub(crate) fn as_object(self) -> Option<Members<'a>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn new(node: &'a Node, text: &'a str) -> Self {
        match node {
            Node::Null => Self::Null,
            Node::Bool(value) => Self::Bool(*value),
            Node::Number(value) => Self::Number(value),
            Node::String(span) => Self::String(span.slice(text)),
            Node::Array(elements) => Self::Array(Elements { text, elements }),
            Node::Object(members) => Self::Object(Members { text, members }),
        }
    }
}

impl PartialEq<Value> for Json<'_> {
    fn eq(&self, other: &Value) -> bool {
        match (*self, other) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(this), Value::Bool(other)) => this == *other,
            (Self::Number(this), Value::Number(other)) => this == other,
            (Self::String(this), Value::String(other)) => this == other,
            (Self::Array(this), Value::Array(other)) => this.iter().eq(other.iter()),
            (Self::Object(this), Value::Object(other)) => {
                this.members.len() == other.len()
                    && this
                        .iter()
                        .all(|(name, this)| other.get(name).is_some_and(|other| this == *other))
            }
            _ => false,
        }
    }
}

impl PartialEq<&Value> for Json<'_> {
    fn eq(&self, other: &&Value) -> bool {
        self == *other
    }
}

impl From<Json<'_>> for Value {
    fn from(json: Json<'_>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(value) => Self::Number(value.clone()),
            Json::String(text) => text.into(),
            Json::Array(elements) => elements.iter().map(Self::from).collect(),
            Json::Object(members) => {
                let members = members.iter().map(|(name, value)| (name.to_owned(), value.into()));
                Self::Object(members.collect())
            }
        }
    }
}

impl<'a> Elements<'a> {
    /// The elements in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = Json<'a>> + Clone {
        self.elements.iter().map(move |element| Json::new(element, self.text))
    }
}

impl fmt::Debug for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Members<'a> {
    /// The value of a member.
    #[must_use]
    pub(crate) fn get(self, name: &str) -> Option<Json<'a>> {
        // Comparing lengths first saves most of the slicing.
        let is_it = |member: &&Member| {
            member.name.length == name.len() && member.name.slice(self.text) == name
        };
        let member = self.members.iter().find(is_it)?;
        Some(Json::new(&member.value, self.text))
    }

    /// Whether the object has this member.
    #[must_use]
    pub(crate) fn contains_key(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and values in source order.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, Json<'a>)> + Clone {
        self.members
            .iter()
            .map(move |member| (member.name.slice(self.text), Json::new(&member.value, self.text)))
    }

    fn size(self) -> usize {
        let values = self.members.iter().map(|member| member.value.size());
        size_of_val(self.members) + values.sum::<usize>()
    }
}

impl fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

pub(super) struct Member {
    pub name: Span,
    pub value: Node,
}

pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    String(Span),
    Array(Vec<Self>),
    Object(Vec<Member>),
}

/// The position of a string in the text.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub start: usize,
    pub length: usize,
}

impl Member {
    fn copied(name: &str, value: Json<'_>, text: &mut String) -> Self {
        let value = Node::copied(value, text);
        Self { name: Span::added(name, text), value }
    }
}

impl Node {
    fn copied(value: Json<'_>, text: &mut String) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(value) => Self::Number(value.clone()),
            Json::String(value) => Self::String(Span::added(value, text)),
            Json::Array(elements) => {
                Self::Array(elements.iter().map(|element| Self::copied(element, text)).collect())
            }
            Json::Object(members) => {
                let members = members.iter();
                Self::Object(
                    members.map(|(name, value)| Member::copied(name, value, text)).collect(),
                )
            }
        }
    }

    /// Heap size in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Array(elements) => {
                size_of_val(elements.as_slice()) + elements.iter().map(Self::size).sum::<usize>()
            }
            Self::Object(members) => Members { text: "", members }.size(),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => 0,
        }
    }
}

impl Span {
    pub(super) fn added(part: &str, text: &mut String) -> Self {
        let start = text.len();
        text.push_str(part);
        Self { start, length: part.len() }
    }

    pub(super) fn slice(self, text: &str) -> &str {
        text.get(self.start..self.start.saturating_add(self.length)).unwrap_or_default()
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
    fn a_member_is_found_by_its_name_however_it_is_spelt() {
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
    fn members_that_are_kept_are_the_same_as_before() {
        let object = read(r#"{"a":"1","b":["2\n"],"c":{"d":3.5},"e":null}"#);
        let kept = object.retain(|name| "bce".contains(name));
        assert_eq!(kept, read(r#"{"e":null,"c":{"d":3.5},"b":["2\n"]}"#));
        assert!(kept.size() < object.size());
    }
}
