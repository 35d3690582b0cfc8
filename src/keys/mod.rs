//! The path of a key: from a provider's source, through one fetch among all workers, into the set
//! that each worker searches.
//!
//! [`ProviderKeys`] is where a worker looks keys up. Behind it, [`RemoteKeys`] is the worker's side
//! of the life of fetched keys: events and time in, effects out, carried out by the engine. The
//! state shared by the workers is a [`state::KeyState`] with pure transitions, replaced by
//! compare-and-swap. A [`fetch::Fetch`] goes from discovery to the key set.
//!
//! [`KeyStatus`] describes all of this for the status page, read from shared data alone.

mod discovery;
mod document;
mod fetch;
mod fetch_fault;
mod freshness;
mod key_account;
mod key_lookup;
mod key_set;
mod key_status;
mod provider_keys;
mod remote_keys;
mod shared;
#[cfg(test)]
mod simulation;
mod source;
mod state;

#[cfg(any(fuzzing, test))]
pub use discovery::fuzz_metadata;
pub(crate) use document::DocumentFault;
pub(crate) use fetch_fault::{FetchFailure, FetchFault, FetchFaultCode};
pub(crate) use freshness::{MAX_LIFETIME, MIN_LIFETIME};
pub(crate) use key_account::KeyAccount;
pub(crate) use key_lookup::{KeyLookup, KeyVersion, KeysUnavailable, NoKeys};
#[cfg(any(fuzzing, test))]
pub use key_set::fuzz_key_set;
pub(crate) use key_set::{Candidates, KeySet, KeySetFault, KeySetLookup};
pub(crate) use key_status::{KeyStatus, SetStatus, WatchedSource};
pub(crate) use provider_keys::ProviderKeys;
pub(crate) use remote_keys::{Effect, Event, RemoteKeys};
pub(crate) use shared::SharedNames;
#[cfg(any(fuzzing, test))]
pub use shared::fuzz_shared_keys;
pub(crate) use source::{KeySettings, KeySource, RemoteSource, Start};
pub(crate) use state::{Demand, Discovery, FetchFailures, Phase};
