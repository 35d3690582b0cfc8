//! One worker's side of the status: it writes the heartbeat of its configuration, and the refusals.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Board, Counter, Heartbeat, RefusalHistory, RefusalRecord};
use crate::config::Config;
use crate::refusal::Reason;
use crate::time::UnixTime;

/// Writes to shared data only on ticks: no request waits for it, and a flood of refusals costs no
/// more than a few.
#[derive(Debug)]
pub(crate) struct HeartbeatWriter {
    heartbeat: Heartbeat,
    /// The place where the heartbeat was last written.
    place: Option<usize>,
    next_heartbeat: UnixTime,
    /// The number of counters at the last heartbeat.
    reported_counters: usize,
    /// Refusals that are not in shared data yet.
    refused: BTreeMap<Reason, RefusalHistory>,
    next_publish: UnixTime,
}

impl HeartbeatWriter {
    /// The shortest time between two writes of refusals.
    const PUBLISH_INTERVAL: Duration = Duration::from_millis(500);

    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            heartbeat: Heartbeat::new(config),
            place: None,
            next_heartbeat: UnixTime::default(),
            reported_counters: 0,
            refused: BTreeMap::new(),
            next_publish: UnixTime::default(),
        }
    }

    /// The digest of the configuration.
    #[must_use]
    pub(crate) fn configuration(&self) -> &str {
        &self.heartbeat.configuration
    }

    /// Records a refusal, to be written on a later tick.
    pub(crate) fn note(&mut self, reason: Reason, record: RefusalRecord) {
        self.refused.entry(reason).or_default().add(record);
    }

    /// Lets [`Self::run`] write the refusals the next time, however soon.
    pub(crate) fn hasten(&mut self) {
        self.next_publish = UnixTime::default();
    }

    /// Runs on each tick. `counters` gives the `counter_count` counters that the worker has
    /// incremented; it is called only if they are written.
    pub(crate) fn run<C: IntoIterator<Item = Counter>>(
        &mut self,
        board: &dyn Board,
        counter_count: usize,
        counters: impl FnOnce() -> C,
        now: UnixTime,
    ) {
        let is_set_back = self.next_heartbeat > now + Heartbeat::INTERVAL;
        if now >= self.next_heartbeat || is_set_back || counter_count != self.reported_counters {
            self.write_heartbeat(board, counters(), now);
            self.reported_counters = counter_count;
            self.next_heartbeat = now + Heartbeat::INTERVAL;
        }
        if now >= self.next_publish || self.next_publish > now + Self::PUBLISH_INTERVAL {
            self.publish(board);
            self.next_publish = now + Self::PUBLISH_INTERVAL;
        }
    }

    fn write_heartbeat(
        &mut self,
        board: &dyn Board,
        counters: impl IntoIterator<Item = Counter>,
        now: UnixTime,
    ) {
        let Some((place, present, version)) = self.own_place(board).or_else(|| {
            let free = self.free_place(board, now)?;
            let (_, version) = board.read(&Heartbeat::name_of_place(free));
            Some((free, None, version))
        }) else {
            return;
        };
        self.place = Some(place);
        if let Some(renewed) = self.heartbeat.renewed(present.as_ref(), counters, now) {
            // If another worker was faster, it wrote the same or took the place: the next heartbeat
            // finds out.
            board.replace(&Heartbeat::name_of_place(place), &renewed.encode(), version);
        }
    }

    /// The place that holds a heartbeat of this configuration.
    fn own_place(&self, board: &dyn Board) -> Option<(usize, Option<Heartbeat>, Option<u32>)> {
        let known = self.place.into_iter();
        known.chain(0..Heartbeat::PLACES).find_map(|place| {
            let (bytes, version) = board.read(&Heartbeat::name_of_place(place));
            let present = bytes.as_deref().and_then(Heartbeat::decode)?;
            let is_own = present.configuration == self.heartbeat.configuration;
            is_own.then_some((place, Some(present), version))
        })
    }

    /// The first place without a heartbeat that is alive.
    fn free_place(&self, board: &dyn Board, now: UnixTime) -> Option<usize> {
        (0..Heartbeat::PLACES).find(|place| {
            let (bytes, _) = board.read(&Heartbeat::name_of_place(*place));
            let present = bytes.as_deref().and_then(Heartbeat::decode);
            present.is_none_or(|present| !present.is_alive(now))
        })
    }

    /// Adds the refusals to those in shared data. A write that loses against another worker is
    /// repeated later.
    fn publish(&mut self, board: &dyn Board) {
        self.refused.retain(|reason, refused| {
            let name = RefusalHistory::name(*reason);
            let (bytes, version) = board.read(&name);
            let mut history = bytes.as_deref().and_then(RefusalHistory::decode).unwrap_or_default();
            for record in refused.records() {
                history.add(record.clone());
            }
            !board.replace(&name, &history.encode(), version)
        });
    }
}
