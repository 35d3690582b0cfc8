//! Checks that a URI means the same resource to every server.

use url::Url;

/// Whether a URI is in normal form, so that servers that parse it and servers that compare its bytes
/// find the same resource.
///
/// A normal URI equals its own serialisation by the WHATWG URL Standard. In addition it has only
/// characters that URIs allow (RFC 3986 §2), no empty or dot segments, no empty query or fragment,
/// and no needless or harmful percent-encoding (§6.2.2).
pub(crate) fn is_normal(uri: &str) -> bool {
    uri.bytes().all(is_uri_byte)
        && !has_odd_segment(uri)
        && !has_empty_end(uri)
        && uri.split('%').skip(1).all(is_needed_encoding)
        && Url::parse(uri).is_ok_and(|url| url.as_str() == uri)
}

/// A URI in normal form that begins like this, if there is one: the literal beginning of a URI
/// template (RFC 6570) may end within the scheme, the authority or an encoded byte. A beginning that
/// only an unusual value completes may be missed.
pub(crate) fn normal_uri_from(beginning: &str) -> Option<String> {
    const ENDS: [&str; 11] =
        ["", "a", "a/", "/a/", "0/", "//a/", "///a", "a:a", "20", "0", "::1]/"];
    let mut completed = ENDS.iter().map(|end| [beginning, end].concat());
    completed.find(|uri| is_normal(uri))
}

/// What a lenient server may look up instead of the URI: its decoded form, or the URI without query,
/// fragment or user info. Does not include the URI itself.
pub(super) fn other_readings(uri: &str) -> Vec<String> {
    if !uri.contains(['%', '?', '#', '@']) {
        return Vec::new();
    }
    let bare = uri.split(['?', '#']).next().unwrap_or_default();
    let plain = [uri, bare].map(str::to_owned);
    let without_user = plain.clone().map(|uri| match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => uri,
    });
    let decode =
        |uri: &String| percent_encoding::percent_decode_str(uri).decode_utf8_lossy().into_owned();
    let written: Vec<String> = plain.into_iter().chain(without_user).collect();
    let decoded: Vec<String> = written.iter().map(decode).collect();
    written.into_iter().chain(decoded).filter(|reading| reading != uri).collect()
}

/// The unreserved and the reserved characters, and the percent sign.
fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// Whether the path has a segment that servers resolve: `.`, `..`, or an empty one other than the
/// last.
fn has_odd_segment(uri: &str) -> bool {
    let before_query = uri.split(['?', '#']).next().unwrap_or_default();
    let after_scheme = before_query.split_once(':').map_or(before_query, |(_, rest)| rest);
    let path = match after_scheme.strip_prefix("//") {
        Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
        None => after_scheme.strip_prefix('/').unwrap_or(after_scheme),
    };
    let is_dots = |segment: &str| matches!(segment, "." | "..");
    path.starts_with('/') || path.contains("//") || path.split('/').any(is_dots)
}

/// Whether the URI has an empty query or fragment.
fn has_empty_end(uri: &str) -> bool {
    let (rest, fragment) = match uri.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (uri, None),
    };
    let query = rest.split_once('?').map(|(_, query)| query);
    [query, fragment].contains(&Some(""))
}

