//! Cause and fix of a refusal in words: by its reason, by what was found, and by the template of
//! the provider. Each file is a table of common faults of one kind, and ends with a general one.

mod audience;
mod claims;
mod form;
mod issuer;
mod keys;
mod time;
mod users;

use std::fmt::Display;

use serde::Serialize;
use serde_json::{Map, Value};

pub(super) use audience::is_id_token;
pub(super) use keys::{KeyFault, keys_unavailable};
pub(super) use time::is_in_milliseconds;

use super::offline::CompletedCallout;
use super::setup::Setup;
use crate::claim::AudienceClaim;
use crate::keys::FetchFault;
use crate::provider::Provider;
use crate::refusal::{Refusal, sentence};
use crate::resource::ResourceId;

/// The cause of a refusal, and its fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// Why the token is refused, in sentences.
    pub cause: String,
    /// What to change, and where.
    pub fix: String,
}

/// A refusal and its context.
pub(super) struct Case<'a> {
    pub(super) refusal: &'a Refusal,
    pub(super) setup: &'a Setup,
    /// The resource that the request belongs to.
    pub(super) resource: Option<ResourceId>,
    /// The provider that the token selects.
    pub(super) provider: Option<&'a Provider>,
    pub(super) token: &'a [u8],
    pub(super) header: &'a Map<String, Value>,
    pub(super) claims: &'a Map<String, Value>,
    /// The callouts for the keys of that provider.
    pub(super) callouts: &'a [CompletedCallout],
    /// Why its keys could not be fetched.
    pub(super) fetch_fault: Option<&'a FetchFault>,
    pub(super) uses_given_keys: bool,
}

impl Remedy {
    fn new(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { cause: cause.into(), fix: fix.into() }
    }

    /// The meaning of the reason, and its general fix.
    fn from_reason(refusal: &Refusal) -> Self {
        Self::new(sentence(&refusal.to_string()), refusal.reason().row().fix)
    }
}

impl Case<'_> {
    /// The path of a field of the token's provider.
    fn at(&self, field: &str) -> String {
        let written = self.provider.and_then(|provider| self.setup.written(provider));
        written.map_or_else(|| format!("providers[].{field}"), |written| written.path(field))
    }

    /// The accepted audiences of the token's provider, and the field that holds them.
    fn audiences(&self) -> (Vec<String>, String) {
        let config = &self.setup.config;
        let id = self.provider.and_then(|provider| config.providers.id(&provider.name));
        let audiences = id.map(|id| config.audiences(self.resource, id)).unwrap_or_default();
        let field = match (self.resource, self.provider) {
            (Some(resource), Some(provider)) => self.setup.audience_field(resource, provider),
            _ => self.at("client_ids"),
        };
        (audiences, field)
    }

    /// Whether a field of the token's provider is given.
    fn gives(&self, field: &str) -> bool {
        let written = self.provider.and_then(|provider| self.setup.written(provider));
        written.is_some_and(|written| written.has(field))
    }

    /// The general fix of the reason.
    fn fix(&self) -> &'static str {
        self.refusal.reason().row().fix
    }

    /// The same, and the path of the field that it names.
    fn fix_at(&self, field: &str) -> String {
        format!("{} The field is `{}`.", self.fix(), self.at(field))
    }

    /// The meaning of the reason with its cause.
    fn with_cause(&self, cause: &impl Display) -> Remedy {
        Remedy::new(sentence(&format!("{}: {cause}", self.refusal)), self.fix())
    }

    /// The template of the token's provider.
    fn template(&self) -> &str {
        let written = self.provider.and_then(|provider| self.setup.written(provider));
        written.map_or("generic", |written| written.template())
    }

    /// A claim that is a string.
    fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }
}

/// The cause and fix of a refusal.
pub(super) fn remedy(case: &Case<'_>) -> Remedy {
    match case.refusal {
        Refusal::MalformedAuthorization(fault) => form::not_one_token(case, *fault),
        Refusal::MalformedToken(fault) => form::malformed(case, fault),
        Refusal::UnsupportedAlgorithm { found, .. } => form::algorithm(case, found),
        Refusal::UnsupportedCriticalHeader { name } => form::critical(case, name),
        Refusal::WrongTokenType { found } => form::token_type(case, found.as_deref()),
        Refusal::BoundToken => form::bound(case),
        Refusal::UnknownIssuer { found, .. } => issuer::unknown(case, found.as_deref()),
        Refusal::AudienceMismatch { claim: AudienceClaim::ClientId, .. } => {
            audience::foreign_client(case)
        }
        Refusal::AudienceMismatch { claim: AudienceClaim::Audience, .. } => {
            audience::mismatch(case)
        }
        Refusal::Expired { seconds_ago } => time::expired(case, *seconds_ago),
        Refusal::NotYetValid { claim, seconds_left } => time::early(case, claim, *seconds_left),
        Refusal::TokenTooOld { seconds } => time::too_old(case, *seconds),
        Refusal::KeysUnavailable { .. } => keys::unavailable(case),
        Refusal::UnknownKid { kid, .. } => keys::unknown_kid(case, kid.as_deref()),
        Refusal::KeyMismatch(mismatch) => keys::mismatch(case, mismatch),
        Refusal::BadSignature { .. } => keys::bad_signature(case),
        Refusal::ClaimMismatch { claim } => claims::mismatch(case, claim),
        Refusal::MissingAnyClaim { claims, is_elsewhere } => {
            claims::missing_all(case, claims, *is_elsewhere)
        }
        Refusal::MissingClaim { claim, is_elsewhere } => {
            claims::missing(case, claim, *is_elsewhere)
        }
        Refusal::MissingUserClaim { claim } => claims::missing_user(case, claim),
        Refusal::TokenIdMissing => claims::token_id(case),
        Refusal::UserUnknown { claim, field, cause } => {
            users::unknown(claim, field, cause.as_deref())
        }
        Refusal::UserInactive { user, account_status } => {
            users::inactive(case, user, *account_status)
        }
        Refusal::UserNotServiceAccount { user } => users::no_service_account(case, user),
        Refusal::AccessDenied { denial, .. } => users::denied(case, denial),
        Refusal::InsufficientScope { rule, scopes, .. } => users::scope(case, rule, scopes),
        Refusal::DirectoryUnavailable { fault, .. } => case.with_cause(fault),
        Refusal::ReplayStoreUnavailable { fault, .. } => case.with_cause(fault),
        Refusal::GraphToken { .. }
        | Refusal::McpBodyInvalid(_)
        | Refusal::McpHeaderMismatch(_)
        | Refusal::McpListInvalid
        | Refusal::MissingToken
        | Refusal::OriginDenied
        | Refusal::SessionMismatch
        | Refusal::TokenReplayed
        | Refusal::UnknownResource { .. } => Remedy::from_reason(case.refusal),
    }
}
