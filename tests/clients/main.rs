//! Official MCP clients, which know only a URL, log in at a real OpenID provider and call the tools
//! of official MCP servers, through real Envoy with the plugin. One file for each behaviour.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod authorization_server;
mod expired;
mod from_zero;
mod gateway;
mod lists;
mod login_page;
mod rust;
mod service;
mod step_up;
mod streams;
mod support;
mod through_gateway;
mod two_providers;
mod web_page;
