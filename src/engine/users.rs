//! User look-ups: makes the callouts of [`ScimLookups`](crate::identity::ScimLookups).

use log::Level;

use super::Engine;
use super::callouts::{Callout, Purpose};
use super::host::Host;
use crate::callout::{CalloutFault, CalloutResponse};
use crate::identity::{LookupId, LookupReport, UserKey};
use crate::time::UnixTime;

impl<H: Host> Engine<H> {
    /// Whether a look-up of this user is in progress.
    pub(super) fn is_looked_up(&self, user: &UserKey) -> bool {
        self.users.as_ref().is_some_and(|users| users.is_under_way(user))
    }

    /// Makes all pending callouts, and reports the results of earlier ones.
    pub(super) fn run_users(&mut self, now: UnixTime) {
        let Some(users) = &mut self.users else { return };
        let timeout = users.directory().timeout;
        while let Some((lookup, request)) = users.next_callout() {
            match self.host.call(&request, timeout) {
                Some(id) => {
                    let (purpose, max_body) = (Purpose::User(lookup), request.max_body);
                    self.callouts.insert(id, Callout { purpose, max_body });
                }
                None => {
                    let fault = CalloutFault::Dispatch { cluster: request.cluster };
                    users.on_response(lookup, Err(fault), now);
                }
            }
        }
        while let Some(report) = users.next_report() {
            self.metrics.count_lookup(&report, &self.host);
            let host = &self.host;
            let sum_up = |suppressed| {
                host.log(
                    Level::Warn,
                    format_args!("users: {suppressed} more lines (log rate limit)"),
                );
            };
            match report {
                LookupReport::Completed(_) => {}
                _ if !self.user_log.admits(now, sum_up) => {}
                LookupReport::Created { ref lacking, .. } if lacking.is_empty() => {
                    host.log(Level::Info, format_args!("users: {report}"));
                }
                report => host.log(Level::Warn, format_args!("users: {report}")),
            }
        }
    }

    /// Passes on the response to a callout of this look-up.
    pub(super) fn on_user_response(
        &mut self,
        lookup: LookupId,
        response: Option<CalloutResponse>,
        now: UnixTime,
    ) {
        if let Some(users) = &mut self.users {
            users.on_response(lookup, Ok(response), now);
        }
        self.run_users(now);
    }

    /// The callout of this look-up could not be made.
    pub(super) fn on_user_refused(&mut self, lookup: LookupId, now: UnixTime) {
        if let Some(users) = &mut self.users {
            let cluster = users.directory().base.cluster().to_owned();
            users.on_response(lookup, Err(CalloutFault::Dispatch { cluster }), now);
        }
        self.run_users(now);
    }
}
