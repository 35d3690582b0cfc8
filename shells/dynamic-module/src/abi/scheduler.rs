//! Schedulers: events from any thread to one of Envoy's.

use super::Handle;

/// Wakes something on one thread of Envoy, from any thread.
pub(super) struct Scheduler {
    pub(super) handle: Handle,
    pub(super) commit: unsafe extern "C" fn(Handle, u64),
    pub(super) delete: unsafe extern "C" fn(Handle),
}

// SAFETY: Envoy lets any thread commit to a scheduler and delete it.
unsafe impl Send for Scheduler {}
// SAFETY: a commit only hands an event to a dispatcher, which has a lock of its own.
unsafe impl Sync for Scheduler {}

impl Scheduler {
    fn commit(&self) {
        // SAFETY: the handle is not deleted before `drop`.
        unsafe { (self.commit)(self.handle, 0) }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: it is deleted once, and nothing else has it.
        unsafe { (self.delete)(self.handle) }
    }
}

/// Calls `hooks::config_scheduled` on the main thread. Does nothing once the configuration is gone.
pub(crate) struct ConfigScheduler(pub(super) Scheduler);

impl ConfigScheduler {
    pub(crate) fn commit(&self) {
        self.0.commit();
    }
}

/// Calls `hooks::scheduled` in the thread of a stream. Does nothing once the stream is gone.
pub(crate) struct StreamScheduler(pub(super) Scheduler);

impl StreamScheduler {
    pub(crate) fn commit(&self) {
        self.0.commit();
    }
}
