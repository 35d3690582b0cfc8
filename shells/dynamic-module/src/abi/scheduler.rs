//! Schedulers: events from any thread to one of Envoy's.

#[cfg(test)]
use std::{
    ptr::NonNull,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::Handle;

/// Wakes something on one thread of Envoy, from any thread.
pub(super) struct Scheduler {
    pub(super) handle: Handle,
    pub(super) commit: unsafe extern "C" fn(Handle, u64),
    pub(super) delete: unsafe extern "C" fn(Handle),
}

// SAFETY: Envoy lets any thread commit to a scheduler and delete it.
unsafe impl Send for Scheduler {}
// SAFETY: a commit only passes an event to a dispatcher, which has its own lock.
unsafe impl Sync for Scheduler {}

impl Scheduler {
    fn commit(&self) {
        // SAFETY: the handle is not deleted before `drop`.
        unsafe { (self.commit)(self.handle, 0) }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: it is deleted once, and nothing else holds it.
        unsafe { (self.delete)(self.handle) }
    }
}

/// Calls `hooks::config_scheduled` on the main thread. Does nothing once the configuration is
/// removed.
pub(crate) struct ConfigScheduler(pub(super) Scheduler);

impl ConfigScheduler {
    pub(crate) fn commit(&self) {
        self.0.commit();
    }
}

/// Calls `hooks::scheduled` in the thread of a stream. Does nothing once the stream has ended.
pub(crate) struct StreamScheduler(pub(super) Scheduler);

impl StreamScheduler {
    pub(crate) fn commit(&self) {
        self.0.commit();
    }
}

#[cfg(test)]
impl StreamScheduler {
    /// One that counts its commits.
    pub(crate) fn counting(commits: &Arc<AtomicUsize>) -> Self {
        unsafe extern "C" fn commit(handle: Handle, _event: u64) {
            // SAFETY: the handle is that below, and not deleted yet.
            unsafe { handle.cast::<AtomicUsize>().as_ref() }.fetch_add(1, Ordering::SeqCst);
        }
        unsafe extern "C" fn delete(handle: Handle) {
            // SAFETY: the same, and it is deleted once.
            drop(unsafe { Arc::from_raw(handle.cast::<AtomicUsize>().as_ptr()) });
        }

        let handle = Arc::into_raw(commits.clone()).cast_mut();
        let handle = NonNull::new(handle).map(NonNull::cast).expect("an Arc is never null");
        Self(Scheduler { handle, commit, delete })
    }
}
