//! The plugin's contexts under a native stand-in for Envoy: what a real one shows only by chance.
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
mod calls_that_fail;
mod filter_state;
mod heads_first;
mod host;
mod host_crypto;
mod judged_anew;
mod metrics;
mod nameless_tokens;
mod paused_requests;
mod provider;
mod refusal_log;
mod replay;
mod replay_fleet;
mod shared_data;
mod status_page;
mod token_cache;
mod user_lookups;
mod waiting_places;
