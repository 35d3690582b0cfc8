//! What comes back from a call.

use std::fmt;

/// An answer to a call.
#[derive(Clone, Debug)]
pub(crate) struct CalloutAnswer {
    /// Status code; none when it could not be read.
    pub status: Option<u16>,
    /// Value of `Cache-Control`.
    pub cache_control: Option<String>,
    /// Length of the whole body in bytes.
    pub body_length: usize,
    /// The body, or as much of it as was read.
    pub body: Vec<u8>,
}

impl CalloutAnswer {
    /// The answer, if there is one with one of these statuses and a whole body within the
    /// limit. `answer` is none when the call brought none.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn checked(
        answer: Option<Self>,
        statuses: &[u16],
        limit: BodyLimit,
    ) -> Result<Self, CalloutFault> {
        let answer = answer.ok_or(CalloutFault::NoAnswer)?;
        if answer.status.is_none_or(|status| !statuses.contains(&status)) {
            let body = answer.beginning();
            return Err(CalloutFault::Status { status: answer.status, body });
        }
        if answer.body_length > limit.bytes {
            return Err(CalloutFault::TooLong(limit));
        }
        if answer.body.len() != answer.body_length {
            return Err(CalloutFault::NoAnswer);
        }
        Ok(answer)
    }

    /// How the body begins, for the operator: as much of it as Envoy needs to say why it could not
    /// connect.
    #[must_use]
    pub(crate) fn beginning(&self) -> String {
        const MOST: usize = 240;
        let beginning = self.body.get(..MOST).unwrap_or(&self.body);
        String::from_utf8_lossy(beginning).into_owned()
    }
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
    NoAnswer,
    /// The status is another one than was hoped for. Redirects are not followed. Envoy itself
    /// answers with 503 or 504 when it got no answer, and says why in the body.
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

impl fmt::Display for CalloutFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dispatch { cluster } => {
                write!(f, "Envoy has no cluster {cluster:?}, or no healthy host in it")
            }
            Self::NoAnswer => f.write_str("no answer (timeout, reset or no connection)"),
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
