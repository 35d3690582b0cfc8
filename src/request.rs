//! The head of a request as the host provides it: unchecked bytes.

use std::cmp::Ordering;

/// The header fields of a request, including pseudo-headers, with names in lower case.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    fields: &'a [Field<'a>],
    path: &'a [u8],
    query: Option<&'a [u8]>,
    has_body: bool,
}

/// Name and value of a header field.
pub type Field<'a> = (&'a [u8], &'a [u8]);

impl<'a> RequestHead<'a> {
    /// `has_body`: whether a body follows the head.
    #[must_use]
    pub fn new(fields: &'a [Field<'a>], has_body: bool) -> Self {
        let target = fields.iter().find(|(name, _)| *name == b":path");
        let target = target.map(|(_, value)| *value).unwrap_or_default();
        let mut parts = target.splitn(2, |&byte| byte == b'?');
        let path = parts.next().unwrap_or_default();
        Self { fields, path, query: parts.next(), has_body }
    }

    /// Whether a body follows, even an empty one.
    #[must_use]
    pub fn has_body(self) -> bool {
        self.has_body
    }

    /// Total size of all names and values in bytes, as the host counts it.
    #[must_use]
    pub(crate) fn size(self) -> u64 {
        let sizes = self.fields.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        u64::try_from(sizes.fold(0, usize::saturating_add)).unwrap_or(u64::MAX)
    }

    /// All names, including duplicates.
    pub(crate) fn names(self) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().map(|(name, _)| *name)
    }

    /// All values of a field.
    pub(crate) fn values(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(field, _)| *field == name.as_bytes())
            .map(|(_, value)| *value)
    }

    /// All values of a field under any [spelling](is_spelling) of its name.
    pub(crate) fn values_in_any_spelling(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter();
        fields.filter(move |(field, _)| is_spelling(field, name)).map(|(_, value)| *value)
    }

    /// The value that must replace `Connection`; `None` if it may stay. Recipients drop all fields
    /// that it names (RFC 9110 §7.6.1), so a client could use it to remove identity headers. Envoy
    /// forwards it only for an upgrade.
    pub(crate) fn connection_to_forward(self) -> Option<&'static str> {
        self.values("connection").any(names_field).then_some("upgrade")
    }

    /// The method; empty if it is missing.
    pub(crate) fn method(self) -> &'a [u8] {
        self.values(":method").next().unwrap_or_default()
    }

    /// The path without the query, as normalised by Envoy.
    pub(crate) fn path(self) -> &'a [u8] {
        self.path
    }

    /// The query; `None` without a question mark.
    pub(crate) fn query(self) -> Option<&'a [u8]> {
        self.query
    }
}

/// Strips one trailing slash, which makes no difference to a path.
pub(crate) fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").filter(|shorter| !shorter.is_empty()).unwrap_or(path)
}

/// Whether a value of `Connection` names a field other than the hop-by-hop options.
fn names_field(value: &[u8]) -> bool {
    const OPTIONS: [&str; 3] = ["close", "keep-alive", "upgrade"];
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|option| {
        let is_option = |expected: &str| option.eq_ignore_ascii_case(expected.as_bytes());
        !option.is_empty() && !OPTIONS.into_iter().any(is_option)
    })
}

/// Whether some server treats `sent` as `name`, which must be lower-case letters, digits and `-`.
/// Names ignore case. CGI and WSGI servers treat `_` like `-`, PHP also `.`, and some servers that
/// turn fields into variables treat every character other than letters and digits alike.
pub(crate) fn is_spelling(sent: &[u8], name: &str) -> bool {
    let is_same = |(sent, expected): (u8, u8)| {
        sent == expected
            || (expected == b'-' && !sent.is_ascii_alphanumeric())
            || sent.to_ascii_lowercase() == expected
    };
    sent.len() == name.len() && sent.iter().copied().zip(name.bytes()).all(is_same)
}

/// Orders a name, which must be lower-case letters, digits and `-`, before or after the name that
/// `sent` is a [spelling](is_spelling) of; equal if it is a spelling of this one.
pub(crate) fn compare_spelling(name: &str, sent: &[u8]) -> Ordering {
    name.bytes().cmp(sent.iter().copied().map(plain_byte))
}

/// A byte of a field name in the spelling in which names are compared.
pub(crate) fn plain_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_name_has_many_spellings() {
        for sent in
            ["x-mcp-user", "X-MCP-User", "x_mcp_user", "x.mcp.user", "X.mcp_USER", "x~mcp+user"]
        {
            assert!(is_spelling(sent.as_bytes(), "x-mcp-user"), "{sent}");
        }
        for sent in
            ["x-mcp-users", "x-mcp-use", "xmcpuser", "x-mcp-us-r", "x1mcp1user", "x_mcp_roles"]
        {
            assert!(!is_spelling(sent.as_bytes(), "x-mcp-user"), "{sent}");
        }
    }

    #[test]
    fn only_upgrade_is_forwarded_in_connection() {
        for (sent, forwarded) in [
            (&["upgrade"][..], None),
            (&["keep-alive, Upgrade"], None),
            (&["Upgrade,", "close"], None),
            (&[], None),
            (&["upgrade, x-mcp-user"], Some("upgrade")),
            (&["upgrade", "X-MCP-User"], Some("upgrade")),
            (&["x_mcp_user\t,upgrade"], Some("upgrade")),
            (&["authorization,Upgrade"], Some("upgrade")),
            (&["\u{e9}"], Some("upgrade")),
        ] {
            let fields = sent.iter().map(|value| (b"connection".as_slice(), value.as_bytes()));
            let fields: Vec<Field<'_>> = fields.collect();
            let head = RequestHead::new(&fields, false);
            assert_eq!(head.connection_to_forward(), forwarded, "{sent:?}");
        }
    }

    #[test]
    fn one_slash_at_the_end_of_a_path_is_ignored() {
        for (path, same) in [("/", "/"), ("/a", "/a"), ("/a/", "/a"), ("/a//", "/a/"), ("//", "/")]
        {
            assert_eq!(without_slash(path.as_bytes()), same.as_bytes(), "{path}");
        }
    }
}
