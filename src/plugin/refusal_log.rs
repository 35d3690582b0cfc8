//! A log line for each refusal, as long as they do not come in floods.

use std::time::Duration;

use log::{Level, info, log};
use serde_json::{Map, Value};

use super::rate_limit::RateLimit;
use crate::authenticator::Refused;
use crate::refusal::Party;
use crate::time::UnixTime;

/// Writes refusals to the log, and counts what it leaves out.
pub(super) struct RefusalLog {
    limit: RateLimit,
}

impl RefusalLog {
    /// Writes a line, and returns the details in it; none if there was no line. `what` was done with
    /// the request begins it.
    pub(super) fn write(
        &mut self,
        what: &str,
        refused: &Refused,
        now: UnixTime,
    ) -> Option<Map<String, Value>> {
        let sum_up = |left_out| {
            info!("refused: {left_out} more requests (log rate limit)");
        };
        if !self.limit.admits(now, sum_up) {
            return None;
        }
        let level = match refused.refusal.reason().row().party {
            Party::Client => Level::Info,
            Party::Operator | Party::Provider => Level::Warn,
        };
        let details = Value::Object(refused.refusal.log_details());
        log!(
            level,
            "{what}: reason={} provider={} details={details}",
            refused.refusal.reason().code(),
            refused.provider.as_deref().unwrap_or("-"),
        );
        match details {
            Value::Object(details) => Some(details),
            _ => None,
        }
    }
}

impl Default for RefusalLog {
    fn default() -> Self {
        Self { limit: RateLimit::new(100, Duration::from_secs(1)) }
    }
}
