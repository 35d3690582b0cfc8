//! The contexts of the plugin in a native stand-in for Envoy: how the shell translates host calls
//! and callbacks. The engine's decisions are tested in `tests/engine`.
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
// The engine's tests have these modules too.
#[path = "../engine/exchange.rs"]
mod exchange;
#[path = "../engine/provider.rs"]
mod provider;
mod status_page;
