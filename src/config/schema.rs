//! The JSON Schema of the configuration, for editors: derived from the raw form, plus those rules
//! of validation that a schema can express. It never rejects a configuration that is accepted.

mod constraints;

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

use self::constraints::constraints;
use super::access::RawInspect;
use super::defaults::{
    AUDIT_OUTCOMES, FILTER_LISTS, FORWARD_TOKEN, FieldDefault, HEADER_PREFIX, LOGIN_PATH,
    LOGIN_REGISTRATION, PROTOCOL_VERSIONS, PROVIDER_ACTIVE, RECORD_ACTIVE, RECORD_LOCKED,
    REDIS_AUTHORITY, REDIS_PATH_PREFIX, RESTRICT_TO_POLICIES, SESSIONS_BIND,
    SHOW_IF_SCOPES_MISSING, UPSTREAM_VALIDATES_HEADERS, USER_FIELD, WEB_SERVICE_ACCESS_ONLY,
};
use super::errors::{RawDetails, RawFormat};
use super::field::Field;
use super::limits::{
    ACCESS_MCP_MAX_BODY, CLOCK_SKEW, KEYS_MAX_AGE, KEYS_MAX_AGE_CAP, KEYS_MAX_BODY, KEYS_MAX_STALE,
    KEYS_REFRESH_AHEAD, KEYS_REFRESH_COOLDOWN, KEYS_TIMEOUT, Limit, MAX_TOKEN_SIZE, Quantity,
    REDIS_TIMEOUT, SCIM_CACHE_TTL, SCIM_MAX_BODY, SCIM_TIMEOUT, TOKEN_CACHE_ENTRIES,
};
use super::login::RawConsent;
use super::provider::{RawAudienceClaim, RawClientType, RawTokenIdRule};
use super::provider_login::RawScopeNames;
use super::raw::RawConfig;
use super::replay_store::RawReplayStore;
use super::resource::RawMode;
use super::resources::RawAudiences;
use super::templates::TemplateName;
use super::units::{DurationString, Names, SizeString};
use super::users::RawUnknownUser;
use crate::claim::{ClaimPath, ListClaim};

/// The JSON Schema (2020-12) of the plugin's configuration.
///
/// Editors use it to complete and explain the fields. A configuration that it rejects is one that
/// [`Config::from_bytes`](crate::Config::from_bytes) rejects; the reverse does not hold, because a
/// schema cannot express every rule. (One exception: `{enforce: null}` and the like, which serde
/// takes for the string alone.)
#[must_use]
pub fn config_schema() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(refuse_unknown))
        .with_transform(RecursiveTransform(join_lines));
    let mut schema = settings.into_generator().into_root_schema_for::<RawConfig>().to_value();
    for (path, value) in NOT_ACCEPTED {
        for path in places(path) {
            remove_value(&mut schema, &path, value);
        }
    }
    for path in REQUIRED {
        for path in places(path) {
            require(&mut schema, &path);
        }
    }
    for (path, members) in constraints() {
        for path in places(path) {
            extend(&mut schema, &path, members.clone());
        }
    }
    for limit in limits() {
        for path in places(limit.field) {
            set_bounds(&mut schema, &path, &limit);
            set_default(&mut schema, &path, &limit.default);
        }
        if limit.field.starts_with("keys.") {
            set_bounds(&mut schema, &format!("providers[].{}", limit.field), &limit);
        }
    }
    for (path, default) in defaults() {
        // A resource without `mode` has the top-level one, not the default.
        for path in places(path).into_iter().filter(|path| path != "resources[].mode") {
            set_default(&mut schema, &path, &default);
        }
    }
    extend(&mut schema, "", json!({"title": "Configuration of mcp-federated-auth"}));
    schema
}

/// The top-level fields that each of `resources` may override.
pub(super) const OF_EACH_RESOURCE: [&str; 5] =
    ["access", "exempt", "allowed_origins", "identity", "mode"];

/// The paths of a field: some top-level fields may also be in each of `resources`.
fn places(path: &str) -> Vec<String> {
    let (first, _) = path.split_once(['.', '[', '{']).unwrap_or((path, ""));
    let own = OF_EACH_RESOURCE.contains(&first).then(|| format!("resources[].{path}"));
    [path.to_owned()].into_iter().chain(own).collect()
}

/// Values that can be read but are rejected at this path.
const NOT_ACCEPTED: [(&str, &str); 1] = [("access.rules[].require.client_types[]", "auto")];

/// Fields that are required.
const REQUIRED: [&str; 16] = [
    "resource.url",
    "resources[].id",
    "resources[].url",
    "providers",
    "providers[].name",
    "users.records[].user_name",
    "users.scim.url",
    "users.scim.cluster",
    "replay_store<1>.redis.cluster",
    "identity.claims_to_headers[].claim",
    "identity.claims_to_headers[].header",
    "exempt[].path",
    "secret.env",
    "login.clients[].client_id",
    "login.clients[].redirect_uris",
    "providers[].login.client_id",
];

