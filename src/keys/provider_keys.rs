//! The keys of one provider, as one worker answers from them.

use std::time::Duration;

use super::{
    Demand, KeyLookup, KeySet, KeySetLookup, KeySource, KeyVersion, KeysUnavailable, NoKeys,
    RemoteKeys,
};
use crate::jose::{Algorithm, ProtectedHeader};
use crate::time::UnixTime;

/// The keys of one provider, as one worker answers from them.
#[derive(Debug)]
pub(crate) enum ProviderKeys {
    /// They stand in the configuration.
    Static(KeySet),
    /// They are fetched.
    Remote(Box<RemoteKeys>),
}

impl ProviderKeys {
    /// Nothing but what stands in the configuration. `seed` must differ between workers.
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

    /// Which keys tokens are judged by now; none if there are none. As long as this stays the same,
    /// so does what they say of a token.
    #[must_use]
    pub(crate) fn version(&self, now: UnixTime) -> Option<KeyVersion> {
        match self {
            Self::Static(_) => Some(KeyVersion::STATIC),
            Self::Remote(keys) => keys.serving_version(now).map(KeyVersion::from),
        }
    }

    /// What to wait for when none of the keys that are held verifies a token: a fetch that is under
    /// way, or that may be started because of it.
    #[must_use]
    pub(crate) fn newer_keys(&self, now: UnixTime) -> Option<Demand> {
        self.remote().and_then(|keys| keys.newer_keys(now))
    }

    /// What a token that none of the keys serves can wait for; none when waiting is of no use.
    #[must_use]
    pub(crate) fn awaited(&self, now: UnixTime) -> Option<Demand> {
        self.remote().and_then(|keys| keys.awaited(now))
    }

    /// Why there are no keys, if there are none.
    #[must_use]
    pub(crate) fn unavailability(&self, now: UnixTime) -> KeysUnavailable {
        let nothing = KeysUnavailable { retry_after: Duration::ZERO, why: NoKeys::NotFetched };
        self.remote().map_or(nothing, |keys| keys.unavailability(now))
    }

    /// The longest that a request waits for keys, whatever their source does.
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
