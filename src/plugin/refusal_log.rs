//! A log line for each refusal, as long as they do not come in floods.

use std::time::Duration;

use log::{Level, info, log};
use serde_json::Value;

use crate::authenticator::Refused;
use crate::refusal::Party;
use crate::time::UnixTime;

/// Writes refusals to the log, and counts what it leaves out.
#[derive(Default)]
pub(super) struct RefusalLog {
    period_start: UnixTime,
    written: u32,
    left_out: u64,
}

impl RefusalLog {
    const PERIOD: Duration = Duration::from_secs(1);
    /// Most lines of a worker in a period: whoever can send requests can cause them.
    const MOST: u32 = 100;

    /// Writes a line. `what` was done with the request begins it.
    pub(super) fn write(&mut self, what: &str, refused: &Refused, now: UnixTime) {
        self.start_period_if_due(now);
        if self.written == Self::MOST {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.written += 1;
        let level = match refused.refusal.party() {
            Party::Client => Level::Info,
            Party::Operator | Party::Provider => Level::Warn,
        };
        log!(
            level,
            "{what}: reason={} provider={} details={}",
            refused.refusal.reason(),
            refused.provider.as_deref().unwrap_or("-"),
            Value::Object(refused.refusal.log_details()),
        );
    }

    fn start_period_if_due(&mut self, now: UnixTime) {
        if now < self.period_start + Self::PERIOD && now >= self.period_start {
            return;
        }
        if self.left_out > 0 {
            info!("refused: {} more requests, not logged one by one", self.left_out);
        }
        *self = Self { period_start: now, ..Self::default() };
    }
}
