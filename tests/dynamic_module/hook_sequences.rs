//! Sequences of callbacks, in a process of their own: they would use up other tests' places on the
//! status page, which shows the whole process.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod envoy;
mod provider;
mod random_sequences;
mod sequences;
