//! The configuration: a raw form that anything can be read into, and the validated form that the
//! rest of the crate knows, which cannot be wrong.

mod access;
mod claims;
mod defaults;
mod document;
mod errors;
mod field;
mod identity;
mod key_source;
mod keys;
mod limits;
mod provider;
mod raw;
#[cfg(feature = "schema")]
mod reference;
mod replay_store;
mod resource;
#[cfg(feature = "schema")]
mod schema;
mod scim;
mod scopes;
mod status;
mod templates;
mod tokens;
mod units;
mod url;
mod users;
mod validate;

use std::fmt;

#[cfg(feature = "schema")]
pub use reference::config_reference;
#[cfg(feature = "schema")]
pub use schema::config_schema;
pub use status::StatusConfig;

use crate::identity::{IdentityHeaders, Users};
use crate::provider::Providers;
use crate::resource::ProtectedResource;
use crate::response::ErrorStyle;
use crate::token::ReplayStore;

/// A configuration in which everything has been checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Tells it from others: a digest (SHA-256, in hex) of what was written, whatever the form.
    pub(crate) digest: String,
    /// The MCP server that is protected.
    pub(crate) resource: ProtectedResource,
    /// The identity providers that are trusted; at least one.
    pub(crate) providers: Providers,
    /// The users that are known.
    pub(crate) users: Users,
    /// The header fields that tell the upstream who is calling.
    pub(crate) identity_headers: IdentityHeaders,
    /// Whether the upstream gets the token.
    pub(crate) forward_token: bool,
    /// Most tokens that are remembered once they were judged.
    pub(crate) token_cache: usize,
    /// Most bytes of a token.
    pub(crate) max_token_size: usize,
    /// How refusals are told.
    pub(crate) errors: ErrorStyle,
    /// Where spent tokens are remembered.
    pub(crate) replay_store: ReplayStore,
}

/// The values of environment variables.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads a configuration as Envoy hands it over: a `google.protobuf.Struct` in protobuf
    /// encoding, or JSON text. Secrets are read from the environment variables that it names.
    ///
    /// # Errors
    ///
    /// All faults that were found, each with the path of its field.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::read(bytes, &|name| std::env::var(name).ok())
    }

    /// Reads a configuration where the secrets are not at hand: every environment variable that it
    /// names counts as set.
    ///
    /// # Errors
    ///
    /// All faults, as for [`from_bytes`](Self::from_bytes).
    pub fn without_secrets(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::read(bytes, &|_| Some("unknown".to_owned()))
    }

    /// The same with these environment variables, by their names.
    fn read(bytes: &[u8], environment: Environment<'_>) -> Result<Self, ConfigError> {
        let mut faults = Faults::default();
        let config = document::read(bytes, &mut faults)
            .and_then(|document| validate::config(document, environment, &mut faults));
        match config {
            Some(config) if faults.0.is_empty() => Ok(config),
            _ => Err(ConfigError { faults: faults.0 }),
        }
    }
}

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// All faults that were found; at least one.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    path: String,
    problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, path: &str, problem: impl Into<String>) {
        self.0.push(Fault { path: path.to_owned(), problem: problem.into() });
    }
}

#[cfg(test)]
mod tests;
