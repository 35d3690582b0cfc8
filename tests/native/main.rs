//! The native module in real Envoy: where it differs from the plugin, and that its faults do not
//! crash Envoy.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod counts;
mod gateway;
mod module;
mod panics;
mod reloads;
mod routes;
mod serving;
mod support;
mod unloading;
