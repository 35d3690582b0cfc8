//! Values of JSON whose strings are slices of a text: what is parsed, and how it is read.

use std::fmt;

use serde_json::{Number, Value};

/// A value.
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
    /// These members, whose strings are slices of `text`.
    #[must_use]
    pub(super) fn new(members: &'a [Member], text: &'a str) -> Self {
        Self { text, members }
    }

    /// The value of a member.
    #[must_use]
    pub(crate) fn get(self, name: &str) -> Option<Json<'a>> {
        let member = self.members.iter().find(|member| member.name.is(name, self.text))?;
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

    /// Like [`iter`](Self::iter), with names as bytes, which are cheaper to compare with many.
    pub(crate) fn iter_bytes(self) -> impl Iterator<Item = (&'a [u8], Json<'a>)> {
        self.members
            .iter()
            .map(move |member| (member.name.bytes(self.text), Json::new(&member.value, self.text)))
    }

    pub(super) fn size(self) -> usize {
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
    pub(super) fn copied(name: &str, value: Json<'_>, text: &mut String) -> Self {
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

    /// Whether this slice of `text` is `other`. Most names differ in length or in the first byte:
    /// comparing these takes no call.
    pub(super) fn is(self, other: &str, text: &str) -> bool {
        self.length == other.len()
            && (text.as_bytes().get(self.start) == other.as_bytes().first() || other.is_empty())
            && self.bytes(text) == other.as_bytes()
    }

    fn bytes(self, text: &str) -> &[u8] {
        text.as_bytes().get(self.start..self.start.saturating_add(self.length)).unwrap_or_default()
    }

    pub(super) fn slice(self, text: &str) -> &str {
        text.get(self.start..self.start.saturating_add(self.length)).unwrap_or_default()
    }
}
