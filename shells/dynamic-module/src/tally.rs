//! Counts that workers make and the main thread passes to Envoy together: for a request, an
//! addition costs far less than a counter of Envoy with labels.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_federated_auth::UnixTime;

use crate::lock::lock;

/// A counter: the number of its family, and the values of its labels.
pub(crate) type Key = (usize, Vec<String>);

/// What one worker has counted, and Envoy does not know yet.
#[derive(Default)]
pub(crate) struct Tally(AtomicU64);

/// The tallies of a configuration.
#[derive(Default)]
pub(crate) struct Tallies {
    all: Mutex<Vec<(Key, Arc<Tally>)>>,
    /// Whether the main thread was notified to take them, and has not begun to.
    is_announced: AtomicBool,
}

/// Passes the first counts of a period to Envoy at once, so that those of a few requests are
/// visible as soon as these have their responses.
#[derive(Default)]
pub(crate) struct Pace {
    began: Cell<UnixTime>,
    counts: Cell<u32>,
}

/// What configurations had not passed on when they were removed. Any other one passes it on.
static LEFT: Mutex<BTreeMap<Key, u64>> = Mutex::new(BTreeMap::new());

impl Tallies {
    /// A new tally of this counter.
    pub(crate) fn tally(&self, key: Key) -> Arc<Tally> {
        let tally = Arc::<Tally>::default();
        lock(&self.all).push((key, tally.clone()));
        tally
    }

    /// Adds one. Returns whether the main thread must be notified: it was not notified since it
    /// last took the counts.
    pub(crate) fn add(&self, tally: &Tally) -> bool {
        tally.0.fetch_add(1, Ordering::SeqCst);
        // In the single total order of these four operations, either this load comes after the
        // store of `take`, or `take` finds what was added.
        !self.is_announced.load(Ordering::SeqCst) && !self.is_announced.swap(true, Ordering::SeqCst)
    }

    /// Takes what was counted, by removed configurations too.
    pub(crate) fn take(&self, mut record: impl FnMut(&Key, u64)) {
        self.is_announced.store(false, Ordering::SeqCst);
        self.take_own(&mut record);
        for (key, amount) in std::mem::take(&mut *lock(&LEFT)) {
            record(&key, amount);
        }
    }

    /// The configuration is removed.
    pub(crate) fn close(&self) {
        let mut left = lock(&LEFT);
        self.take_own(|key, amount| {
            let known = left.entry(key.clone()).or_default();
            *known = known.saturating_add(amount);
        });
    }

    fn take_own(&self, mut record: impl FnMut(&Key, u64)) {
        lock(&self.all).retain_mut(|(key, tally)| {
            // No thread adds to it any more.
            let is_last = Arc::get_mut(tally).is_some();
            let amount = tally.0.swap(0, Ordering::SeqCst);
            if amount > 0 {
                record(key, amount);
            }
            !is_last
        });
    }
}

impl Pace {
    /// Longest time until counts are passed to Envoy.
    pub(crate) const PERIOD: Duration = Duration::from_millis(50);
    /// Counts of a worker and period that go to Envoy at once: two for each of 16 requests.
    const MAX: u32 = 32;

    /// Whether another count may go to Envoy at once.
    pub(crate) fn admits(&self, now: UnixTime) -> bool {
        let began = self.began.get();
        if now >= began + Self::PERIOD || now < began {
            self.began.set(now);
            self.counts.set(0);
        }
        let counts = self.counts.get();
        self.counts.set(counts.saturating_add(1));
        counts < Self::MAX
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn key(label: &str) -> Key {
        (0, vec![label.to_owned()])
    }

    fn taken(tallies: &Tallies) -> BTreeMap<Key, u64> {
        let mut all = BTreeMap::new();
        tallies.take(|key, amount| *all.entry(key.clone()).or_default() += amount);
        all
    }

    // One test, because removed configurations leave counts to the whole process.
    #[test]
    fn no_count_is_lost_or_counted_twice() {
        const THREADS: u64 = if cfg!(miri) { 2 } else { 4 };
        const COUNTS: u64 = if cfg!(miri) { 5 } else { 50_000 };
        let tallies = Tallies::default();
        let announced = AtomicU64::new(0);
        let mut total = 0;
        thread::scope(|scope| {
            let count = || {
                let tally = tallies.tally(key("a"));
                for _ in 0..COUNTS {
                    if tallies.add(&tally) {
                        announced.fetch_add(1, Ordering::SeqCst);
                    }
                }
            };
            let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
            // Takes the counts only when it is notified.
            while total < THREADS * COUNTS {
                if announced.swap(0, Ordering::SeqCst) > 0 {
                    total += taken(&tallies).values().sum::<u64>();
                } else {
                    let are_done = workers.iter().all(|worker| worker.is_finished());
                    assert!(!are_done || announced.load(Ordering::SeqCst) > 0, "only {total}");
                    thread::yield_now();
                }
            }
        });
        assert_eq!(total, THREADS * COUNTS);

        // The tallies of the workers above are dropped.
        assert!(taken(&tallies).is_empty() && lock(&tallies.all).is_empty());
        let (kept, other) = (tallies.tally(key("a")), tallies.tally(key("b")));
        assert!(tallies.add(&kept) && !tallies.add(&kept) && !tallies.add(&other));
        drop(other);
        tallies.close();
        assert!(taken(&tallies).len() == 2 && taken(&tallies).is_empty());
        tallies.add(&kept);
        tallies.close();
        tallies.close();
        assert_eq!(taken(&Tallies::default()), BTreeMap::from([(key("a"), 1)]));
    }

    #[test]
    fn the_first_counts_of_a_period_go_to_envoy_at_once() {
        let pace = Pace::default();
        let admitted = |now, count: u32| (0..count).filter(|_| pace.admits(now)).count();
        let start = UnixTime::from_secs(1_800_000_000);
        assert_eq!(admitted(start, 100), 32);
        assert_eq!(admitted(start + Duration::from_millis(49), 100), 0);
        assert_eq!(admitted(start + Duration::from_millis(50), 100), 32);
        assert_eq!(admitted(start, 10), 10, "the clock was set back");
    }
}
