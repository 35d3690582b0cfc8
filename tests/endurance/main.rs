//! Real Envoy with the plugin for minutes or under load, one file for each behaviour.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod cache_control;
mod outage;
mod replay;
mod rotation_under_load;
mod steady_state;
mod support;
