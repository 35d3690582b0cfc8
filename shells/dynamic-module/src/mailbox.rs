//! The results of a worker's callouts, which the main thread made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mcp_federated_auth::host::{CalloutId, CalloutResponse};

use crate::lock::lock;
use crate::waker::Waker;

/// The results that the worker has not seen yet: at most one for each of its callouts.
pub(crate) struct Mailbox {
    mail: Mutex<Vec<(CalloutId, Mail)>>,
    is_full: AtomicBool,
    waker: Arc<Waker>,
}

/// The result of a callout.
pub(crate) enum Mail {
    /// It failed.
    Failed,
    /// Envoy did not start it.
    Refused,
    Response(CalloutResponse),
}

impl Mailbox {
    /// An empty mailbox. Mail wakes the worker.
    pub(crate) fn new(waker: Arc<Waker>) -> Arc<Self> {
        Arc::new(Self { mail: Mutex::default(), is_full: AtomicBool::new(false), waker })
    }

    /// Adds the result of a callout.
    pub(crate) fn deliver(&self, callout: CalloutId, mail: Mail) {
        lock(&self.mail).push((callout, mail));
        self.is_full.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Takes all mail.
    pub(crate) fn take(&self) -> Vec<(CalloutId, Mail)> {
        if !self.is_full.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut mail = lock(&self.mail);
        self.is_full.store(false, Ordering::Relaxed);
        std::mem::take(&mut *mail)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn all_mail_of_several_threads_is_taken_once() {
        const MAIL: u64 = if cfg!(miri) { 3 } else { 10_000 };
        let mailbox = Mailbox::new(Waker::new());
        let mut taken = Vec::new();
        thread::scope(|scope| {
            let senders = [0, MAIL].map(|first| {
                let mailbox = &mailbox;
                scope.spawn(move || {
                    (first..first + MAIL)
                        .for_each(|id| mailbox.deliver(CalloutId(id), Mail::Failed));
                })
            });
            while !senders.iter().all(|sender| sender.is_finished()) {
                taken.extend(mailbox.take().into_iter().map(|(id, _)| id));
                thread::yield_now();
            }
        });
        taken.extend(mailbox.take().into_iter().map(|(id, _)| id));
        taken.sort_unstable();
        assert_eq!(taken, (0..2 * MAIL).map(CalloutId).collect::<Vec<_>>());
    }
}
