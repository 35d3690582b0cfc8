//! Request paths in the form in which rules compare them.

use crate::request::without_slash;

/// A path as every server understands it: decoded, without the query, and without one trailing
/// slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CanonicalPath(Vec<u8>);

impl CanonicalPath {
    /// Parses a path without query. `None` when servers differ in how they read it: dot segments,
    /// repeated or encoded slashes, backslashes, parameters (`;`), double or invalid encoding, and
    /// control characters. Envoy resolves most of these beforehand if it normalises paths.
    #[must_use]
    pub(crate) fn parse(path: &[u8]) -> Option<Self> {
        let shorter = without_slash(path);
        if is_plain(shorter) {
            return Some(Self(shorter.to_vec()));
        }
        let decoded: Vec<u8> = percent_encoding::percent_decode(path).collect();
        let is_ambiguous = !path.starts_with(b"/")
            || !is_wellformed(path)
            || decoded
                .iter()
                .any(|byte| matches!(byte, b'\\' | b';' | b'?' | b'#') || byte.is_ascii_control())
            || decoded.iter().filter(|byte| **byte == b'/').count()
                != path.iter().filter(|byte| **byte == b'/').count()
            || !is_wellformed_once_more(&decoded)
            || has_odd_segments(&decoded);
        if is_ambiguous {
            return None;
        }
        Some(Self(without_slash(&decoded).to_vec()))
    }

    /// True when `path` equals this one or lies below it; prefixes end at segment boundaries.
    #[must_use]
    pub(crate) fn is_prefix_of(&self, path: &Self) -> bool {
        let prefix = self.0.strip_suffix(b"/").unwrap_or(&self.0);
        path.0.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }

    /// The segments; none for `/`.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let path = self.0.strip_prefix(b"/").unwrap_or(&self.0);
        path.split(|byte| *byte == b'/').filter(move |_| !path.is_empty())
    }

    /// The path below this prefix, which ends at the end of a segment; `/` if there is none.
    #[must_use]
    pub(crate) fn below(&self, prefix: &str) -> Option<Self> {
        match self.0.strip_prefix(prefix.as_bytes())? {
            [] => Some(Self(b"/".to_vec())),
            rest => rest.starts_with(b"/").then(|| Self(rest.to_vec())),
        }
    }

    /// True for `/`.
    #[must_use]
    pub(crate) fn is_root(&self) -> bool {
        self.0 == b"/"
    }

    /// The decoded path.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a case-insensitive server reads the same path.
    #[must_use]
    pub(super) fn is_lower_case(&self) -> bool {
        !self.0.iter().any(u8::is_ascii_uppercase)
    }

    /// The path as a case-insensitive server would read it.
    #[must_use]
    pub(super) fn in_lower_case(&self) -> Self {
        Self(self.0.to_ascii_lowercase())
    }
}

/// Fast path for most requests: letters, digits, `-` and `_` in non-empty segments need no decoding.
fn is_plain(path: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    path.split_first().is_some_and(|(first, rest)| {
        *first == b'/'
            && rest
                .split(|byte| *byte == b'/')
                .all(|segment| !segment.is_empty() && segment.iter().all(is_plain))
    })
}

/// True when each `%` is followed by two hexadecimal digits.
fn is_wellformed(path: &[u8]) -> bool {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| is_encoded(path, at))
}

/// True when decoding a second time would change nothing.
fn is_wellformed_once_more(decoded: &[u8]) -> bool {
    !decoded.iter().enumerate().any(|(at, byte)| *byte == b'%' && is_encoded(decoded, at))
}

fn is_encoded(path: &[u8], at: usize) -> bool {
    let digits = path.get(at + 1..at + 3);
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

fn has_odd_segments(path: &[u8]) -> bool {
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').skip(1).collect();
    segments.iter().enumerate().any(|(index, segment)| {
        let is_last = index + 1 == segments.len();
        matches!(*segment, b"." | b"..") || (segment.is_empty() && !is_last)
    })
}

/// Whether a path can be read in only one way. If so, its other spellings yield the same path.
#[cfg(any(fuzzing, test))]
pub fn fuzz_path(path: &[u8]) -> bool {
    let Some(canonical) = CanonicalPath::parse(path) else { return false };
    let bytes = canonical.0.as_slice();
    assert!(bytes.starts_with(b"/"));
    assert!(!bytes.iter().any(|byte| byte.is_ascii_control() || b"\\;".contains(byte)));
    let mut segments = bytes.split(|byte| *byte == b'/').skip(1);
    assert!(bytes == b"/" || segments.all(|segment| !matches!(segment, b"" | b"." | b"..")));
    let encoded: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| match byte {
            b'/' => vec![b'/'],
            byte => format!("%{byte:02x}").into_bytes(),
        })
        .collect();
    assert_eq!(CanonicalPath::parse(&encoded).as_ref(), Some(&canonical));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(path: &str) -> Option<String> {
        CanonicalPath::parse(path.as_bytes()).map(|path| String::from_utf8(path.0).unwrap())
    }

    #[test]
    fn paths_that_mean_the_same_are_the_same() {
        for (path, expected) in [
            ("/", "/"),
            ("/mcp", "/mcp"),
            ("/mcp/", "/mcp"),
            ("/m.p/", "/m.p"),
            ("/%6dcp", "/mcp"),
            ("/%6Dcp", "/mcp"),
            ("/a%3ab", "/a:b"),
            ("/a:b", "/a:b"),
            ("/a%20b", "/a b"),
            ("/100%25", "/100%"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/...", "/a/..."),
        ] {
            assert_eq!(canonical(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn paths_that_servers_may_read_in_several_ways_have_no_canonical_form() {
        for path in [
            "",
            "mcp",
            "*",
            "//mcp",
            "/a//b",
            "/mcp//",
            "/mcp///",
            "//",
            "/m.p//",
            "/mcp/%2f",
            "/./a",
            "/a/..",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/.%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a;x=1",
            "/a%3bx",
            "/a%3fx",
            "/a%23x",
            "/a%252fb",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%00",
            "/a%0d%0a",
            "/a\t",
        ] {
            assert_eq!(canonical(path), None, "{path}");
        }
    }

    #[test]
    fn a_prefix_ends_at_the_end_of_a_segment() {
        let is_prefix = |prefix: &str, path: &str| {
            let [prefix, path] =
                [prefix, path].map(|path| CanonicalPath::parse(path.as_bytes()).unwrap());
            prefix.is_prefix_of(&path)
        };
        for (prefix, path) in [
            ("/", "/"),
            ("/", "/a"),
            ("/a", "/a"),
            ("/a", "/a/"),
            ("/a/", "/a/b"),
            ("/a", "/a/b/c"),
        ] {
            assert!(is_prefix(prefix, path), "{prefix} {path}");
        }
        for (prefix, path) in [("/a", "/ab"), ("/a/b", "/a"), ("/a", "/A"), ("/a", "/")] {
            assert!(!is_prefix(prefix, path), "{prefix} {path}");
        }
    }
}
