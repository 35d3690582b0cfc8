//! Claims: where one stands in a token, and which values of one are accepted.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{Json, Object};

/// Where a claim stands: a name, or a path of names through nested objects. A dot in a name means
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// A claim at the top level.
    #[must_use]
    pub(crate) fn name(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// A claim in nested objects.
    #[must_use]
    pub(crate) fn of<const N: usize>(names: [&str; N]) -> Self {
        Self(names.map(str::to_owned).into())
    }

    /// Its name at the top level.
    #[must_use]
    pub(crate) fn top_level(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    fn from_written<E: serde::de::Error>(written: WrittenPath) -> Result<Self, E> {
        let path = match written {
            WrittenPath::Name(name) => vec![name],
            WrittenPath::Path(path) => path,
        };
        if path.is_empty() || path.iter().any(String::is_empty) {
            return Err(E::custom("a claim name must not be empty"));
        }
        Ok(Self(path))
    }

    /// The claim's value.
    #[must_use]
    pub(crate) fn find<'a>(&self, claims: &'a Object) -> Option<Json<'a>> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }
}

/// A claim that holds several values, and how it holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListClaim {
    /// A string, or a list of strings.
    Strings(ClaimPath),
    /// An object whose members have the values as their names.
    MemberNames(ClaimPath),
}

impl ListClaim {
    /// Where it stands.
    #[must_use]
    pub(crate) fn path(&self) -> &ClaimPath {
        match self {
            Self::Strings(path) | Self::MemberNames(path) => path,
        }
    }

    /// What stands in its place and cannot be read as its values; none if that can be read, or
    /// nothing does.
    #[must_use]
    pub(crate) fn misread(&self, claims: &Object) -> Option<&'static str> {
        match (self, self.path().find(claims)?) {
            (_, Json::Null) => None,
            (Self::Strings(_), Json::String(_)) | (Self::MemberNames(_), Json::Object(_)) => None,
            (Self::Strings(_), Json::Array(elements)) => {
                let mut elements = elements.iter().peekable();
                let is_read =
                    elements.peek().is_none() || elements.any(|element| element.as_str().is_some());
                (!is_read).then_some("a list without strings")
            }
            (Self::Strings(_), Json::Object(_)) => Some("an object, not a list"),
            (Self::Strings(_), Json::Bool(_) | Json::Number(_)) => {
                Some("neither a list nor a string")
            }
            (Self::MemberNames(_), Json::Array(_)) => Some("a list, not an object"),
            (Self::MemberNames(_), Json::String(_) | Json::Bool(_) | Json::Number(_)) => {
                Some("not an object")
            }
        }
    }
}

/// Alternatives as a fault names them.
pub(crate) fn any_of(paths: &[ClaimPath]) -> String {
    paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl<'de> Deserialize<'de> for ClaimPath {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        Self::from_written(WrittenPath::deserialize(reader)?)
    }
}

impl<'de> Deserialize<'de> for ListClaim {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a claim name, a list of names as a path, or one of these under keys_of"
        )]
        enum Form {
            Strings(WrittenPath),
            Object(BTreeMap<String, WrittenPath>),
        }
        match Form::deserialize(reader)? {
            Form::Strings(path) => Ok(Self::Strings(ClaimPath::from_written(path)?)),
            Form::Object(mut members) => match (members.remove("keys_of"), members.is_empty()) {
                (Some(path), true) => Ok(Self::MemberNames(ClaimPath::from_written(path)?)),
                _ => Err(serde::de::Error::custom("an object must have keys_of, and nothing else")),
            },
        }
    }
}

/// A path as it stands in a configuration.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a claim name, or a list of names as a path")]
enum WrittenPath {
    Name(String),
    Path(Vec<String>),
}

/// True when a token names this claim without carrying it (OpenID Connect Core §5.6.2; Entra ID
/// also says `hasgroups` for its groups).
pub(crate) fn is_elsewhere(claims: &Object, name: &str) -> bool {
    let names = claims.get("_claim_names").and_then(Json::as_object);
    let is_named = names.is_some_and(|names| names.contains_key(name))
        || (name == "groups" && matches!(claims.get("hasgroups"), Some(Json::Bool(true))));
    is_named && !claims.contains_key(name)
}

/// True when one of these claims is there and says something.
pub(crate) fn carries_one_of(claims: &Object, paths: &[ClaimPath]) -> bool {
    paths.iter().filter_map(|path| path.find(claims)).any(says_something)
}