/// True when the digits after a `%` encode a byte that must be encoded and is no delimiter.
fn is_needed_encoding(rest: &str) -> bool {
    let digits = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
    byte.is_some_and(|byte| {
        !byte.is_ascii_alphanumeric()
            && !byte.is_ascii_control()
            && !matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'\\' | b'%')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_read_decoded_and_without_query_and_fragment() {
        for (uri, readings) in [
            ("note://payroll/a", &[][..]),
            ("users://admin%40corp", &["users://admin@corp"]),
            ("file:///etc/passwd?x=1", &["file:///etc/passwd"]),
            ("file:///etc/passwd#x", &["file:///etc/passwd"]),
            ("https://u:p@example.com/a", &["https://example.com/a"]),
        ] {
            let found = other_readings(uri);
            assert!(
                readings.iter().all(|reading| found.iter().any(|found| found == reading)),
                "{found:?}"
            );
            assert_eq!(found.is_empty(), readings.is_empty(), "{uri}");
            assert!(!found.iter().any(|found| found == uri), "{uri}");
        }
    }

    #[test]
    fn uris_of_any_scheme_are_normal_in_their_usual_form() {
        for uri in [
            "note://payroll",
            "note://open/a",
            "note://open/a/",
            "note://Open/A",
            "note://a%20b/%C3%A9?x=../..",
            "note://a.b/...",
            "note:///a",
            "note:a/b",
            "note:/a",
            "greeting://alice",
            "config:app",
            "urn:x:y",
            "urn:isbn:0451450523",
            "mailto:ada@example.com",
            "tag:example.com,2026:a",
            "file:///a/b",
            "file:///C:/a%20b",
            "file://host/a",
            "http://localhost:8080/a?b=c#d",
            "https://example.com/",
            "https://example.com/a;b=(c)?d=%3F&e=http://x//y#f/?",
            "https://xn--bcher-kva.example/",
            "https://192.0.2.1/",
            "https://[2001:db8::1]:8443/",
            "ui://widget/a.html",
            "db://1.2/t",
            "git+ssh://git@example.com/a",
        ] {
            assert!(is_normal(uri), "{uri}");
        }
    }

    #[test]
    fn the_beginning_of_a_normal_uri_may_end_anywhere() {
        for uri in [
            "https://a.example:8443/b/%C3%A9?c=d#e",
            "https://u@192.0.2.1/",
            "https://[",
            "file:///C:/a%20b",
            "note:a/b",
            "urn:isbn:0451450523",
        ] {
            for (end, _) in uri.char_indices() {
                let found = normal_uri_from(&uri[..end]);
                assert!(
                    found.is_some_and(|found| found.starts_with(&uri[..end])),
                    "{}",
                    &uri[..end]
                );
            }
        }
        for beginning in [
            "HTTPS://",
            "file:///a/../",
            "file:///a//b",
            "file:/etc/",
            "https://a.example:443/",
            "https://ex%61mple.com",
            "note://a b",
            "note://a\\",
            "/etc/",
            "\u{feff}note://",
        ] {
            assert_eq!(normal_uri_from(beginning), None, "{beginning}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn uris_that_some_server_interprets_as_others_are_not_normal() {
        for uri in [
            "",
            "payroll",
            "/etc/passwd",
            "//host/a",
            "://a",
            "1note://a",
            " note://payroll",
            "note://payroll ",
            "note://payroll\n",
            "note:\t//payroll",
            "\u{feff}note://payroll",
            "\u{a0}note://payroll",
            "note://pay roll",
            "note://pay\0roll",
            "NOTE://payroll",
            "note://p\u{e4}yroll",
            "note://a/p\u{e4}yroll",
            "note://a/?p\u{e4}yroll",
            "https://b\u{fc}cher.example/",
            "https://\u{ff45}xample.com/",
            "note://a/{b}",
            "note://a/b|c",
            "note://a/b^c",
            "note://a\\b",
            "note://a/\"b\"",
            "note://a/<b>",
            "note://a/`b`",
            "file:/etc/passwd",
            "file:etc/passwd",
            "file:////etc/passwd",
            "file://localhost/etc/passwd",
            "file://LOCALHOST/etc/passwd",
            "file:///c|/a",
            "file:///a\\b",
            "file:///a/../b",
            "file:///a/..",
            "file:///./a",
            "file:///a/.",
            "file:///a//b",
            "file:///a/%2e%2e/b",
            "file:///a/.%2E/b",
            "file:///a/..%2fb",
            "file:///%61",
            "file:///a%",
            "file:///a%2",
            "file:///a%zz",
            "file:///a%\u{e9}",
            "file:///a%252e",
            "file:///a%00",
            "http://example.com:80/",
            "https://example.com:443/",
            "https://example.com:0443/",
            "https://example.com:/",
            "https://example.com:8443:1/",
            "https://example.com:99999/",
            "wss://example.com:443/",
            "ftp://example.com:21/",
            "https://example.com",
            "https:example.com/",
            "https:/example.com/",
            "https:///example.com/",
            "https://Example.com/",
            "https://ex%61mple.com/",
            "https://@example.com/",
            "https://:@example.com/",
            "https://a:@example.com/",
            "https://127.1/",
            "https://0x7f.0.0.1/",
            "https://2130706433/",
            "https://[2001:DB8::1]/",
            "https://[2001:db8:0:0::1]/",
            "note://a:/b",
            "note://a:080/b",
            "note://@a",
            "note:////a",
            "note://a//b",
            "note://a//",
            "note:/.//a",
            "note://a/./b",
            "note://a/..",
            "note:a/../b",
            "note:..",
            "note://a?",
            "note://a#",
            "note://a/?#",
            "note://a?#b",
            "note://a?b#",
        ] {
            assert!(!is_normal(uri), "{uri}");
        }
    }
}
