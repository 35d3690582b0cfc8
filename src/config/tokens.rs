//! `max_token_size` and `token_cache`.

use serde::Deserialize;

use super::Faults;
use super::field::{Field, UnknownFields, refuse_unknown};
use super::limits::{MAX_TOKEN_SIZE, TOKEN_CACHE_ENTRIES};
use super::units::SizeString;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawTokenCache {
    /// How many verified tokens each worker thread caches, so that a repeated token is not verified
    /// again; 0 disables the cache.
    pub(super) entries: Field<u32>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// The maximum size of a token in bytes.
pub(super) fn max_token_size(raw: Field<SizeString>, faults: &mut Faults) -> usize {
    MAX_TOKEN_SIZE.read(raw, MAX_TOKEN_SIZE.field, faults)
}

/// The maximum number of cached tokens.
pub(super) fn token_cache(raw: Field<RawTokenCache>, faults: &mut Faults) -> usize {
    let raw = raw.or_default("token_cache", faults);
    refuse_unknown("token_cache.", &raw.unknown, faults);
    let entries = TOKEN_CACHE_ENTRIES.read(raw.entries, TOKEN_CACHE_ENTRIES.field, faults);
    usize::try_from(entries).unwrap_or(usize::MAX)
}
