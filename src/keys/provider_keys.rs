//! The keys of one provider, as one worker answers from them.

use std::fmt;
use std::time::Duration;

use super::state::Published;
use super::{Candidates, Demand, FetchFailure, KeySet, KeySetLookup, KeySource, RemoteKeys};
use crate::jose::{Algorithm, KeyMismatch, ProtectedHeader};
use crate::time::UnixTime;

/// The keys of one provider, as one worker answers from them.
#[derive(Debug)]
pub(crate) enum ProviderKeys {
    /// They stand in the configuration.
    Static(KeySet),
    /// They are fetched.
    Remote(Box<RemoteKeys>),
}

/// Where the keys for a token are.
#[derive(Debug)]
pub(crate) enum KeyLookup<'a> {
    /// Not here yet: a fetch is under way, or should be started for this demand.
    Await(Demand),
    /// Keys to try in turn, and the version of the set that they are of.
    Candidates(Candidates<'a>, KeyVersion),
    /// The key that the token names must not verify it.
    KeyMismatch(KeyMismatch),
    /// There are none to judge the token by.
    Unavailable(KeysUnavailable),
    /// The provider has no such key; these are all that it has.
    Unknown(&'a KeySet),
}

/// That there are no keys to judge a token by.
#[derive(Debug)]
pub(crate) struct KeysUnavailable {
    /// When to try again.
    pub retry_after: Duration,
    /// Why.
    pub why: NoKeys,
}

/// Why there are no keys to judge a token by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoKeys {
    /// The last fetch failed.
    FetchFailed(FetchFailure),
    /// No fetch has ended yet.
    NotFetchedYet,
    /// Nothing fetches keys for this token.
    NotFetched,
    /// There are keys, but too many requests wait for their bodies.
    TooManyBodies,
    /// There are keys, but too many tokens that name none of them are being verified.
    TooManyTrials,
}

/// For the operator alone: a cause may show the inside of the network.
impl fmt::Display for NoKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FetchFailed(failure) => &failure.cause,
            Self::NotFetchedYet => "the fetch of keys has not ended yet",
            Self::NotFetched => "keys of this provider are not fetched",
            Self::TooManyBodies => "too many requests wait for their bodies",
            Self::TooManyTrials => "too many tokens that name no key are being verified",
        })
    }
}

/// Tells the key sets of one provider apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyVersion(Option<Published>);

impl From<Published> for KeyVersion {
    fn from(published: Published) -> Self {
        Self(Some(published))
    }
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
                    KeyLookup::Candidates(candidates, KeyVersion(None))
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
            Self::Static(_) => Some(KeyVersion(None)),
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
