//! The authority of a request or of a URL (RFC 3986 §3.2): host and port.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Host and port in the only spelling that is accepted: a name without a dot at its end, or an IP
/// address in canonical form; then a port without leading zeros, or none. Letters are in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    /// `host` or `host:port`.
    text: String,
    host_length: usize,
    port: Option<u16>,
}

impl Authority {
    /// Longest authority in bytes: a DNS name, a colon and a port.
    const MAX_LENGTH: usize = 253 + 6;

    /// Parses an authority. `None` for any other spelling: user info, a host that is encoded or not
    /// ASCII, an empty port, a dot at the end.
    #[must_use]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::MAX_LENGTH {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let host_length = match text.strip_prefix('[') {
            Some(_) => text.find(']')? + 1,
            None => text.find(':').unwrap_or(text.len()),
        };
        let text = text.to_ascii_lowercase();
        let (host, port) = text.split_at_checked(host_length)?;
        let port = match port {
            "" => None,
            port => Some(parse_port(port.strip_prefix(':')?)?),
        };
        is_host(host).then_some(Self { text, host_length, port })
    }

    /// `host` or `host:port`, as it is compared.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Its spellings in requests, where `default_port` is the port of the scheme: with and without
    /// that port.
    pub(crate) fn spellings(&self, default_port: u16) -> impl Iterator<Item = String> {
        let host = self.text.get(..self.host_length).unwrap_or_default();
        let port = self.port.unwrap_or(default_port);
        let bare = (port == default_port).then(|| host.to_owned());
        bare.into_iter().chain([format!("{host}:{port}")])
    }
}

fn parse_port(port: &str) -> Option<u16> {
    let is_plain = !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|_| is_plain)
}

/// Whether a host in lower case is a name, or an IP address in canonical form.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse().is_ok_and(|parsed: Ipv6Addr| parsed.to_string() == address);
    }
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(is_plain)
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    // URL parsers read such a host as an IPv4 address, in octal or hexadecimal too (WHATWG URL §3.5).
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    host.split('.').all(is_label) && (!is_number || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelling(authority: &str) -> Option<String> {
        Authority::parse(authority.as_bytes()).map(|authority| authority.text)
    }

    #[test]
    fn an_authority_has_one_spelling() {
        for (authority, expected) in [
            ("gateway.example.com", "gateway.example.com"),
            ("Gateway.EXAMPLE.com", "gateway.example.com"),
            ("gateway.example.com:443", "gateway.example.com:443"),
            ("gateway.example.com:8443", "gateway.example.com:8443"),
            ("localhost", "localhost"),
            ("my_host-1", "my_host-1"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
            ("a:65535", "a:65535"),
        ] {
            assert_eq!(spelling(authority).as_deref(), Some(expected), "{authority}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn other_spellings_are_not_an_authority() {
        for authority in [
            "",
            ".",
            ":443",
            "a.example.",
            "a.example.:443",
            ".a.example",
            "a..example",
            "a.example:",
            "a.example:0",
            "a.example:0443",
            "a.example:+443",
            "a.example: 443",
            "a.example:65536",
            "a.example:443:443",
            "a.example:https",
            "user@a.example",
            "user:password@a.example",
            "@a.example",
            "a.example@",
            "%61.example",
            "a%2eexample",
            "a.example/",
            "a.example/b",
            "a.example?",
            "a.example#",
            "a\\example",
            "a example",
            " a.example",
            "a.example ",
            "a.example\t",
            "a.example\0",
            "a.example,b.example",
            "\u{ff41}.example",
            "\u{e9}.example",
            "127.1",
            "127.0.0.01",
            "0127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "127.0.0.0x1",
            "1.2.3.4.5",
            "256.0.0.1",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]a",
            "[::1].",
            "[::1]:",
            "[0:0:0:0:0:0:0:1]",
            "[::0001]",
            "[::1%25lo]",
            "[::1%lo]",
            "[127.0.0.1]",
            "[v1.a]",
            "[[::1]]",
            "http://a.example",
        ] {
            assert_eq!(spelling(authority), None, "{authority:?}");
        }
        assert!(Authority::parse(b"a\xff.example").is_none());
        assert_eq!(spelling(&"a".repeat(260)), None);
    }

    #[test]
    fn the_default_port_may_be_left_out() {
        let spellings = |authority: &str, port| -> Vec<String> {
            Authority::parse(authority.as_bytes()).unwrap().spellings(port).collect()
        };
        assert_eq!(spellings("a.example", 443), ["a.example", "a.example:443"]);
        assert_eq!(spellings("a.example:443", 443), ["a.example", "a.example:443"]);
        assert_eq!(spellings("a.example:443", 80), ["a.example:443"]);
        assert_eq!(spellings("[::1]:8443", 443), ["[::1]:8443"]);
    }
}
