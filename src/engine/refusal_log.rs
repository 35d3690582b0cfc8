//! A log line for each refusal, up to a rate.

use std::time::Duration;

use log::Level;
use serde_json::{Map, Value};

use super::host::Host;
use super::rate_limit::RateLimit;
use crate::engine::authenticator::Refused;
use crate::refusal::Party;
use crate::time::UnixTime;

/// Writes refusals to the log, and counts the lines it suppresses.
#[derive(Debug)]
pub(super) struct RefusalLog {
    limit: RateLimit,
}

impl RefusalLog {
    /// Writes a line that begins with `action`. `resource` is the id of the resource, if there are
    /// several, and `provider` the name of the provider, if the token selects one. Returns the
    /// details of the refusal; `None` if the rate limit suppressed the line.
    pub(super) fn write(
        &mut self,
        action: &str,
        refused: &Refused,
        resource: Option<&str>,
        provider: Option<&str>,
        host: &impl Host,
        now: UnixTime,
    ) -> Option<Map<String, Value>> {
        let sum_up = |suppressed| {
            host.log(
                Level::Info,
                format_args!("refused: {suppressed} more requests (log rate limit)"),
            );
        };
        if !self.limit.admits(now, sum_up) {
            return None;
        }
        let level = match refused.refusal.reason().row().party {
            Party::Client => Level::Info,
            Party::Operator | Party::Provider => Level::Warn,
        };
        let reason = refused.refusal.reason().code();
        let provider = provider.unwrap_or("-");
        let details = Value::Object(refused.refusal.log_details());
        let (label, resource) = match resource {
            Some(resource) => (" resource=", resource),
            None => ("", ""),
        };
        host.log(
            level,
            format_args!(
                "{action}: reason={reason}{label}{resource} provider={provider} details={details}"
            ),
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
