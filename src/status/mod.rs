//! The status page: the configurations in use, the state of their keys, and the last refusals.
//!
//! A listener of its own serves the page, on any worker. So the workers share a [`Board`]: they
//! write a [`Heartbeat`] for each configuration, a [`RefusalHistory`] for each reason, and a
//! [`LoginHistory`] for each step of a login. A request to the page gathers them, and the shared
//! state of the keys, into one report, the [`Status`]. It is serialised as `status.json` and rendered
//! as the page. An allowed request writes nothing.
//!
//! Shared data cannot be deleted and does not expire. So the number of names is fixed, each value
//! is bounded, and values are parsed strictly: anything unrecognised is ignored.

mod configuration_status;
mod heartbeat;
mod heartbeat_writer;
mod history;
mod login_status;
mod logins;
mod page;
mod reason_status;
mod refusals;
mod refused_call;
mod report;
mod response;
mod words;

pub(crate) use heartbeat::{Counter, Heartbeat};
pub(crate) use heartbeat_writer::HeartbeatWriter;
pub(crate) use logins::{LoginHistory, LoginRecord};
pub(crate) use refusals::{RefusalHistory, RefusalRecord};
pub(crate) use report::Status;
pub(crate) use response::StatusPage;

use crate::shared_data::SharedValue;

/// The version of the filter.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The shared data and metrics of the process, as the status page needs them.
pub(crate) trait Board {
    /// Reads a shared value.
    fn read(&self, name: &str) -> SharedValue;
    /// Writes a shared value whose version is still this one; with `None`, one that has no value
    /// yet. False if another worker was faster.
    fn replace(&self, name: &str, bytes: &[u8], version: Option<u32>) -> bool;
    /// The value of a counter.
    fn count(&self, counter: &Counter) -> Option<u64>;
}

#[cfg(test)]
mod tests;
