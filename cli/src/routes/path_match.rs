//! The path of a route's match, as Envoy compares it.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use crate::surroundings::{is_off, member};

/// Which paths a route takes.
#[derive(Clone, Debug)]
pub(super) struct PathMatch {
    kind: Kind,
    /// Whether `/A` is not `/a`.
    is_case_sensitive: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    /// No path: the route is for CONNECT.
    Connect,
    Exact(String),
    Prefix(String),
    /// Of the whole path.
    Regex(Regex),
    /// At segment boundaries.
    SegmentPrefix(String),
    /// Unknown what it takes.
    Unknown,
}

/// Whether a route takes a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    No,
    Perhaps,
    Yes,
}

impl PathMatch {
    /// Parses a route's `match`.
    pub(super) fn parse(route_match: &Value) -> Self {
        let text = |name: &str| member(route_match, name).and_then(Value::as_str);
        let kind = if let Some(path) = text("path_separated_prefix") {
            Kind::SegmentPrefix(path.to_owned())
        } else if let Some(path) = text("prefix") {
            Kind::Prefix(path.to_owned())
        } else if let Some(path) = text("path") {
            Kind::Exact(path.to_owned())
        } else if let Some(regex) = member(route_match, "safe_regex") {
            let pattern = member(regex, "regex").and_then(Value::as_str);
            pattern.and_then(Kind::from_regex).unwrap_or(Kind::Unknown)
        } else if member(route_match, "connect_matcher").is_some() {
            Kind::Connect
        } else {
            Kind::Unknown
        };
        // In a regular expression case counts whatever `case_sensitive` says.
        let is_regex = member(route_match, "safe_regex").is_some();
        let is_case_sensitive = is_regex || !is_off(route_match, "case_sensitive");
        Self { kind, is_case_sensitive }
    }

    /// Whether it takes this path, which has no query.
    pub(super) fn takes(&self, path: &str) -> Taken {
        let folded = |text: &str| match self.is_case_sensitive {
            true => text.to_owned(),
            false => text.to_ascii_lowercase(),
        };
        let (path, folded_path) = (path.as_bytes(), folded(path));
        let is_taken = match &self.kind {
            Kind::Connect => false,
            Kind::Exact(own) => folded(own) == folded_path,
            Kind::Prefix(own) => folded_path.starts_with(&folded(own)),
            Kind::Regex(regex) => regex.is_match(path),
            Kind::SegmentPrefix(own) => folded_path
                .strip_prefix(&folded(own))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Kind::Unknown => return Taken::Perhaps,
        };
        if is_taken { Taken::Yes } else { Taken::No }
    }

    /// The path or prefix, if it has one.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.kind {
            Kind::Exact(path) | Kind::Prefix(path) | Kind::SegmentPrefix(path) => Some(path),
            Kind::Connect | Kind::Regex(_) | Kind::Unknown => None,
        }
    }

    /// Why it is not known for every path whether this takes it.
    pub(super) fn unseen(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Exact(_) | Kind::Prefix(_) | Kind::SegmentPrefix(_) => None,
            Kind::Regex(_) => Some("its regular expression was compared for only a few paths"),
            Kind::Connect => Some("it matches CONNECT requests, whatever their path"),
            Kind::Unknown => Some("which paths its `match` takes is not known"),
        }
    }

    /// What is left of a path once the part that this names is taken off, for `prefix_rewrite`.
    pub(super) fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        match &self.kind {
            Kind::Exact(_) => Some(""),
            Kind::Prefix(own) | Kind::SegmentPrefix(own) => path.get(own.len()..),
            Kind::Connect | Kind::Regex(_) | Kind::Unknown => None,
        }
    }

    /// Whether it is unknown for every path whether this takes it.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.kind, Kind::Unknown)
    }

    /// Whether it ignores case.
    pub(super) fn ignores_case(&self) -> bool {
        !self.is_case_sensitive && self.literal().is_some()
    }
}

impl Kind {
    /// What a regular expression takes. None for one that cannot be parsed.
    fn from_regex(pattern: &str) -> Option<Self> {
        let is_plain = |text: &&str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-~".contains(&byte);
            text.bytes().all(is_plain)
        };
        type Make = fn(String) -> Kind;
        let ends: [(&str, Make); 4] = [
            ("(/.*)?", Self::SegmentPrefix),
            ("(?:/.*)?", Self::SegmentPrefix),
            (".*", Self::Prefix),
            ("", Self::Exact),
        ];
        let mut simple = ends.into_iter().filter_map(|(end, kind)| {
            let text = pattern.strip_suffix(end).filter(is_plain)?;
            Some(kind(text.to_owned()))
        });
        simple.next().or_else(|| whole(pattern).map(Self::Regex))
    }
}

/// A regular expression that a whole path must match, as in RE2: of bytes, and `\d` is ASCII. None
/// for one that cannot be parsed like this.
fn whole(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).unicode(false).build().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_match_as_in_envoy() {
        use Taken::{No, Perhaps, Yes};
        for (route_match, path, expected) in [
            (json!({"path_separated_prefix": "/one/mcp"}), "/one/mcp", Yes),
            (json!({"path_separated_prefix": "/one/mcp"}), "/one/mcp/x", Yes),
            (json!({"path_separated_prefix": "/one/mcp"}), "/one/mcpx", No),
            (json!({"pathSeparatedPrefix": "/one"}), "/one", Yes),
            (json!({"prefix": "/one"}), "/one-old/mcp", Yes),
            (json!({"prefix": "/"}), "/one", Yes),
            (json!({"prefix": "/one"}), "/One", No),
            (json!({"prefix": "/one", "case_sensitive": false}), "/ONE/x", Yes),
            (json!({"prefix": "/one", "caseSensitive": true}), "/ONE/x", No),
            (json!({"path": "/one"}), "/one", Yes),
            (json!({"path": "/one"}), "/one/", No),
            (json!({"safe_regex": {"regex": "/o.e(/.*)?"}}), "/one/x", Yes),
            (json!({"safe_regex": {"regex": "/o.e"}}), "/one/x", No),
            (json!({"safe_regex": {"regex": "/one"}}), "/one", Yes),
            (json!({"safe_regex": {"regex": "/one"}}), "/one/", No),
            (json!({"safe_regex": {"regex": "/one.*"}}), "/onex", Yes),
            (json!({"safe_regex": {"regex": "/one(/.*)?"}}), "/one/x", Yes),
            (json!({"safe_regex": {"regex": "/one(?:/.*)?"}}), "/one", Yes),
            (json!({"safe_regex": {"regex": "/one(?:/.*)?"}}), "/onex", No),
            (json!({"safe_regex": {"regex": "/a.c(/.*)?"}}), "/abc/x", Yes),
            (json!({"safe_regex": {"regex": "/a|/one"}}), "/one", Yes),
            (json!({"safe_regex": {"regex": "/a|/one"}}), "/a/b", No),
            (json!({"safe_regex": {"regex": "/one", "google_re2": {}}}), "/one", Yes),
            (json!({"safe_regex": {"regex": "("}}), "/one", Perhaps),
            (json!({"path_match_policy": {"name": "uri_template"}}), "/one", Perhaps),
            (json!({"connect_matcher": {}}), "/one", No),
        ] {
            assert_eq!(
                PathMatch::parse(&route_match).takes(path),
                expected,
                "{route_match} {path}"
            );
        }
    }
}
