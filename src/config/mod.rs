//! The configuration: a raw form that accepts any input, and the validated form that the rest of
//! the crate uses, which cannot be wrong.

mod access;
mod audit;
mod claims;
mod defaults;
mod document;
mod environment;
mod errors;
mod field;
mod identity;
mod key_source;
mod keys;
mod limits;
mod login;
mod provider;
mod provider_login;
mod raw;
#[cfg(feature = "schema")]
mod reference;
mod replay_store;
mod resource;
mod resources;
#[cfg(feature = "schema")]
mod schema;
mod scim;
mod scopes;
mod secret;
mod sessions;
mod status;
mod templates;
mod tokens;
mod units;
mod url;
mod users;
mod validate;

use std::fmt;
use std::rc::Rc;

pub use environment::HOST_VARIABLES;
#[cfg(feature = "schema")]
pub use reference::config_reference;
#[cfg(feature = "schema")]
pub use schema::config_schema;
pub use status::StatusConfig;

use self::environment::Environment;
use crate::identity::Users;
use crate::login::Login;
use crate::provider::{ProviderId, Providers};
use crate::resource::{ResourceId, Resources};
use crate::response::ErrorStyle;
use crate::sessions::SessionSealer;
use crate::token::ReplayStore;

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Identifies the configuration: a digest (SHA-256, hex) of its content, independent of its
    /// form.
    pub(crate) digest: String,
    /// The protected MCP servers; at least one.
    pub(crate) resources: Resources,
    /// The trusted identity providers; at least one.
    pub(crate) providers: Providers,
    /// The known users.
    pub(crate) users: Users,
    /// Maximum number of tokens whose verdict is cached.
    pub(crate) token_cache: usize,
    /// Maximum size of a token in bytes.
    pub(crate) max_token_size: usize,
    /// The format and detail of refusals.
    pub(crate) errors: ErrorStyle,
    /// Whether the outcomes of calls are read from responses.
    pub(crate) follows_calls: bool,
    /// Where spent tokens are recorded.
    pub(crate) replay_store: ReplayStore,
    /// The login through the gateway, if it is configured.
    pub(crate) login: Option<Rc<Login>>,
    /// Seals session ids, if sessions are bound.
    pub(crate) sessions: Option<Rc<SessionSealer>>,
}

/// What is known of an environment variable.
#[derive(Clone)]
pub enum Variable {
    /// The plugin does not get it.
    Missing,
    /// The plugin gets it, with a value that is not known here.
    Unknown,
    /// The plugin gets this value.
    Set(String),
}

impl Config {
    /// Reads a configuration as Envoy passes it: a protobuf-encoded `google.protobuf.Struct`, or
    /// JSON. Secrets are read from the environment variables that it names.
    ///
    /// # Errors
    ///
    /// All faults that were found, each with the path of its field.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::with_environment(bytes, &|name| std::env::var(name).ok())
    }

    /// Reads a configuration with this look-up of environment variables.
    ///
    /// # Errors
    ///
    /// All faults, as for [`from_bytes`](Self::from_bytes).
    pub fn with_environment(
        bytes: &[u8],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut faults = Faults::default();
        let config = document::read(bytes, &mut faults)
            .and_then(|document| validate::config(document, environment, &mut faults));
        match config {
            Some(config) if faults.0.is_empty() => Ok(config),
            _ => Err(ConfigError { faults: faults.0 }),
        }
    }

    /// Reads a configuration where secrets are not available: every environment variable that it
    /// names counts as set.
    ///
    /// # Errors
    ///
    /// All faults, as for [`from_bytes`](Self::from_bytes).
    pub fn without_secrets(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::with_variables(bytes, &|_| Variable::Unknown)
    }

    /// Reads a configuration where this is known of the environment variables that it names.
    ///
    /// # Errors
    ///
    /// All faults, as for [`from_bytes`](Self::from_bytes).
    pub(crate) fn with_variables(
        bytes: &[u8],
        variable: &dyn Fn(&str) -> Variable,
    ) -> Result<Self, ConfigError> {
        /// Base64 of 33 bytes, so that it is also accepted as a `secret`.
        const STAND_IN: &str = "unknownunknownunknownunknownunknownunknownun";
        Self::with_environment(bytes, &|name| match variable(name) {
            Variable::Missing => None,
            Variable::Unknown => Some(STAND_IN.to_owned()),
            Variable::Set(value) => Some(value),
        })
    }

    /// The issuers whose tokens are accepted at a resource; at any, if none is given.
    #[must_use]
    pub(crate) fn issuers(&self, resource: Option<ResourceId>) -> Vec<String> {
        let issuers: Vec<&str> = match resource {
            Some(id) => self.resources[id].providers.issuers(&self.providers).collect(),
            None => {
                self.providers.iter().flat_map(|own| &own.issuers).map(String::as_str).collect()
            }
        };
        issuers.into_iter().map(str::to_owned).collect()
    }

    /// The accepted values of `aud` of a provider at a resource; at any, if none is given.
    #[must_use]
    pub(crate) fn audiences(
        &self,
        resource: Option<ResourceId>,
        provider: ProviderId,
    ) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let resources = self.resources.entries();
        let resources = resources.filter(|(id, _)| resource.is_none_or(|wanted| *id == wanted));
        let tokens = resources.filter_map(|(_, resource)| resource.providers.get(provider));
        for audience in tokens.flat_map(|tokens| &tokens.audiences) {
            if !all.contains(audience) {
                all.push(audience.clone());
            }
        }
        all
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
