//! Redirect URIs: where a browser may be sent with an authorization code.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

/// An absolute URI that can receive an authorization response: https, http on a loopback host, or a
/// private scheme (RFC 8252 §7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct RedirectUri(String);

/// Why a string is not a redirect URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotARedirectUri;

/// Which redirect URIs clients may register.
#[derive(Clone, Debug)]
pub(crate) struct RedirectPolicy {
    /// Any port and path of a loopback host over http.
    pub allows_loopback: bool,
    /// These too.
    pub uris: Vec<RedirectUri>,
}

impl RedirectUri {
    /// Maximum length in bytes.
    pub(crate) const MAX_LENGTH: usize = 1024;
    /// Hosts that only reach the computer itself.
    const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
    /// Private schemes without a dot that belong to known programs.
    const KNOWN_SCHEMES: [&str; 2] = ["cursor", "vscode"];
    /// Parameters of an authorization response: a redirect URI cannot set them itself.
    const RESPONSE_PARAMETERS: [&str; 6] =
        ["code", "error", "error_description", "error_uri", "iss", "state"];

    /// Parses an absolute URI without fragment and user information.
    ///
    /// # Errors
    ///
    /// It is not one, it is too long, or its scheme can run code or is not private.
    pub(crate) fn parse(string: &str) -> Result<Self, NotARedirectUri> {
        let is_foreign = |byte: u8| !byte.is_ascii_graphic() || b"\"<>\\^`{|}#".contains(&byte);
        if string.len() > Self::MAX_LENGTH || string.bytes().any(is_foreign) {
            return Err(NotARedirectUri);
        }
        let url = Url::parse(string).map_err(|_| NotARedirectUri)?;
        // The parser corrects some spellings that other parsers read differently.
        let (scheme, rest) = string.split_once(':').ok_or(NotARedirectUri)?;
        let authority =
            rest.strip_prefix("//").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        if scheme != url.scheme() || authority.is_some_and(|authority| authority.contains('@')) {
            return Err(NotARedirectUri);
        }
        let is_allowed = match scheme {
            "https" | "http" => {
                let host = authority.map(host).filter(|host| Some(*host) == url.host_str());
                host.is_some_and(|host| {
                    !host.is_empty() && (scheme == "https" || is_loopback(host))
                })
            }
            private => private.contains('.') || Self::KNOWN_SCHEMES.contains(&private),
        };
        is_allowed.then(|| Self(string.to_owned())).ok_or(NotARedirectUri)
    }

    /// Whether a request for `requested` may use this registered URI: they are equal, or both are on
    /// the same loopback host and differ in nothing but the port (RFC 8252 §7.3).
    #[must_use]
    pub(crate) fn matches(&self, requested: &Self) -> bool {
        self == requested
            || self.loopback_target().is_some_and(|own| requested.loopback_target() == Some(own))
    }

    /// The URI as received.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is on a loopback host.
    #[must_use]
    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback_target().is_some()
    }

    /// Its host, or its scheme if that is private.
    #[must_use]
    pub(crate) fn host(&self) -> &str {
        match self.0.split_once("://") {
            Some(("https" | "http", rest)) => {
                host(rest.split(['/', '?']).next().unwrap_or_default())
            }
            _ => self.0.split(':').next().unwrap_or_default(),
        }
    }

    /// Whether it is https on this host, on the default port.
    #[must_use]
    pub(crate) fn is_https_on(&self, host: &str) -> bool {
        let rest = self.0.strip_prefix("https://");
        rest.is_some_and(|rest| rest.split(['/', '?']).next() == Some(host))
    }

    /// The URI with the parameters of an authorization response. Its own parameters of the same
    /// names are dropped, so that each occurs once.
    #[must_use]
    pub(crate) fn with_response(&self, parameters: &[(&str, &str)]) -> String {
        let (base, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
        let is_own = |pair: &&str| {
            let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name);
            !pair.is_empty()
                && !name.is_some_and(|name| Self::RESPONSE_PARAMETERS.contains(&&*name))
        };
        let own: Vec<&str> = query.split('&').filter(is_own).collect();
        let mut response = form_urlencoded::Serializer::new(String::new());
        response.extend_pairs(parameters);
        let response = response.finish();
        let query = own.into_iter().chain([response.as_str()]).collect::<Vec<_>>().join("&");
        format!("{base}?{query}")
    }

    /// Host and path of a loopback URI, without its port. An empty path is `/` (RFC 3986 §6.2.3).
    fn loopback_target(&self) -> Option<(&str, String)> {
        let rest = self.0.strip_prefix("http://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let host = host(authority);
        let slash = if path.starts_with('/') { "" } else { "/" };
        is_loopback(host).then(|| (host, format!("{slash}{path}")))
    }
}

impl RedirectPolicy {
    /// Whether a client may have this redirect URI.
    #[must_use]
    pub(crate) fn allows(&self, uri: &RedirectUri) -> bool {
        (self.allows_loopback && uri.is_loopback())
            || self.uris.iter().any(|allowed| allowed.matches(uri))
    }

