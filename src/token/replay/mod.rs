//! Tokens that serve once. What was spent is remembered until nobody could use it any more; if that
//! cannot be known or remembered, the token does not pass.
//!
//! The local store is a fixed number of values in shared data, one for all workers of the process
//! and all their configurations: a token that was spent in one of them is spent in all, and an
//! update of a configuration forgets nothing. The issuer is part of what is remembered, so
//! providers never meet. [`Spending`] says what to read and write; the shell does it.

mod shard;
#[cfg(test)]
mod simulation;
mod spending;
mod token_use;

use std::fmt;
use std::time::Duration;

pub(crate) use spending::{Spending, SpendingStep};
pub(crate) use token_use::TokenUse;

/// Why a token could not be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What keeps the store from spending a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// The clock was set back: tokens that can be used again were forgotten.
    ClockSetBack,
    /// Other workers wrote each time in between.
    Contended,
    /// There is no room for another token.
    Full,
    /// What stands there was not written by this plugin.
    Unreadable,
}

/// For the operator.
impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClockSetBack => {
                "the clock was set back, and the token may be one that was forgotten before"
            }
            Self::Contended => "other workers wrote each time in between",
            Self::Full => "there is no room for another token until older ones expire",
            Self::Unreadable => {
                "something else wrote into this plugin's shared data; what it held is lost until \
                 Envoy restarts"
            }
        })
    }
}
