//! The encoding of the workers' common state in shared data. Any filter in the process may write
//! there, so values are decoded strictly; anything unrecognised is ignored.

use super::state::KeyState;
use super::{KeySet, RemoteSource};

/// The names of a source's state and key set in shared data.
#[derive(Clone, Debug)]
pub(crate) struct SharedNames {
    /// The state, written by compare-and-swap.
    pub state: String,
    /// The key set.
    pub key_set: String,
}

impl SharedNames {
    /// Names that only this plugin uses, shared only by sources with the same fingerprint.
    #[must_use]
    pub(crate) fn new(source: &RemoteSource) -> Self {
        Self::from_fingerprint(&source.fingerprint())
    }

    /// The names of the source with this fingerprint.
    pub(super) fn from_fingerprint(fingerprint: &str) -> Self {
        let name = |what| format!("mcp-federated-auth/2/{fingerprint}/{what}");
        Self { state: name("state"), key_set: name("key-set") }
    }
}

/// Maximum size of an encoded state in bytes. Most of it is the discovered URL.
const MAX_STATE: usize = 16 * 1024;
const VERSION_LENGTH: usize = size_of::<u64>();

/// Encodes a state.
#[must_use]
pub(super) fn encode_state(state: &KeyState) -> Vec<u8> {
    // Serialising numbers and strings cannot fail.
    serde_json::to_vec(state).unwrap_or_default()
}

/// Decodes a state; `None` if the bytes are not one.
#[must_use]
pub(super) fn decode_state(bytes: &[u8]) -> Option<KeyState> {
    (bytes.len() <= MAX_STATE).then(|| serde_json::from_slice(bytes).ok()).flatten()
}

/// Encodes a key set document with the version of its publication.
#[must_use]
pub(super) fn encode_key_set(version: u64, document: &[u8]) -> Vec<u8> {
    [&version.to_be_bytes()[..], document].concat()
}

/// The key set of this version; `None` if the bytes are another one, or its document is longer than
/// `max_body` bytes.
#[must_use]
pub(super) fn decode_key_set(version: u64, bytes: &[u8], max_body: usize) -> Option<KeySet> {
    let document = key_set_document(version, bytes, max_body)?;
    KeySet::from_json(document).ok()
}

/// The document of the key set of this version; `None` if the bytes are another one, or it is
/// longer than `max_body` bytes.
#[must_use]
pub(super) fn key_set_document(version: u64, bytes: &[u8], max_body: usize) -> Option<&[u8]> {
    let (own_version, document) = bytes.split_at_checked(VERSION_LENGTH)?;
    let is_whole = own_version == version.to_be_bytes() && document.len() <= max_body;
    is_whole.then_some(document)
}

/// Whether these bytes are a state or a key set. A state encodes to the same bytes again, and none
/// of its values overflows.
#[cfg(any(fuzzing, test))]
pub fn fuzz_shared_keys(bytes: &[u8]) -> bool {
    let is_key_set = decode_key_set(1, bytes, 1 << 16).is_some();
    let Some(state) = decode_state(bytes) else { return is_key_set };
    assert_eq!(decode_state(&encode_state(&state)).as_ref(), Some(&state));
    for seconds in [1, 31_536_000].map(std::time::Duration::from_secs) {
        let settings = super::KeySettings {
            max_age: seconds,
            max_age_cap: seconds,
            refresh_ahead: seconds,
            refresh_cooldown: seconds,
            timeout: seconds,
            max_stale: seconds,
            max_body: 1 << 16,
        };
        for now in [0, 1_800_000_000, u64::MAX].map(crate::time::UnixTime::from_secs) {
            if let Some(published) = state.published() {
                let _ = (published.phase(&settings, now), published.age(now));
                let _ = published.lifetime(&settings);
            }
            let _ = (state.next_due(&settings, now), state.retry_after(now));
            let _ = (state.fetch_deadline(&settings, now), state.should_discover(now));
        }
    }
    true
}
