//! A log line for a token that lists its roles or groups elsewhere: the user lacks them here, and
//! nothing else would report why.

use std::time::Duration;

use log::Level;

use super::host::Host;
use super::rate_limit::RateLimit;
use crate::identity::Overage;
use crate::time::UnixTime;

/// Logs overages. Every request of such a user has one, so a few lines are enough.
#[derive(Debug)]
pub(super) struct OverageLog {
    limit: RateLimit,
}

impl OverageLog {
    pub(super) fn write(&mut self, overage: &Overage, host: &impl Host, now: UnixTime) {
        let sum_up = |suppressed| {
            host.log(
                Level::Warn,
                format_args!(
                    "{suppressed} more requests had tokens that list roles or groups elsewhere"
                ),
            );
        };
        if self.limit.admits(now, sum_up) {
            host.log(Level::Warn, format_args!("{overage}"));
        }
    }
}

impl Default for OverageLog {
    fn default() -> Self {
        Self { limit: RateLimit::new(10, Duration::from_secs(60)) }
    }
}
