//! Tokens that serve once. What was spent is remembered until nobody could use it any more; if that
//! cannot be known or remembered, the token does not pass.
//!
//! The local store is a fixed number of values in shared data, one for all workers of the process
//! and all their configurations: a token that was spent in one of them is spent in all, and an
//! update of a configuration forgets nothing. The issuer is part of what is remembered, so
//! providers never meet. [`SpendAttempt`] says what to read and write; the shell does it.
//!
//! A [`FleetStore`] is one for all processes of a fleet. It makes the request by which a token is
//! spent, and reads the answer; a request of a client waits meanwhile.

mod fleet;
mod shard;
#[cfg(test)]
mod simulation;
mod single_use_token;
mod spend_attempt;

use std::time::Duration;

pub(crate) use fleet::FleetStore;
#[cfg(any(fuzzing, test))]
pub use shard::fuzz_spent_tokens;
pub(crate) use single_use_token::SingleUseToken;
pub(crate) use spend_attempt::{SpendAttempt, SpendStep};

use crate::refusal::{Refusal, StoreFault};

/// Where it is remembered which tokens were spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplayStore {
    /// In the memory of the process.
    Local,
    /// In one place for several processes.
    Fleet(FleetStore),
}

/// Why a token could not be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotSpent {
    /// It was spent before.
    AlreadySpent,
    /// Nobody can tell, or remember it.
    Unknown {
        /// When to try again.
        retry_after: Duration,
        /// Why.
        fault: StoreFault,
    },
}

impl From<NotSpent> for Refusal {
    fn from(not_spent: NotSpent) -> Self {
        match not_spent {
            NotSpent::AlreadySpent => Self::TokenReplayed,
            NotSpent::Unknown { retry_after, fault } => {
                Self::ReplayStoreUnavailable { retry_after, fault }
            }
        }
    }
}
