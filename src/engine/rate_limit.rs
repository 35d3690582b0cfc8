//! Limits the log lines that clients can cause.

use std::time::Duration;

use crate::time::UnixTime;

/// Counts lines in periods.
#[derive(Debug)]
pub(super) struct RateLimit {
    period: Duration,
    max: u32,
    period_start: UnixTime,
    admitted: u32,
    suppressed: u64,
}

impl RateLimit {
    /// At most `max` lines per worker and period.
    pub(super) fn new(max: u32, period: Duration) -> Self {
        Self { period, max, period_start: UnixTime::default(), admitted: 0, suppressed: 0 }
    }

    /// Whether another line may be written. The first line of a period calls `sum_up` with the number
    /// of lines suppressed in the period before, if there were any.
    pub(super) fn admits(&mut self, now: UnixTime, sum_up: impl FnOnce(u64)) -> bool {
        if now >= self.period_start + self.period || now < self.period_start {
            if self.suppressed > 0 {
                sum_up(self.suppressed);
            }
            *self = Self { period_start: now, ..Self::new(self.max, self.period) };
        }
        if self.admitted == self.max {
            self.suppressed = self.suppressed.saturating_add(1);
            return false;
        }
        self.admitted += 1;
        true
    }
}