/// False for what a provider writes instead of leaving a claim out.
fn says_something(value: Json<'_>) -> bool {
    match value {
        Json::Null | Json::Bool(false) => false,
        Json::Bool(true) | Json::Number(_) => true,
        Json::String(text) => !text.trim().is_empty(),
        Json::Array(elements) => elements.iter().any(says_something),
        Json::Object(members) => members.iter().any(|(name, _)| !name.trim().is_empty()),
    }
}

/// A claim that must have one of the accepted values or, if it is an array, hold one of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RequiredClaim {
    /// The claim's name.
    pub name: String,
    /// Strings, numbers or booleans, compared exactly.
    pub accepted: Vec<Value>,
    /// Whether only a value that is not accepted is at fault.
    pub may_be_absent: bool,
}

impl RequiredClaim {
    /// Whether these claims fulfil it; none when the claim is absent.
    #[must_use]
    pub(crate) fn is_met_by(&self, claims: &Object) -> Option<bool> {
        Some(match claims.get(&self.name)? {
            Json::Array(values) => values.iter().any(|value| self.accepts(value)),
            value => self.accepts(value),
        })
    }

    fn accepts(&self, value: Json<'_>) -> bool {
        self.accepted.iter().any(|accepted| value == *accepted)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(claims: &Value) -> Object {
        claims.as_object().unwrap().into()
    }

    #[test]
    fn what_is_written_instead_of_leaving_a_claim_out_says_nothing() {
        for (value, is_carried) in [
            (json!("mcp.tools"), true),
            (json!(" mcp.tools "), true),
            (json!(""), false),
            (json!(" "), false),
            (json!("\t\n\u{a0}"), false),
            (json!(["admin"]), true),
            (json!(["", "admin"]), true),
            (json!([]), false),
            (json!(["", " ", null, [], {}]), false),
            (json!([["admin"]]), true),
            (json!({"admin": {}}), true),
            (json!({}), false),
            (json!({"": 1}), false),
            (json!(null), false),
            (json!(false), false),
            (json!(true), true),
            (json!(0), true),
        ] {
            let paths = [ClaimPath::name("other"), ClaimPath::name("own")];
            let claims = claims(&json!({"own": value, "third": "x"}));
            assert_eq!(carries_one_of(&claims, &paths), is_carried, "{value}");
            assert!(!carries_one_of(&claims, &paths[..1]), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_read_as_a_list_has_a_name() {
        let path = || ClaimPath::of(["realm", "roles"]);
        for (value, of_strings, of_names) in [
            (json!(null), None, None),
            (json!("a"), None, Some("not an object")),
            (json!(["a", 1]), None, Some("a list, not an object")),
            (json!([]), None, Some("a list, not an object")),
            (
                json!([{"name": "a"}, 1]),
                Some("a list without strings"),
                Some("a list, not an object"),
            ),
            (json!({"a": {}}), Some("an object, not a list"), None),
            (json!({}), Some("an object, not a list"), None),
            (json!(1), Some("neither a list nor a string"), Some("not an object")),
        ] {
            let claims = claims(&json!({"realm": {"roles": value}}));
            assert_eq!(ListClaim::Strings(path()).misread(&claims), of_strings, "{value}");
            assert_eq!(ListClaim::MemberNames(path()).misread(&claims), of_names, "{value}");
        }
        assert_eq!(ListClaim::MemberNames(path()).misread(&claims(&json!({"realm": 1}))), None);
    }

    #[test]
    fn a_list_claim_is_a_path_or_one_under_keys_of() {
        let read = |value: Value| {
            serde_json::from_value::<ListClaim>(value).map_err(|fault| fault.to_string())
        };
        let name = || ClaimPath::name("a.b");
        assert_eq!(read(json!("a.b")), Ok(ListClaim::Strings(name())));
        assert_eq!(read(json!(["a", "b"])), Ok(ListClaim::Strings(ClaimPath::of(["a", "b"]))));
        assert_eq!(read(json!({"keys_of": "a.b"})), Ok(ListClaim::MemberNames(name())));
        assert_eq!(read(json!({"keys_of": ["a.b"]})), Ok(ListClaim::MemberNames(name())));
        for (value, fault) in [
            (json!(""), "must not be empty"),
            (json!([]), "must not be empty"),
            (json!({"keys_of": []}), "must not be empty"),
            (json!({}), "keys_of, and nothing else"),
            (json!({"keys_of": "a", "values_of": "b"}), "keys_of, and nothing else"),
            (json!({"keys": "a"}), "keys_of, and nothing else"),
            (json!({"keys_of": {"keys_of": "a"}}), "or one of these under keys_of"),
            (json!([["a"]]), "or one of these under keys_of"),
            (json!(5), "or one of these under keys_of"),
        ] {
            let found = read(value.clone()).unwrap_err();
            assert!(found.contains(fault), "{value}: {found}");
        }
    }
}
