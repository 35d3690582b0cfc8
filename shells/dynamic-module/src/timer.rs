//! The timer of all configurations: one thread, which sleeps while nothing waits and ends with the
//! last configuration.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use log::Level;

use crate::lock::lock;
use crate::log_lines;

/// What can be woken. [`Self::ring`] must return soon.
pub(crate) trait Alarm: Send + Sync {
    fn ring(&self);
}

/// Identifies an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AlarmId(u64);

impl AlarmId {
    pub(crate) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Default)]
struct Timer {
    schedule: Mutex<Schedule>,
    changed: Condvar,
}

#[derive(Default)]
struct Schedule {
    due: BTreeMap<(Instant, AlarmId), Weak<dyn Alarm>>,
    times: HashMap<AlarmId, Instant>,
    thread: Option<JoinHandle<()>>,
    /// How many threads were asked to end. A thread ends if it is not the latest.
    generation: u64,
    /// How many configurations there are.
    users: usize,
}

static TIMER: LazyLock<Timer> = LazyLock::new(Timer::default);

/// A configuration was added.
pub(crate) fn begin() {
    lock(&TIMER.schedule).users += 1;
}

/// A configuration was removed. With the last one the thread ends, before this returns.
pub(crate) fn end() {
    let mut schedule = lock(&TIMER.schedule);
    schedule.users = schedule.users.saturating_sub(1);
    if schedule.users > 0 {
        return;
    }
    schedule.generation += 1;
    schedule.due.clear();
    schedule.times.clear();
    let thread = schedule.thread.take();
    drop(schedule);
    TIMER.changed.notify_all();
    if let Some(thread) = thread {
        // Its panics are caught.
        let _ = thread.join();
    }
}

/// Rings an alarm at this time, or earlier if an earlier time is already set.
pub(crate) fn set(id: AlarmId, at: Instant, alarm: Weak<dyn Alarm>) {
    let mut schedule = lock(&TIMER.schedule);
    if schedule.users == 0 {
        return;
    }
    match schedule.times.get(&id).copied() {
        Some(earlier) if earlier <= at => return,
        Some(later) => {
            schedule.due.remove(&(later, id));
        }
        None => {}
    }
    schedule.times.insert(id, at);
    schedule.due.insert((at, id), alarm);
    let is_first = schedule.due.first_key_value().is_some_and(|(first, _)| *first == (at, id));
    schedule.start_thread();
    drop(schedule);
    if is_first {
        TIMER.changed.notify_all();
    }
}

impl Schedule {
    fn start_thread(&mut self) {
        if self.thread.is_some() {
            return;
        }
        let generation = self.generation;
        let builder = thread::Builder::new().name("mcp_auth_timer".to_owned());
        match builder.spawn(move || run(generation)) {
            Ok(thread) => self.thread = Some(thread),
            // The next alarm tries again.
            Err(error) => {
                log_lines::write(
                    Level::Error,
                    format_args!("starting the timer's thread failed: {error}"),
                );
            }
        }
    }

    /// The alarms that are due, which are no longer scheduled.
    fn take_due(&mut self, now: Instant) -> Vec<Weak<dyn Alarm>> {
        let mut alarms = Vec::new();
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, id), alarm) = entry.remove_entry();
            self.times.remove(&id);
            alarms.push(alarm);
        }
        alarms
    }
}

fn run(generation: u64) {
    let mut schedule = lock(&TIMER.schedule);
    while schedule.generation == generation {
        let now = Instant::now();
        let alarms = schedule.take_due(now);
        if !alarms.is_empty() {
            drop(schedule);
            for alarm in alarms.iter().filter_map(Weak::upgrade) {
                // The panic is logged; the other alarms ring.
                let _ = catch_unwind(AssertUnwindSafe(|| alarm.ring()));
            }
            schedule = lock(&TIMER.schedule);
            continue;
        }
        let next = schedule.due.first_key_value().map(|((at, _), _)| at.duration_since(now));
        schedule = match next {
            Some(time) => {
                let waited = TIMER.changed.wait_timeout(schedule, time);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => TIMER.changed.wait(schedule).unwrap_or_else(PoisonError::into_inner),
        };
    }
}
