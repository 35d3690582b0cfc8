//! Where the keys for a token are, or why there are none.

use std::fmt;
use std::time::Duration;

use super::state::Published;
use super::{Candidates, Demand, FetchFailure, KeySet};
use crate::jose::KeyMismatch;

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

impl KeyVersion {
    /// The only one of keys that stand in the configuration.
    pub(super) const STATIC: Self = Self(None);
}

impl From<Published> for KeyVersion {
    fn from(published: Published) -> Self {
        Self(Some(published))
    }
}
