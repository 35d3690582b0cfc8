//! Claims of a token: their place, and their accepted values.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{Elements, Json, Members, Object};

/// The place of a claim: a name, or a path of names through nested objects. Dots in names have no
/// meaning.
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
    pub(crate) fn from_names<const N: usize>(names: [&str; N]) -> Self {
        Self(names.map(str::to_owned).into())
    }

    /// The name of the top-level claim.
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

    /// The value of the claim.
    #[must_use]
    pub(crate) fn find<'a>(&self, claims: &'a Object) -> Option<Json<'a>> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }
}

/// A claim with several values, and its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListClaim {
    /// A string, or a list of strings.
    Strings(ClaimPath),
    /// An object whose member names are the values.
    MemberNames(ClaimPath),
}

impl ListClaim {
    /// The place of the claim.
    #[must_use]
    pub(crate) fn path(&self) -> &ClaimPath {
        match self {
            Self::Strings(path) | Self::MemberNames(path) => path,
        }
    }

    /// The values of the claim.
    ///
    /// # Errors
    ///
    /// Why the claim, which is present, has no readable values.
    pub(crate) fn values<'a>(
        &self,
        claims: &'a Object,
    ) -> Result<impl Iterator<Item = &'a str> + Clone + use<'a>, UnreadList> {
        let (listed, members) = match self.read(claims)? {
            Some(Json::Object(members)) => (None, Some(members)),
            listed => (listed, None),
        };
        let names = members.into_iter().flat_map(Members::iter).map(|(name, _)| name);
        Ok(strings(listed).chain(names))
    }

    /// The value of the claim, if its type is the expected one; null counts as absent.
    fn read<'a>(&self, claims: &'a Object) -> Result<Option<Json<'a>>, UnreadList> {
        let Some(value) = self.path().find(claims) else { return Ok(None) };
        match (self, value) {
            (_, Json::Null) => Ok(None),
            (Self::Strings(_), value) => {
                UnreadList::in_place_of_strings(value).map_or(Ok(Some(value)), Err)
            }
            (Self::MemberNames(_), Json::Object(_)) => Ok(Some(value)),
            (Self::MemberNames(_), Json::Array(_)) => Err(UnreadList::ListForObject),
            (Self::MemberNames(_), Json::String(_) | Json::Bool(_) | Json::Number(_)) => {
                Err(UnreadList::NotAnObject)
            }
        }
    }
}

/// The value of a claim of several values that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnreadList {
    /// A list where member names were expected.
    ListForObject,
    /// A list without strings.
    WithoutStrings,
    /// Anything but an object, or a list, where member names were expected.
    NotAnObject,
    /// An object where strings were expected.
    ObjectForList,
    /// A number or a boolean where strings were expected.
    Scalar,
}

impl UnreadList {
    /// `None` if a string or a list of strings can be read, or the value is null.
    #[must_use]
    pub(crate) fn in_place_of_strings(value: Json<'_>) -> Option<Self> {
        match value {
            Json::Null | Json::String(_) => None,
            Json::Array(elements) => {
                let mut elements = elements.iter().peekable();
                let is_read =
                    elements.peek().is_none() || elements.any(|element| element.as_str().is_some());
                (!is_read).then_some(Self::WithoutStrings)
            }
            Json::Object(_) => Some(Self::ObjectForList),
            Json::Bool(_) | Json::Number(_) => Some(Self::Scalar),
        }
    }
}

impl fmt::Display for UnreadList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ListForObject => "a list, not an object",
            Self::WithoutStrings => "a list without strings",
            Self::NotAnObject => "not an object",
            Self::ObjectForList => "an object, not a list",
            Self::Scalar => "neither a list nor a string",
        })
    }
}

/// A string, or the strings of an array.
pub(crate) fn strings(claim: Option<Json<'_>>) -> impl Iterator<Item = &str> + Clone {
    let (text, elements) = match claim {
        Some(Json::String(text)) => (Some(text), None),
        claim => (None, claim.and_then(Json::as_array)),
    };
    let elements = elements.into_iter().flat_map(Elements::iter);
    text.into_iter().chain(elements.filter_map(Json::as_str))
}

/// Alternatives in the format of error messages.
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

/// A path as written in a configuration.
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

