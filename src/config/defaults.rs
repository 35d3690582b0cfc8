//! The defaults of fields that are strings or booleans. Validation, schema and reference read them
//! here. The default of an enum is in its type.

use super::Faults;
use super::field::Field;
use crate::access::HEADERS_SINCE;
use crate::identity::User;

pub(super) const AUDIT_OUTCOMES: FieldDefault<bool> =
    FieldDefault { field: "audit.outcomes", value: false };

pub(super) const FILTER_LISTS: FieldDefault<bool> =
    FieldDefault { field: "access.mcp.filter_lists", value: true };

pub(super) const FORWARD_TOKEN: FieldDefault<bool> =
    FieldDefault { field: "identity.forward_token", value: false };

pub(super) const HEADER_PREFIX: FieldDefault<&str> =
    FieldDefault { field: "identity.header_prefix", value: "x-mcp-" };

pub(super) const LOGIN_PATH: FieldDefault<&str> =
    FieldDefault { field: "login.path", value: "/oauth" };

pub(super) const LOGIN_REGISTRATION: FieldDefault<bool> =
    FieldDefault { field: "login.registration", value: true };

pub(super) const PROTOCOL_VERSIONS: FieldDefault<[&str; 1]> =
    FieldDefault { field: "access.mcp.protocol_versions", value: [HEADERS_SINCE] };

pub(super) const PROVIDER_ACTIVE: FieldDefault<bool> =
    FieldDefault { field: "providers[].active", value: true };

pub(super) const RECORD_ACTIVE: FieldDefault<bool> =
    FieldDefault { field: "users.records[].active", value: true };

pub(super) const RECORD_LOCKED: FieldDefault<bool> =
    FieldDefault { field: "users.records[].locked", value: false };

pub(super) const REDIS_AUTHORITY: FieldDefault<&str> =
    FieldDefault { field: "replay_store<1>.redis.authority", value: "webdis" };

pub(super) const REDIS_PATH_PREFIX: FieldDefault<&str> =
    FieldDefault { field: "replay_store<1>.redis.path_prefix", value: "/" };

pub(super) const RESTRICT_TO_POLICIES: FieldDefault<bool> =
    FieldDefault { field: "providers[].restrict_to_policies", value: false };

pub(super) const SESSIONS_BIND: FieldDefault<bool> =
    FieldDefault { field: "sessions.bind", value: false };

pub(super) const SHOW_IF_SCOPES_MISSING: FieldDefault<bool> =
    FieldDefault { field: "access.mcp.show_if_scopes_missing", value: false };

pub(super) const UPSTREAM_VALIDATES_HEADERS: FieldDefault<bool> =
    FieldDefault { field: "access.mcp.upstream_validates_headers", value: false };

pub(super) const USER_FIELD: FieldDefault<&str> =
    FieldDefault { field: "providers[].user_field", value: User::NAME_FIELD };

pub(super) const WEB_SERVICE_ACCESS_ONLY: FieldDefault<bool> =
    FieldDefault { field: "users.records[].web_service_access_only", value: false };

/// The value of a field that is absent.
pub(super) struct FieldDefault<T> {
    /// The field, in the notation of the schema.
    #[cfg_attr(
        not(feature = "schema"),
        expect(dead_code, reason = "the schema alone needs the field")
    )]
    pub(super) field: &'static str,
    pub(super) value: T,
}

impl<T> FieldDefault<T> {
    /// The value of the field, or its default.
    pub(super) fn read<R: From<T>>(self, raw: Field<R>, path: &str, faults: &mut Faults) -> R {
        raw.optional(path, faults).unwrap_or_else(|| self.value.into())
    }
}
