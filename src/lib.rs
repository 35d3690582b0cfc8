//! An Envoy filter that gives any MCP server federated authentication.
//!
//! The core decides and never does I/O: time, bytes and answers from outside are arguments. Only
//! [`plugin`] knows of Envoy.
//!
//! The way of a request is written down in `authenticator`: `request` → `token` (bearer token,
//! compact JWS, cheap claim checks) → `keys` (the key by `kid`) → `jose` (signature) → `token`
//! (claims) → `identity` (who it is, and the header fields that say so) → `access` (what it may do)
//! → `token` once more (one that serves once is spent). Where an access rule asks for the MCP
//! message, the last two wait for the body. Whatever ends before that ends as a
//! `refusal`, which `response` turns into what the client gets.
//!
//! The way of a key is written down in `keys`.
//!
//! What people see of it while it runs stands in `status`.
//!
//! For people, away from Envoy, the same core tells in `explain` what it decides and why: the program
//! `mcp-auth`.

mod access;
mod authenticator;
mod callout;
mod claim;
mod config;
#[cfg(not(target_family = "wasm"))]
pub mod explain;
#[cfg(test)]
mod fuzz_seeds;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod jose;
mod json;
mod keys;
pub mod plugin;
mod printable;
mod provider;
mod refusal;
mod request;
mod resource;
mod response;
mod status;
mod time;
mod token;
mod verdict;
mod waiting_room;

// What the fuzz targets share says so.
#[cfg(test)]
extern crate self as mcp_federated_auth;

pub use config::{Config, ConfigError, Fault};
#[cfg(not(target_family = "wasm"))]
pub use config::{config_reference, config_schema};
#[doc(hidden)]
pub use printable::Printable;
