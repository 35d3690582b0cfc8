//! A JSON object for tokens: parsed strictly, with its strings as slices of the source text. It
//! needs few allocations and keeps the members in source order.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{JsonFault, Place, Repeated};

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
        let mut text = String::from_utf8(text).map_err(|_| JsonFault::Syntax)?;
        let mut reading =
            Reading { text: &text, unescaped: String::new(), repeated: Repeated::up_to(1) };
        match reading.root() {
            Ok(Node::Object(members)) => {
                let unescaped = reading.unescaped;
                text.push_str(&unescaped);
                Ok(Self { text, members })
            }
            Ok(_) => Err(JsonFault::NotAnObject),
            Err(_) => Err(reading.repeated.fault()),
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

    fn new(node: &'a Node, text: &'a str) -> Self {
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
        let mark = Mark::new(name);
        let is_it = |member: &&Member| member.mark == mark && member.name.slice(self.text) == name;
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

struct Member {
    mark: Mark,
    name: Span,
    value: Node,
}

enum Node {
    Null,
    Bool(bool),
    Number(Number),
    String(Span),
    Array(Vec<Self>),
    Object(Vec<Member>),
}

/// The position of a string in the text.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    length: usize,
}

impl Member {
    fn copied(name: &str, value: Json<'_>, text: &mut String) -> Self {
        let value = Node::copied(value, text);
        Self { mark: Mark::new(name), name: Span::added(name, text), value }
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
    fn added(part: &str, text: &mut String) -> Self {
        let start = text.len();
        text.push_str(part);
        Self { start, length: part.len() }
    }

    fn slice(self, text: &str) -> &str {
        text.get(self.start..self.start.saturating_add(self.length)).unwrap_or_default()
    }
}

/// Length, first and last byte of a name: different for most names, and fast to compare.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark(u32);

impl Mark {
    fn new(name: &str) -> Self {
        let [length, ..] = name.len().to_le_bytes();
        let end = |byte: Option<&u8>| byte.copied().unwrap_or_default();
        let [first, last] = [name.as_bytes().first(), name.as_bytes().last()].map(end);
        Self(u32::from_le_bytes([length, first, last, 0]))
    }
}

/// The state of a parse.
struct Reading<'de> {
    text: &'de str,
    /// Strings that are escaped in the text. They are appended to it at the end.
    unescaped: String,
    repeated: Repeated,
}

impl<'de> Reading<'de> {
    /// Larger objects find duplicates with a set instead of comparing all members.
    const FEW: usize = 32;
    /// A member is rarely shorter, so this estimates how many to allocate for.
    const BYTES_PER_MEMBER: usize = 24;

    fn root(&mut self) -> Result<Node, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(self.text);
        let root = Reader { place: Place::Root, reading: self }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(root)
    }

    /// The position that a string will have.
    fn span(&mut self, string: Cow<'de, str>) -> Span {
        match string {
            Cow::Borrowed(part) => self.span_of_part(part),
            Cow::Owned(string) => self.span_of_unescaped(&string),
        }
    }

    fn span_of_part(&mut self, part: &'de str) -> Span {
        let start = part.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        match self.text.len().checked_sub(start) {
            Some(rest) if part.len() <= rest => Span { start, length: part.len() },
            _ => self.span_of_unescaped(part),
        }
    }

    fn span_of_unescaped(&mut self, string: &str) -> Span {
        let Span { start, length } = Span::added(string, &mut self.unescaped);
        Span { start: self.text.len() + start, length }
    }

    fn string_at(&self, span: Span) -> &str {
        match span.start.checked_sub(self.text.len()) {
            Some(start) => Span { start, ..span }.slice(&self.unescaped),
            None => span.slice(self.text),
        }
    }
}

