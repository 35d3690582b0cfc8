//! The users: from their raw form to one in which each value of a field identifies one user.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::defaults::{RECORD_ACTIVE, RECORD_LOCKED, WEB_SERVICE_ACCESS_ONLY};
use super::environment::Environment;
use super::field::{Field, UnknownFields, refuse_unknown};
use super::limits::MAX_USER_RECORDS;
use super::provider::RawProvider;
use super::scim::{RawProvision, RawScim};
use super::units::Names;
use super::{Faults, scim};
use crate::identity::{UnknownUser, User, UserRecord, Users};
use crate::provider::Providers;
use crate::refusal::AccountStatus;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawUsers {
    /// What happens to users without a record.
    pub(super) unknown: Field<RawUnknownUser>,
    /// The users: at least one, unless unknown users are allowed or `scim` is given. Among the
    /// records that match tokens of one provider, no two may share the value of a field that an
    /// active provider names as `user_field`. Default: none.
    pub(super) records: Field<Vec<Field<RawUserRecord>>>,
    /// A SCIM directory (RFC 7644) in which users without a record are looked up. Default: none.
    pub(super) scim: Field<RawScim>,
    /// The attributes of users that are created, if `unknown` is `provision`. Default: only the
    /// field that they are found by.
    pub(super) provision: Field<RawProvision>,
    #[serde(flatten)]
    pub(super) unknown_fields: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawUserRecord {
    /// The user's name as passed to the MCP server; unique among the records for one provider.
    pub(super) user_name: Field<String>,
    /// Roles in addition to those of the token. Default: none.
    pub(super) roles: Field<Vec<String>>,
    /// Groups in addition to those of the token. Default: none.
    pub(super) groups: Field<Vec<String>>,
    /// Whether the user may send requests; if not, 403 `user_inactive`.
    pub(super) active: Field<bool>,
    /// Whether the user is locked out; if so, the same response.
    pub(super) locked: Field<bool>,
    /// Whether this is a service account, the only kind of user for tokens of services.
    pub(super) web_service_access_only: Field<bool>,
    /// The provider, or providers, whose tokens match this record; other tokens do not find it.
    /// Default: all.
    pub(super) provider: Field<Names>,
    /// The fields that providers find their users by.
    #[serde(flatten)]
    pub(super) fields: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawUnknownUser {
    /// An unknown user is accepted under the value of the claim, unless that is the name of another
    /// user.
    Allow,
    /// An unknown user is created in the directory that `scim` names.
    Provision,
    /// An unknown user is refused.
    #[default]
    Reject,
}

/// The names of all providers, active or not.
pub(super) fn provider_names(providers: &Field<Vec<Field<RawProvider>>>) -> BTreeSet<String> {
    let Field::Present(providers) = providers else { return BTreeSet::new() };
    let names = providers.iter().map(|provider| match provider {
        Field::Present(RawProvider { name: Field::Present(name), .. }) => Some(name.clone()),
        _ => None,
    });
    names.flatten().collect()
}

/// The users. Without `users`, every user is accepted under the value of the claim.
pub(super) fn users(
    raw: Field<RawUsers>,
    providers: &Providers,
    provider_names: &BTreeSet<String>,
    environment: Environment<'_>,
    faults: &mut Faults,
) -> Users {
    let Some(raw) = raw.optional("users", faults) else { return Users::allow_all() };
    refuse_unknown("users.", &raw.unknown_fields, faults);
    let unknown = raw.unknown.or_default("users.unknown", faults);
    let provisions = matches!(unknown, RawUnknownUser::Provision);
    let unknown = match unknown {
        RawUnknownUser::Allow => UnknownUser::Allow,
        RawUnknownUser::Provision | RawUnknownUser::Reject => UnknownUser::Reject,
    };
    let has_scim = !matches!(raw.scim, Field::Absent);
    if provisions && !has_scim {
        faults.add("users.unknown", "provision needs users.scim, where users are created");
    }
    let provisioning = scim::provisioning(raw.provision, provisions, providers, faults);
    let tolerates_unknown = unknown == UnknownUser::Allow;
    let scim =
        scim::settings(raw.scim, provisioning, tolerates_unknown, providers, environment, faults);
    let known = KnownProviders { active: providers, names: provider_names };
    records(raw.records, known, unknown, has_scim, faults).with_scim(scim)
}

/// The providers that records can name.
#[derive(Clone, Copy)]
struct KnownProviders<'a> {
    active: &'a Providers,
    /// Includes inactive providers.
    names: &'a BTreeSet<String>,
}

/// The users in the configuration.
fn records(
    raw: Field<Vec<Field<RawUserRecord>>>,
    providers: KnownProviders<'_>,
    unknown: UnknownUser,
    has_scim: bool,
    faults: &mut Faults,
) -> Users {
    let raw = raw.or_default("users.records", faults);
    if raw.len() > MAX_USER_RECORDS {
        faults.add("users.records", format!("must hold at most {MAX_USER_RECORDS} records"));
        return Users::allow_all();
    }
    if raw.is_empty() && !has_scim {
        if unknown == UnknownUser::Reject {
            faults.add(
                "users.records",
                "must hold at least one record unless there is users.scim, or no user could be accepted",
            );
        }
        return Users::allow_all();
    }
    let all = raw.len();
    let mut positions = Vec::new();
    let mut records = Vec::new();
    for (position, raw) in raw.into_iter().enumerate() {
        let path = format!("users.records[{position}]");
        let raw = raw.optional(&path, faults);
        if let Some(record) = raw.and_then(|raw| record(raw, &path, providers.names, faults)) {
            positions.push(position);
            records.push(record);
        }
    }
    let is_whole = records.len() == all;
    let fields: BTreeSet<&str> = providers
        .active
        .iter()
        .map(|provider| provider.identity_rules.user_field.as_str())
        .collect();
    let users = match Users::new(records, fields, unknown) {
        Ok(users) => users,
        Err(ambiguities) => {
            for ambiguity in ambiguities {
                let position = |index: usize| positions.get(index).copied().unwrap_or(index);
                faults.add(
                    &format!("users.records[{}].{}", position(ambiguity.second), ambiguity.field),
                    format!("is also that of users.records[{}]", position(ambiguity.first)),
                );
            }
            return Users::allow_all();
        }
    };
    if is_whole && !has_scim {
        refuse_unused_fields(&users, providers.active, faults);
    }
    users
}

/// A field that no record has is probably a typo, and could admit a locked user where unknown users
/// are allowed.
fn refuse_unused_fields(users: &Users, providers: &Providers, faults: &mut Faults) {
    for provider in providers.iter() {
        let field = &provider.identity_rules.user_field;
        let name = &provider.name;
        if users.has_records_for(name) && !users.has_field(field, name) {
            faults.add(
                "users.records",
                format!(
                    "no record has the field {field:?}, which is user_field of provider {name:?}"
                ),
            );
        }
    }
}

fn record(
    raw: RawUserRecord,
    path: &str,
    provider_names: &BTreeSet<String>,
    faults: &mut Faults,
) -> Option<UserRecord> {
    let at = |field: &str| format!("{path}.{field}");
    let user_name = raw.user_name.required(&at(User::NAME_FIELD), faults);
    let roles = raw.roles.or_default(&at("roles"), faults);
    let groups = raw.groups.or_default(&at("groups"), faults);
    let is_active = RECORD_ACTIVE.read(raw.active, &at("active"), faults);
    let is_locked = RECORD_LOCKED.read(raw.locked, &at("locked"), faults);
    let path = at("web_service_access_only");
    let web_service_access_only =
        WEB_SERVICE_ACCESS_ONLY.read(raw.web_service_access_only, &path, faults);
    let providers = record_providers(raw.provider, &at("provider"), provider_names, faults);
    let mut fields = BTreeMap::new();
    for (name, value) in raw.fields {
        match value {
            Value::String(value) => {
                fields.insert(name, value);
            }
            _ => faults.add(&at(&name), "must be a string"),
        }
    }
    let user_name = user_name?;
    fields.insert(User::NAME_FIELD.to_owned(), user_name.clone());
    for name in fields.iter().filter_map(|(name, value)| value.is_empty().then_some(name)) {
        faults.add(&at(name), "must not be empty");
    }
    let account_status = AccountStatus::new(is_active, is_locked);
    let user = User { user_name, roles, groups, account_status, web_service_access_only };
    Some(UserRecord { user, fields, providers })
}

/// The providers whose tokens match a record.
fn record_providers(
    raw: Field<Names>,
    path: &str,
    known: &BTreeSet<String>,
    faults: &mut Faults,
) -> Option<Vec<String>> {
    let Names(names) = raw.optional(path, faults)?;
    for (index, name) in names.iter().enumerate() {
        if !known.contains(name) {
            faults.add(path, format!("there is no provider {name:?}"));
        } else if names.iter().take(index).any(|other| other == name) {
            faults.add(path, format!("{name:?} is duplicated"));
        }
    }
    Some(names)
}
