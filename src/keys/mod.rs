//! The way of a key: from a provider's source, through one fetch among all workers, into the set
//! that each worker searches.
//!
//! [`ProviderKeys`] is what a worker answers from. Behind it, [`RemoteKeys`] is the worker's side of
//! the life of fetched keys: events and the time in, effects out, carried out by the shell. What
//! the workers share is a [`state::KeyState`] with pure transitions, replaced by compare-and-swap.
//! A [`fetch::Fetch`] walks from discovery to the key set.

mod discovery;
mod fetch;
mod freshness;
mod key_set;
mod provider_keys;
mod remote_keys;
#[cfg(not(target_family = "wasm"))]
mod retrace;
mod shared;
#[cfg(test)]
mod simulation;
mod source;
mod state;

#[cfg(not(target_family = "wasm"))]
pub(crate) use fetch::FetchFault;
pub(crate) use key_set::{Candidates, KeySet, KeySetFault, Lookup};
pub(crate) use provider_keys::{KeyAnswer, KeyVersion, ProviderKeys, Shortage};
pub(crate) use remote_keys::{Effect, Event, RemoteKeys};
#[cfg(not(target_family = "wasm"))]
pub(crate) use retrace::{Told, retraced};
pub(crate) use shared::SharedNames;
pub(crate) use source::{KeySettings, KeySource, RemoteSource, Start};
pub(crate) use state::Demand;
