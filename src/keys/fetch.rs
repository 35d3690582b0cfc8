//! One fetch from a source to a key set: at most two callouts, within one timeout.

use std::time::Duration;

use super::source::Start;
use super::state::KeyState;
use super::{FetchFault, KeySet, RemoteSource, discovery};
use crate::callout::{BodyLimit, CalloutFault, CalloutResponse, Endpoint};
use crate::keys::freshness;
use crate::time::UnixTime;

/// A fetch in progress. Its holder makes the callouts and passes the responses in.
#[derive(Debug)]
pub(super) struct Fetch {
    stage: FetchStage,
    deadline: UnixTime,
    /// The key set's URL from an earlier discovery; used while the metadata cannot be read.
    known_url: Option<String>,
    /// The key set's URL, if this fetch discovered it.
    discovered: Option<String>,
    /// Why the metadata could not be read.
    metadata_fault: Option<FetchFault>,
    /// The URL of the last callout.
    url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchStage {
    Metadata,
    KeySet,
}

/// The next step of a fetch.
#[derive(Debug)]
pub(super) enum Progress {
    /// Call this endpoint, and wait for the response until then.
    Callout(Endpoint, UnixTime),
    /// A key set was fetched.
    Done(Box<Fetched>),
    /// The fetch ended without a key set.
    Failed(FetchFault),
}

/// The result of a successful fetch.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) key_set: KeySet,
    /// The document that the key set was read from.
    pub(super) document: Vec<u8>,
    /// How long it may be used, if the source stated it.
    pub(super) stated_lifetime: Option<Duration>,
    /// The key set's URL, if this fetch discovered it.
    pub(super) discovered: Option<String>,
    /// Why the metadata could not be read, if a known URL was used instead.
    pub(super) metadata_fault: Option<FetchFault>,
}

impl Fetch {
    /// Starts the fetch for the lease taken in this state.
    #[must_use]
    pub(super) fn start(
        source: &RemoteSource,
        state: &KeyState,
        now: UnixTime,
    ) -> (Self, Progress) {
        let mut fetch = Self {
            stage: FetchStage::KeySet,
            deadline: state.fetch_deadline(&source.settings, now),
            known_url: state.key_set_url().map(str::to_owned),
            discovered: None,
            metadata_fault: None,
            url: String::new(),
        };
        let progress = match &source.start {
            Start::KeySet(endpoint) => fetch.call(endpoint.clone(), now),
            Start::Metadata(endpoint) if state.should_discover(now) => {
                fetch.stage = FetchStage::Metadata;
                fetch.call(endpoint.clone(), now)
            }
            Start::Metadata(_) => fetch.call_known_url(source, now),
        };
        (fetch, progress.unwrap_or_else(Progress::Failed))
    }

    /// Takes the response to the last callout; `None` if there was none (timeout, reset, no healthy
    /// host).
    #[must_use]
    pub(super) fn on_response(
        &mut self,
        response: Option<CalloutResponse>,
        source: &RemoteSource,
        now: UnixTime,
    ) -> Progress {
        let limit = BodyLimit { bytes: source.settings.max_body, setting: "keys.max_body" };
        let response =
            CalloutResponse::checked(response, &[200], limit).map_err(FetchFault::Callout);
        let next = match self.stage {
            FetchStage::Metadata => match response {
                Ok(response) => {
                    let followed = self.follow_metadata(&response.body, source, now);
                    followed.map_err(|fault| fault.explained_by(&response))
                }
                Err(fault) => self.continue_without_metadata(fault, source, now),
            },
            FetchStage::KeySet => response.and_then(|response| {
                let key_set = KeySet::from_json(&response.body)
                    .map_err(|fault| FetchFault::KeySet(fault).explained_by(&response))?;
                Ok(Progress::Done(Box::new(Fetched {
                    key_set,
                    document: response.body,
                    stated_lifetime: response
                        .cache_control
                        .as_deref()
                        .and_then(freshness::lifetime),
                    discovered: self.discovered.take(),
                    metadata_fault: self.metadata_fault.take(),
                })))
            }),
        };
        next.unwrap_or_else(Progress::Failed)
    }

    /// Like [`Self::on_response`], for a callout that Envoy refused to make.
    #[must_use]
    pub(super) fn callout_refused(
        &mut self,
        endpoint: &Endpoint,
        source: &RemoteSource,
        now: UnixTime,
    ) -> Progress {
        let cluster = endpoint.cluster().to_owned();
        let fault = FetchFault::Callout(CalloutFault::Dispatch { cluster });
        let next = match self.stage {
            FetchStage::Metadata => self.continue_without_metadata(fault, source, now),
            FetchStage::KeySet => Err(fault),
        };
        next.unwrap_or_else(Progress::Failed)
    }

    /// The URL of the last callout.
    #[must_use]
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn follow_metadata(
        &mut self,
        document: &[u8],
        source: &RemoteSource,
        now: UnixTime,
    ) -> Result<Progress, FetchFault> {
        let url = discovery::key_set_url(document, &source.issuer)?;
        let endpoint = source.clusters.endpoint(&url).map_err(FetchFault::KeySetUrl)?;
        self.stage = FetchStage::KeySet;
        self.discovered = Some(url);
        self.call(endpoint, now)
    }

    /// Unreadable metadata does not stop a fetch whose key set URL is known; metadata with
    /// unexpected content does.
    fn continue_without_metadata(
        &mut self,
        fault: FetchFault,
        source: &RemoteSource,
        now: UnixTime,
    ) -> Result<Progress, FetchFault> {
        if self.known_url.is_none() || self.time_left(now).is_zero() {
            return Err(fault);
        }
        self.metadata_fault = Some(fault);
        self.stage = FetchStage::KeySet;
        self.call_known_url(source, now)
    }

    fn call_known_url(
        &mut self,
        source: &RemoteSource,
        now: UnixTime,
    ) -> Result<Progress, FetchFault> {
        let url = self.known_url.take().unwrap_or_default();
        let endpoint = source.clusters.endpoint(&url).map_err(FetchFault::KeySetUrl)?;
        self.call(endpoint, now)
    }

    fn call(&mut self, endpoint: Endpoint, now: UnixTime) -> Result<Progress, FetchFault> {
        let left = self.time_left(now);
        // A metadata request that hangs must leave time for the key set, if its URL is known.
        let can_do_without = self.stage == FetchStage::Metadata && self.known_url.is_some();
        let deadline = if can_do_without { now + left / 2 } else { self.deadline };
        if deadline <= now {
            return Err(FetchFault::Callout(CalloutFault::NoResponse));
        }
        self.url = endpoint.to_string();
        Ok(Progress::Callout(endpoint, deadline))
    }

    fn time_left(&self, now: UnixTime) -> Duration {
        self.deadline.since(now)
    }
}
