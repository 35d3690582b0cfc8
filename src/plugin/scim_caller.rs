//! Makes the calls that look-ups of users ask for, and tells what came of them.

use std::collections::BTreeMap;
use std::time::Duration;

use log::{info, warn};

use super::host;
use super::metrics::Metrics;
use super::rate_limit::RateLimit;
use crate::callout::CalloutFault;
use crate::identity::{LookupId, LookupReport, ScimLookups};
use crate::time::UnixTime;

/// The users of a directory, and the calls that are not answered yet.
pub(super) struct ScimCaller {
    lookups: ScimLookups,
    callouts: BTreeMap<u32, LookupId>,
    log_limit: RateLimit,
}

impl ScimCaller {
    pub(super) fn new(lookups: ScimLookups) -> Self {
        let log_limit = RateLimit::new(10, Duration::from_secs(60));
        Self { lookups, callouts: BTreeMap::new(), log_limit }
    }

    /// The users.
    pub(super) fn lookups(&self) -> &ScimLookups {
        &self.lookups
    }

    /// The users.
    pub(super) fn lookups_mut(&mut self) -> &mut ScimLookups {
        &mut self.lookups
    }

    /// Makes all calls that are to be made. The root context is in hand.
    pub(super) fn run(&mut self, metrics: &mut Metrics, now: UnixTime) {
        let timeout = self.lookups.directory().timeout;
        while let Some((lookup, request)) = self.lookups.next_callout() {
            match host::callout(&request, timeout) {
                Some(callout) => {
                    self.callouts.insert(callout, lookup);
                }
                None => {
                    let fault = CalloutFault::Dispatch { cluster: request.cluster };
                    self.lookups.on_response(lookup, Err(fault), now);
                }
            }
        }
        self.report(metrics, now);
    }

    /// Hands over the answer that the host reports just now, if it is one to a call of this
    /// directory.
    pub(super) fn on_callout_response(
        &mut self,
        callout: u32,
        header_count: usize,
        body_length: usize,
        metrics: &mut Metrics,
        now: UnixTime,
    ) {
        let Some(lookup) = self.callouts.remove(&callout) else { return };
        let limit = self.lookups.directory().max_body.bytes;
        let response = host::callout_response(header_count, body_length, limit);
        self.lookups.on_response(lookup, Ok(response), now);
        self.run(metrics, now);
    }

    fn report(&mut self, metrics: &mut Metrics, now: UnixTime) {
        while let Some(report) = self.lookups.next_report() {
            metrics.count_lookup(&report);
            let sum_up =
                |left_out| warn!("users: {left_out} more look-ups failed, or created a user");
            match report {
                LookupReport::Answered(_) => {}
                _ if !self.log_limit.admits(now, sum_up) => {}
                LookupReport::Created { ref lacking, .. } if lacking.is_empty() => {
                    info!("users: {report}");
                }
                report => warn!("users: {report}"),
            }
        }
    }
}
