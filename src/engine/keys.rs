//! The keys of providers: carries out the effects of [`RemoteKeys`].

use std::time::Duration;

use log::Level;

use super::Engine;
use super::callouts::{Callout, Callouts, Purpose};
use super::host::{Host, KeyDemand, Part};
use super::metrics::Metrics;
use crate::keys::{Demand, Effect, Event, RemoteKeys};
use crate::provider::ProviderId;
use crate::time::UnixTime;

impl<H: Host> Engine<H> {
    /// How often an unmet demand is passed on again.
    const DEMAND_INTERVAL: Duration = Duration::from_secs(1);

    /// Fetches keys that requests of another engine of the process wait for.
    pub fn fetch_keys(&mut self, KeyDemand { provider, demand }: KeyDemand) {
        let Some(now) = self.host.now() else { return };
        if let Some(keys) = self.keys[provider].remote_mut() {
            keys.want(demand);
        }
        self.run_keys(provider, Event::Tick, now);
        self.set_pace(now);
    }

    /// Reads the shared state of a provider's keys.
    pub(super) fn sync_keys(&mut self, provider: ProviderId, now: UnixTime) {
        let announcements = self.host.key_announcements();
        if announcements.is_none() || self.key_views[provider].announcements != announcements {
            self.run_keys(provider, Event::Request, now);
            self.key_views[provider].announcements = announcements;
        }
    }

    /// Does what is due for a provider's keys.
    pub(super) fn tick_keys(&mut self, provider: ProviderId, now: UnixTime) {
        match self.host.part() {
            Part::All => {
                self.run_keys(provider, Event::Tick, now);
                self.gauge_keys(provider, now);
            }
            Part::Requests => self.sync_keys(provider, now),
        }
    }

    /// Records that a request waits for keys of this provider.
    pub(super) fn want_keys(&mut self, provider: ProviderId, demand: Demand, now: UnixTime) {
        match self.host.part() {
            Part::All => {
                if let Some(keys) = self.keys[provider].remote_mut() {
                    keys.want(demand);
                }
            }
            Part::Requests => {
                let handed_on = HandedOn { demand, announcements: self.host.key_announcements() };
                let view = &mut self.key_views[provider];
                let is_known = view.handed_on.is_some_and(|(known, at)| {
                    known == handed_on && now >= at && now < at + Self::DEMAND_INTERVAL
                });
                if !is_known {
                    view.handed_on = Some((handed_on, now));
                    self.host.demand_keys(KeyDemand { provider, demand });
                }
            }
        }
    }

    /// Passes an event to a provider's keys, and carries out the effects until there are none.
    pub(super) fn run_keys(&mut self, provider: ProviderId, event: Event, now: UnixTime) {
        let Some(keys) = self.keys[provider].remote_mut() else { return };
        let mut effects = Effects {
            host: &mut self.host,
            callouts: &mut self.callouts,
            metrics: &mut self.metrics,
            provider,
            provider_name: &self.provider_names[provider],
        };
        keys.handle(event, now);
        while let Some(effect) = keys.next_effect() {
            if let Some(event) = effects.carry_out(effect, keys, now) {
                keys.handle(event, now);
            }
        }
    }

    /// Reports the number and the age of a provider's keys.
    pub(super) fn gauge_keys(&mut self, provider: ProviderId, now: UnixTime) {
        if let Some((set, age)) = self.keys[provider].remote().and_then(|keys| keys.held(now)) {
            self.metrics.set_keys(provider, set.keys().len(), set.dropped(), &self.host);
            self.metrics.set_age(provider, age.as_secs(), &self.host);
        }
    }
}

/// The announcements of a provider's keys, as one engine has seen them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyView {
    /// How many there had been when shared data was last read.
    announcements: Option<u64>,
    /// The demand that was last passed on to the engine that fetches, and when.
    handed_on: Option<(HandedOn, UnixTime)>,
}

/// A demand, and how many announcements there had been when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HandedOn {
    demand: Demand,
    announcements: Option<u64>,
}

/// The state that the effects of one provider's keys change.
struct Effects<'a, H> {
    host: &'a mut H,
    callouts: &'a mut Callouts,
    metrics: &'a mut Metrics,
    provider: ProviderId,
    provider_name: &'a str,
}

impl<H: Host> Effects<'_, H> {
    /// Carries out an effect. Returns the event that follows.
    fn carry_out(&mut self, effect: Effect, keys: &RemoteKeys, now: UnixTime) -> Option<Event> {
        let names = keys.names();
        match effect {
            Effect::ReadState => {
                let (bytes, version) = self.host.shared_value(&names.state);
                Some(Event::StateRead(bytes, version))
            }
            Effect::ReplaceState(bytes, version) => {
                let is_done = self.host.replace_shared_value(&names.state, &bytes, version);
                if is_done {
                    self.host.announce_keys();
                }
                Some(Event::StateReplaced(is_done))
            }
            Effect::ReadKeySet => {
                let (bytes, version) = self.host.shared_value(&names.key_set);
                Some(Event::KeySetRead(bytes, version))
            }
            Effect::ReplaceKeySet(bytes, version) => Some(Event::KeySetReplaced(
                self.host.replace_shared_value(&names.key_set, &bytes, version),
            )),
            Effect::Callout(endpoint, deadline) => {
                let max_body = keys.source().settings.max_body;
                let request = endpoint.request("GET", RemoteKeys::ACCEPT, max_body);
                let callout = self.host.call(&request, deadline.since(now));
                if let Some(id) = callout {
                    let purpose = Purpose::Keys(self.provider);
                    self.callouts.insert(id, Callout { purpose, max_body });
                }
                Some(Event::CalloutStarted(callout.is_some()))
            }
            Effect::Report(report) => {
                let name = self.provider_name;
                if let Some(succeeded) = report.fetch_succeeded() {
                    self.metrics.count_fetch(name, succeeded, self.host);
                }
                let level = if report.is_fault() { Level::Warn } else { Level::Info };
                self.host.log(level, format_args!("provider {name}: {report}"));
                None
            }
        }
    }
}
