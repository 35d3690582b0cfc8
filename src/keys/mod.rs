//! The way of a key: from a provider's source, through one fetch among all workers, into the set
//! that each worker searches.
//!
//! [`ProviderKeys`] is what a worker answers from. Behind it, [`RemoteKeys`] is the worker's side of
//! the life of fetched keys: events and the time in, effects out, carried out by the shell. What
//! the workers share is a [`state::KeyState`] with pure transitions, replaced by compare-and-swap.
//! A [`fetch::Fetch`] walks from discovery to the key set.
//!
//! [`KeyStatus`] is all of that for the status page, read from shared data alone.

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

pub(crate) use document::DocumentFault;
pub(crate) use fetch_fault::{FetchFailure, FetchFault, FetchFaultCode};
pub(crate) use freshness::{MAX_LIFETIME, MIN_LIFETIME};
pub(crate) use key_account::KeyAccount;
pub(crate) use key_lookup::{KeyLookup, KeyVersion, KeysUnavailable, NoKeys};
pub(crate) use key_set::{Candidates, KeySet, KeySetFault, KeySetLookup};
pub(crate) use key_status::{KeyStatus, SetStatus, WatchedSource};
pub(crate) use provider_keys::ProviderKeys;
pub(crate) use remote_keys::{Effect, Event, RemoteKeys};
pub(crate) use shared::SharedNames;
pub(crate) use source::{KeySettings, KeySource, RemoteSource, Start};
pub(crate) use state::{Demand, Discovery, FetchFailures, Phase};

/// Reads a metadata document, for the fuzz targets.
#[cfg(any(fuzzing, test))]
pub(crate) fn reads_metadata(document: &[u8]) -> bool {
    discovery::key_set_url(document, "https://id.example.com").is_ok()
}

/// Reads what stands in shared data, for the fuzz targets: a state is written again as it was, and
/// nothing that it says is too much to reckon with.
#[cfg(any(fuzzing, test))]
pub(crate) fn reads_shared_keys<'a>(
    bytes: &[u8],
    all_settings: impl Iterator<Item = &'a KeySettings>,
) -> bool {
    let is_key_set = shared::decode_key_set(1, bytes, 1 << 16).is_some();
    let Some(state) = shared::decode_state(bytes) else { return is_key_set };
    assert_eq!(shared::decode_state(&shared::encode_state(&state)).as_ref(), Some(&state));
    for settings in all_settings {
        for now in [0, 1_800_000_000, u64::MAX].map(crate::time::UnixTime::from_secs) {
            if let Some(published) = state.published() {
                let _ = (published.phase(settings, now), published.age(now));
                let _ = published.lifetime(settings);
            }
            let _ = (state.next_due(settings, now), state.retry_after(now));
            let _ = (state.fetch_deadline(settings, now), state.should_discover(now));
        }
    }
    true
}
