//! Version 1 of the configuration as it is written. Everything is optional here and nothing is
//! judged: that is for the validated form.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::field::{Field, UnknownFields};
use super::templates::TemplateName;
use super::units::{DurationText, SizeText};
use crate::token::ClaimPath;

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawConfig {
    pub(super) resource: Field<RawResource>,
    pub(super) providers: Field<Vec<Field<RawProvider>>>,
    pub(super) users: Field<RawUsers>,
    pub(super) access: Field<RawAccess>,
    pub(super) identity: Field<RawIdentity>,
    pub(super) exempt: Field<Vec<Field<RawExempt>>>,
    pub(super) allowed_origins: Field<Vec<String>>,
    pub(super) keys: Field<RawKeys>,
    pub(super) max_token_size: Field<SizeText>,
    pub(super) token_cache: Field<Value>,
    pub(super) replay_store: Field<Value>,
    pub(super) errors: Field<RawErrors>,
    pub(super) mode: Field<RawMode>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawResource {
    pub(super) url: Field<String>,
    pub(super) name: Field<String>,
    pub(super) documentation: Field<String>,
    pub(super) scopes_supported: Field<Vec<String>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawProvider {
    pub(super) name: Field<String>,
    pub(super) template: Field<TemplateName>,
    pub(super) tenant: Field<String>,
    pub(super) domain: Field<String>,
    pub(super) host: Field<String>,
    pub(super) realm: Field<String>,
    pub(super) authorization_server: Field<String>,
    pub(super) client_ids: Field<Vec<String>>,
    pub(super) metadata_url: Field<String>,
    pub(super) jwks_url: Field<String>,
    pub(super) jwks: Field<Value>,
    pub(super) certificates: Field<Vec<String>>,
    pub(super) cluster: Field<String>,
    pub(super) clusters: Field<BTreeMap<String, String>>,
    pub(super) issuer: Field<String>,
    pub(super) additional_issuers: Field<Vec<String>>,
    pub(super) algorithms: Field<Vec<String>>,
    pub(super) clock_skew: Field<DurationText>,
    pub(super) max_token_age: Field<DurationText>,
    pub(super) required_claims: Field<BTreeMap<String, Value>>,
    pub(super) token_types: Field<Vec<String>>,
    pub(super) keys: Field<RawKeys>,
    pub(super) user_claim: Field<ClaimPath>,
    pub(super) user_field: Field<String>,
    pub(super) scope_claim: Field<ClaimPath>,
    pub(super) roles_claim: Field<ClaimPath>,
    pub(super) groups_claim: Field<ClaimPath>,
    pub(super) jti: Field<RawTokenIdRule>,
    pub(super) client_type: Field<RawClientType>,
    pub(super) auth_scopes: Field<Vec<String>>,
    pub(super) restrict_to_policies: Field<bool>,
    pub(super) active: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawKeys {
    pub(super) max_age: Field<DurationText>,
    pub(super) refresh_ahead: Field<DurationText>,
    pub(super) refresh_cooldown: Field<DurationText>,
    pub(super) timeout: Field<DurationText>,
    pub(super) max_stale: Field<DurationText>,
    pub(super) max_body: Field<SizeText>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawUsers {
    pub(super) unknown: Field<RawUnknownUser>,
    pub(super) records: Field<Vec<Field<RawUserRecord>>>,
    pub(super) scim: Field<RawScim>,
    pub(super) provision: Field<RawProvision>,
    #[serde(flatten)]
    pub(super) unknown_fields: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawScim {
    pub(super) url: Field<String>,
    pub(super) cluster: Field<String>,
    pub(super) bearer_token_env: Field<String>,
    pub(super) cache_ttl: Field<DurationText>,
    pub(super) timeout: Field<DurationText>,
    pub(super) max_body: Field<SizeText>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawProvision {
    pub(super) roles: Field<Vec<String>>,
    pub(super) fields: Field<BTreeMap<String, ClaimPath>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawUserRecord {
    pub(super) user_name: Field<String>,
    pub(super) roles: Field<Vec<String>>,
    pub(super) groups: Field<Vec<String>>,
    pub(super) active: Field<bool>,
    pub(super) locked: Field<bool>,
    pub(super) web_service_access_only: Field<bool>,
    /// Whatever a provider finds its users by.
    #[serde(flatten)]
    pub(super) fields: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawIdentity {
    pub(super) header_prefix: Field<String>,
    pub(super) claims_to_headers: Field<Vec<Field<RawClaimHeader>>>,
    pub(super) forward_token: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawClaimHeader {
    pub(super) claim: Field<ClaimPath>,
    pub(super) header: Field<String>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawAccess {
    pub(super) default: Field<RawDefaultAccess>,
    pub(super) rules: Field<Vec<Field<RawRule>>>,
    pub(super) scope_hierarchy: Field<BTreeMap<String, Vec<String>>>,
    pub(super) mcp: Field<Value>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawRule {
    pub(super) name: Field<String>,
    #[serde(rename = "match")]
    pub(super) condition: Field<RawMatch>,
    pub(super) require: Field<RawRequire>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawMatch {
    pub(super) paths: Field<Vec<String>>,
    pub(super) path_prefixes: Field<Vec<String>>,
    pub(super) methods: Field<Vec<String>>,
    pub(super) mcp_methods: Field<Value>,
    pub(super) mcp_names: Field<Value>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawRequire {
    pub(super) scopes: Field<Vec<String>>,
    pub(super) any_scope: Field<Vec<String>>,
    pub(super) roles: Field<Vec<String>>,
    pub(super) groups: Field<Vec<String>>,
    pub(super) providers: Field<Vec<String>>,
    pub(super) client_types: Field<Vec<RawClientType>>,
    pub(super) claims: Field<BTreeMap<String, Value>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawExempt {
    pub(super) path: Field<String>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct RawErrors {
    pub(super) format: Field<RawFormat>,
    pub(super) details: Field<RawDetails>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawDefaultAccess {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawMode {
    Enforce,
    Report,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawUnknownUser {
    Allow,
    Provision,
    Reject,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawFormat {
    JsonRpc,
    Oauth,
    Servicenow,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawTokenIdRule {
    Ignore,
    Require,
    SingleUse,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawClientType {
    Auto,
    User,
    Service,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawDetails {
    None,
    Reason,
    Full,
}
