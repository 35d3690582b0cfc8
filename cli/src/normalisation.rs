//! How Envoy changes the host and the path of a request before the plugin sees them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use crate::surroundings::{is_on, is_one_of, member};

/// The settings of an HTTP connection manager by which it changes hosts and paths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Normalisation {
    normalizes_path: bool,
    merges_slashes: bool,
    escaped_slashes: EscapedSlashes,
    strips_dot: bool,
    ports: StrippedPorts,
}

/// How `%2F` and `%5C` in paths are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EscapedSlashes {
    #[default]
    Kept,
    Rejected,
    Redirected,
    Decoded,
}

/// Which ports are removed from hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StrippedPorts {
    #[default]
    None,
    /// That of the listener; none if the file does not show it.
    Own(Option<u16>),
    All,
}

/// The result for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// The plugin sees this one.
    As(String),
    /// Envoy responds with a redirect to this one.
    Redirected(String),
    /// Envoy responds with 400.
    Rejected,
}

impl Normalisation {
    /// The settings of a connection manager, in this listener if the file shows it.
    pub(crate) fn new(manager: &Value, listener: Option<&Value>) -> Self {
        let escaped = member(manager, "path_with_escaped_slashes_action");
        let is_escaped = |name, number| is_one_of(escaped, &[(name, number)]);
        let escaped_slashes = if is_escaped("REJECT_REQUEST", 2) {
            EscapedSlashes::Rejected
        } else if is_escaped("UNESCAPE_AND_REDIRECT", 3) {
            EscapedSlashes::Redirected
        } else if is_escaped("UNESCAPE_AND_FORWARD", 4) {
            EscapedSlashes::Decoded
        } else {
            EscapedSlashes::Kept
        };
        let ports = if is_on(manager, "strip_any_host_port") {
            StrippedPorts::All
        } else if is_on(manager, "strip_matching_host_port") {
            StrippedPorts::Own(listener.and_then(own_port))
        } else {
            StrippedPorts::None
        };
        Self {
            normalizes_path: is_on(manager, "normalize_path"),
            merges_slashes: is_on(manager, "merge_slashes"),
            escaped_slashes,
            strips_dot: is_on(manager, "strip_trailing_host_dot"),
            ports,
        }
    }

    pub(crate) fn normalizes_path(self) -> bool {
        self.normalizes_path
    }

    pub(crate) fn merges_slashes(self) -> bool {
        self.merges_slashes
    }

    pub(crate) fn handles_escaped_slashes(self) -> bool {
        self.escaped_slashes != EscapedSlashes::Kept
    }

    pub(crate) fn ports(self) -> StrippedPorts {
        self.ports
    }

    /// A URL, as the plugin sees it. Adds notes on the difference.
    pub(crate) fn forwarded_url(self, url: &str, notes: &mut Vec<String>) -> String {
        let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let host = self.host(authority);
        if host != authority {
            notes.push(format!(
                "Envoy changes the host {authority} to {host} before the plugin sees it"
            ));
        }
        let path = match target.split('#').next() {
            Some(path) if path.starts_with('/') => self.forwarded_path(path, notes),
            path => path.unwrap_or_default().to_owned(),
        };
        format!("{scheme}://{host}{path}")
    }

    /// A path, as the plugin sees it. Adds notes on the difference.
    pub(crate) fn forwarded_path(self, path: &str, notes: &mut Vec<String>) -> String {
        let (forwarded, note) = match self.path(path) {
            Forwarded::As(forwarded) if forwarded == path => return forwarded,
            Forwarded::As(forwarded) => {
                let note =
                    format!("Envoy changes the path to {forwarded} before the plugin sees it");
                (forwarded, note)
            }
            Forwarded::Redirected(forwarded) => {
                let note = format!(
                    "Envoy itself responds with a redirect to {forwarded}, which is judged here"
                );
                (forwarded, note)
            }
            Forwarded::Rejected => {
                let note = "Envoy itself responds with 400 to this path: the plugin never sees it";
                (path.to_owned(), note.to_owned())
            }
        };
        notes.push(note);
        forwarded
    }

