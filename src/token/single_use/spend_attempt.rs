//! Spends a token in the local store: reads one value and replaces it, and retries if another
//! worker was faster.

use std::time::Duration;

use super::shard::Shard;
use super::{NotSpent, SingleUseToken};
use crate::refusal::StoreFault;
use crate::time::UnixTime;

/// An attempt to spend one token. It begins with [`SpendStep::Read`].
#[derive(Debug)]
pub(crate) struct SpendAttempt {
    single_use_token: SingleUseToken,
    now: UnixTime,
    attempts_left: u32,
}

/// The next step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SpendStep {
    /// Read the value, and pass it to [`SpendAttempt::on_read`].
    Read,
    /// Replace the value with this version, or create it if there is still none; and pass the success
    /// to [`SpendAttempt::on_replaced`].
    Replace(Vec<u8>, Option<u32>),
    /// Nothing more; this is the result.
    Done(Result<(), NotSpent>),
}

impl SpendAttempt {
    /// Each failure is a success of another worker. So many in a row, at one of 256 values, are not
    /// a coincidence.
    const MAX_ATTEMPTS: u32 = 32;
    /// When a client should retry after that.
    const SHORT_PAUSE: Duration = Duration::from_secs(1);
    /// When a client should retry if only a restart helps.
    const LONG_PAUSE: Duration = Duration::from_secs(60);

    /// Begins to spend a token that passed all other checks.
    #[must_use]
    pub(crate) fn new(single_use_token: SingleUseToken, now: UnixTime) -> Self {
        Self { single_use_token, now, attempts_left: Self::MAX_ATTEMPTS }
    }

    /// The name of the value.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        Shard::name(self.single_use_token.digest.shard())
    }

    /// Takes the value and its version; both are `None` if there is no value.
    #[must_use]
    pub(crate) fn on_read(&self, bytes: Option<&[u8]>, version: Option<u32>) -> SpendStep {
        let shard = match (bytes, version) {
            (None, None) => Some(Shard::default()),
            // An empty value is not ours either.
            (bytes, _) => {
                Shard::decode(self.single_use_token.digest.shard(), bytes.unwrap_or_default())
            }
        };
        // Starting over would forget spent tokens.
        let Some(mut shard) = shard else {
            return Self::failed(StoreFault::Unreadable, Self::LONG_PAUSE);
        };
        match shard.spend(self.single_use_token, self.now) {
            Ok(()) => SpendStep::Replace(shard.encode(), version),
            Err(not_spent) => SpendStep::Done(Err(not_spent)),
        }
    }

    /// Takes whether the value was replaced; if not, its version had changed.
    #[must_use]
    pub(crate) fn on_replaced(&mut self, is_done: bool) -> SpendStep {
        if is_done {
            return SpendStep::Done(Ok(()));
        }
        self.attempts_left = self.attempts_left.saturating_sub(1);
        if self.attempts_left == 0 {
            return Self::failed(StoreFault::Contended, Self::SHORT_PAUSE);
        }
        SpendStep::Read
    }

    #[cfg(test)]
    pub(super) fn single_use_token(&self) -> SingleUseToken {
        self.single_use_token
    }

    fn failed(fault: StoreFault, retry_after: Duration) -> SpendStep {
        SpendStep::Done(Err(NotSpent::Unknown { retry_after, fault }))
    }
}