struct Reader<'p, 'r, 'de> {
    place: Place<'p>,
    reading: &'r mut Reading<'de>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_, '_, 'de> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Node, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_, '_, 'de> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_borrowed_str<E>(self, part: &'de str) -> Result<Node, E> {
        Ok(Node::String(self.reading.span_of_part(part)))
    }

    fn visit_str<E>(self, string: &str) -> Result<Node, E> {
        Ok(Node::String(self.reading.span_of_unescaped(string)))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(Reader {
            place: Place::Element(&self.place, array.len()),
            reading: self.reading,
        })? {
            array.push(element);
        }
        Ok(Node::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let expected = match self.place {
            Place::Root => self.reading.text.len() / Reading::BYTES_PER_MEMBER,
            Place::Member(..) | Place::Element(..) => 0,
        };
        let mut object: Vec<Member> = Vec::with_capacity(expected);
        let mut many = BTreeSet::new();
        while let Some(name) = members.next_key_seed(Name)? {
            let place = Place::Member(&self.place, &name);
            let value = members.next_value_seed(Reader { place, reading: self.reading })?;
            let mark = Mark::new(&name);
            let is_new = if object.len() < Reading::FEW {
                let mut same_mark = object.iter().filter(|member| member.mark == mark);
                same_mark.all(|member| self.reading.string_at(member.name) != name)
            } else {
                if many.is_empty() {
                    let names = object.iter().map(|member| self.reading.string_at(member.name));
                    many = names.map(str::to_owned).collect();
                }
                many.insert(name.to_string())
            };
            if !is_new {
                self.reading.repeated.add(place)?;
            }
            let name = self.reading.span(name);
            object.push(Member { mark, name, value });
        }
        Ok(Node::Object(object))
    }
}

/// Reads a member's name.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Cow<'de, str>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::parse_strict;

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

    #[test]
    fn a_member_named_twice_is_found_among_many() {
        for count in [1, Reading::FEW - 1, Reading::FEW, Reading::FEW + 1, 1000] {
            let names: Vec<String> = (0..count).map(|number| format!("n{number:03}x")).collect();
            let members = names.iter().map(|name| format!("\"{name}\":0")).collect::<Vec<_>>();
            let members = members.join(",");
            assert!(Object::read(format!("{{{members}}}").into()).is_ok());
            for name in names.iter().step_by(7) {
                let text = format!("{{{members},\"\\u006e{}\":0}}", &name[1..]);
                let fault = Object::read(text.into()).unwrap_err();
                assert!(matches!(fault, JsonFault::Repeated(path) if path == *name));
            }
        }
    }

    /// Something like JSON, often enough JSON itself.
    fn text() -> impl Strategy<Value = String> {
        let scalars =
            ["null", "true", "0", "-0", "-1", "1.50", "1e3", "1e999", "-9223372036854775809"];
        let scalars =
            [&scalars[..], &["18446744073709551616", "01", "\"\"", "\"a\"", "\"\\u0061\""]];
        let broken = ["", "x", "\"", "\"\\x\"", "\"\n\"", "\"\\ud800\"", "[", "{\"a\":1,", "1 2"];
        let scalar = prop::sample::select([&scalars.concat()[..], &broken[..]].concat());
        let valid = prop::sample::select(scalars.concat());
        let leaf = prop_oneof![19 => valid, 1 => scalar].prop_map(str::to_owned);
        leaf.prop_recursive(4, 40, 6, |inner| {
            let name = prop::sample::select(vec!["a", "\\u0061", "b", "ab", "aab", "ü", "", "\\n"]);
            let member = (name, inner.clone()).prop_map(|(name, value)| format!(" \"{name}\" :{value}"));
            prop_oneof![
                1 => prop::collection::vec(inner, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
                4 => prop::collection::vec(member, 0..6).prop_map(|all| format!("{{{}}}", all.join(","))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn an_object_is_read_as_any_strict_json_is(text in text()) {
            match (Object::read(text.clone().into()), parse_strict(text.as_bytes())) {
                (Ok(object), Ok(value)) => {
                    prop_assert_eq!(Value::from(Json::Object(object.members())), value);
                }
                (Err(JsonFault::NotAnObject), Ok(value)) => prop_assert!(!value.is_object()),
                (Err(ours), Err(fault)) => prop_assert_eq!(format!("{ours:?}"), format!("{fault:?}")),
                (ours, other) => prop_assert!(false, "{ours:?} is not {other:?}"),
            }
        }
    }
}