    /// A host, as the plugin sees it.
    pub(crate) fn host(self, host: &str) -> Cow<'_, str> {
        let (bare, port) = split_port(host);
        let bare = if self.strips_dot { bare.strip_suffix('.').unwrap_or(bare) } else { bare };
        let is_stripped = port.is_some_and(|port| match self.ports {
            StrippedPorts::None => false,
            StrippedPorts::Own(own) => own.is_some_and(|own| port.parse() == Ok(own)),
            StrippedPorts::All => true,
        });
        match port.filter(|_| !is_stripped) {
            None => Cow::Borrowed(bare),
            Some(port) => Cow::Owned(format!("{bare}:{port}")),
        }
    }

    /// A path with its query, as the plugin sees it.
    pub(crate) fn path(self, target: &str) -> Forwarded {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (target, String::new()),
        };
        let mut path = path.to_owned();
        let mut redirects = false;
        if self.handles_escaped_slashes() {
            let decoded = decode_slashes(&path);
            if decoded != path {
                match self.escaped_slashes {
                    EscapedSlashes::Rejected => return Forwarded::Rejected,
                    EscapedSlashes::Redirected => redirects = true,
                    EscapedSlashes::Kept | EscapedSlashes::Decoded => {}
                }
                path = decoded;
            }
        }
        if self.normalizes_path {
            match normalized(&path) {
                Some(normalized) => path = normalized,
                None => return Forwarded::Rejected,
            }
        }
        if self.merges_slashes {
            while path.contains("//") {
                path = path.replace("//", "/");
            }
        }
        match redirects {
            true => Forwarded::Redirected(path + &query),
            false => Forwarded::As(path + &query),
        }
    }
}

/// Splits off a port of digits, one at least.
pub(crate) fn split_port(host: &str) -> (&str, Option<&str>) {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        // Behind a colon inside an IPv6 address, there is the bracket at its end.
        Some((bare, port)) if is_port(port) => (bare, Some(port)),
        _ => (host, None),
    }
}

/// The port under which connections arrive, if nothing but the listener's address decides.
fn own_port(listener: &Value) -> Option<u16> {
    let is_plain = member(listener, "additional_addresses").is_none()
        && member(listener, "listener_filters").is_none()
        && !is_on(listener, "use_original_dst");
    let address = member(listener, "address").filter(|_| is_plain)?;
    let port = member(member(address, "socket_address")?, "port_value")?;
    let port = port.as_u64().and_then(|port| port.try_into().ok());
    port.filter(|port: &u16| *port != 0)
}

fn decode_slashes(path: &str) -> String {
    let mut decoded = path.to_owned();
    for (encoded, plain) in [("%2f", "/"), ("%2F", "/"), ("%5c", "\\"), ("%5C", "\\")] {
        decoded = decoded.replace(encoded, plain);
    }
    decoded
}

/// A path as Envoy's `normalize_path` rewrites it; none if Envoy refuses it.
fn normalized(path: &str) -> Option<String> {
    /// What is encoded, besides non-ASCII characters.
    const ENCODED: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    if path.contains("%00") {
        return None;
    }
    let mut segments: Vec<String> = Vec::new();
    let mut ends_with_slash = false;
    for segment in path.strip_prefix('/')?.split(['/', '\\']) {
        let segment = decode_unreserved(segment);
        ends_with_slash = matches!(segment.as_str(), "." | "..");
        match segment.as_str() {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(utf8_percent_encode(&segment, ENCODED).to_string()),
        }
    }
    let slash = if ends_with_slash && !segments.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", segments.join("/")))
}

