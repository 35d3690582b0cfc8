//! Fields of the raw form. A field that cannot be read keeps its fault instead of ending the
//! reading, so that all faults of a configuration are reported at once.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Faults;

/// A field of the raw form.
#[derive(Clone, Debug, Default)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Malformed(String),
    Present(T),
}

/// Members that match no field.
pub(super) type UnknownFields = BTreeMap<String, Value>;

pub(super) fn refuse_unknown(prefix: &str, unknown: &UnknownFields, faults: &mut Faults) {
    for name in unknown.keys() {
        faults.add(&format!("{prefix}{name}"), "unknown field");
    }
}

impl<T> Field<T> {
    /// The value, if it is present and readable.
    pub(super) fn optional(self, path: &str, faults: &mut Faults) -> Option<T> {
        match self {
            Self::Absent => None,
            Self::Present(value) => Some(value),
            Self::Malformed(fault) => {
                faults.add(path, fault);
                None
            }
        }
    }

    /// The value, or its default if it is absent or unreadable.
    pub(super) fn or_default(self, path: &str, faults: &mut Faults) -> T
    where
        T: Default,
    {
        self.optional(path, faults).unwrap_or_default()
    }

    /// The value; a missing one is a fault.
    pub(super) fn required(self, path: &str, faults: &mut Faults) -> Option<T> {
        if matches!(self, Self::Absent) {
            faults.add(path, "is required");
        }
        self.optional(path, faults)
    }
}

/// Reads the fields of one object and collects faults with their paths.
pub(super) struct Reader<'a> {
    pub(super) path: &'a str,
    pub(super) faults: &'a mut Faults,
}

impl<'a> Reader<'a> {
    /// Reads the object at this path.
    pub(super) fn new(path: &'a str, faults: &'a mut Faults) -> Self {
        Self { path, faults }
    }

    /// Takes the value of a field, if it is present and readable.
    pub(super) fn optional<T>(&mut self, name: &str, field: &mut Field<T>) -> Option<T> {
        std::mem::take(field).optional(&self.at(name), self.faults)
    }

    /// Takes the value of a field; a missing one is a fault.
    pub(super) fn required<T>(&mut self, name: &str, field: &mut Field<T>) -> Option<T> {
        std::mem::take(field).required(&self.at(name), self.faults)
    }

    /// Reports a fault of a field.
    pub(super) fn fault(&mut self, name: &str, problem: impl Into<String>) {
        self.faults.add(&self.at(name), problem);
    }

    /// The path of a field.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(reader)?;
        Ok(match T::deserialize(value) {
            Ok(value) => Self::Present(value),
            Err(fault) => Self::Malformed(in_words_of_json(&fault)),
        })
    }
}

/// What is wrong with a value, in the terms of JSON and YAML rather than those of serde and Rust.
pub(super) fn in_words_of_json(fault: &serde_json::Error) -> String {
    const WORDS: [(&str, &str); 10] = [
        (
            "invalid type: unit variant, expected newtype variant",
            "expected an object with this one member",
        ),
        ("expected map with a single key", "expected an object with one member"),
        ("expected string or map", "expected a string or an object"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
        ("expected unit", "expected null"),
        ("expected u32", "expected a whole number between 0 and 4294967295"),
        ("invalid type: sequence", "invalid type: list"),
        ("invalid type: map", "invalid type: object"),
        ("invalid value: map", "invalid value: object"),
    ];
    WORDS.iter().fold(fault.to_string(), |text, (serde, json)| text.replace(serde, json))
}
