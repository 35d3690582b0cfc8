//! Single-use tokens. A spent token is recorded until it can no longer be used; if its state is
//! unknown or cannot be recorded, it is refused.
//!
//! The local store is a fixed number of values in shared data, one for all workers of the process
//! and all their configurations: a token spent in one of them is spent in all, and an update of a
//! configuration forgets nothing. The issuer is part of the digest, so providers never conflict.
//! [`SpendAttempt`] says what to read and write; the engine does it.
//!
//! A [`FleetStore`] is shared by all processes of a fleet. It makes the request that spends a token
//! and interprets the response, while the client's request waits.

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

/// Where spent tokens are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplayStore {
    /// In the memory of this process.
    Local,
    /// In a store that several processes share.
    Fleet(FleetStore),
}

/// Why a token could not be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotSpent {
    /// It was spent before.
    AlreadySpent,
    /// Its state is unknown, or it could not be recorded.
    Unknown {
        /// When to retry, counted from now.
        retry_after: Duration,
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