/// Decodes the characters that never need encoding (RFC 3986 §2.3).
fn decode_unreserved(segment: &str) -> String {
    let mut decoded = String::new();
    let mut rest = segment;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let (encoded, after) = from.split_at_checked(3).unwrap_or((from, ""));
        let byte = percent_decode_str(encoded).next().filter(|_| encoded.len() == 3);
        let plain = byte.filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte));
        decoded.push_str(before);
        match plain {
            Some(byte) => decoded.push(char::from(byte)),
            None => decoded.push_str(encoded),
        }
        rest = after;
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all() -> Value {
        json!({
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
        })
    }

    #[test]
    fn paths_are_rewritten_as_in_envoy() {
        let normalisation = Normalisation::new(&all(), None);
        for (path, expected) in [
            ("/a/mcp", "/a/mcp"),
            ("/a/./mcp", "/a/mcp"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/a/b"),
            ("/a\\b", "/a/b"),
            ("/a%2fb%5Cc", "/a/b/c"),
            ("/%61/%7Eada", "/a/~ada"),
            ("/%40/%7bid%7D", "/%40/%7bid%7D"),
            ("/{id}/caf\u{e9}", "/%7Bid%7D/caf%C3%A9"),
            ("/a%", "/a%"),
            ("/a%zz%4", "/a%zz%4"),
            ("/a;b:c@d", "/a;b:c@d"),
            ("/a?b=//../%2f", "/a?b=//../%2f"),
        ] {
            assert_eq!(normalisation.path(path), Forwarded::As(expected.to_owned()), "{path}");
        }
        assert_eq!(normalisation.path("/a%00"), Forwarded::Rejected);
    }

    #[test]
    fn without_settings_nothing_is_rewritten() {
        let normalisation = Normalisation::new(&json!({}), None);
        for path in ["//a/../%61%2Fb", "/a\\b", "/a%00"] {
            assert_eq!(normalisation.path(path), Forwarded::As(path.to_owned()));
        }
        for host in ["a.example:8443", "a.example.", "[::1]:80"] {
            assert_eq!(normalisation.host(host), host);
        }
    }

    #[test]
    fn escaped_slashes_are_rejected_redirected_or_kept() {
        for (action, expected) in [
            (json!("REJECT_REQUEST"), Forwarded::Rejected),
            (json!(2), Forwarded::Rejected),
            (json!("UNESCAPE_AND_REDIRECT"), Forwarded::Redirected("/a/b?c".to_owned())),
            (json!("KEEP_UNCHANGED"), Forwarded::As("/a%2Fb?c".to_owned())),
        ] {
            let manager = json!({"path_with_escaped_slashes_action": action});
            assert_eq!(Normalisation::new(&manager, None).path("/a%2Fb?c"), expected, "{action}");
        }
    }

    #[test]
    fn ports_and_dots_are_removed_from_hosts() {
        let listener = |more: Value| {
            let mut listener = json!({"address": {"socket_address": {"port_value": 8443}}});
            listener.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            listener
        };
        let any = json!({"strip_any_host_port": true});
        let own = json!({"strip_matching_host_port": true});
        let dot = json!({"strip_trailing_host_dot": true});
        let plain = listener(json!({}));
        let behind = listener(json!({"listener_filters": [{"name": "proxy_protocol"}]}));
        for (manager, listener, host, expected) in [
            (&any, &plain, "a.example:1", "a.example"),
            (&any, &plain, "[::1]:1", "[::1]"),
            (&any, &plain, "[::1]", "[::1]"),
            (&any, &plain, "a.example:", "a.example:"),
            (&own, &plain, "a.example:8443", "a.example"),
            (&own, &plain, "a.example:443", "a.example:443"),
            (&own, &behind, "a.example:8443", "a.example:8443"),
            (&dot, &plain, "a.example.:8443", "a.example:8443"),
            (&dot, &plain, "a.example.", "a.example"),
        ] {
            let normalisation = Normalisation::new(manager, Some(listener));
            assert_eq!(normalisation.host(host), expected, "{manager} {host}");
        }
    }
}
