//! `max_token_size` and `token_cache`.

use serde::Deserialize;

use super::Faults;
use super::field::{Field, UnknownFields, refuse_unknown};
use super::units::SizeString;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawTokenCache {
    /// How many verified tokens each worker thread remembers, so that one that comes again costs no
    /// second verification; 0 remembers none.
    pub(super) entries: Field<u32>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// No Envoy takes a request with more header bytes (`max_request_headers_kb`).
const MAX_TOKEN_SIZE: usize = 8 * 1024 * 1024;

/// The most bytes of a token.
pub(super) fn max_token_size(raw: Field<SizeString>, faults: &mut Faults) -> usize {
    let size = raw.optional("max_token_size", faults).map_or(8 * 1024, |size| size.0);
    if !(1..=MAX_TOKEN_SIZE).contains(&size) {
        faults.add("max_token_size", "must be between 1B and 8MiB");
    }
    size
}

/// How many tokens are remembered.
pub(super) fn token_cache(raw: Field<RawTokenCache>, faults: &mut Faults) -> usize {
    const MAX_ENTRIES: usize = 100_000;
    let raw = raw.optional("token_cache", faults).unwrap_or_default();
    refuse_unknown("token_cache.", &raw.unknown, faults);
    let entries = raw.entries.optional("token_cache.entries", faults).unwrap_or(1000);
    let entries = usize::try_from(entries).unwrap_or(usize::MAX);
    if entries > MAX_ENTRIES {
        faults.add("token_cache.entries", format!("must be at most {MAX_ENTRIES}"));
    }
    entries
}
