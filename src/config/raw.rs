//! Version 1 of the configuration as it is written. Everything is optional here and nothing is
//! judged: that is for the validated form. What is said of the fields and values here is what
//! the schema says of them to those who write a configuration.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::field::{Field, UnknownFields};
use super::templates::TemplateName;
use super::units::{DurationString, Names, SizeString};
use crate::claim::{ClaimPath, ListClaim};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
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
    /// Longest token that is read, between 1B and 8MiB.
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

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawResource {
    /// The public URL of the MCP endpoint, exactly as clients write it: https, or http for a
    /// loopback host.
    pub(super) url: Field<String>,
    /// Its name, for people. Default: none.
    pub(super) name: Field<String>,
    /// The URL of its documentation: https, or http for a loopback host. Default: none.
    pub(super) documentation: Field<String>,
    /// Scopes that clients are told to ask for, most of them for all at the first login; never
    /// `offline_access`. Default: none.
    pub(super) scopes_supported: Field<Vec<String>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawProvider {
    /// Its name in headers, logs and metrics, unique: a-z, 0-9, _ and -.
    pub(super) name: Field<String>,
    /// Fills in what is known of this provider. Each field that is given here goes before it.
    pub(super) template: Field<TemplateName>,
    /// Input of template `entra_id`, which requires it: the id of a tenant or one of its domain
    /// names. Default: none.
    pub(super) tenant: Field<String>,
    /// Input of templates `okta` and `auth0`, which require it: a host name, without https:// and
    /// path. Default: none.
    pub(super) domain: Field<String>,
    /// Input of templates `adfs` and `keycloak`, which require it: a host name, with a port if need
    /// be, without https:// and path. Default: none.
    pub(super) host: Field<String>,
    /// Input of template `keycloak`, which requires it: the name of a realm. Default: none.
    pub(super) realm: Field<String>,
    /// Input of template `okta`: the id of a custom authorization server. Default: `default`.
    pub(super) authorization_server: Field<String>,
    /// Accepted values of `aud`, or of what `audience_claim` names. Active providers of one issuer
    /// have none in common: `aud` tells them apart.
    pub(super) client_ids: Field<Vec<String>>,
    /// Which claim `client_ids` are compared with.
    pub(super) audience_claim: Field<RawAudienceClaim>,
    /// Where its metadata document is, which names its key set (discovery). Exactly one of
    /// `metadata_url`, `jwks_url`, `jwks` and `certificates` is given. Default: the template's;
    /// `generic` has none.
    pub(super) metadata_url: Field<String>,
    /// Where its key set is, without discovery. Default: none.
    pub(super) jwks_url: Field<String>,
    /// Its keys themselves, as a key set (RFC 7517), if they are not fetched. Default: none.
    pub(super) jwks: Field<Value>,
    /// Its keys themselves, as X.509 certificates in PEM, if they are not fetched. Who signed a
    /// certificate and until when it is valid is not looked at. Default: none.
    pub(super) certificates: Field<Vec<String>>,
    /// The Envoy cluster on which every URL of this provider is called. With a URL, either this or
    /// `clusters` is required. Default: none.
    pub(super) cluster: Field<String>,
    /// The Envoy cluster for each host, or host:port, of this provider. A host that has none is
    /// never called, even if the metadata document names it. Default: none.
    pub(super) clusters: Field<BTreeMap<String, String>>,
    /// The accepted value of `iss`, compared exactly. Default: the template's; required if it has
    /// none.
    pub(super) issuer: Field<String>,
    /// Further accepted values of `iss`. Default: the template's; `generic` has none.
    pub(super) additional_issuers: Field<Vec<String>>,
    /// Accepted signatures. Default: those of the template, which are what its provider signs with;
    /// all of them for `generic` and `keycloak`.
    pub(super) algorithms: Field<Vec<String>>,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub(super) clock_skew: Field<DurationString>,
    /// Greatest age of a token, from `iat` on, which a token must have then. Default: no limit.
    pub(super) max_token_age: Field<DurationString>,
    /// Claims that a token must have: for each the value, or a list of accepted values. Those of
    /// the template are required too, unless they are named here. Default: the template's; `generic`
    /// has none.
    pub(super) required_claims: Field<BTreeMap<String, Value>>,
    /// Claims of which a token must carry at least one, and not empty; `[]` asks for none. Default:
    /// the template's: `[scp, roles]` for `entra_id`, none for the others.
    pub(super) required_any_claim: Field<Vec<ClaimPath>>,
    /// Accepted values of `typ`; letter case and a leading application/ make no difference. An ID
    /// token (`JWT`) whose `aud` is accepted passes too, unless this is `[at+jwt]` or
    /// `required_claims` rules it out. Default: at+jwt and JWT, and tokens without `typ`.
    pub(super) token_types: Field<Vec<String>>,
    /// How the keys of this provider are fetched. Default: what `keys` says for all providers, field
    /// by field.
    pub(super) keys: Field<RawKeys>,
    /// The claim that identifies the user. Default: `sub`, or the template's.
    pub(super) user_claim: Field<ClaimPath>,
    /// The claim that identifies the user of a service's token. With it, a token without
    /// `user_claim` and without `sub` is a service's too, if `client_type` is `auto`: set it only
    /// where every person's token has one of the two. Default: the template's; if `user_claim` is
    /// given, that.
    pub(super) service_user_claim: Field<ClaimPath>,
    /// The field of the user records that `user_claim` is matched with.
    pub(super) user_field: Field<String>,
    /// The claim that holds the scopes, as text or list. Default: `scope`, then `scp`, or the
    /// template's.
    pub(super) scope_claim: Field<ClaimPath>,
    /// The claim that holds the roles, as a list or a string. `{keys_of: …}`: an object whose
    /// members have the roles as their names, as Zitadel writes them. Default: `roles`, or the
    /// template's.
    pub(super) roles_claim: Field<ListClaim>,
    /// The claim that holds the groups, in the same forms. Default: `groups`, or the template's.
    pub(super) groups_claim: Field<ListClaim>,
    /// What the `jti` of a token must be.
    pub(super) jti: Field<RawTokenIdRule>,
    /// Whom its tokens stand for.
    pub(super) client_type: Field<RawClientType>,
    /// Scopes that its tokens may carry; others are dropped, and a token without scopes gets
    /// exactly these. ServiceNow's `useraccount` stands for no limit. Default: no limit.
    pub(super) auth_scopes: Field<Vec<String>>,
    /// Whether its tokens pass only where an access rule names this provider.
    pub(super) restrict_to_policies: Field<bool>,
    /// Whether its tokens are accepted.
    pub(super) active: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawKeys {
    /// Life of a key set whose answer has no `Cache-Control: max-age`, between 1s and 8760h.
    pub(super) max_age: Field<DurationString>,
    /// Longest life of a key set that a `Cache-Control: max-age` is honoured for, between 1m and
    /// 24h.
    pub(super) max_age_cap: Field<DurationString>,
    /// How long before its expiry a key set is fetched anew, between 1s and 8760h.
    pub(super) refresh_ahead: Field<DurationString>,
    /// At most one fetch for an unknown `kid` in this time, between 1s and 8760h.
    pub(super) refresh_cooldown: Field<DurationString>,
    /// How long a fetch may take, between 1s and 1h.
    pub(super) timeout: Field<DurationString>,
    /// How long an expired key set serves while fetching fails, between 1s and 8760h.
    pub(super) max_stale: Field<DurationString>,
    /// Longest answer of a provider that is read, at least 1B.
    pub(super) max_body: Field<SizeString>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawUsers {
    /// What happens to users without a record.
    pub(super) unknown: Field<RawUnknownUser>,
    /// The users: at least one, unless unknown users are allowed or there is `scim`. No two that
    /// tokens of one provider match share the value of a field that an active provider names as
    /// `user_field`. Default: none.
    pub(super) records: Field<Vec<Field<RawUserRecord>>>,
    /// A directory of users (RFC 7644) in which those without a record are looked up. Default: none.
    pub(super) scim: Field<RawScim>,
    /// What unknown users are created with, if `unknown` is `provision`. Default: nothing but what
    /// they are found by.
    pub(super) provision: Field<RawProvision>,
    #[serde(flatten)]
    pub(super) unknown_fields: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawScim {
    /// The base URL of the service, without a query; /Users is added. https, or http for loopback
    /// hosts.
    pub(super) url: Field<String>,
    /// The Envoy cluster on which it is called.
    pub(super) cluster: Field<String>,
    /// The environment variable that holds the bearer token for it; it must be among the
    /// `vm_config.environment_variables` of the plugin. Default: no token is sent.
    pub(super) bearer_token_env: Field<String>,
    /// How long an answer serves, between 1s and 24h. That a user is unknown serves for 30s at the
    /// most.
    pub(super) cache_ttl: Field<DurationString>,
    /// The longest time for an answer, between 10ms and 60s.
    pub(super) timeout: Field<DurationString>,
    /// The longest answer that is read, at least 1B.
    pub(super) max_body: Field<SizeString>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawProvision {
    /// The roles of users that are created. Default: none.
    pub(super) roles: Field<Vec<String>>,
    /// For each field of the user, or attribute of SCIM, the claim that it is taken from.
    /// `user_name` is needed unless it is what users are found by. Default: none.
    pub(super) fields: Field<BTreeMap<String, ClaimPath>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawUserRecord {
    /// What the MCP server is told; unique among the records for one provider.
    pub(super) user_name: Field<String>,
    /// Roles, added to those of the token. Default: none.
    pub(super) roles: Field<Vec<String>>,
    /// Groups, added to those of the token. Default: none.
    pub(super) groups: Field<Vec<String>>,
    /// Whether the user may pass; if not, 403 `user_inactive`.
    pub(super) active: Field<bool>,
    /// Whether the user is locked out, with the same answer.
    pub(super) locked: Field<bool>,
    /// Whether this is a service account: the only kind of user that tokens of services pass as.
    pub(super) web_service_access_only: Field<bool>,
    /// The provider, or providers, whose tokens alone match this record; other tokens do not find it.
    /// Default: all.
    pub(super) provider: Field<Names>,
    /// Whatever a provider finds its users by.
    #[serde(flatten)]
    pub(super) fields: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawIdentity {
    /// What the names of the identity headers start with: a-z, 0-9 and -.
    pub(super) header_prefix: Field<String>,
    /// Further claims that are handed over in header fields. Default: none.
    pub(super) claims_to_headers: Field<Vec<Field<RawClaimHeader>>>,
    /// Whether the MCP server gets the token, in `Authorization`.
    pub(super) forward_token: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawClaimHeader {
    /// The claim. A list is joined with commas, an object becomes base64url of its JSON.
    pub(super) claim: Field<ClaimPath>,
    /// The header field: a-z, 0-9 and -; neither an identity header nor one that has another
    /// meaning in HTTP or MCP.
    pub(super) header: Field<String>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawAccess {
    /// What happens to a request that no rule matches. Default: `deny` with rules, `allow` without.
    pub(super) default: Field<RawDefaultAccess>,
    /// The rules, in order: the first one that matches a request decides. Default: none.
    pub(super) rules: Field<Vec<Field<RawRule>>>,
    /// For a scope, the narrower ones that it implies. Default: none.
    pub(super) scope_hierarchy: Field<BTreeMap<String, Vec<String>>>,
    /// How rules with `mcp_methods` or `mcp_names` learn what a request asks the MCP server for.
    /// Default: the defaults of its fields.
    pub(super) mcp: Field<RawMcp>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawMcp {
    /// Where the message is read. `headers` needs `upstream_validates_headers`.
    pub(super) inspect: Field<RawInspect>,
    /// Longest body that is read, between 1B and 16MiB; a longer one is refused. Envoy's own limit
    /// (`per_connection_buffer_limit_bytes`) has to be as high.
    pub(super) max_body: Field<SizeString>,
    /// For `inspect: headers`, the revisions of MCP whose headers are believed, 2026-07-28 or later.
    /// Requests of others are refused.
    pub(super) protocol_versions: Field<Vec<String>>,
    /// The operator's word that the MCP server refuses requests whose `Mcp-*` headers do not match
    /// the body.
    pub(super) upstream_validates_headers: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawRule {
    /// Its name in the log. Default: its place, such as `rules[0]`.
    pub(super) name: Field<String>,
    /// Which requests it matches: every line that is given must hold. Default: all.
    #[serde(rename = "match")]
    pub(super) condition: Field<RawMatch>,
    /// What a request that it matches must have: every line that is given must hold. Default:
    /// nothing but a valid token.
    pub(super) require: Field<RawRequire>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawMatch {
    /// The path is one of these. Default: any.
    pub(super) paths: Field<Vec<String>>,
    /// The path is one of these, or lies under one: /files matches /files/a, not /filesystem.
    /// Default: any.
    pub(super) path_prefixes: Field<Vec<String>>,
    /// The method is one of these, in upper case. Default: any.
    pub(super) methods: Field<Vec<String>>,
    /// The method of the MCP message is one of these; `*` at the end stands for any rest. With it,
    /// only requests match whose message calls a method. Default: any, and no message too.
    pub(super) mcp_methods: Field<Vec<String>>,
    /// What the MCP message is about is one of these: a tool or prompt by its name, a resource by
    /// its URI, a task by its id; `*` at the end stands for any rest. Default: anything, and
    /// nothing too.
    pub(super) mcp_names: Field<Vec<String>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawRequire {
    /// All of these scopes. Default: none.
    pub(super) scopes: Field<Vec<String>>,
    /// One of these scopes. Default: any.
    pub(super) any_scope: Field<Vec<String>>,
    /// One of these roles. Default: any.
    pub(super) roles: Field<Vec<String>>,
    /// One of these groups. Default: any.
    pub(super) groups: Field<Vec<String>>,
    /// A token of one of these active providers. Default: any.
    pub(super) providers: Field<Vec<String>>,
    /// A token that stands for one of these. Default: any.
    pub(super) client_types: Field<Vec<RawClientType>>,
    /// For each of these claims the value, or one of the listed values. Default: none.
    pub(super) claims: Field<BTreeMap<String, Value>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawExempt {
    /// The path, compared as a whole, decoded and without the query.
    pub(super) path: Field<String>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawTokenCache {
    /// How many verified tokens each worker thread remembers, so that one that comes again costs no
    /// second verification; 0 remembers none.
    pub(super) entries: Field<u32>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawReplayStore {
    /// The memory of this Envoy.
    Local,
    /// Redis, called through webdis.
    Redis(Field<RawRedis>),
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawRedis {
    /// The Envoy cluster on which webdis is called.
    pub(super) cluster: Field<String>,
    /// The host that the calls name, or host:port.
    pub(super) authority: Field<String>,
    /// The path that is called; begins and ends with /, and consists of letters, digits and any of
    /// /-._~ else.
    pub(super) path_prefix: Field<String>,
    /// The longest time for an answer, between 1ms and 60s.
    pub(super) timeout: Field<DurationString>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawErrors {
    /// The shape of the body.
    pub(super) format: Field<RawFormat>,
    /// What the body tells of the cause.
    pub(super) details: Field<RawDetails>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawDefaultAccess {
    /// The request passes with any valid token.
    Allow,
    /// The request is refused.
    Deny,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawInspect {
    /// In the body, which is then held back until it is whole.
    Body,
    /// In the `Mcp-*` headers, which the MCP server must compare with the body.
    Headers,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawMode {
    /// Refusals are carried out.
    Enforce,
    /// Every request passes, and the log says which would not have.
    Report,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawUnknownUser {
    /// An unknown user passes under the claim's value, unless that is somebody else's name.
    Allow,
    /// An unknown user is created in the directory that `scim` names.
    Provision,
    /// An unknown user is refused.
    Reject,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawFormat {
    /// A JSON-RPC error.
    JsonRpc,
    /// As OAuth 2.0 has it: error, error_description, and the reason.
    Oauth,
    /// As ServiceNow answers: error.message and error.detail.
    Servicenow,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawAudienceClaim {
    /// Whom the token is for.
    Aud,
    /// Which client it was issued to, by `client_id`, `azp`, `appid` or `cid`: for providers whose
    /// access tokens have no `aud` (Amazon Cognito, Clerk, WorkOS). **A token that the client got
    /// for any other API then passes here as well.** One that has an `aud` must name one of
    /// `client_ids` there, too.
    ClientId,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawTokenIdRule {
    /// It may be anything, or missing.
    Ignore,
    /// It must be a text.
    Require,
    /// It must be a text, and each token serves for one request.
    SingleUse,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawClientType {
    /// A user or a service, as the claims tell.
    Auto,
    /// A user.
    User,
    /// A service that got the token for itself.
    Service,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_family = "wasm"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawDetails {
    /// Nothing of the cause.
    None,
    /// The reason's code.
    Reason,
    /// The reason's code, and what was seen beside what is expected, as far as that harms nobody.
    Full,
}
