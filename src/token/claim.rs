//! Claims: where one stands in a token, and which values of one are accepted.

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

    /// The claim's value.
    #[must_use]
    pub(crate) fn find<'a>(&self, claims: &'a Object) -> Option<Json<'a>> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
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
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a claim name, or a list of names as a path")]
        enum Form {
            Name(String),
            Path(Vec<String>),
        }
        let path = match Form::deserialize(reader)? {
            Form::Name(name) => vec![name],
            Form::Path(path) => path,
        };
        if path.is_empty() || path.iter().any(String::is_empty) {
            return Err(serde::de::Error::custom("a claim name must not be empty"));
        }
        Ok(Self(path))
    }
}

/// True when a token names this claim without carrying it (OpenID Connect Core §5.6.2; Entra ID
/// also says `hasgroups` for its groups).
pub(crate) fn is_elsewhere(claims: &Object, name: &str) -> bool {
    let names = claims.get("_claim_names").and_then(Json::as_object);
    let is_named = names.is_some_and(|names| names.contains_key(name))
        || (name == "groups" && matches!(claims.get("hasgroups"), Some(Json::Bool(true))));
    is_named && !claims.contains_key(name)
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
