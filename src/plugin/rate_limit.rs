//! How many log lines may be written of a thing that anybody can cause.

use std::time::Duration;

use crate::time::UnixTime;

/// Counts lines in periods.
pub(super) struct RateLimit {
    period: Duration,
    max: u32,
    period_start: UnixTime,
    admitted: u32,
    left_out: u64,
}

impl RateLimit {
    /// At most so many lines of a worker in a period.
    pub(super) fn new(max: u32, period: Duration) -> Self {
        Self { period, max, period_start: UnixTime::default(), admitted: 0, left_out: 0 }
    }

    /// Whether one line more may be written. With the first of a period, `sum_up` is told how many
    /// were left out in the one before, if any were.
    pub(super) fn admits(&mut self, now: UnixTime, sum_up: impl FnOnce(u64)) -> bool {
        if now >= self.period_start + self.period || now < self.period_start {
            if self.left_out > 0 {
                sum_up(self.left_out);
            }
            *self = Self { period_start: now, ..Self::new(self.max, self.period) };
        }
        if self.admitted == self.max {
            self.left_out = self.left_out.saturating_add(1);
            return false;
        }
        self.admitted += 1;
        true
    }
}
