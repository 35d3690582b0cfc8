//! Length and characters of the ids of sessions, as servers name them and as clients send them.

/// Longest id of a session that is sealed, in bytes. MCP recommends a UUID, a JWT or a hash.
pub(super) const MAX_ID: usize = 4096;
/// Length of a seal: base64url of 32 bytes.
pub(super) const SEAL_LENGTH: usize = 43;
/// Longest sealed id in bytes.
pub(super) const MAX_SEALED: usize = SEAL_LENGTH + 1 + MAX_ID;

pub(super) fn is_visible_ascii(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_graphic)
}
