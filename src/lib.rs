//! An Envoy filter that gives any MCP server federated authentication.
//!
//! This crate is the filter without a proxy. [`Engine`] is one worker of it: a shell hands it the
//! callbacks of a proxy, and offers it the proxy as a [`host::Host`]. The modules below it do no
//! I/O: time, bytes and responses from outside are arguments.
//!
//! The path of a request is in `authenticator`: `request` → `token` (bearer token, compact JWS,
//! cheap claim checks) → `keys` (the key by `kid`) → `jose` (signature) → `token` (claims) →
//! `identity` (the user, and the header fields that carry the identity) → `access` (what it may do)
//! → `token` once more (single-use tokens are spent). Where an access rule depends on the MCP
//! message, the last two wait for the body. A check that fails ends in a `refusal`, which
//! `response` turns into the response to the client.
//!
//! The path of a key is in `keys`. The status page is in `status`. `explain` runs the same code
//! without a proxy, for the program `mcp-auth`.

mod access;
mod callout;
mod claim;
mod config;
mod engine;
pub mod explain;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod html;
mod identity;
mod jose;
mod json;
mod keys;
mod lists;
mod login;
mod outcome;
mod printable;
mod provider;
mod refusal;
mod request;
mod resource;
mod response;
mod response_head;
mod response_messages;
mod seal;
mod sessions;
mod shared_data;
mod status;
mod time;
mod token;

pub use config::{Config, ConfigError, Fault, StatusConfig};
pub use engine::{BodyAction, Engine, HeadAction, StatusPageFilter};
pub use printable::escaped_line;
pub use refusal::Check;
pub use request::{Field, RequestHead};
pub use response_head::ResponseHead;
pub use time::UnixTime;

/// What a proxy has to offer to an [`Engine`], and what the engine hands to it.
pub mod host {
    pub use crate::callout::{CalloutRequest, CalloutResponse};
    pub use crate::engine::METRIC_FAMILIES;
    pub use crate::engine::authenticator::{Refused, RequestEdits};
    pub use crate::engine::host::{
        CalloutId, Host, HostRefused, KeyDemand, Metric, MetricFamily, MetricId, Part, SharedValue,
        StreamId,
    };
    pub use crate::engine::{JudgedHead, ResponsePlan};
    pub use crate::identity::IdentityFields;
    pub use crate::jose::{HashFunction, HostCrypto, HostCryptoError};
    pub use crate::response::Response;
}
#[cfg(feature = "schema")]
pub use config::{config_reference, config_schema};
#[doc(hidden)]
pub use printable::Printable;
