//! The keys of one provider as one worker holds them.

use std::time::Duration;

use super::{Demand, KeySet, KeySource, KeyState, Lookup, Published, RemoteSource};
use crate::jose::{Algorithm, Misfit, ProtectedHeader, PublicKey};
use crate::time::UnixTime;

/// The keys of one provider as one worker holds them: its copy of the published set, and the state
/// that the workers share as it last saw it.
#[derive(Debug)]
pub(crate) struct ProviderKeys {
    source: KeySource,
    state: KeyState,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    set: KeySet,
    published: Published,
}

/// Where the keys for a token are.
#[derive(Debug)]
pub(crate) enum KeyAnswer<'a> {
    /// Not here yet: a fetch is under way, or should be started for this demand.
    Await(Demand),
    /// Keys to try in turn.
    Candidates(Vec<&'a PublicKey>),
    /// The key that the token names must not verify it.
    Misfit(Misfit),
    /// There are none to judge the token by.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// The provider has no such key.
    Unknown,
}

impl ProviderKeys {
    /// Nothing but what stands in the configuration.
    #[must_use]
    pub(crate) fn new(source: KeySource) -> Self {
        Self { source, state: KeyState::default(), held: None }
    }

    /// Takes over the state that the workers share. Returns the publication whose set should be
    /// read next, if it is not the one that is held.
    pub(crate) fn observe(&mut self, state: KeyState) -> Option<Published> {
        self.state = state;
        let published = self.state.published()?;
        let held = self.held.as_ref().map(|held| held.published.version);
        (held != Some(published.version)).then_some(published)
    }

    /// Takes over a published set.
    pub(crate) fn hold(&mut self, published: Published, set: KeySet) {
        self.held = Some(Held { set, published });
    }

    /// Finds the keys for a token with this header.
    #[must_use]
    pub(crate) fn find(
        &self,
        header: &ProtectedHeader,
        algorithm: Algorithm,
        now: UnixTime,
    ) -> KeyAnswer<'_> {
        let remote = match &self.source {
            KeySource::Static(set) => return found(set.find(header, algorithm)),
            KeySource::Remote(remote) => remote,
        };
        let serves = |published: &Published| now < published.serves_until(&remote.settings);
        let Some(held) = self.held.as_ref().filter(|held| serves(&held.published)) else {
            // A published set that could not be read is fetched anew, within the cool-down.
            let unread = self.state.published().filter(serves);
            let demand = unread.map_or(Demand::Due, |published| Demand::UnknownKid {
                searched: published.version,
            });
            return self.without_keys(remote, demand, now);
        };
        match found(held.set.find(header, algorithm)) {
            KeyAnswer::Unknown => {
                let held = held.published.version;
                let searched = self.state.published().map_or(held, |newest| newest.version);
                match self.without_keys(remote, Demand::UnknownKid { searched }, now) {
                    // The source answered well not long ago: then there is no such key.
                    KeyAnswer::Unavailable { .. }
                        if searched == held && !self.state.is_failing() =>
                    {
                        KeyAnswer::Unknown
                    }
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    /// The source, if keys are fetched from one.
    #[must_use]
    pub(crate) fn remote(&self) -> Option<&RemoteSource> {
        match &self.source {
            KeySource::Remote(remote) => Some(remote),
            KeySource::Static(_) => None,
        }
    }

    /// The state that the workers share, as it was last seen.
    #[must_use]
    pub(crate) fn state(&self) -> &KeyState {
        &self.state
    }

    fn without_keys(&self, remote: &RemoteSource, demand: Demand, now: UnixTime) -> KeyAnswer<'_> {
        if self.state.is_fetching(now) || self.state.may_fetch(demand, &remote.settings, now) {
            KeyAnswer::Await(demand)
        } else {
            KeyAnswer::Unavailable { retry_after: self.state.retry_after(now) }
        }
    }
}

fn found(lookup: Lookup<'_>) -> KeyAnswer<'_> {
    match lookup {
        Lookup::Candidates(keys) => KeyAnswer::Candidates(keys),
        Lookup::Misfit(misfit) => KeyAnswer::Misfit(misfit),
        Lookup::NotFound => KeyAnswer::Unknown,
    }
}
