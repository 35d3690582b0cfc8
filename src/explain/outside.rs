//! What an explanation needs from its environment: the time and HTTP requests.

use std::time::Duration;

/// A clock and an HTTP client.
pub trait Outside {
    /// The time, in milliseconds since the Unix epoch.
    fn now(&self) -> u64;

    /// Makes a GET request. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// There is no response.
    fn call(&mut self, call: &Callout) -> Result<CalloutReply, CalloutError>;
}

/// A request.
#[derive(Clone, Debug)]
pub struct Callout {
    /// The absolute URL to request.
    pub url: String,
    /// The Envoy cluster on which the plugin would call it.
    pub cluster: String,
    /// The header fields to send.
    pub fields: Vec<(&'static str, String)>,
    /// Longest time for the whole response.
    pub timeout: Duration,
    /// Limit on the body in bytes. If the body is longer, one byte more than this is enough.
    pub max_body: usize,
}

/// The response.
#[derive(Clone, Debug, Default)]
pub struct CalloutReply {
    /// The status code.
    pub status: u16,
    /// The value of `Cache-Control`.
    pub cache_control: Option<String>,
    /// The value of `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// The value of `Location`.
    pub location: Option<String>,
    /// The value of `Date`, in seconds since the Unix epoch.
    pub date: Option<u64>,
    /// The body, up to the limit.
    pub body: Vec<u8>,
}

/// Why there is no response. The strings come from the HTTP client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalloutError {
    /// The Envoy configuration has no such cluster, so the plugin could not call it.
    NoCluster,
    /// The host name does not resolve.
    UnknownHost,
    /// No connection could be established, or it broke.
    Unreachable(String),
    /// The TLS handshake failed, for example because of the certificate.
    Tls(String),
    /// The timeout passed.
    TimedOut,
}

impl std::fmt::Display for CalloutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCluster => f.write_str("Envoy's file has no such cluster"),
            Self::UnknownHost => f.write_str("the host name does not resolve"),
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::Tls(why) => write!(f, "TLS failed: {why}"),
            Self::TimedOut => f.write_str("no response in time"),
        }
    }
}
