//! A log line when a token lists roles or groups elsewhere: its user lacks them here, and nothing
//! else would say why.

use std::time::Duration;

use log::warn;

use super::rate_limit::RateLimit;
use crate::identity::Overage;
use crate::time::UnixTime;

/// Writes overages to the log. Each request of such a user is one, so few lines do.
pub(super) struct OverageLog {
    limit: RateLimit,
}

impl OverageLog {
    pub(super) fn write(&mut self, overage: &Overage, now: UnixTime) {
        let sum_up = |left_out| {
            warn!("{left_out} more requests had tokens that list roles or groups elsewhere");
        };
        if self.limit.admits(now, sum_up) {
            warn!("{overage}");
        }
    }
}

impl Default for OverageLog {
    fn default() -> Self {
        Self { limit: RateLimit::new(10, Duration::from_secs(60)) }
    }
}
