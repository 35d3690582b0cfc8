//! Carries out what the life of one provider's keys asks for: shared data, calls and log lines.

use log::{Level, log};

use super::host;
use super::metrics::Metrics;
use crate::keys::{Effect, Event, KeySource, RemoteKeys, SharedNames};
use crate::provider::Provider;
use crate::time::UnixTime;

/// Carries out the effects of one provider's [`RemoteKeys`].
pub(super) struct KeyFetcher {
    provider: String,
    names: SharedNames,
    max_body: usize,
    /// The call that is not answered yet.
    callout: Option<u32>,
}

impl KeyFetcher {
    /// None for a provider whose keys are in the configuration.
    pub(super) fn new(provider: &Provider) -> Option<Self> {
        let KeySource::Remote(source) = &provider.key_source else { return None };
        Some(Self {
            provider: provider.name.clone(),
            names: SharedNames::new(source),
            max_body: source.settings.max_body,
            callout: None,
        })
    }

    /// True when `callout` is a call of this fetcher that is not answered yet.
    pub(super) fn awaits(&self, callout: u32) -> bool {
        self.callout == Some(callout)
    }

    /// Tells the keys what happened, and does what they want done, until they want nothing more.
    pub(super) fn run(
        &mut self,
        event: Event,
        keys: &mut RemoteKeys,
        metrics: &mut Metrics,
        now: UnixTime,
    ) {
        keys.handle(event, now);
        while let Some(effect) = keys.next_effect() {
            if let Some(event) = self.carry_out(effect, metrics, now) {
                keys.handle(event, now);
            }
        }
    }

    /// Hands over the answer to the call, which the host reports just now.
    pub(super) fn on_callout_response(
        &mut self,
        header_count: usize,
        body_length: usize,
        keys: &mut RemoteKeys,
        metrics: &mut Metrics,
        now: UnixTime,
    ) {
        self.callout = None;
        let response = host::callout_response(header_count, body_length, self.max_body);
        self.run(Event::CalloutEnded(response), keys, metrics, now);
    }

    /// Tells how many keys there are, and how old.
    pub(super) fn gauge(&self, keys: &RemoteKeys, metrics: &mut Metrics, now: UnixTime) {
        if let Some((set, age)) = keys.held(now) {
            metrics.set_keys(&self.provider, set.kids().count(), set.dropped());
            metrics.set_age(&self.provider, age.as_secs());
        }
    }

    fn carry_out(&mut self, effect: Effect, metrics: &mut Metrics, now: UnixTime) -> Option<Event> {
        match effect {
            Effect::ReadState => {
                let (bytes, number) = host::shared_value(&self.names.state);
                Some(Event::StateRead(bytes, number))
            }
            Effect::ReplaceState(bytes, number) => Some(Event::StateReplaced(
                host::replace_shared_value(&self.names.state, &bytes, number),
            )),
            Effect::ReadKeySet => {
                let (bytes, number) = host::shared_value(&self.names.key_set);
                Some(Event::KeySetRead(bytes, number))
            }
            Effect::ReplaceKeySet(bytes, number) => Some(Event::KeySetReplaced(
                host::replace_shared_value(&self.names.key_set, &bytes, number),
            )),
            Effect::Callout(endpoint, deadline) => {
                let request = endpoint.request("GET", "application/json, application/jwk-set+json");
                self.callout = host::callout(&request, deadline.since(now));
                Some(Event::CalloutStarted(self.callout.is_some()))
            }
            Effect::Report(report) => {
                if let Some(succeeded) = report.fetch_succeeded() {
                    metrics.count_fetch(&self.provider, succeeded);
                }
                let level = if report.is_fault() { Level::Warn } else { Level::Info };
                log!(level, "provider {}: {report}", self.provider);
                None
            }
        }
    }
}
