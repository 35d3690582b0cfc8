//! Wakes a worker: by the scheduler of one of its streams that wait.

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
    /// The stream that was woken, until its callback came. If it is gone before, its event is lost.
    woken: Option<u64>,
    /// Whether it was to be woken while there was no stream: the next one is woken at once, which may
    /// wait for what came before its scheduler was there.
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

    /// Calls `hooks::scheduled` soon, or as soon as there is a stream. Once only until that has
    /// happened.
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

    /// The callback has come.
    pub(crate) fn clear(&self) {
        lock(&self.state).woken = None;
    }

    /// Whether it can be woken by this stream.
    pub(crate) fn has(&self, stream: u64) -> bool {
        lock(&self.state).schedulers.contains_key(&stream)
    }

    /// It can be woken by this stream, too.
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
