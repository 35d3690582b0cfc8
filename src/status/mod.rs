//! What people see of it all while it runs: which configurations there are, how the keys of their
//! providers stand, and which requests were refused and why.
//!
//! The page is served by a listener of its own, maybe in another thread than the one that refused a
//! request. So each configuration puts an [`Heartbeat`] of itself on a [`Board`] that all of them
//! share, and its last refusals onto a [`RefusalHistory`] for each reason; a [`Status`] is gathered from there
//! when somebody looks. An allowed request has no part in it.
//!
//! Shared data can neither be deleted nor does it expire: there is a fixed number of places, each is
//! of a bounded size, and what stands there is read strictly and is nothing if it is not ours.

mod heartbeat;
mod heartbeat_writer;
mod html;
mod page;
mod refusals;
mod report;
mod response;
mod words;

pub(crate) use heartbeat::{Counter, Heartbeat};
pub(crate) use heartbeat_writer::HeartbeatWriter;
pub(crate) use refusals::{RefusalHistory, RefusalRecord};
pub(crate) use report::Status;
pub(crate) use response::StatusPage;

/// What all workers of a process share.
pub(crate) trait Board {
    /// A shared value with its number.
    fn read(&self, name: &str) -> (Option<Vec<u8>>, Option<u32>);
    /// Replaces the shared value of this number; with no number, only if there is none.
    fn replace(&self, name: &str, bytes: &[u8], number: Option<u32>) -> bool;
    /// What a counter says.
    fn count(&self, counter: &Counter) -> Option<u64>;
}

#[cfg(test)]
mod tests;
