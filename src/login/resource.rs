//! What the login knows about a protected resource.

use std::collections::BTreeSet;

use crate::provider::ProviderId;

/// A protected server for which people can log in at one provider at least.
#[derive(Clone, Debug)]
pub(crate) struct LoginResource {
    /// Its URL, which clients name in `resource` (RFC 8707).
    pub url: String,
    pub name: Option<String>,
    /// Those at which people can log in for it, in the order of their buttons.
    pub providers: Vec<ProviderId>,
    /// What is asked for if the client asks for nothing.
    pub scopes_supported: Vec<String>,
    /// What clients may ask for.
    pub known_scopes: BTreeSet<String>,
    /// URLs of the other resources at which its tokens serve too.
    pub shares_tokens_with: Vec<String>,
}

impl LoginResource {
    /// Whether `resource` of a request names it. Some clients add a slash to a URL without a path.
    #[must_use]
    pub(crate) fn is_named(&self, resource: &str) -> bool {
        let without_slash = |url: &str| url.strip_suffix('/').unwrap_or(url).to_owned();
        without_slash(&self.url) == without_slash(resource)
    }

    /// The scopes that are asked for: of those that the client names, the ones that this resource
    /// knows; all that are announced if it names none.
    #[must_use]
    pub(crate) fn scopes(&self, asked: Option<&str>) -> Vec<String> {
        let asked = asked.unwrap_or_default().split(' ').filter(|scope| !scope.is_empty());
        let asked: Vec<&str> = asked.collect();
        if asked.is_empty() {
            return self.scopes_supported.clone();
        }
        let mut scopes: Vec<String> = Vec::new();
        for scope in asked {
            let is_new = !scopes.iter().any(|earlier| earlier == scope);
            if is_new && self.known_scopes.contains(scope) {
                scopes.push(scope.to_owned());
            }
        }
        scopes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> LoginResource {
        let strings = |all: &[&str]| all.iter().map(|&scope| scope.to_owned()).collect::<Vec<_>>();
        LoginResource {
            url: "https://mcp.example.com".to_owned(),
            name: None,
            providers: vec![],
            scopes_supported: strings(&["read"]),
            known_scopes: strings(&["read", "write"]).into_iter().collect(),
            shares_tokens_with: vec![],
        }
    }

    #[test]
    fn a_client_gets_what_it_asks_for_as_far_as_the_resource_knows_it() {
        for (asked, scopes) in [
            (None, &["read"][..]),
            (Some(""), &["read"]),
            (Some("write"), &["write"]),
            (Some("write read write"), &["write", "read"]),
            (Some("openid offline_access api://x/.default"), &[]),
        ] {
            assert_eq!(resource().scopes(asked), scopes, "{asked:?}");
        }
    }

    #[test]
    fn a_slash_at_the_end_makes_no_difference() {
        for (named, is_it) in [
            ("https://mcp.example.com", true),
            ("https://mcp.example.com/", true),
            ("https://mcp.example.com//", false),
            ("https://mcp.example.com/mcp", false),
            ("https://evil.example", false),
        ] {
            assert_eq!(resource().is_named(named), is_it, "{named}");
        }
    }
}
