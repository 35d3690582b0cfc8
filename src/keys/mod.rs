//! The way of a key: from a provider's source, through one fetch among all workers, into the set
//! that each worker searches.
//!
//! [`KeyState`] is what the workers share: who fetches now, what was published, when to try again.
//! Its transitions are pure; the shell writes the result by compare-and-swap and only then acts.
//! [`ProviderKeys`] is what one worker holds and answers from. [`Fetch`] walks discovery and key
//! set to an outcome.

mod discovery;
mod endpoint;
mod fetch;
mod freshness;
mod key_set;
mod provider_keys;
mod shared;
mod source;
mod state;

pub(crate) use endpoint::{Clusters, Endpoint, EndpointFault, is_secure_url};
pub(crate) use fetch::{Fetch, FetchFault, HttpAnswer, Progress};
pub(crate) use key_set::{KeySet, KeySetFault, Lookup};
pub(crate) use provider_keys::{KeyAnswer, ProviderKeys};
pub(crate) use shared::{SharedNames, decode_key_set, decode_state, encode_key_set, encode_state};
pub(crate) use source::Start;
pub(crate) use source::{KeySettings, KeySource, RemoteSource};
pub(crate) use state::{Demand, KeyState, Published};
