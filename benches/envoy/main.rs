//! Compares the plugin and the native module with Envoy's own `jwt_authn`, with larger
//! configurations, and with no filter.
//!
//! `make bench` runs all parts, prints tables and keeps all samples in `target/bench/*.json`;
//! `cargo bench --bench envoy -- scale 50` runs 50 rounds of one of them. `docs/performance.md`
//! says how to read them.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod builds;
mod client;
mod comparison;
mod filters;
mod listeners;
mod lists;
mod memory;
mod options;
mod processor_time;
mod profile;
mod requests;
mod results;
mod rounds;
mod sample;
mod scale;
mod start;
mod statistics;

use crate::options::{Options, Part};

fn main() {
    let options = Options::from_arguments();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(run(&options));
}

async fn run(options: &Options) {
    for part in &options.parts {
        match part {
            Part::Builds => builds::run(options).await,
            Part::Load => comparison::run(options).await,
            Part::Scale => scale::run(options).await,
            Part::Lists => lists::run(options).await,
            Part::Memory => memory::run(options).await,
            Part::Start => start::run(options).await,
            Part::Profile => profile::run(options).await,
        }
    }
}
