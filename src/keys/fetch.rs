//! One walk from a source to a key set: at most two calls, within one time-out.

use std::time::Duration;

use super::source::Start;
use super::state::KeyState;
use super::{FetchFault, KeySet, RemoteSource, discovery};
use crate::callout::{BodyLimit, CalloutFault, CalloutResponse, Endpoint};
use crate::keys::freshness;
use crate::time::UnixTime;

/// A fetch under way. Calls are made by whoever holds it; answers come back in.
#[derive(Debug)]
pub(super) struct Fetch {
    stage: FetchStage,
    deadline: UnixTime,
    /// The key set's URL as it was discovered before; it serves while the metadata cannot be read.
    known_url: Option<String>,
    /// The key set's URL, when this fetch discovered it.
    discovered: Option<String>,
    /// Why the metadata could not be read.
    metadata_fault: Option<FetchFault>,
    /// What was called last.
    url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchStage {
    Metadata,
    KeySet,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Progress {
    /// Call this endpoint, and wait for the answer until then.
    Callout(Endpoint, UnixTime),
    /// A set was fetched.
    Done(Box<Fetched>),
    /// The fetch is over without a set.
    Failed(FetchFault),
}

/// What a fetch brought.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The set.
    pub(super) key_set: KeySet,
    /// The document that it was read from.
    pub(super) document: Vec<u8>,
    /// How long it may be used, if the source said so.
    pub(super) stated_lifetime: Option<Duration>,
    /// The key set's URL, when discovery found it just now.
    pub(super) discovered: Option<String>,
    /// Why the metadata could not be read, when a URL that was known served.
    pub(super) metadata_fault: Option<FetchFault>,
}

impl Fetch {
    /// Starts the fetch for which the lease in this state was taken.
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

    /// Takes the answer to the last call; none when there was no answer (time-out, reset, no
    /// healthy host).
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
                Err(fault) => self.go_on_without_metadata(fault, source, now),
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

    /// Like [`Self::on_response`], for a call that Envoy refused to make.
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
            FetchStage::Metadata => self.go_on_without_metadata(fault, source, now),
            FetchStage::KeySet => Err(fault),
        };
        next.unwrap_or_else(Progress::Failed)
    }

    /// What was called last.
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

    /// That the metadata cannot be read is no reason to do without keys; that they say something
    /// else than expected would be.
    fn go_on_without_metadata(
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
        // Metadata that hang must leave time for the key set, if it can do without them.
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
