//! The contexts of the plugin in a native stand-in for Envoy: what the shell makes of host calls and
//! callbacks. How the engine decides is tested in `tests/engine`.
#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod bodies;
mod bytes_of_clients;
mod callouts;
mod configuration;
mod filter_state;
mod host;
mod host_crypto;
// These are shared with the engine's tests.
#[path = "../engine/exchange.rs"]
mod exchange;
#[path = "../engine/provider.rs"]
mod provider;
mod status_page;
