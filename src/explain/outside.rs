//! The world outside, as whoever explains reaches it: the time, and calls.

use std::time::Duration;

/// Tells the time and makes calls.
pub trait Outside {
    /// The time, in milliseconds since the Unix epoch.
    fn now(&self) -> u64;

    /// Makes a GET request. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// There is no answer.
    fn call(&mut self, call: &Callout) -> Result<CalloutReply, CalloutError>;
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Callout {
    /// What is called.
    pub url: String,
    /// The Envoy cluster on which the plugin would call it.
    pub cluster: String,
    /// Header fields.
    pub fields: Vec<(&'static str, String)>,
    /// Most time for the whole answer.
    pub timeout: Duration,
    /// Most bytes of a body: of a longer one, one byte more is enough.
    pub max_body: usize,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct CalloutReply {
    /// Its status.
    pub status: u16,
    /// Its `Cache-Control`.
    pub cache_control: Option<String>,
    /// Its `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// Its `Location`.
    pub location: Option<String>,
    /// Its `Date`, in seconds since the Unix epoch.
    pub date: Option<u64>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why there is no answer. The texts are those of whoever made the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalloutError {
    /// Envoy's file has no such cluster, so the plugin could not call.
    NoCluster,
    /// The host's name is not known.
    UnknownHost,
    /// No connection could be made, or it broke.
    Unreachable(String),
    /// The certificate or something else of TLS is not accepted.
    Tls(String),
    /// It took too long.
    TimedOut,
}

impl std::fmt::Display for CalloutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCluster => f.write_str("Envoy's file has no such cluster"),
            Self::UnknownHost => f.write_str("the name of the host is not known"),
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::Tls(why) => write!(f, "TLS failed: {why}"),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}
