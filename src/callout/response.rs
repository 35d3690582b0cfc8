//! Responses to callouts, and their faults.

use std::fmt;

/// The response to a callout.
#[derive(Clone, Debug, Default)]
pub struct CalloutResponse {
    /// `None` if it could not be read.
    pub status: Option<u16>,
    /// Value of `Cache-Control`.
    pub cache_control: Option<String>,
    /// Value of `Content-Type`.
    pub content_type: Option<String>,
    /// Value of `Content-Encoding`, unless the body starts like a JSON object.
    pub content_encoding: Option<String>,
    /// Value of `Location` of a redirect.
    pub location: Option<String>,
    /// Length of the complete body in bytes.
    pub body_length: usize,
    /// The part of the body that was read.
    pub body: Vec<u8>,
}

impl CalloutResponse {
    /// Keeps only the header fields that matter. `body` is the part that was read of the
    /// `body_length` bytes.
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
            content_type: field("content-type"),
            content_encoding: (!begins_like_json).then(|| field("content-encoding")).flatten(),
            location: is_redirect.then(|| field("location")).flatten(),
            body_length,
            body,
        }
    }

    /// Checks that the response has one of `statuses` and a complete body within `limit`. `response`
    /// is `None` when there was none.
    ///
    /// # Errors
    ///
    /// The first check that failed.
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

    /// The start of the body, for log lines.
    #[must_use]
    pub(crate) fn beginning(&self) -> String {
        beginning(&self.body)
    }
}

/// The start of received bytes, for log lines: long enough for Envoy's reports of failed
/// connections.
#[must_use]
pub(crate) fn beginning(bytes: &[u8]) -> String {
    const MAX_BYTES: usize = 240;
    String::from_utf8_lossy(bytes.get(..MAX_BYTES).unwrap_or(bytes)).into_owned()
}

/// Why a callout got no usable response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CalloutFault {
    /// Envoy did not send the request: it has no such cluster, or no healthy host in it.
    Dispatch {
        /// Name of the cluster.
        cluster: String,
    },
    /// There was no response: timeout, reset or no connection.
    NoResponse,
    /// A redirect (RFC 9110 §15.4), which is not followed.
    Redirect {
        /// Status code.
        status: u16,
        /// Its `Location`, clipped.
        location: String,
    },
    /// The status is not an accepted one. Envoy itself responds with 503 or 504 when the upstream
    /// does not, and gives the reason in the body.
    Status {
        /// `None` if it could not be read.
        status: Option<u16>,
        /// Start of the body.
        body: String,
    },
    /// The body exceeds this limit.
    TooLong(BodyLimit),
}

/// The longest body accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyLimit {
    /// Length in bytes.
    pub bytes: usize,
    /// Name of the setting, for errors.
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

    /// Whether the host did not respond, or is out of order.
    #[must_use]
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Dispatch { .. } | Self::NoResponse => true,
            Self::Status { status, .. } => {
                status.is_some_and(|status| status >= 500 || status == 429)
            }
            Self::Redirect { .. } | Self::TooLong(_) => false,
        }
    }
}

impl fmt::Display for CalloutFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dispatch { cluster } => {
                write!(f, "Envoy has no cluster {cluster:?}, or no healthy host in it")
            }
            Self::NoResponse => f.write_str("no response (timeout, reset or no connection)"),
            Self::Redirect { status, location } => write!(
                f,
                "the response has status {status}, a redirect to {location:?}, which is not followed"
            ),
            Self::Status { status: Some(status), body } => {
                write!(f, "the response has status {status} and says {body:?}")
            }
            Self::Status { status: None, .. } => f.write_str("the response has no status"),
            Self::TooLong(BodyLimit { bytes, setting }) => {
                write!(f, "the response is longer than {setting}, {bytes} bytes")
            }
        }
    }
}
