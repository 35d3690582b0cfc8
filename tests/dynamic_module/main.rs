//! The native module in a scripted Envoy: this program implements Envoy's C interface and calls the
//! hooks as Envoy does, in one thread that is both main and worker, or in several.
//!
//! It is stricter than Envoy: lent memory is overwritten as soon as Envoy may free it.
#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod bodies;
mod callouts;
mod configuration;
#[allow(dead_code)]
mod envoy;
#[allow(dead_code)]
mod provider;
mod requests;
mod routes;
#[allow(dead_code)]
mod sequences;
mod spending;
mod threads;
mod waiting;