/// The default and the bounds of a field as they appear in the schema.
struct DescribedLimit {
    field: &'static str,
    default: Value,
    bounds: Option<String>,
    maximum: Option<u32>,
}

impl<T: Quantity> From<&Limit<T>> for DescribedLimit {
    fn from(limit: &Limit<T>) -> Self {
        Self {
            field: limit.field,
            default: json!(limit.default.to_string()),
            bounds: limit.bounds(),
            maximum: None,
        }
    }
}

fn limits() -> Vec<DescribedLimit> {
    let entries = DescribedLimit {
        default: json!(TOKEN_CACHE_ENTRIES.default),
        bounds: None,
        maximum: TOKEN_CACHE_ENTRIES.max,
        ..(&TOKEN_CACHE_ENTRIES).into()
    };
    vec![
        (&ACCESS_MCP_MAX_BODY).into(),
        (&CLOCK_SKEW).into(),
        (&KEYS_MAX_AGE).into(),
        (&KEYS_MAX_AGE_CAP).into(),
        (&KEYS_MAX_BODY).into(),
        (&KEYS_MAX_STALE).into(),
        (&KEYS_REFRESH_AHEAD).into(),
        (&KEYS_REFRESH_COOLDOWN).into(),
        (&KEYS_TIMEOUT).into(),
        (&MAX_TOKEN_SIZE).into(),
        (&REDIS_TIMEOUT).into(),
        (&SCIM_CACHE_TTL).into(),
        (&SCIM_MAX_BODY).into(),
        (&SCIM_TIMEOUT).into(),
        entries,
    ]
}

/// The defaults that do not depend on other fields.
fn defaults() -> Vec<(&'static str, Value)> {
    [
        words(),
        vec![
            AUDIT_OUTCOMES.described(),
            FILTER_LISTS.described(),
            FORWARD_TOKEN.described(),
            HEADER_PREFIX.described(),
            LOGIN_PATH.described(),
            LOGIN_REGISTRATION.described(),
            PROTOCOL_VERSIONS.described(),
            PROVIDER_ACTIVE.described(),
            RECORD_ACTIVE.described(),
            RECORD_LOCKED.described(),
            REDIS_AUTHORITY.described(),
            REDIS_PATH_PREFIX.described(),
            RESTRICT_TO_POLICIES.described(),
            SESSIONS_BIND.described(),
            SHOW_IF_SCOPES_MISSING.described(),
            UPSTREAM_VALIDATES_HEADERS.described(),
            USER_FIELD.described(),
            WEB_SERVICE_ACCESS_ONLY.described(),
        ],
    ]
    .concat()
}

/// The defaults of fields that are enums.
fn words() -> Vec<(&'static str, Value)> {
    vec![
        ("providers[].template", json!(TemplateName::default())),
        ("providers[].audience_claim", json!(RawAudienceClaim::default())),
        ("providers[].jti", json!(RawTokenIdRule::default())),
        ("providers[].client_type", json!(RawClientType::default())),
        ("users.unknown", json!(RawUnknownUser::default())),
        ("access.mcp.inspect", json!(RawInspect::default())),
        ("login.consent", json!(RawConsent::default())),
        ("replay_store", json!(RawReplayStore::default())),
        ("errors.format", json!(RawFormat::default())),
        ("errors.details", json!(RawDetails::default())),
        ("mode", json!(RawMode::default())),
    ]
}

impl<T: Serialize> FieldDefault<T> {
    fn described(self) -> (&'static str, Value) {
        (self.field, json!(self.value))
    }
}