    /// Whether it allows nothing.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        !self.allows_loopback && self.uris.is_empty()
    }
}

impl TryFrom<String> for RedirectUri {
    type Error = NotARedirectUri;

    fn try_from(string: String) -> Result<Self, NotARedirectUri> {
        Self::parse(&string)
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0
    }
}

impl fmt::Display for NotARedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be an absolute URI without fragment and user: https, http on a loopback host, or \
             a private scheme with a dot, cursor or vscode",
        )
    }
}

/// The host of an authority without user information, as it is written.
fn host(authority: &str) -> &str {
    let end = match authority.find(']') {
        Some(bracket) => bracket.saturating_add(1),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    authority.get(..end).unwrap_or(authority)
}

fn is_loopback(host: &str) -> bool {
    RedirectUri::LOOPBACK_HOSTS.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(string: &str) -> RedirectUri {
        RedirectUri::parse(string).unwrap()
    }

    #[test]
    fn a_redirect_uri_is_https_or_loopback_or_a_private_scheme() {
        for string in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://app.example.com:8443/cb?x=1",
            "http://localhost:6274/oauth/callback",
            "http://127.0.0.1:33418",
            "http://[::1]:1/cb",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "vscode://vscode.example/cb",
            "com.example.app:/oauth",
        ] {
            assert!(RedirectUri::parse(string).is_ok(), "{string}");
        }
    }

    #[test]
    fn a_uri_that_could_leak_a_code_or_run_a_script_is_refused() {
        for string in [
            "",
            "/cb",
            "//evil.example/cb",
            "http://app.example.com/cb",
            "http://localhost.evil.example/cb",
            "http://localhost@evil.example/cb",
            "http://127.0.0.1.evil.example/",
            "http://127.0.0.2/",
            "http://127.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost:80:80/",
            "https://user@app.example.com/cb",
            "https://user:pw@app.example.com/cb",
            "https://app.example.com\\@evil.example/",
            "https:///evil.example/cb",
            "https:evil.example/cb",
            "https:/evil.example/cb",
            "https://app.example.com/cb#x",
            "https://app.example.com/a b",
            "https://APP.example.com/cb",
            "HTTPS://app.example.com/cb",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\tscript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "ftp://localhost/",
            "ws://localhost/",
            "blob:https://app.example.com/x",
            "myapp://cb",
            "https://ex\u{e4}mple.com/",
        ] {
            assert!(RedirectUri::parse(string).is_err(), "{string}");
        }
        assert!(RedirectUri::parse(&format!("https://a.example/{}", "x".repeat(1010))).is_err());
    }

    #[test]
    fn a_loopback_uri_matches_with_any_port_and_others_only_when_equal() {
        for (registered, requested) in [
            ("http://127.0.0.1:1", "http://127.0.0.1:1/"),
            ("http://127.0.0.1/", "http://127.0.0.1:33418"),
            ("http://localhost:1/cb", "http://localhost:65535/cb"),
            ("http://[::1]/cb?x=1", "http://[::1]:8/cb?x=1"),
            ("https://a.example/cb", "https://a.example/cb"),
        ] {
            assert!(uri(registered).matches(&uri(requested)), "{registered} {requested}");
        }
        for (registered, requested) in [
            ("http://127.0.0.1:1/cb", "http://localhost:1/cb"),
            ("http://localhost:1/cb", "http://localhost:1/cb/"),
            ("http://localhost:1/cb", "http://localhost:1/cb?x=1"),
            ("http://localhost:1/cb", "https://localhost:1/cb"),
            ("https://a.example/cb", "https://a.example/cb/"),
            ("https://a.example/cb", "https://a.example:443/cb"),
            ("https://a.example/cb", "https://a.example/cb?x"),
            ("com.example.app:/a", "com.example.app:/b"),
        ] {
            assert!(!uri(registered).matches(&uri(requested)), "{registered} {requested}");
        }
    }

    #[test]
    fn a_response_sets_each_of_its_parameters_once() {
        for (given, written) in [
            ("https://a.example/cb", "https://a.example/cb?code=1&iss=https%3A%2F%2Fl.example"),
            (
                "https://a.example/cb?x=1&iss=https://evil.example&%69ss=2&y",
                "https://a.example/cb?x=1&y&code=1&iss=https%3A%2F%2Fl.example",
            ),
            ("com.example:/cb", "com.example:/cb?code=1&iss=https%3A%2F%2Fl.example"),
        ] {
            let response = uri(given).with_response(&[("code", "1"), ("iss", "https://l.example")]);
            assert_eq!(response, written);
        }
    }

    #[test]
    fn the_page_names_the_host_of_the_redirect_uri() {
        for (given, host) in [
            ("https://claude.ai/api/mcp/auth_callback", "claude.ai"),
            ("http://[::1]:1/cb", "[::1]"),
            ("cursor://anysphere.cursor-mcp/cb", "cursor"),
        ] {
            assert_eq!(uri(given).host(), host);
        }
        assert!(uri("https://a.example/cb").is_https_on("a.example"));
        assert!(!uri("https://a.example:444/cb").is_https_on("a.example"));
    }
}
