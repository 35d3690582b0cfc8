//! Wakes a worker by the scheduler of one of its waiting streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::abi::StreamScheduler;
use crate::lock::lock;
use crate::timer::{self, Alarm, AlarmId};

/// The streams by which one worker of a configuration can be woken, from any thread.
pub(crate) struct Waker {
    alarm: AlarmId,
    own: Weak<Self>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the ids of their streams.
    schedulers: BTreeMap<u64, StreamScheduler>,
    /// The stream that was woken, until its callback runs. If it ends before, its event is lost.
    woken: Option<u64>,
    /// Whether a wake-up was requested while there was no stream. The next stream is woken at once:
    /// it may wait for what happened before its scheduler existed.
    was_missed: bool,
}

impl Waker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            alarm: AlarmId::new(),
            own: own.clone(),
            state: Mutex::default(),
        })
    }

    /// Calls `hooks::scheduled` soon, or as soon as there is a stream. Until that has happened,
    /// further calls do nothing.
    pub(crate) fn wake(&self) {
        let mut state = lock(&self.state);
        if state.woken.is_none() {
            state.wake_first();
            state.was_missed = state.woken.is_none();
        }
    }

    /// Calls it at this time, if there is a stream then.
    pub(crate) fn wake_at(&self, at: Instant) {
        timer::set(self.alarm, at, self.own.clone());
    }

    /// The callback was called.
    pub(crate) fn clear(&self) {
        lock(&self.state).woken = None;
    }

    /// Whether it can be woken by this stream.
    pub(crate) fn has(&self, stream: u64) -> bool {
        lock(&self.state).schedulers.contains_key(&stream)
    }

    /// From now on it can be woken by this stream too.
    pub(crate) fn add(&self, stream: u64, scheduler: StreamScheduler) {
        let mut state = lock(&self.state);
        state.schedulers.insert(stream, scheduler);
        if std::mem::take(&mut state.was_missed) {
            state.wake_first();
        }
    }

    /// It can no longer be woken by this stream.
    pub(crate) fn remove(&self, stream: u64) {
        let mut state = lock(&self.state);
        state.schedulers.remove(&stream);
        if state.woken == Some(stream) {
            state.wake_first();
            state.was_missed = state.woken.is_none();
        }
    }
}

impl Alarm for Waker {
    fn ring(&self) {
        let mut state = lock(&self.state);
        if state.woken.is_none() {
            state.wake_first();
        }
    }
}

impl State {
    fn wake_first(&mut self) {
        let first = self.schedulers.first_key_value();
        self.woken = first.map(|(stream, scheduler)| {
            scheduler.commit();
            *stream
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    const ROUNDS: usize = if cfg!(miri) { 3 } else { 2000 };

    fn counter() -> Arc<AtomicUsize> {
        Arc::default()
    }

    fn commits(of: &AtomicUsize) -> usize {
        of.load(Ordering::SeqCst)
    }

    /// As in `announce_keys` and a worker: a value is published before the wake-up, and read before
    /// the scheduler exists.
    #[test]
    fn a_worker_that_missed_a_publication_is_woken() {
        for _ in 0..ROUNDS {
            let (waker, published, woken) = (Waker::new(), AtomicU64::new(0), counter());
            let has_seen = thread::scope(|scope| {
                scope.spawn(|| {
                    published.fetch_add(1, Ordering::Release);
                    waker.wake();
                });
                let worker = scope.spawn(|| {
                    let has_seen = published.load(Ordering::Acquire) == 1;
                    waker.add(1, StreamScheduler::counting(&woken));
                    has_seen
                });
                worker.join().unwrap()
            });
            assert!(has_seen || commits(&woken) == 1);
            waker.clear();
            assert_eq!(published.load(Ordering::Acquire), 1);
        }
    }

    #[test]
    fn the_end_of_a_woken_stream_wakes_another() {
        for _ in 0..ROUNDS {
            let (waker, first, second) = (Waker::new(), counter(), counter());
            waker.add(1, StreamScheduler::counting(&first));
            waker.add(2, StreamScheduler::counting(&second));
            thread::scope(|scope| {
                scope.spawn(|| waker.wake());
                scope.spawn(|| waker.remove(1));
            });
            assert_eq!(commits(&second), 1, "the first was woken {} times", commits(&first));
            waker.remove(2);
            // No stream is left to wake, so the next one is woken.
            let third = counter();
            waker.add(3, StreamScheduler::counting(&third));
            assert_eq!(commits(&third), 1);
        }
    }

    #[test]
    fn a_stream_is_woken_once_until_its_callback_runs() {
        let (waker, woken) = (Waker::new(), counter());
        waker.add(1, StreamScheduler::counting(&woken));
        assert!(waker.has(1) && !waker.has(2));
        let wake_from_two_threads = || {
            thread::scope(|scope| {
                scope.spawn(|| waker.wake());
                scope.spawn(|| waker.ring());
            });
        };
        wake_from_two_threads();
        assert_eq!(commits(&woken), 1);
        waker.clear();
        wake_from_two_threads();
        assert_eq!(commits(&woken), 2);
    }
}