/// Members that match no field are unknown fields. The derived schema allows them wherever they are
/// collected.
fn refuse_unknown(schema: &mut Schema) {
    if schema.get("properties").is_some() {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// Joins the lines of descriptions, which have the line breaks of the source.
fn join_lines(schema: &mut Schema) {
    if let Some(description) = schema.get("description").and_then(Value::as_str) {
        let joined = description.replace('\n', " ");
        schema.insert("description".to_owned(), json!(joined));
    }
}

fn remove_value(schema: &mut Value, path: &str, value: &str) {
    let values = members(schema, path).and_then(|members| members.get_mut("oneOf"));
    if let Some(values) = values.and_then(Value::as_array_mut) {
        values.retain(|other| other.get("const").and_then(Value::as_str) != Some(value));
    }
}

fn require(schema: &mut Value, path: &str) {
    let (parent, field) = split(path);
    if let Some(parent) = members(schema, parent) {
        let required = parent.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut() {
            required.push(json!(field));
        }
    }
}

fn extend(schema: &mut Value, path: &str, added: Value) {
    if let (Some(members), Value::Object(added)) = (members(schema, path), added) {
        members.extend(added);
    }
}

/// Adds the bounds to the description where a schema cannot compare.
fn set_bounds(schema: &mut Value, path: &str, limit: &DescribedLimit) {
    let Some(members) = members(schema, path) else { return };
    if let (Some(Value::String(description)), Some(bounds)) =
        (members.get_mut("description"), &limit.bounds)
    {
        let (first, rest) = bounds.split_at(1);
        description.push_str(&format!(" {}{rest}.", first.to_ascii_uppercase()));
    }
    if let Some(maximum) = limit.maximum {
        members.insert("maximum".to_owned(), json!(maximum));
    }
}

/// Sets the default and adds it to the description, because not every editor shows it otherwise.
fn set_default(schema: &mut Value, path: &str, default: &Value) {
    let Some(members) = members(schema, path) else { return };
    members.insert("default".to_owned(), default.clone());
    if let Some(Value::String(description)) = members.get_mut("description") {
        description.push_str(&format!(" Default: {}.", shown(default)));
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(elements) => elements.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// The members of a field's schema. In a path, `[]` is each element of a list, `{}` each value of a
/// map, and `<1>` the second of several forms.
fn members<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    schema.pointer_mut(&pointer(path))?.as_object_mut()
}

pub(super) fn pointer(path: &str) -> String {
    let fields = path.split('.').filter(|field| !field.is_empty());
    let pointers = fields.map(|field| {
        let field = field.replace("[]", "/items").replace("{}", "/additionalProperties");
        let field = field.replace("<1>", "/oneOf/1");
        format!("/properties/{field}")
    });
    pointers.collect()
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl JsonSchema for DurationString {
    fn schema_name() -> Cow<'static, str> {
        "DurationString".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "duration",
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h)$",
            "examples": ["500ms", "30s", "5m", "24h"],
        })
    }
}

impl JsonSchema for SizeString {
    fn schema_name() -> Cow<'static, str> {
        "SizeString".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "size",
            "type": "string",
            "pattern": "^[0-9]+(B|KiB|MiB)$",
            "examples": ["512B", "8KiB", "1MiB"],
        })
    }
}

impl JsonSchema for ListClaim {
    fn schema_name() -> Cow<'static, str> {
        "ListClaim".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let path = ClaimPath::json_schema(generator).to_value();
        let paths = path.get("anyOf").and_then(Value::as_array).cloned().unwrap_or_default();
        let of_names = json!({
            "description": "An object whose member names are the values.",
            "type": "object",
            "properties": {"keys_of": path},
            "required": ["keys_of"],
        });
        let forms: Vec<Value> = paths.into_iter().chain([of_names]).collect();
        json_schema!({"title": "claim, or `{keys_of: claim}`", "anyOf": forms})
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "name or list of names",
            "anyOf": [
                {"description": "One name.", "type": "string"},
                {
                    "description": "Several names.",
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "string"},
                },
            ],
        })
    }
}

impl JsonSchema for RawAudiences {
    fn schema_name() -> Cow<'static, str> {
        "Audiences".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let items = json!({"type": "string", "minLength": 1});
        let audiences = json!({"type": "array", "minItems": 1, "items": items});
        let for_all = json!({
            "description": "Audiences for all providers.",
            "type": "array",
            "minItems": 1,
            "items": items,
        });
        json_schema!({
            "title": "list of audiences, or a map of lists by provider",
            "anyOf": [
                for_all,
                {
                    "description": "Audiences for each provider, by its name.",
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": audiences,
                },
            ],
        })
    }
}

impl JsonSchema for RawScopeNames {
    fn schema_name() -> Cow<'static, str> {
        "ScopeNames".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let scope = constraints::scope();
        let mut name = json!({"type": "string"});
        if let (Some(name), Value::Object(scope)) = (name.as_object_mut(), &scope) {
            name.extend(scope.clone());
        }
        json_schema!({
            "title": "map to scopes, or list of scopes",
            "anyOf": [
                {
                    "description": "For each name here, the name at the provider.",
                    "type": "object",
                    "propertyNames": scope,
                    "additionalProperties": name,
                },
                {
                    "description": "Names that are the same at the provider.",
                    "type": "array",
                    "items": name,
                },
            ],
        })
    }
}

impl JsonSchema for ClaimPath {
    fn schema_name() -> Cow<'static, str> {
        "ClaimPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "claim",
            "anyOf": [
                {"description": "The name of a claim.", "type": "string", "minLength": 1},
                {
                    "description": "A path of names through nested objects.",
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "string", "minLength": 1},
                },
            ],
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
