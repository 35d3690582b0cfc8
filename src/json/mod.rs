//! Strict JSON: like `serde_json`, but rejects duplicate members at every depth (RFC 7515 §4,
//! RFC 7519 §4).

mod object;

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

pub(crate) use object::{Elements, Json, Members, Object};

/// Parses JSON and rejects duplicate members at every depth.
///
/// # Errors
///
/// The text is not JSON, nests deeper than 128 levels, or has a duplicate member.
pub(crate) fn parse_strict(text: &[u8]) -> Result<Value, JsonFault> {
    let repeated = Repeated::up_to(1);
    parse(text, &repeated).map_err(|_| repeated.fault())
}

/// Parses JSON and also returns the paths of all duplicate members. The value has the last of each.
///
/// # Errors
///
/// The text is not JSON, or has 100 duplicate members.
pub(crate) fn parse_reporting(text: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let repeated = Repeated::up_to(100);
    let value = parse(text, &repeated)?;
    Ok((value, repeated.paths.into_inner()))
}

/// Strips a byte order mark (U+FEFF in UTF-8), which some Windows software writes. RFC 8259 §8.1
/// allows this. Tokens are not stripped.
#[must_use]
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Reads JSON, or another format such as YAML, and also returns the paths of all duplicate members.
/// The value has the last of each.
///
/// # Errors
///
/// The reader fails, or there are 100 duplicate members.
pub fn read_reporting<'de, D: serde::Deserializer<'de>>(
    reader: D,
) -> Result<(Value, Vec<String>), D::Error> {
    let repeated = Repeated::up_to(100);
    let value = Node { place: Place::Root, repeated: &repeated }.deserialize(reader)?;
    Ok((value, repeated.paths.into_inner()))
}

fn parse(text: &[u8], repeated: &Repeated) -> Result<Value, serde_json::Error> {
    // Validating UTF-8 once is cheaper than for each string.
    let text = std::str::from_utf8(text).map_err(serde::de::Error::custom)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node { place: Place::Root, repeated }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Collects the paths of duplicate members. Parsing stops at `max`, since each path may be as long as
/// the text.
struct Repeated {
    paths: RefCell<Vec<String>>,
    max: usize,
}

impl Repeated {
    fn up_to(max: usize) -> Self {
        Self { paths: RefCell::default(), max }
    }

    /// The fault of a parser that stopped at the first duplicate.
    fn fault(self) -> JsonFault {
        self.paths.into_inner().pop().map_or(JsonFault::Syntax, JsonFault::Repeated)
    }

    fn add<E: serde::de::Error>(&self, place: Place<'_>) -> Result<(), E> {
        let mut paths = self.paths.try_borrow_mut().map_err(E::custom)?;
        paths.push(place.to_string());
        if paths.len() < self.max { Ok(()) } else { Err(E::custom("members are repeated")) }
    }
}

/// Why a text is not accepted as strict JSON.
#[derive(Debug)]
pub(crate) enum JsonFault {
    /// It is JSON, but not an object.
    NotAnObject,
    /// It has a duplicate member, with this path.
    Repeated(String),
    /// It is not JSON.
    Syntax,
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

struct Node<'a> {
    place: Place<'a>,
    repeated: &'a Repeated,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(value) = elements.next_element_seed(Node {
            place: Place::Element(&self.place, array.len()),
            repeated: self.repeated,
        })? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = Place::Member(&self.place, &name);
            let value = members.next_value_seed(Node { place, repeated: self.repeated })?;
            match object.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    self.repeated.add(Place::Member(&self.place, entry.key()))?;
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(object))
    }
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
