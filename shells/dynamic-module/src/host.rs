//! What both hosts of an engine share.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use mcp_federated_auth::UnixTime;

/// The current time.
pub(crate) fn now() -> Option<UnixTime> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(UnixTime::default() + since_epoch)
}

/// A number that no client can guess.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Writes a log line.
pub(crate) fn log(level: log::Level, line: fmt::Arguments<'_>) {
    crate::log_lines::write(level, line);
}
