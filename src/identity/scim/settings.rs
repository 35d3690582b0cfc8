//! Where the directory is, and how users are looked up in it.

use std::fmt;
use std::time::Duration;

use super::Attribute;
use crate::callout::{BodyLimit, Endpoint};
use crate::claim::ClaimPath;

/// Where the directory is, and how users are looked up in it.
#[derive(Clone, Debug)]
pub(crate) struct ScimSettings {
    /// Base URL of the service.
    pub base: Endpoint,
    /// Bearer token for the service.
    pub bearer_token: Option<Secret>,
    /// How long a result is cached.
    pub cache_ttl: Duration,
    /// Time limit of one callout.
    pub timeout: Duration,
    /// Maximum size of a response in bytes.
    pub max_body: BodyLimit,
    /// How unknown users are created; `None` if they are not.
    pub provisioning: Option<Provisioning>,
    /// Whether an unknown user passes under the value of its claim. That value must then not be the
    /// name of another user.
    pub tolerates_unknown: bool,
}

/// How a user is created.
#[derive(Clone, Debug)]
pub(crate) struct Provisioning {
    /// Roles of each new user.
    pub roles: Vec<String>,
    /// Attributes, and the claims they are copied from.
    pub fields: Vec<(Attribute, ClaimPath)>,
}

/// A string that must not be logged.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl ScimSettings {
    /// Maximum time that a request waits for a user.
    #[must_use]
    pub(crate) fn max_wait(&self) -> Duration {
        self.timeout + Duration::from_secs(2)
    }
}

impl Secret {
    /// `None` if the string is not a valid bearer token (RFC 6750 §2.1).
    #[must_use]
    pub(crate) fn bearer_token(text: String) -> Option<Self> {
        let is_sendable = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        (!text.is_empty() && text.bytes().all(is_sendable)).then_some(Self(text))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
