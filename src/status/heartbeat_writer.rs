//! One worker's side of the status: it writes the heartbeat of its configuration, and the refusals.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Board, Counter, Heartbeat, LoginHistory, LoginRecord, RefusalHistory, RefusalRecord};
use crate::config::Config;
use crate::login::LoginStage;
use crate::refusal::Reason;
use crate::time::UnixTime;

/// Writes to shared data only on ticks: no request waits for it, and a flood of refusals or logins
/// costs no more than a few.
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
    /// Results of logins that are not in shared data yet.
    logins: BTreeMap<LoginStage, LoginHistory>,
    next_publish: UnixTime,
}

/// A place for a heartbeat in shared data.
struct Place {
    number: usize,
    /// The heartbeat of this configuration that it holds.
    present: Option<Heartbeat>,
    /// The CAS version of what it holds.
    version: Option<u32>,
}

impl HeartbeatWriter {
    /// The shortest time between two writes of refusals and results of logins.
    const PUBLISH_INTERVAL: Duration = Duration::from_millis(500);

    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            heartbeat: Heartbeat::new(config),
            place: None,
            next_heartbeat: UnixTime::default(),
            reported_counters: 0,
            refused: BTreeMap::new(),
            logins: BTreeMap::new(),
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

    /// Records how a step of a login ended, to be written on a later tick.
    pub(crate) fn note_login(&mut self, stage: LoginStage, record: LoginRecord) {
        self.logins.entry(stage).or_default().add(record);
    }

    /// Lets the next [`Self::run`] write refusals and results of logins without the usual interval.
    pub(crate) fn hasten(&mut self) {
        self.next_publish = UnixTime::default();
    }

    /// Runs on each tick. `counters` gives the `counter_count` counters that the worker has
    /// incremented; it is called only if they are written.
    ///
    /// Returns whether this is the first heartbeat of the configuration: true in one worker of the
    /// process, and again after no worker has used the configuration for a while.
    pub(crate) fn run<C: IntoIterator<Item = Counter>>(
        &mut self,
        board: &dyn Board,
        counter_count: usize,
        counters: impl FnOnce() -> C,
        now: UnixTime,
    ) -> bool {
        let is_set_back = self.next_heartbeat > now + Heartbeat::INTERVAL;
        let mut is_first = false;
        if now >= self.next_heartbeat || is_set_back || counter_count != self.reported_counters {
            is_first = self.write_heartbeat(board, counters(), now);
            self.reported_counters = counter_count;
            self.next_heartbeat = now + Heartbeat::INTERVAL;
        }
        if now >= self.next_publish || self.next_publish > now + Self::PUBLISH_INTERVAL {
            self.publish(board);
            self.next_publish = now + Self::PUBLISH_INTERVAL;
        }
        is_first
    }

    /// Returns whether it is the first one of the configuration.
    fn write_heartbeat(
        &mut self,
        board: &dyn Board,
        counters: impl IntoIterator<Item = Counter>,
        now: UnixTime,
    ) -> bool {
        let known = self.place.and_then(|place| self.own_place(board, place));
        let Some(Place { number, present, version }) =
            known.or_else(|| self.find_place(board, now))
        else {
            return false;
        };
        self.place = Some(number);
        let Some(renewed) = self.heartbeat.renewed(present.as_ref(), counters, now) else {
            return false;
        };
        // If another worker was faster, it wrote the same or took the place: the next heartbeat
        // finds out.
        let is_written =
            board.replace(&Heartbeat::name_of_place(number), &renewed.encode(), version);
        is_written && present.is_none_or(|present| !present.is_alive(now))
    }

    /// The place with this number, if it holds the heartbeat of this configuration.
    fn own_place(&self, board: &dyn Board, number: usize) -> Option<Place> {
        let (bytes, version) = board.read(&Heartbeat::name_of_place(number));
        let present = bytes.as_deref().and_then(Heartbeat::decode)?;
        let is_own = present.is_same(&self.heartbeat);
        is_own.then_some(Place { number, present: Some(present), version })
    }

    /// The place that holds the heartbeat of this configuration, or else the first without one that
    /// is alive. Each place is read once, so that of workers that start together only one can write
    /// to a free place.
    fn find_place(&self, board: &dyn Board, now: UnixTime) -> Option<Place> {
        let mut free = None;
        for number in 0..Heartbeat::PLACES {
            let (bytes, version) = board.read(&Heartbeat::name_of_place(number));
            match bytes.as_deref().and_then(Heartbeat::decode) {
                Some(present) if present.is_same(&self.heartbeat) => {
                    return Some(Place { number, present: Some(present), version });
                }
                Some(present) if present.is_alive(now) => {}
                _ => free = free.or(Some(Place { number, present: None, version })),
            }
        }
        free
    }

    /// Adds refusals and results of logins to those in shared data. A write that loses against
    /// another worker is repeated later.
    fn publish(&mut self, board: &dyn Board) {
        self.refused.retain(|reason, refused| !refused.publish(*reason, board));
        self.logins.retain(|stage, results| !results.publish(*stage, board));
    }
}
