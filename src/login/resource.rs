//! A protected resource as the login sees it.

use std::collections::{BTreeMap, BTreeSet};

use crate::provider::ProviderId;

/// A protected server for which people can log in at one or more providers.
#[derive(Clone, Debug)]
pub(crate) struct LoginResource {
    /// Its URL, which clients name in `resource` (RFC 8707).
    pub url: String,
    pub name: Option<String>,
    /// The providers at which people can log in for it, in the order of their buttons.
    pub providers: Vec<ProviderId>,
    /// The audiences that it accepts from each of them.
    pub audiences: BTreeMap<ProviderId, Vec<String>>,
    /// The scopes that are requested if the client requests none.
    pub scopes_supported: Vec<String>,
    /// The scopes that clients may request.
    pub known_scopes: BTreeSet<String>,
    /// URLs of the other resources that accept its tokens.
    pub shares_tokens_with: Vec<String>,
}

impl LoginResource {
    /// Whether `resource` of a request names it.
    #[must_use]
    pub(crate) fn is_named(&self, resource: &str) -> bool {
        is_same_resource(&self.url, resource)
    }

    /// Names of its scopes: those that are announced come first.
    pub(super) fn scope_names(&self) -> impl Iterator<Item = &str> {
        self.scopes_supported.iter().chain(&self.known_scopes).map(String::as_str)
    }

    /// The scopes that are requested: those named by the client that this resource knows, or all
    /// announced ones if there are none. Clients that know no scopes ask for `openid email
    /// profile`, and a login without a scope of the server ends in a token for something else (RFC
    /// 6749 §3.3 allows a default).
    #[must_use]
    pub(crate) fn scopes(&self, asked: Option<&str>) -> Vec<String> {
        let asked = asked.unwrap_or_default().split(' ').filter(|scope| !scope.is_empty());
        let asked: Vec<&str> = asked.collect();
        let mut scopes: Vec<String> = Vec::new();
        for scope in asked {
            let is_new = !scopes.iter().any(|earlier| earlier == scope);
            if is_new && self.known_scopes.contains(scope) {
                scopes.push(scope.to_owned());
            }
        }
        if scopes.is_empty() { self.scopes_supported.clone() } else { scopes }
    }
}

/// Whether two URLs name the same resource: scheme and authority without case, the default port and
/// no port alike, one slash at the end ignored, which some clients add (RFC 8707 §2, RFC 3986 §6.2).
pub(super) fn is_same_resource(one: &str, other: &str) -> bool {
    normal(one) == normal(other)
}

fn normal(url: &str) -> String {
    let url = url.strip_suffix('/').unwrap_or(url);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    format!("{scheme}://{authority}{path}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn resource() -> LoginResource {
        let strings = |all: &[&str]| all.iter().map(|&scope| scope.to_owned()).collect::<Vec<_>>();
        LoginResource {
            url: "https://mcp.example.com".to_owned(),
            name: None,
            providers: vec![],
            audiences: BTreeMap::new(),
            scopes_supported: strings(&["read"]),
            known_scopes: strings(&["read", "write"]).into_iter().collect(),
            shares_tokens_with: vec![],
        }
    }

    #[test]
    fn a_client_gets_the_requested_scopes_that_the_resource_has() {
        for (asked, scopes) in [
            (None, &["read"][..]),
            (Some(""), &["read"]),
            (Some("write"), &["write"]),
            (Some("write read write"), &["write", "read"]),
            (Some("openid write"), &["write"]),
            (Some("openid email profile"), &["read"]),
            (Some("api://x/.default"), &["read"]),
        ] {
            assert_eq!(resource().scopes(asked), scopes, "{asked:?}");
        }
    }

    #[test]
    fn case_of_the_host_default_port_and_a_slash_at_the_end_are_ignored() {
        for (named, is_it) in [
            ("https://mcp.example.com", true),
            ("https://mcp.example.com/", true),
            ("HTTPS://MCP.Example.com", true),
            ("https://mcp.example.com:443/", true),
            ("https://mcp.example.com:80", false),
            ("http://mcp.example.com", false),
            ("https://mcp.example.com//", false),
            ("https://mcp.example.com/?x", false),
            ("https://mcp.example.com@evil.example", false),
            ("https://mcp.example.com/mcp", false),
            ("https://evil.example", false),
        ] {
            assert_eq!(resource().is_named(named), is_it, "{named}");
        }
    }
}
