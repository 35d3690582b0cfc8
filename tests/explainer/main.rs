//! The program `mcp-auth` as people run it: one file for each behaviour.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod agreement;
mod agreement_urls;
mod broken_setups;
mod check;
mod command_line;
mod config_map;
mod duplicates;
mod extension_policy;
mod keys;
mod login;
mod missing_clusters;
mod page;
mod routes;
mod routes_unseen;
mod servers;
mod support;
mod surroundings;
mod token_files;
mod tools;
mod trust;
mod unknown_users;
mod variables;
