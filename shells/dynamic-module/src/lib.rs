//! The native module: a dynamic module of Envoy that translates between Envoy's C interface and
//! [`mcp_federated_auth::Engine`], and decides nothing.
//!
//! A configuration has an engine on Envoy's main thread that fetches keys ([`fetcher`]), and one on
//! each worker thread that decides on requests ([`worker`]), created when the first request
//! arrives. The main thread also makes the callouts of the workers. What they share is process-wide
//! ([`store`]).
//!
//! A worker has no timer, and its thread cannot be woken, but each stream has a scheduler
//! ([`waker`]); a single thread of the module serves as the timer ([`timer`]).

mod abi;
mod configuration;
mod fetcher;
mod hooks;
mod host;
#[cfg(feature = "injected-panics")]
mod injected;
#[cfg(not(feature = "injected-panics"))]
#[path = "not_injected.rs"]
mod injected;
mod lock;
mod log_lines;
mod mailbox;
mod metrics;
mod setup;
mod store;
mod tally;
mod timer;
mod waker;
mod worker;

// The callbacks of the tests take them too: both sides must have the same type, or a call between
// them is undefined behaviour.
pub use abi::{Buffer, RawField};
