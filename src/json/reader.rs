//! The reader: any serde format into nodes, with all duplicate members noted.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::fault::JsonFault;
use super::value::{Json, Member, Node, Span};

/// A value of any kind, and the text that its spans point into.
pub(super) struct Document {
    pub text: String,
    pub root: Node,
}

impl Document {
    /// Parses JSON.
    ///
    /// # Errors
    ///
    /// The text is not JSON, nests deeper than 128 levels, or has a duplicate member.
    pub(super) fn read_strict(text: Vec<u8>) -> Result<Self, JsonFault> {
        let mut text = String::from_utf8(text).map_err(|_| JsonFault::Syntax)?;
        let mut reading = Reading::new(&text, 1);
        match reading.root() {
            Ok(root) => {
                let unescaped = reading.unescaped;
                text.push_str(&unescaped);
                Ok(Self { text, root })
            }
            Err(_) => Err(reading.repeated.fault()),
        }
    }

    /// Reads any format, and also returns the paths of all duplicate members.
    ///
    /// # Errors
    ///
    /// The reader fails, or there are 100 duplicate members.
    pub(super) fn read_reporting<'de, D: Deserializer<'de>>(
        reader: D,
    ) -> Result<(Self, Vec<String>), D::Error> {
        let mut reading = Reading::new("", 100);
        let root = Reader { place: Place::Root, reading: &mut reading }.deserialize(reader)?;
        let Reading { unescaped: text, repeated, .. } = reading;
        Ok((Self { text, root }, repeated.paths))
    }

    pub(super) fn value(&self) -> Json<'_> {
        Json::new(&self.root, &self.text)
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

