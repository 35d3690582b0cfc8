//! The engine in a scripted host with a simulated clock: behaviour that depends on timing.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod bodies;
mod calls_that_fail;
mod divided_work;
mod exchange;
mod filter_state;
mod heads_first;
mod host;
mod judged_again;
mod lists;
mod login;
mod login_cookies;
mod login_crowds;
mod login_keys;
mod login_refusals;
mod login_support;
mod metrics;
mod nameless_tokens;
mod outcomes;
mod paused_requests;
mod provider;
mod refusal_log;
mod replay;
mod replay_fleet;
mod resources;
mod resources_own;
mod sessions;
mod shared_data;
mod start_line;
mod status_page;
mod token_cache;
mod user_lookups;
mod waiting_places;
