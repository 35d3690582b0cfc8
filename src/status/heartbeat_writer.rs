//! One worker's part in the status: it announces its configuration, and tells what it refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Board, Counter, Heartbeat, RefusalHistory, RefusalRecord};
use crate::config::Config;
use crate::refusal::Reason;
use crate::time::UnixTime;

/// Announces the configuration of a worker. It does so on ticks alone, so that no request waits for
/// it, and a flood of refusals costs no more than a few do.
#[derive(Debug)]
pub(crate) struct HeartbeatWriter {
    heartbeat: Heartbeat,
    place: Option<usize>,
    /// When it looks at its place again.
    next_look: UnixTime,
    /// How many counters it has told of.
    counters_told: usize,
    /// What was refused, by reason, and stands on no shelf yet.
    refused: BTreeMap<Reason, RefusalHistory>,
    /// No shelf is changed before this time.
    next_telling: UnixTime,
}

impl HeartbeatWriter {
    /// Least time in which a worker changes shelves once.
    const PAUSE: Duration = Duration::from_millis(500);

    /// Announces this configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            heartbeat: Heartbeat::new(config),
            place: None,
            next_look: UnixTime::default(),
            counters_told: 0,
            refused: BTreeMap::new(),
            next_telling: UnixTime::default(),
        }
    }

    /// The digest of the configuration.
    #[must_use]
    pub(crate) fn configuration(&self) -> &str {
        &self.heartbeat.configuration
    }

    /// A request was refused for this reason.
    pub(crate) fn note(&mut self, reason: Reason, record: RefusalRecord) {
        self.refused.entry(reason).or_default().add(record);
    }

    /// Time has passed. `counters` are those that the worker has used, of which there are so many.
    pub(crate) fn run<C: IntoIterator<Item = Counter>>(
        &mut self,
        board: &dyn Board,
        counter_count: usize,
        counters: impl FnOnce() -> C,
        now: UnixTime,
    ) {
        let is_set_back = self.next_look > now + Heartbeat::INTERVAL;
        if now >= self.next_look || is_set_back || counter_count != self.counters_told {
            self.announce(board, counters(), now);
            self.counters_told = counter_count;
            self.next_look = now + Heartbeat::INTERVAL;
        }
        if now >= self.next_telling || self.next_telling > now + Self::PAUSE {
            self.publish(board);
            self.next_telling = now + Self::PAUSE;
        }
    }

    fn announce(
        &mut self,
        board: &dyn Board,
        counters: impl IntoIterator<Item = Counter>,
        now: UnixTime,
    ) {
        let Some((place, present, number)) = self.own_place(board).or_else(|| {
            let free = self.free_place(board, now)?;
            let (_, number) = board.read(&Heartbeat::name_of_place(free));
            Some((free, None, number))
        }) else {
            return;
        };
        self.place = Some(place);
        if let Some(renewed) = self.heartbeat.renewed(present.as_ref(), counters, now) {
            // Whoever was faster has told the same, or has the place now: the next look shows it.
            board.replace(&Heartbeat::name_of_place(place), &renewed.encode(), number);
        }
    }

    /// The place where this configuration is announced.
    fn own_place(&self, board: &dyn Board) -> Option<(usize, Option<Heartbeat>, Option<u32>)> {
        let known = self.place.into_iter();
        known.chain(0..Heartbeat::PLACES).find_map(|place| {
            let (bytes, number) = board.read(&Heartbeat::name_of_place(place));
            let present = bytes.as_deref().and_then(Heartbeat::decode)?;
            let is_own = present.configuration == self.heartbeat.configuration;
            is_own.then_some((place, Some(present), number))
        })
    }

    /// A place where nobody is announced who is still there.
    fn free_place(&self, board: &dyn Board, now: UnixTime) -> Option<usize> {
        (0..Heartbeat::PLACES).find(|place| {
            let (bytes, _) = board.read(&Heartbeat::name_of_place(*place));
            let present = bytes.as_deref().and_then(Heartbeat::decode);
            present.is_none_or(|present| !present.is_alive(now))
        })
    }

    /// Puts what was refused onto the shelves. What another worker keeps from it is told later.
    fn publish(&mut self, board: &dyn Board) {
        self.refused.retain(|reason, refused| {
            let name = RefusalHistory::name(*reason);
            let (bytes, number) = board.read(&name);
            let mut history = bytes.as_deref().and_then(RefusalHistory::decode).unwrap_or_default();
            for record in refused.records() {
                history.add(record.clone());
            }
            !board.replace(&name, &history.encode(), number)
        });
    }
}
