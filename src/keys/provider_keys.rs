//! The keys of one provider, as one worker sees them.

use std::time::Duration;

use super::{
    Demand, KeyLookup, KeySet, KeySetLookup, KeySource, KeyVersion, KeysUnavailable, NoKeys,
    RemoteKeys,
};
use crate::jose::{Algorithm, ProtectedHeader};
use crate::time::UnixTime;

/// The keys of one provider, as one worker sees them.
#[derive(Debug)]
pub(crate) enum ProviderKeys {
    /// Keys in the configuration.
    Static(KeySet),
    /// Keys that are fetched.
    Remote(Box<RemoteKeys>),
}

impl ProviderKeys {
    /// The keys before the first fetch. `seed` must differ between workers.
    #[must_use]
    pub(crate) fn new(source: KeySource, seed: u64) -> Self {
        match source {
            KeySource::Static(set) => Self::Static(set),
            KeySource::Remote(source) => Self::Remote(Box::new(RemoteKeys::new(*source, seed))),
        }
    }

    /// Finds the keys for a token with this header.
    #[must_use]
    pub(crate) fn find(
        &self,
        header: &ProtectedHeader,
        algorithm: Algorithm,
        now: UnixTime,
    ) -> KeyLookup<'_> {
        match self {
            Self::Static(set) => match set.find(header, algorithm) {
                KeySetLookup::Candidates(candidates) => {
                    KeyLookup::Candidates(candidates, KeyVersion::STATIC)
                }
                KeySetLookup::KeyMismatch(mismatch) => KeyLookup::KeyMismatch(mismatch),
                KeySetLookup::NotFound => KeyLookup::Unknown(set),
            },
            Self::Remote(keys) => keys.find(header, algorithm, now),
        }
    }

    /// The version of the keys in use; `None` if there are none. While it is unchanged, verdicts on
    /// tokens remain valid.
    #[must_use]
    pub(crate) fn version(&self, now: UnixTime) -> Option<KeyVersion> {
        match self {
            Self::Static(_) => Some(KeyVersion::STATIC),
            Self::Remote(keys) => keys.serving_version(now).map(KeyVersion::from),
        }
    }

    /// What to wait for when none of the current keys verifies a token: a fetch that is in progress
    /// or may start because of it.
    #[must_use]
    pub(crate) fn newer_keys(&self, now: UnixTime) -> Option<Demand> {
        self.remote().and_then(|keys| keys.newer_keys(now))
    }

    /// The same for a token that the provider issued a moment ago: its key may be new.
    #[must_use]
    pub(crate) fn issued_key(&self, now: UnixTime) -> Option<Demand> {
        self.remote().and_then(|keys| keys.issued_key(now))
    }

    /// See [`RemoteKeys::newer_keys_missed`].
    #[must_use]
    pub(crate) fn newer_keys_missed(
        &self,
        sought: Option<Demand>,
        now: UnixTime,
    ) -> Option<KeysUnavailable> {
        self.remote().and_then(|keys| keys.newer_keys_missed(sought, now))
    }

    /// Why no token can be verified now, if that is known: there are no keys, and the last fetch
    /// failed.
    #[must_use]
    pub(crate) fn outage(&self, now: UnixTime) -> Option<KeysUnavailable> {
        self.remote().and_then(|keys| keys.outage(now))
    }

    /// What a token that matches none of the keys can wait for; `None` if waiting cannot help.
    #[must_use]
    pub(crate) fn awaited(&self, now: UnixTime) -> Option<Demand> {
        self.remote().and_then(|keys| keys.awaited(now))
    }

    /// Why no keys are available, if there are none that verify the token.
    #[must_use]
    pub(crate) fn unavailability(&self, now: UnixTime) -> KeysUnavailable {
        let nothing = KeysUnavailable { retry_after: Duration::ZERO, why: NoKeys::NotFetched };
        self.remote().map_or(nothing, |keys| keys.unavailability(now))
    }

    /// The longest time that a request waits for keys, whatever their source does.
    #[must_use]
    pub(crate) fn max_wait(&self) -> Duration {
        self.remote().map(|keys| keys.source().max_wait()).unwrap_or_default()
    }

    /// The keys, if they are fetched.
    #[must_use]
    pub(crate) fn remote(&self) -> Option<&RemoteKeys> {
        match self {
            Self::Static(_) => None,
            Self::Remote(keys) => Some(keys),
        }
    }

    /// The keys, if they are fetched.
    pub(crate) fn remote_mut(&mut self) -> Option<&mut RemoteKeys> {
        match self {
            Self::Static(_) => None,
            Self::Remote(keys) => Some(keys),
        }
    }
}
