//! The issuer that clients see: an origin.

use std::fmt;

use url::Url;

/// The gateway's identifier as an authorization server: an https origin without path (RFC 8414 §2),
/// or http on a loopback host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issuer {
    origin: String,
    /// Its host, with the port unless it is the default one.
    authority: String,
}

/// A string is not an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnIssuer;

impl Issuer {
    /// Parses an origin in its normal form.
    ///
    /// # Errors
    ///
    /// It is not one: it has a path, or a default port, or an upper-case letter.
    pub(crate) fn parse(string: &str) -> Result<Self, NotAnIssuer> {
        if !crate::callout::is_secure_url(string) {
            return Err(NotAnIssuer);
        }
        let url = Url::parse(string).map_err(|_| NotAnIssuer)?;
        if url.origin().ascii_serialization() != string {
            return Err(NotAnIssuer);
        }
        let (_, authority) = string.split_once("://").ok_or(NotAnIssuer)?;
        Ok(Self { origin: string.to_owned(), authority: authority.to_owned() })
    }

    /// The origin of a URL.
    ///
    /// # Errors
    ///
    /// The URL has none that could be an issuer.
    pub(crate) fn from_url(url: &str) -> Result<Self, NotAnIssuer> {
        let url = Url::parse(url).map_err(|_| NotAnIssuer)?;
        Self::parse(&url.origin().ascii_serialization())
    }

    /// The origin, which is the issuer.
    #[must_use]
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Its host, with the port unless it is the default one.
    #[must_use]
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Its host with the default port, unless it has another one.
    #[must_use]
    pub(crate) fn with_default_port(&self) -> Option<String> {
        let has_default = host(self.authority.as_bytes()).len() == self.authority.len();
        has_default.then(|| format!("{}{}", self.authority, self.default_port()))
    }

    /// Whether a request's authority is this one. Letter case and the default port make no
    /// difference.
    #[must_use]
    pub(crate) fn is_at(&self, authority: &[u8]) -> bool {
        let bare = authority.strip_suffix(self.default_port().as_bytes()).unwrap_or(authority);
        bare.eq_ignore_ascii_case(self.authority.as_bytes())
    }

    /// Whether a request's authority names its host, whatever the port: cookies do not distinguish
    /// ports (RFC 6265 §8.5).
    #[must_use]
    pub(crate) fn is_on_host_of(&self, authority: &[u8]) -> bool {
        host(authority).eq_ignore_ascii_case(host(self.authority.as_bytes()))
    }

    /// Whether it is https.
    #[must_use]
    pub(crate) fn is_https(&self) -> bool {
        self.origin.starts_with("https://")
    }

    fn default_port(&self) -> &'static str {
        if self.is_https() { ":443" } else { ":80" }
    }
}

/// An authority without its port. An IPv6 address ends with a bracket.
fn host(authority: &[u8]) -> &[u8] {
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else { return authority };
    match authority.split_at_checked(colon) {
        Some((host, port)) if port.iter().skip(1).all(u8::is_ascii_digit) => host,
        _ => authority,
    }
}

impl fmt::Display for NotAnIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be an origin such as https://login.example.com, in lower case, without path and \
             default port",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_origin_in_its_normal_form() {
        for string in [
            "https://login.example.com",
            "https://login.example.com:8443",
            "http://127.0.0.1:10000",
        ] {
            assert_eq!(Issuer::parse(string).unwrap().origin(), string);
        }
        for string in [
            "",
            "https://login.example.com/",
            "https://login.example.com/x",
            "https://LOGIN.example.com",
            "https://login.example.com:443",
            "http://login.example.com",
            "https://user@login.example.com",
            "https://login.example.com?x",
            "null",
        ] {
            assert_eq!(Issuer::parse(string), Err(NotAnIssuer), "{string}");
        }
    }

    #[test]
    fn the_host_of_an_issuer_has_any_port() {
        for (origin, authority, is_on_it) in [
            ("https://login.example.com", "login.example.com", true),
            ("https://login.example.com", "LOGIN.example.com:8443", true),
            ("https://login.example.com:8443", "login.example.com", true),
            ("http://[::1]:8080", "[::1]", true),
            ("http://[::1]", "[::1]:80", true),
            ("https://login.example.com", "mcp.example.com", false),
            ("https://login.example.com", "login.example.com.evil.example", false),
            ("https://login.example.com", "login.example.com:443:443", false),
            ("https://login.example.com", "", false),
        ] {
            let issuer = Issuer::parse(origin).unwrap();
            assert_eq!(
                issuer.is_on_host_of(authority.as_bytes()),
                is_on_it,
                "{origin} {authority}"
            );
        }
    }

    #[test]
    fn the_default_issuer_is_the_origin_of_the_resource() {
        for (url, origin) in [
            ("https://mcp.example.com/mcp", "https://mcp.example.com"),
            ("https://MCP.example.com:443/", "https://mcp.example.com"),
            ("http://localhost:8080/mcp", "http://localhost:8080"),
        ] {
            assert_eq!(Issuer::from_url(url).unwrap().origin(), origin);
        }
    }
}
