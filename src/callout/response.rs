//! What comes back from a call.

use std::fmt;

/// An answer to a call.
#[derive(Clone, Debug, Default)]
pub struct CalloutResponse {
    /// Status code; none when it could not be read.
    pub status: Option<u16>,
    /// Value of `Cache-Control`.
    pub cache_control: Option<String>,
    /// Value of `Content-Encoding`, if the body does not begin like a JSON object.
    pub content_encoding: Option<String>,
    /// Value of `Location`, if the status is that of a redirect.
    pub location: Option<String>,
    /// Length of the whole body in bytes.
    pub body_length: usize,
    /// The body, or as much of it as was read.
    pub body: Vec<u8>,
}

impl CalloutResponse {
    /// A response with these header fields, read only as far as they matter: its body is
    /// `body_length` bytes long, of which `body` was read.
    pub fn new(
        field: impl Fn(&'static str) -> Option<String>,
        body_length: usize,
        body: Vec<u8>,
    ) -> Self {
        let status = field(":status").and_then(|status| status.parse().ok());
        let is_redirect = matches!(status, Some(300..=399));
        let begins_like_json = body.first() == Some(&b'{');
        Self {
            status,
            cache_control: field("cache-control"),
            content_encoding: (!begins_like_json).then(|| field("content-encoding")).flatten(),
            location: is_redirect.then(|| field("location")).flatten(),
            body_length,
            body,
        }
    }

    /// The answer, if there is one with one of these statuses and a whole body within the
    /// limit. `response` is none when the call brought none.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn checked(
        response: Option<Self>,
        statuses: &[u16],
        limit: BodyLimit,
    ) -> Result<Self, CalloutFault> {
        let response = response.ok_or(CalloutFault::NoResponse)?;
        if response.status.is_none_or(|status| !statuses.contains(&status)) {
            return Err(CalloutFault::from_status(&response));
        }
        if response.body_length > limit.bytes {
            return Err(CalloutFault::TooLong(limit));
        }
        if response.body.len() != response.body_length {
            return Err(CalloutFault::NoResponse);
        }
        Ok(response)
    }

    /// How the body begins, for the operator.
    #[must_use]
    pub(crate) fn beginning(&self) -> String {
        beginning(&self.body)
    }
}

/// How something that came begins, for the operator: as much of it as Envoy needs to say why it
/// could not connect.
#[must_use]
pub(crate) fn beginning(bytes: &[u8]) -> String {
    const MAX_BYTES: usize = 240;
    String::from_utf8_lossy(bytes.get(..MAX_BYTES).unwrap_or(bytes)).into_owned()
}

/// Why a call brought nothing of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CalloutFault {
    /// Envoy refused to make the call: it does not know this cluster, or no host of it is healthy.
    Dispatch {
        /// The cluster.
        cluster: String,
    },
    /// No answer in time, or the connection broke.
    NoResponse,
    /// A redirect (RFC 9110 §15.4), which is not followed.
    Redirect {
        /// The status.
        status: u16,
        /// Where it leads, clipped.
        location: String,
    },
    /// The status is another one than was hoped for. Envoy itself answers with 503 or 504 when it
    /// got no answer, and says why in the body.
    Status {
        /// The status; none when it could not be read.
        status: Option<u16>,
        /// How the body begins.
        body: String,
    },
    /// The body is longer than it may be.
    TooLong(BodyLimit),
}

/// Most bytes that a body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyLimit {
    /// So many.
    pub bytes: usize,
    /// The setting that says so.
    pub setting: &'static str,
}

impl CalloutFault {
    fn from_status(response: &CalloutResponse) -> Self {
        match (response.status, &response.location) {
            (Some(status @ 300..=399), Some(location)) => {
                Self::Redirect { status, location: beginning(location.as_bytes()) }
            }
            (status, _) => Self::Status { status, body: response.beginning() },
        }
    }
}

impl fmt::Display for CalloutFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dispatch { cluster } => {
                write!(f, "Envoy has no cluster {cluster:?}, or no healthy host in it")
            }
            Self::NoResponse => f.write_str("no answer (timeout, reset or no connection)"),
            Self::Redirect { status, location } => write!(
                f,
                "the answer has status {status}, a redirect to {location:?}, which is not followed"
            ),
            Self::Status { status: Some(status), body } => {
                write!(f, "the answer has status {status} and says {body:?}")
            }
            Self::Status { status: None, .. } => f.write_str("the answer has no status"),
            Self::TooLong(BodyLimit { bytes, setting }) => {
                write!(f, "the answer is longer than {setting}, {bytes} bytes")
            }
        }
    }
}