/// True if at least one of these claims is present and not empty.
pub(crate) fn carries_one_of(claims: &Object, paths: &[ClaimPath]) -> bool {
    paths.iter().filter_map(|path| path.find(claims)).any(says_something)
}

/// False for values that providers write instead of omitting a claim.
fn says_something(value: Json<'_>) -> bool {
    match value {
        Json::Null | Json::Bool(false) => false,
        Json::Bool(true) | Json::Number(_) => true,
        Json::String(text) => !text.trim().is_empty(),
        Json::Array(elements) => elements.iter().any(says_something),
        Json::Object(members) => members.iter().any(|(name, _)| !name.trim().is_empty()),
    }
}

/// Which claim identifies the audience of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AudienceClaim {
    /// `aud`.
    Audience,
    /// A claim that names the client, for providers whose access tokens have no `aud`. Such tokens
    /// do not say which API they are for. A token that does have an `aud` must name an accepted
    /// value there too: RFC 7519 §4.1.3 requires any service that its `aud` does not name to refuse
    /// it.
    ClientId,
}

impl AudienceClaim {
    /// The name of the claim; `client_id` for all claims that name the client.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Audience => "aud",
            Self::ClientId => "client_id",
        }
    }
}

/// The claims in which providers name the client that a token was issued to.
pub(crate) const CLIENT_ID_CLAIMS: [&str; 4] = ["azp", "client_id", "appid", "cid"];

/// A claim that must have one of the accepted values or, if it is an array, contain one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RequiredClaim {
    /// The name of the claim.
    pub name: String,
    /// Strings, numbers or booleans, compared exactly.
    pub accepted: Vec<Value>,
    /// Whether the claim may be missing.
    pub may_be_absent: bool,
}

impl RequiredClaim {
    /// Whether these claims satisfy it; `None` if the claim is missing.
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
    fn placeholders_for_missing_claims_count_as_missing() {
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
    fn unreadable_lists_are_named_by_their_type() {
        let path = || ClaimPath::from_names(["realm", "roles"]);
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
            let misread =
                |claim: ListClaim| claim.values(&claims).err().map(|found| found.to_string());
            assert_eq!(misread(ListClaim::Strings(path())).as_deref(), of_strings, "{value}");
            assert_eq!(misread(ListClaim::MemberNames(path())).as_deref(), of_names, "{value}");
        }
        assert!(ListClaim::MemberNames(path()).values(&claims(&json!({"realm": 1}))).is_ok());
    }

    #[test]
    fn member_names_are_values_if_configured() {
        let claims = claims(&json!({
            "list": ["a", "b"], "object": {"admin": {"1": "x"}, "b": null, "": {}}, "text": "a",
        }));
        for (name, of_strings, of_names) in [
            ("list", vec!["a", "b"], vec![]),
            ("object", vec![], vec!["", "admin", "b"]),
            ("text", vec!["a"], vec![]),
            ("missing", vec![], vec![]),
        ] {
            let path = ClaimPath::name(name);
            let found =
                |claim: ListClaim| claim.values(&claims).into_iter().flatten().collect::<Vec<_>>();
            assert_eq!(found(ListClaim::Strings(path.clone())), of_strings, "{name}");
            assert_eq!(found(ListClaim::MemberNames(path)), of_names, "{name}");
        }
    }

    #[test]
    fn a_list_is_a_string_or_the_strings_of_an_array() {
        for (given, expected) in [
            (json!(["a b", 1, null, "", ["c"], "a b"]), vec!["a b", "", "a b"]),
            (json!("a b"), vec!["a b"]),
            (json!({"a": "b"}), vec![]),
            (json!(true), vec![]),
        ] {
            let claims = claims(&json!({"list": given}));
            assert_eq!(strings(claims.get("list")).collect::<Vec<_>>(), expected, "{given}");
        }
        assert_eq!(strings(None).count(), 0);
    }

    #[test]
    fn a_list_claim_is_a_path_or_one_under_keys_of() {
        let read = |value: Value| {
            serde_json::from_value::<ListClaim>(value).map_err(|fault| fault.to_string())
        };
        let name = || ClaimPath::name("a.b");
        assert_eq!(read(json!("a.b")), Ok(ListClaim::Strings(name())));
        assert_eq!(
            read(json!(["a", "b"])),
            Ok(ListClaim::Strings(ClaimPath::from_names(["a", "b"])))
        );
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
