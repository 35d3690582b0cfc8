//! Locks that a panic does not close for ever.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. What a lock of this module guards is consistent between any two of its statements.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
