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

use std::fmt;
use std::time::Duration;

pub(crate) use fleet::FleetStore;
pub(crate) use single_use_token::SingleUseToken;
pub(crate) use spend_attempt::{SpendAttempt, SpendStep};

use crate::callout::CalloutFault;

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

/// What keeps the store from spending a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// The call of the fleet's store brought nothing of use.
    Callout(CalloutFault),
    /// The clock was set back: tokens that can be used again were forgotten.
    ClockSetBack,
    /// Other workers wrote each time in between.
    Contended,
    /// Too many requests wait already.
    Crowded,
    /// There is no room for another token.
    Full,
    /// The fleet's store says something else than that the token is spent now, or was before.
    Unclear {
        /// How its answer begins.
        response: String,
    },
    /// What stands there was not written by this plugin.
    Unreadable,
}

/// For the operator.
impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Callout(fault) => return fault.fmt(f),
            Self::ClockSetBack => {
                "the clock was set back, and the token may be one that was forgotten before"
            }
            Self::Contended => "other workers wrote each time in between",
            Self::Crowded => "too many requests wait already",
            Self::Full => "there is no room for another token until older ones expire",
            Self::Unclear { response } => return write!(f, "the store says {response:?}"),
            Self::Unreadable => {
                "something else wrote into this plugin's shared data; what it held is lost until \
                 Envoy restarts"
            }
        })
    }
}

/// Reads what stands in shared data, for the fuzz targets: it is written again as it was.
#[cfg(any(fuzzing, test))]
pub(crate) fn reads_shared_tokens(index: u8, bytes: &[u8]) -> bool {
    let shard = shard::Shard::decode(index, bytes);
    assert!(shard.as_ref().is_none_or(|shard| shard.encode() == bytes));
    shard.is_some()
}
