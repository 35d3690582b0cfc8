//! One walk from a source to a key set: at most two calls, within one time-out.

use std::fmt;
use std::time::Duration;

use super::source::Start;
use super::{Endpoint, EndpointFault, KeySet, KeySetFault, KeyState, RemoteSource, discovery};
use crate::keys::freshness;
use crate::time::UnixTime;

/// A fetch under way. Calls are made by whoever holds it; answers come back in.
#[derive(Debug)]
pub(crate) struct Fetch {
    stage: Stage,
    deadline: UnixTime,
    /// The key set's URL, when this fetch discovered it.
    discovered: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Metadata,
    KeySet,
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Call this endpoint, and wait no longer than that for the answer.
    Call(Endpoint, Duration),
    /// A set was fetched.
    Done(Fetched),
    /// The fetch is over without a set.
    Failed(FetchFault),
}

/// What a fetch brought.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The set.
    pub key_set: KeySet,
    /// The document that it was read from.
    pub document: Vec<u8>,
    /// How long it may be used.
    pub lifetime: Duration,
    /// The key set's URL, when discovery found it just now.
    pub discovered: Option<String>,
}

/// An answer to a call.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    /// Status code; none when it could not be read.
    pub status: Option<u16>,
    /// Value of `Cache-Control`.
    pub cache_control: Option<String>,
    /// Length of the whole body in bytes.
    pub body_length: usize,
    /// The body, or as much of it as was read.
    pub body: Vec<u8>,
}

impl Fetch {
    /// Starts a fetch.
    #[must_use]
    pub(crate) fn start(
        source: &RemoteSource,
        state: &KeyState,
        now: UnixTime,
    ) -> (Self, Progress) {
        let mut fetch = Self {
            stage: Stage::KeySet,
            deadline: now + source.settings.timeout,
            discovered: None,
        };
        let endpoint = match (&source.start, state.key_set_url(now)) {
            (Start::KeySet(endpoint), _) => Ok(endpoint.clone()),
            (Start::Metadata(_), Some(url)) => source.clusters.endpoint(url),
            (Start::Metadata(endpoint), None) => {
                fetch.stage = Stage::Metadata;
                Ok(endpoint.clone())
            }
        };
        let progress = match endpoint {
            Ok(endpoint) => fetch.call(endpoint, now),
            Err(why) => Progress::Failed(FetchFault::KeySetUrl(why)),
        };
        (fetch, progress)
    }

    /// Takes the answer to the last call; none when there was no answer (time-out, reset, no
    /// healthy host).
    #[must_use]
    pub(crate) fn answered(
        &mut self,
        answer: Option<HttpAnswer>,
        source: &RemoteSource,
        now: UnixTime,
    ) -> Progress {
        let next = document(answer, &source.settings).and_then(|(document, cache_control)| {
            match self.stage {
                Stage::Metadata => {
                    let url = discovery::key_set_url(&document, &source.issuer)?;
                    let endpoint = source.clusters.endpoint(&url).map_err(FetchFault::KeySetUrl)?;
                    self.stage = Stage::KeySet;
                    self.discovered = Some(url);
                    Ok(self.call(endpoint, now))
                }
                Stage::KeySet => Ok(Progress::Done(Fetched {
                    key_set: KeySet::from_json(&document).map_err(FetchFault::KeySet)?,
                    document,
                    lifetime: freshness::lifetime(
                        cache_control.as_deref(),
                        source.settings.max_age,
                    ),
                    discovered: self.discovered.take(),
                })),
            }
        });
        next.unwrap_or_else(Progress::Failed)
    }

    fn call(&self, endpoint: Endpoint, now: UnixTime) -> Progress {
        match self.deadline.since(now) {
            Duration::ZERO => Progress::Failed(FetchFault::NoAnswer),
            left => Progress::Call(endpoint, left),
        }
    }
}

/// Why a fetch brought no key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FetchFault {
    /// Envoy refused to make the call: it does not know this cluster, or no host of it is healthy.
    Dispatch {
        /// The cluster.
        cluster: String,
    },
    /// The answer is no usable key set.
    KeySet(KeySetFault),
    /// The key set's URL may not be called.
    KeySetUrl(EndpointFault),
    /// No answer in time, or the connection broke.
    NoAnswer,
    /// The metadata document is no JSON object, or this member is missing or no string.
    NoMetadata(&'static str),
    /// The metadata document belongs to another issuer.
    OtherIssuer {
        /// The configured one.
        configured: String,
        /// The document's.
        found: String,
    },
    /// The status is not 200. Redirects are not followed. Envoy itself answers with 503 or 504
    /// when it got no answer, and says why in the body.
    Status {
        /// The status; none when it could not be read.
        status: Option<u16>,
        /// How the body begins.
        body: String,
    },
    /// The document is longer than `keys.max_body`.
    TooLong {
        /// `keys.max_body`, in bytes.
        limit: usize,
    },
}

impl fmt::Display for FetchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dispatch { cluster } => {
                write!(f, "Envoy has no cluster {cluster:?}, or no healthy host in it")
            }
            Self::KeySet(why) => write!(f, "the key set is not usable: {why}"),
            Self::KeySetUrl(why) => write!(f, "the jwks_uri that discovery found {why}"),
            Self::NoAnswer => f.write_str("no answer (timeout, reset or no connection)"),
            Self::NoMetadata(name) => {
                write!(f, "the metadata document is not JSON with a string member {name}")
            }
            Self::OtherIssuer { configured, found } => write!(
                f,
                "the metadata document says issuer {found:?}, but {configured:?} is configured"
            ),
            Self::Status { status: Some(status), body } => {
                write!(f, "the answer has status {status}, not 200, and says {body:?}")
            }
            Self::Status { status: None, .. } => f.write_str("the answer has no status"),
            Self::TooLong { limit } => {
                write!(f, "the answer is longer than keys.max_body, {limit} bytes")
            }
        }
    }
}

fn document(
    answer: Option<HttpAnswer>,
    settings: &super::KeySettings,
) -> Result<(Vec<u8>, Option<String>), FetchFault> {
    let answer = answer.ok_or(FetchFault::NoAnswer)?;
    if answer.status != Some(200) {
        const MOST: usize = 120;
        let beginning = answer.body.get(..MOST).unwrap_or(&answer.body);
        let body = String::from_utf8_lossy(beginning).into_owned();
        return Err(FetchFault::Status { status: answer.status, body });
    }
    if answer.body_length > settings.max_body {
        return Err(FetchFault::TooLong { limit: settings.max_body });
    }
    if answer.body.len() != answer.body_length {
        return Err(FetchFault::NoAnswer);
    }
    Ok((answer.body, answer.cache_control))
}
