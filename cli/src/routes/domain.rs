//! The domains of a virtual host, as Envoy matches them.

/// An element of `domains`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Domain {
    /// `*`
    Any,
    /// A host, with a port if requests have one.
    Exact(String),
    /// `gateway.*`: a host with this prefix.
    Prefix(String),
    /// `*.example.com`: a host with this suffix.
    Suffix(String),
}

/// How specifically a domain matches a host. Envoy selects the most specific virtual host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    Any,
    Prefix(usize),
    Suffix(usize),
    Exact,
}

impl Domain {
    pub(super) fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => Self::Any,
            (Some(end), _) => Self::Suffix(end.to_owned()),
            (_, Some(start)) => Self::Prefix(start.to_owned()),
            (None, None) => Self::Exact(text),
        }
    }

    /// How specifically it matches this host, in lower case; `None` if it does not.
    pub(super) fn fit(&self, host: &str) -> Option<Fit> {
        match self {
            Self::Any => Some(Fit::Any),
            Self::Exact(own) => (own == host).then_some(Fit::Exact),
            // A wildcard matches at least one character.
            Self::Prefix(start) => (host.len() > start.len() && host.starts_with(start))
                .then_some(Fit::Prefix(start.len())),
            Self::Suffix(end) => {
                (host.len() > end.len() && host.ends_with(end)).then_some(Fit::Suffix(end.len()))
            }
        }
    }

    /// A host that it matches; for a pattern, one that no configuration is likely to name.
    pub(super) fn sample(&self) -> String {
        match self {
            Self::Any => "unlisted.invalid".to_owned(),
            Self::Exact(host) => host.clone(),
            Self::Prefix(start) => format!("{start}invalid"),
            Self::Suffix(end) => format!("unlisted{end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_match_hosts_as_in_envoy() {
        for (domain, host, fit) in [
            ("*", "a.example", Some(Fit::Any)),
            ("a.example", "a.example", Some(Fit::Exact)),
            ("A.Example", "a.example", Some(Fit::Exact)),
            ("a.example", "a.example:443", None),
            ("a.example:443", "a.example:443", Some(Fit::Exact)),
            ("*.example", "a.example", Some(Fit::Suffix(8))),
            ("*-a.example", "b-a.example", Some(Fit::Suffix(10))),
            ("*.example", "example", None),
            ("*.example", ".example", None),
            ("*.example", "a.example:443", None),
            ("a.*", "a.example", Some(Fit::Prefix(2))),
            ("a.*", "a.example:443", Some(Fit::Prefix(2))),
            ("a.*", "a.", None),
            ("a.*", "b.example", None),
        ] {
            assert_eq!(Domain::new(domain).fit(host), fit, "{domain} {host}");
        }
        // An exact domain first, then the longest suffix, then the longest prefix.
        assert!(Fit::Exact > Fit::Suffix(99) && Fit::Suffix(1) > Fit::Prefix(99));
        assert!(Fit::Suffix(2) > Fit::Suffix(1) && Fit::Prefix(1) > Fit::Any);
    }

    #[test]
    fn a_sample_fits() {
        for domain in ["*", "a.example:8443", "*.example", "gateway.*"] {
            let domain = Domain::new(domain);
            assert!(domain.fit(&domain.sample()).is_some(), "{domain:?}");
        }
    }
}
