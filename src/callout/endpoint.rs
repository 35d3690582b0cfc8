//! URLs for callouts, and the Envoy clusters they are sent to.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;
use serde::Serialize;

/// Clusters for the hosts of a provider. A host without a cluster is never called, even if a
/// metadata document names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Clusters {
    /// One cluster for all hosts.
    Any(String),
    /// Clusters by `host` or `host:port`, in lower case.
    ByHost(BTreeMap<String, String>),
}

/// A URL with its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Endpoint {
    cluster: String,
    scheme: String,
    authority: String,
    path: String,
}

/// The `User-Agent` of every callout.
pub(crate) const USER_AGENT: &str = concat!("mcp-federated-auth/", env!("CARGO_PKG_VERSION"));

/// A request to send. Must not be logged, since its fields may hold secrets.
#[derive(Clone)]
pub struct CalloutRequest {
    /// Envoy cluster it is sent to.
    pub cluster: String,
    /// Header fields, including pseudo-headers.
    pub fields: Vec<(&'static str, String)>,
    /// `None` for a request without body.
    pub body: Option<Vec<u8>>,
    /// Limit on the body of the response in bytes.
    pub max_body: usize,
}

impl Clusters {
    /// Resolves a URL to its endpoint.
    ///
    /// # Errors
    ///
    /// The URL is not absolute, or has a user, password or fragment; it is neither https nor on a
    /// loopback host; or its host has no cluster.
    pub(crate) fn endpoint(&self, url: &str) -> Result<Endpoint, EndpointFault> {
        let uri = secure_uri(url)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(EndpointFault::NotAUrl);
        };
        let host = authority.host().to_ascii_lowercase();
        let port = authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        let cluster = match self {
            Self::Any(cluster) => Some(cluster),
            Self::ByHost(map) => map.get(&format!("{host}:{port}")).or_else(|| map.get(&host)),
        };
        Ok(Endpoint {
            cluster: cluster.cloned().ok_or(EndpointFault::NoCluster { host })?,
            scheme: scheme.to_owned(),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

impl Endpoint {
    /// Envoy cluster of the endpoint.
    #[must_use]
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Appends segments or a query to the path.
    #[must_use]
    pub(crate) fn followed_by(&self, end: &str) -> Self {
        let path = format!("{}{end}", self.path.trim_end_matches('/'));
        Self { path, ..self.clone() }
    }

    /// A request for a document of one of these media types and of at most `max_body` bytes.
    #[must_use]
    pub(crate) fn request(&self, method: &str, accept: &str, max_body: usize) -> CalloutRequest {
        let fields = [
            (":method", method),
            (":scheme", &self.scheme),
            (":authority", &self.authority),
            (":path", &self.path),
            ("accept", accept),
            ("user-agent", USER_AGENT),
        ];
        CalloutRequest {
            cluster: self.cluster.clone(),
            fields: fields.map(|(name, value)| (name, value.to_owned())).into(),
            body: None,
            max_body,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

/// Why a URL cannot be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndpointFault {
    /// It is plain http to a host other than a loopback one.
    Insecure,
    /// Its host has no cluster.
    NoCluster {
        /// Host in lower case.
        host: String,
    },
    /// It is not an absolute http or https URL, or has a user, password or fragment.
    NotAUrl,
}

impl fmt::Display for EndpointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insecure => f.write_str("must be https (http only for loopback hosts)"),
            Self::NoCluster { host } => {
                write!(f, "no cluster is configured for its host {host}")
            }
            Self::NotAUrl => f.write_str(
                "must be an absolute URL without user, password and fragment, such as https://host/path",
            ),
        }
    }
}

/// True for an absolute https URL, or an http URL of a loopback host.
#[must_use]
pub(crate) fn is_secure_url(url: &str) -> bool {
    secure_uri(url).is_ok()
}

fn secure_uri(url: &str) -> Result<Uri, EndpointFault> {
    // `http::Uri` accepts some characters that RFC 3986 forbids, and drops fragments.
    let is_foreign = |byte: u8| !byte.is_ascii_graphic() || b"\"<>\\^`{|}#".contains(&byte);
    if url.bytes().any(is_foreign) {
        return Err(EndpointFault::NotAUrl);
    }
    let uri: Uri = url.parse().map_err(|_| EndpointFault::NotAUrl)?;
    let authority = uri.authority().ok_or(EndpointFault::NotAUrl)?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(EndpointFault::NotAUrl);
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback(authority.host()) => Ok(uri),
        Some("http") => Err(EndpointFault::Insecure),
        _ => Err(EndpointFault::NotAUrl),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_hosts_only() {
        for url in
            ["https://a.example/x", "http://localhost:1/", "http://127.8.0.1/", "http://[::1]:80/x"]
        {
            assert!(is_secure_url(url), "{url}");
        }
        for url in [
            "http://a.example/",
            "http://localhost.a.example/",
            "http://127.0.0.1.a.example/",
            "http://[::2]/",
            "http://127.0.0.1@a.example/",
            "ftp://localhost/",
            "//localhost/",
            "/path",
            "https://",
            "https://a.example/#x",
            "https://user@a.example/",
            "",
        ] {
            assert!(!is_secure_url(url), "{url}");
        }
    }

    #[test]
    fn a_host_with_port_is_found_before_the_bare_host_and_others_have_no_cluster() {
        let map = [("a.example", "plain"), ("a.example:8443", "special"), ("b.example:443", "b")];
        let clusters = Clusters::ByHost(
            map.map(|(host, cluster)| (host.to_owned(), cluster.to_owned())).into(),
        );
        for (url, cluster) in [
            ("https://A.example/x", Some("plain")),
            ("https://a.example:8443/x", Some("special")),
            ("https://b.example/x", Some("b")),
            ("https://b.example:444/x", None),
            ("https://c.example/x", None),
        ] {
            assert_eq!(
                clusters.endpoint(url).ok().map(|found| found.cluster),
                cluster.map(str::to_owned)
            );
        }
    }
}
