//! The keys of one provider, fetched as a worker of the plugin fetches them, without Envoy.

use std::time::Duration;

use super::outside::{Callout, CalloutError, CalloutReply, Outside};
use crate::callout::{CalloutResponse, Endpoint};
use crate::keys::{Effect, Event, FetchFault, FetchReport, RemoteKeys};
use crate::time::UnixTime;

/// Carries out the effects of one provider's [`RemoteKeys`], and remembers what came of them.
#[derive(Debug, Default)]
pub(super) struct KeyRun {
    state: Shared,
    key_set: Shared,
    callouts: Vec<CompletedCallout>,
    /// Why the last fetch failed, if it did.
    fault: Option<FetchFault>,
}

/// A call with what came of it.
#[derive(Clone, Debug)]
pub(super) struct CompletedCallout {
    pub(super) url: String,
    pub(super) cluster: String,
    /// When it was made, and how long it took.
    pub(super) at: UnixTime,
    pub(super) took: Duration,
    pub(super) outcome: Result<CalloutReply, CalloutError>,
}

/// A value that workers would share, with its number.
#[derive(Debug, Default)]
struct Shared(Option<(Vec<u8>, u32)>);

impl KeyRun {
    /// Tells the keys what happened, and does what they want done, until they want nothing more.
    pub(super) fn run(&mut self, event: Event, keys: &mut RemoteKeys, outside: &mut dyn Outside) {
        keys.handle(event, now(outside));
        while let Some(effect) = keys.next_effect() {
            for event in self.carry_out(effect, keys.source().settings.max_body, outside) {
                keys.handle(event, now(outside));
            }
        }
    }

    /// All calls so far.
    pub(super) fn callouts(&self) -> &[CompletedCallout] {
        &self.callouts
    }

    /// Why the last fetch failed, if it did.
    pub(super) fn fault(&self) -> Option<&FetchFault> {
        self.fault.as_ref()
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        max_body: usize,
        outside: &mut dyn Outside,
    ) -> Vec<Event> {
        match effect {
            Effect::ReadState => {
                let (bytes, number) = self.state.read();
                vec![Event::StateRead(bytes, number)]
            }
            Effect::ReplaceState(bytes, number) => {
                vec![Event::StateReplaced(self.state.replace(bytes, number))]
            }
            Effect::ReadKeySet => {
                let (bytes, number) = self.key_set.read();
                vec![Event::KeySetRead(bytes, number)]
            }
            Effect::ReplaceKeySet(bytes, number) => {
                vec![Event::KeySetReplaced(self.key_set.replace(bytes, number))]
            }
            Effect::Callout(endpoint, deadline) => {
                self.call(&endpoint, deadline, max_body, outside).events()
            }
            Effect::Report(report) => {
                match report {
                    FetchReport::Failed { fault, .. } => self.fault = Some(fault),
                    FetchReport::Fetched { .. } => self.fault = None,
                    FetchReport::MetadataFailed(_) => {}
                }
                vec![]
            }
        }
    }

    fn call(
        &mut self,
        endpoint: &Endpoint,
        deadline: UnixTime,
        max_body: usize,
        outside: &mut dyn Outside,
    ) -> &CompletedCallout {
        let at = now(outside);
        let request = endpoint.request("GET", "application/json, application/jwk-set+json");
        let fields = request.fields.into_iter().filter(|(name, _)| !name.starts_with(':'));
        let call = Callout {
            url: endpoint.to_string(),
            cluster: request.cluster,
            fields: fields.collect(),
            timeout: deadline.since(at),
            max_body,
        };
        let outcome = outside.call(&call);
        let took = now(outside).since(at);
        let Callout { url, cluster, .. } = call;
        self.callouts.push_mut(CompletedCallout { url, cluster, at, took, outcome })
    }
}

impl CompletedCallout {
    /// What the plugin sees of it.
    fn events(&self) -> Vec<Event> {
        let response = match &self.outcome {
            Err(CalloutError::NoCluster) => return vec![Event::CalloutStarted(false)],
            Err(_) => None,
            Ok(reply) => Some(CalloutResponse {
                status: Some(reply.status),
                cache_control: reply.cache_control.clone(),
                content_encoding: reply.content_encoding.clone(),
                location: reply.location.clone(),
                body_length: reply.body.len(),
                body: reply.body.clone(),
            }),
        };
        vec![Event::CalloutStarted(true), Event::CalloutEnded(response)]
    }

    /// By how many seconds the clock here is ahead of the provider's; negative if it is behind. None
    /// when the two agree as closely as can be told.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        /// `Date` counts whole seconds, and caches keep it.
        const UNSURE: u64 = 5;
        let there = UnixTime::from_secs(self.outcome.as_ref().ok()?.date?);
        let ahead = self.at.since(there + self.took).as_secs();
        let behind = there.since(self.at + self.took).as_secs();
        match (ahead > UNSURE, behind > UNSURE) {
            (true, _) => i64::try_from(ahead).ok(),
            (_, true) => i64::try_from(behind).ok().map(|behind| -behind),
            _ => None,
        }
    }
}

impl Shared {
    fn read(&self) -> (Option<Vec<u8>>, Option<u32>) {
        self.0.clone().unzip()
    }

    fn replace(&mut self, bytes: Vec<u8>, number: Option<u32>) -> bool {
        let current = self.0.as_ref().map(|(_, number)| *number);
        let is_current = current == number;
        if is_current {
            self.0 = Some((bytes, current.unwrap_or_default().saturating_add(1)));
        }
        is_current
    }
}

/// The time outside.
pub(super) fn now(outside: &dyn Outside) -> UnixTime {
    UnixTime::default() + Duration::from_millis(outside.now())
}
