//! The keys for a token, or why there are none.

use std::fmt;
use std::time::Duration;

use super::state::Published;
use super::{Candidates, Demand, FetchFailure, KeySet};
use crate::jose::KeyMismatch;

/// The keys for a token, or why there are none.
#[derive(Debug)]
pub(crate) enum KeyLookup<'a> {
    /// Not available yet: a fetch is in progress, or should start for this demand.
    Await(Demand),
    /// Keys to try in turn, and the version of their key set.
    Candidates(Candidates<'a>, KeyVersion),
    /// The key that the token names may not verify it.
    KeyMismatch(KeyMismatch),
    /// No keys are available to verify the token with.
    Unavailable(KeysUnavailable),
    /// The provider has no such key; this is its key set.
    Unknown(&'a KeySet),
}

/// No keys are available to verify a token with.
#[derive(Debug)]
pub(crate) struct KeysUnavailable {
    /// When the client should retry, counted from now.
    pub retry_after: Duration,
    pub why: NoKeys,
}

/// Why no keys are available to verify a token with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoKeys {
    /// The last fetch failed.
    FetchFailed(FetchFailure),
    /// No fetch has completed yet.
    NotFetchedYet,
    /// There are keys, but the token may need newer ones.
    NewerNotFetched,
    /// Nothing fetches keys for this token.
    NotFetched,
    /// There are keys, but too many requests are waiting for their bodies.
    TooManyBodies,
    /// There are keys, but too many tokens that name none of them are being verified.
    TooManyTrials,
}

/// For the operator only: a cause may reveal the internal network.
impl fmt::Display for NoKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FetchFailed(failure) => &failure.cause,
            Self::NotFetchedYet => "the first fetch of keys has not completed yet",
            Self::NewerNotFetched => {
                "the token may need newer keys than the current ones, and none were fetched in time"
            }
            Self::NotFetched => "keys of this provider are not fetched",
            Self::TooManyBodies => "too many requests wait for their bodies",
            Self::TooManyTrials => "too many tokens that name no key are being verified",
        })
    }
}

/// Identifies one of the successive key sets of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyVersion(Option<Published>);

impl KeyVersion {
    /// The version of keys in the configuration, which never change.
    pub(super) const STATIC: Self = Self(None);
}

impl From<Published> for KeyVersion {
    fn from(published: Published) -> Self {
        Self(Some(published))
    }
}
