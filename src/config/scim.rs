//! `users.scim` and `users.provision`: the SCIM directory, and the attributes of users it creates.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Faults;
use super::environment::{Environment, variable};
use super::field::{Field, UnknownFields, refuse_unknown};
use super::limits::{SCIM_CACHE_TTL, SCIM_MAX_BODY, SCIM_TIMEOUT};
use super::units::{DurationString, SizeString};
use crate::callout::{BodyLimit, Clusters};
use crate::claim::ClaimPath;
use crate::identity::{Attribute, Provisioning, ScimSettings, Secret, User};
use crate::provider::Providers;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawScim {
    /// The base URL of the service, without a query; /Users is appended. https, or http for
    /// loopback hosts.
    pub(super) url: Field<String>,
    /// The Envoy cluster on which it is called.
    pub(super) cluster: Field<String>,
    /// The environment variable that holds the bearer token for it; it must be listed in the
    /// `vm_config.environment_variables` of the plugin. Default: no token is sent.
    pub(super) bearer_token_env: Field<String>,
    /// How long a result is cached; the result that a user is unknown, for at most 30s.
    pub(super) cache_ttl: Field<DurationString>,
    /// How long to wait for a response.
    pub(super) timeout: Field<DurationString>,
    /// Longest response that is read.
    pub(super) max_body: Field<SizeString>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawProvision {
    /// The roles of created users. Default: none.
    pub(super) roles: Field<Vec<String>>,
    /// For each field of the user, or SCIM attribute, the claim that it is taken from. `user_name`
    /// is required unless it is the field that users are found by. Default: none.
    pub(super) fields: Field<BTreeMap<String, ClaimPath>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// The directory, if there is one.
pub(super) fn settings(
    raw: Field<RawScim>,
    provisioning: Option<Provisioning>,
    tolerates_unknown: bool,
    providers: &Providers,
    environment: Environment<'_>,
    faults: &mut Faults,
) -> Option<ScimSettings> {
    let raw = raw.optional("users.scim", faults)?;
    refuse_unknown("users.scim.", &raw.unknown, faults);
    for provider in providers.iter() {
        let field = &provider.identity_rules.user_field;
        if !Attribute::from_field(field).is_sound() {
            let name = &provider.name;
            faults.add(
                "users.scim",
                format!("{field:?}, user_field of provider {name:?}, {ATTRIBUTE_EXPECTED}"),
            );
        }
    }
    let url = raw.url.required("users.scim.url", faults);
    let cluster = raw.cluster.required("users.scim.cluster", faults);
    if cluster.as_ref().is_some_and(String::is_empty) {
        faults.add("users.scim.cluster", "must not be empty");
    }
    let bearer_token = raw.bearer_token_env.optional("users.scim.bearer_token_env", faults);
    let bearer_token = bearer_token.and_then(|name| secret(&name, environment, faults));
    let cache_ttl = SCIM_CACHE_TTL.read(raw.cache_ttl, SCIM_CACHE_TTL.field, faults);
    let timeout = SCIM_TIMEOUT.read(raw.timeout, SCIM_TIMEOUT.field, faults);
    let bytes = SCIM_MAX_BODY.read(raw.max_body, SCIM_MAX_BODY.field, faults);
    let url = url?;
    if url.contains('?') {
        faults.add("users.scim.url", "must have no query");
    }
    let base = match Clusters::Any(cluster?).endpoint(&url) {
        Ok(base) => base,
        Err(fault) => {
            faults.add("users.scim.url", fault.to_string());
            return None;
        }
    };
    let max_body = BodyLimit { bytes, setting: SCIM_MAX_BODY.field };
    Some(ScimSettings {
        base,
        bearer_token,
        cache_ttl,
        timeout,
        max_body,
        provisioning,
        tolerates_unknown,
    })
}

/// The attributes of users that are created, if `unknown` is `provision`.
pub(super) fn provisioning(
    raw: Field<RawProvision>,
    is_wanted: bool,
    providers: &Providers,
    faults: &mut Faults,
) -> Option<Provisioning> {
    let raw = raw.or_default("users.provision", faults);
    refuse_unknown("users.provision.", &raw.unknown, faults);
    let roles = raw.roles.or_default("users.provision.roles", faults);
    let fields = raw.fields.or_default("users.provision.fields", faults);
    if !is_wanted {
        return None;
    }
    if !fields.contains_key(User::NAME_FIELD) {
        refuse_nameless(providers, faults);
    }
    Some(Provisioning { roles, fields: attributes(fields, faults) })
}

/// Every created user needs a name: from a claim, or because it is the field that users are found
/// by.
fn refuse_nameless(providers: &Providers, faults: &mut Faults) {
    for provider in providers.iter() {
        let field = &provider.identity_rules.user_field;
        if field != User::NAME_FIELD {
            let name = &provider.name;
            faults.add(
                "users.provision.fields",
                format!(
                    "must name the claim for user_name, because provider {name:?} finds its users \
                     by {field:?}"
                ),
            );
        }
    }
}

fn attributes(
    fields: BTreeMap<String, ClaimPath>,
    faults: &mut Faults,
) -> Vec<(Attribute, ClaimPath)> {
    let mut attributes: Vec<(Attribute, ClaimPath)> = Vec::new();
    for (field, claim) in fields {
        let path = format!("users.provision.fields.{field}");
        let attribute = Attribute::from_field(&field);
        if !attribute.is_sound() {
            faults.add(&path, ATTRIBUTE_EXPECTED);
        } else if attributes.iter().any(|(other, _)| *other == attribute) {
            faults.add(&path, format!("sets {attribute}, which another field sets too"));
        }
        attributes.push((attribute, claim));
    }
    attributes
}

const ATTRIBUTE_EXPECTED: &str = "must be a field of users or an attribute of SCIM such as title, name.middleName or \
     urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";

fn secret(name: &str, environment: Environment<'_>, faults: &mut Faults) -> Option<Secret> {
    let path = "users.scim.bearer_token_env";
    let secret = Secret::bearer_token(variable(name, path, environment, faults)?);
    if secret.is_none() {
        faults.add(path, format!("{name:?} does not hold a bearer token (RFC 6750 §2.1)"));
    }
    secret
}
