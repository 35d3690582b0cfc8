//! Version 1 of the configuration as written. Every field is optional here, and validation checks
//! the values later. The doc comments of fields and values become the descriptions in the schema
//! and in docs/configuration.md.

use serde::Deserialize;

use super::access::RawAccess;
use super::audit::RawAudit;
use super::errors::RawErrors;
use super::field::{Field, UnknownFields};
use super::identity::RawIdentity;
use super::keys::RawKeys;
use super::login::RawLogin;
use super::provider::RawProvider;
use super::replay_store::RawReplayStore;
use super::resource::{RawExempt, RawMode, RawResource};
use super::resources::RawProtectedResource;
use super::secret::RawSecret;
use super::sessions::RawSessions;
use super::tokens::RawTokenCache;
use super::units::SizeString;
use super::users::RawUsers;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawConfig {
    /// The protected MCP server, as clients know it (RFC 9728). Every request belongs to it. Either
    /// this or `resources` is required. Default: none.
    pub(super) resource: Field<RawResource>,
    /// Several protected MCP servers, instead of `resource`. A request belongs to the one with its
    /// host and the longest path that begins its path; 404 if there is none. Default: none.
    pub(super) resources: Field<Vec<Field<RawProtectedResource>>>,
    /// The trusted identity providers; at least one must be active. The `iss` of a token selects
    /// its provider; among several with the same issuer, `aud` does.
    pub(super) providers: Field<Vec<Field<RawProvider>>>,
    /// The known users. Default: every user with a valid token is known.
    pub(super) users: Field<RawUsers>,
    /// Who may do what. Default: everything is allowed.
    pub(super) access: Field<RawAccess>,
    /// How the identity of the caller is passed to the MCP server. Default: the defaults of its
    /// fields.
    pub(super) identity: Field<RawIdentity>,
    /// Paths that need no token. Default: none.
    pub(super) exempt: Field<Vec<Field<RawExempt>>>,
    /// Origins of web pages that may send requests; a request with another `Origin` gets 403.
    /// Default: all.
    pub(super) allowed_origins: Field<Vec<String>>,
    /// How keys are fetched, for all providers; a provider can override it. Default: the defaults
    /// of its fields.
    pub(super) keys: Field<RawKeys>,
    /// Longest token that is accepted.
    pub(super) max_token_size: Field<SizeString>,
    /// The cache of verified tokens. Default: the defaults of its fields.
    pub(super) token_cache: Field<RawTokenCache>,
    /// Where spent tokens of providers with `jti: single_use` are recorded: in the memory of this
    /// Envoy, or in a store that several Envoys share.
    pub(super) replay_store: Field<RawReplayStore>,
    /// The secret that the gateway seals values with. Required for `login` and `sessions`.
    /// Default: none.
    pub(super) secret: Field<RawSecret>,
    /// The gateway as the authorization server that clients see. Default: clients log in at the
    /// providers themselves.
    pub(super) login: Field<RawLogin>,
    /// Whether sessions are bound to users. Default: the defaults of its fields.
    pub(super) sessions: Field<RawSessions>,
    /// What is recorded about calls. Default: the defaults of its fields.
    pub(super) audit: Field<RawAudit>,
    /// The format and detail of refusals. Default: the defaults of its fields.
    pub(super) errors: Field<RawErrors>,
    /// Whether refusals are enforced.
    pub(super) mode: Field<RawMode>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}
