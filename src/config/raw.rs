//! Version 1 of the configuration as it is written. Everything is optional here and nothing is
//! judged: that is for the validated form. What is said of the fields and values here is what
//! the schema says of them to those who write a configuration.

use serde::Deserialize;

use super::access::RawAccess;
use super::errors::RawErrors;
use super::field::{Field, UnknownFields};
use super::identity::RawIdentity;
use super::keys::RawKeys;
use super::provider::RawProvider;
use super::replay_store::RawReplayStore;
use super::resource::{RawExempt, RawMode, RawResource};
use super::tokens::RawTokenCache;
use super::units::SizeString;
use super::users::RawUsers;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawConfig {
    /// The MCP server that is protected, as clients know it (RFC 9728).
    pub(super) resource: Field<RawResource>,
    /// The identity providers that are trusted: one or more, of which at least one is active. The
    /// `iss` of a token picks its provider; among several of one issuer, `aud` does.
    pub(super) providers: Field<Vec<Field<RawProvider>>>,
    /// The users that are known. Default: everybody with a valid token is.
    pub(super) users: Field<RawUsers>,
    /// Who may do what. Default: everything is allowed.
    pub(super) access: Field<RawAccess>,
    /// How the MCP server is told who is calling. Default: the defaults of its fields.
    pub(super) identity: Field<RawIdentity>,
    /// Paths that need no token. Default: none.
    pub(super) exempt: Field<Vec<Field<RawExempt>>>,
    /// Origins of web pages that may call; a request with another `Origin` gets 403. Default: all.
    pub(super) allowed_origins: Field<Vec<String>>,
    /// How the keys of all providers are fetched; a provider may have its own. Default: the
    /// defaults of its fields.
    pub(super) keys: Field<RawKeys>,
    /// Longest token that is read.
    pub(super) max_token_size: Field<SizeString>,
    /// What is remembered of tokens that were verified. Default: the defaults of its fields.
    pub(super) token_cache: Field<RawTokenCache>,
    /// Where spent tokens of providers with `jti: single_use` are remembered: in the memory of this
    /// Envoy, or in a store that several Envoys share.
    pub(super) replay_store: Field<RawReplayStore>,
    /// How refusals are told to clients. Default: the defaults of its fields.
    pub(super) errors: Field<RawErrors>,
    /// Whether refusals are carried out.
    pub(super) mode: Field<RawMode>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}