    /// Reads until the `max`th duplicate member. Strings that are slices of `text` stay there.
    fn new(text: &'de str, max: usize) -> Self {
        Self { text, unescaped: String::new(), repeated: Repeated { paths: Vec::new(), max } }
    }

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
        let (span, text) = self.place(span);
        span.slice(text)
    }

    fn is_at(&self, span: Span, string: &str) -> bool {
        let (span, text) = self.place(span);
        span.is(string, text)
    }

    /// The position of a string in the text, or in the unescaped strings.
    fn place(&self, span: Span) -> (Span, &str) {
        match span.start.checked_sub(self.text.len()) {
            Some(start) => (Span { start, ..span }, &self.unescaped),
            None => (span, self.text),
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
            Place::Root => (self.reading.text.len() / Reading::BYTES_PER_MEMBER).min(Reading::FEW),
            Place::Member(..) | Place::Element(..) => 0,
        };
        let mut object: Vec<Member> = Vec::with_capacity(expected);
        let mut many = BTreeSet::new();
        while let Some(name) = members.next_key_seed(Name)? {
            let place = Place::Member(&self.place, &name);
            let value = members.next_value_seed(Reader { place, reading: self.reading })?;
            let is_new = if object.len() < Reading::FEW {
                !object.iter().any(|member| self.reading.is_at(member.name, &name))
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
            object.push(Member { name, value });
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

/// Collects the paths of duplicate members. Parsing stops at `max`, since each path may be as long as
/// the text.
struct Repeated {
    paths: Vec<String>,
    max: usize,
}

impl Repeated {
    /// The fault of a parser that stopped at the first duplicate.
    fn fault(mut self) -> JsonFault {
        self.paths.pop().map_or(JsonFault::Syntax, JsonFault::Repeated)
    }

    fn add<E: Error>(&mut self, place: Place<'_>) -> Result<(), E> {
        self.paths.push(place.to_string());
        if self.paths.len() < self.max { Ok(()) } else { Err(E::custom("members are repeated")) }
    }
}

/// The path of a value, linked on the stack so that parsing does not allocate for it.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Member(&'a Self, &'a str),
    Element(&'a Self, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_member_named_twice_is_found_among_many() {
        for count in [1, Reading::FEW - 1, Reading::FEW, Reading::FEW + 1, 1000] {
            let names: Vec<String> = (0..count).map(|number| format!("n{number:03}x")).collect();
            let members = names.iter().map(|name| format!("\"{name}\":0")).collect::<Vec<_>>();
            let members = members.join(",");
            assert!(Document::read_strict(format!("{{{members}}}").into()).is_ok());
            for name in names.iter().step_by(7) {
                let text = format!("{{{members},\"\\u006e{}\":0}}", &name[1..]);
                let fault = Document::read_strict(text.into()).err();
                assert!(matches!(fault, Some(JsonFault::Repeated(path)) if path == *name));
            }
        }
    }

    /// A JSON string and its value, with members in the order of the string.
    #[derive(Clone, Debug)]
    enum Said {
        Scalar(&'static str),
        Array(Vec<Self>),
        Object(Vec<(&'static str, Self)>),
    }

    impl Said {
        fn text(&self) -> String {
            match self {
                Self::Scalar(text) => (*text).to_owned(),
                Self::Array(all) => {
                    format!("[{}]", all.iter().map(Self::text).collect::<Vec<_>>().join(" ,"))
                }
                Self::Object(all) => {
                    let member =
                        |(name, value): &(_, Self)| format!(" \"{name}\" :{}", value.text());
                    format!("{{{}}}", all.iter().map(member).collect::<Vec<_>>().join(","))
                }
            }
        }

        /// The paths of duplicate members, in the order in which they are complete.
        fn repeated(&self, path: &str) -> Vec<String> {
            match self {
                Self::Scalar(_) => vec![],
                Self::Array(all) => {
                    let all = all.iter().enumerate();
                    all.flat_map(|(index, own)| own.repeated(&format!("{path}[{index}]"))).collect()
                }
                Self::Object(all) => {
                    let mut names: Vec<String> = Vec::new();
                    let mut found = Vec::new();
                    for (spelt, value) in all {
                        let name: String = serde_json::from_str(&format!("\"{spelt}\"")).unwrap();
                        let dot = if path.is_empty() { "" } else { "." };
                        let own = format!("{path}{dot}{name}");
                        found.extend(value.repeated(&own));
                        if names.contains(&name) {
                            found.push(own);
                        }
                        names.push(name);
                    }
                    found
                }
            }
        }
    }

    /// JSON that is valid except for one scalar in a hundred.
    fn said() -> impl Strategy<Value = Said> {
        let valid: &[&str] = &[
            "null",
            "true",
            "0",
            "-0",
            "-1",
            "1.50",
            "1e3",
            "-9223372036854775809",
            "18446744073709551616",
            "\"\"",
            "\"a\"",
            "\"\\u0061\"",
        ];
        let broken: &[&str] = &[
            "",
            "x",
            "\"",
            "\"\\x\"",
            "\"\n\"",
            "\"\\ud800\"",
            "[",
            "{\"a\":1,",
            "1 2",
            "01",
            "1e999",
        ];
        let scalar = prop_oneof![
            99 => prop::sample::select(valid),
            1 => prop::sample::select(broken),
        ];
        scalar.prop_map(Said::Scalar).prop_recursive(4, 40, 6, |inner| {
            let names: &[&str] = &["b", "c", "ab", "aab", "\u{fc}", "\\n", "a", "\\u0061"];
            let member = (prop::sample::select(names), inner.clone());
            prop_oneof![
                1 => prop::collection::vec(inner, 0..4).prop_map(Said::Array),
                4 => prop::collection::vec(member, 0..6).prop_map(Said::Object),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn json_is_read_as_by_serde_json_unless_a_member_is_duplicated(said in said()) {
            let (text, repeated) = (said.text(), said.repeated(""));
            let expected = serde_json::from_str::<Value>(&text).ok();
            let strict = Document::read_strict(text.clone().into());
            let mut reader = serde_json::Deserializer::from_str(&text);
            let reported = Document::read_reporting(&mut reader);
            let reported = reported.ok().filter(|_| reader.end().is_ok());
            match (strict, expected) {
                (Ok(document), Some(expected)) => {
                    prop_assert!(repeated.is_empty());
                    prop_assert_eq!(document.value(), &expected);
                    let (document, reported) = reported.unwrap();
                    prop_assert!(reported.is_empty());
                    prop_assert_eq!(Value::from(document.value()), expected);
                }
                (Err(JsonFault::Repeated(path)), expected) => {
                    prop_assert_eq!(Some(&path), repeated.first());
                    if let Some(expected) = expected {
                        let (document, reported) = reported.unwrap();
                        prop_assert_eq!(reported, repeated);
                        // Both have the last value of each duplicate.
                        prop_assert_eq!(Value::from(document.value()), expected);
                    }
                }
                (Err(JsonFault::Syntax), None) => prop_assert!(reported.is_none()),
                (strict, expected) => {
                    prop_assert!(false, "{:?} is not {expected:?}", strict.map(|read| read.text));
                }
            }
        }
    }

    #[test]
    fn the_maximum_depth_is_that_of_serde_json() {
        for depth in [127, 128] {
            for [open, close] in [["[", "]"], ["{\"a\":", "}"]] {
                let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                let is_read = Document::read_strict(text.clone().into()).is_ok();
                assert_eq!(is_read, serde_json::from_str::<Value>(&text).is_ok());
                assert_eq!(is_read, depth == 127);
            }
        }
    }
}
