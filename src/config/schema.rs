//! The JSON Schema of the configuration, for editors: what the raw form is made of, and what the
//! validation wants besides as far as a schema can say it. It never refuses what is accepted.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::field::Field;
use super::limits::{
    ACCESS_MCP_MAX_BODY, CLOCK_SKEW, KEYS_MAX_AGE, KEYS_MAX_AGE_CAP, KEYS_MAX_BODY, KEYS_MAX_STALE,
    KEYS_REFRESH_AHEAD, KEYS_REFRESH_COOLDOWN, KEYS_TIMEOUT, Limit, MAX_TOKEN_SIZE,
    MAX_USER_RECORDS, Quantity, REDIS_TIMEOUT, SCIM_CACHE_TTL, SCIM_MAX_BODY, SCIM_TIMEOUT,
    TOKEN_CACHE_ENTRIES,
};
use super::raw::RawConfig;
use super::templates::TemplateName;
use super::units::{DurationString, Names, SizeString};
use crate::claim::{ClaimPath, ListClaim};
use crate::jose::Algorithm;

/// The JSON Schema (2020-12) of the plugin's configuration.
///
/// An editor that knows it completes and explains the fields. A configuration that it refuses is
/// one that [`Config::from_bytes`](crate::Config::from_bytes) refuses; the reverse does not hold,
/// for much cannot be said in a schema. (One exception: `{enforce: null}` and the like, which serde
/// takes for the word alone.)
#[must_use]
pub fn config_schema() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(refuse_unknown))
        .with_transform(RecursiveTransform(join_lines));
    let mut schema = settings.into_generator().into_root_schema_for::<RawConfig>().to_value();
    for (path, value) in NOT_ACCEPTED {
        remove_value(&mut schema, path, value);
    }
    for path in REQUIRED {
        require(&mut schema, path);
    }
    for (path, members) in constraints() {
        extend(&mut schema, path, members);
    }
    for limit in limits() {
        set_bounds(&mut schema, limit.field, &limit);
        if limit.field.starts_with("keys.") {
            set_bounds(&mut schema, &format!("providers[].{}", limit.field), &limit);
        }
        set_default(&mut schema, limit.field, &limit.default);
    }
    for (path, default) in defaults() {
        set_default(&mut schema, path, &default);
    }
    extend(&mut schema, "", json!({"title": "Configuration of mcp-federated-auth"}));
    schema
}

/// Values that can be read and are refused where they stand.
const NOT_ACCEPTED: [(&str, &str); 1] = [("access.rules[].require.client_types[]", "auto")];

/// Fields that must be there.
const REQUIRED: [&str; 12] = [
    "resource",
    "resource.url",
    "providers",
    "providers[].name",
    "providers[].client_ids",
    "users.records[].user_name",
    "users.scim.url",
    "users.scim.cluster",
    "replay_store<1>.redis.cluster",
    "identity.claims_to_headers[].claim",
    "identity.claims_to_headers[].header",
    "exempt[].path",
];

/// What the schema says of the default and the bounds of a field.
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

/// What a field is when it is not there, whatever else is.
fn defaults() -> Vec<(&'static str, Value)> {
    vec![
        ("providers[].template", json!("generic")),
        ("providers[].audience_claim", json!("aud")),
        ("providers[].user_field", json!("user_name")),
        ("providers[].jti", json!("ignore")),
        ("providers[].client_type", json!("auto")),
        ("providers[].restrict_to_policies", json!(false)),
        ("providers[].active", json!(true)),
        ("users.unknown", json!("reject")),
        ("users.records[].active", json!(true)),
        ("users.records[].locked", json!(false)),
        ("users.records[].web_service_access_only", json!(false)),
        ("access.mcp.inspect", json!("body")),
        ("access.mcp.protocol_versions", json!(["2026-07-28"])),
        ("access.mcp.upstream_validates_headers", json!(false)),
        ("identity.header_prefix", json!("x-mcp-")),
        ("identity.forward_token", json!(false)),
        ("replay_store", json!("local")),
        ("replay_store<1>.redis.authority", json!("webdis")),
        ("replay_store<1>.redis.path_prefix", json!("/")),
        ("errors.format", json!("oauth")),
        ("errors.details", json!("reason")),
        ("mode", json!("enforce")),
    ]
}

/// What else must hold of a field: members that its schema gets besides.
fn constraints() -> Vec<(&'static str, Value)> {
    let pattern = |pattern: &str| json!({"pattern": pattern});
    let with_example =
        |pattern: &str, example: &str| json!({"pattern": pattern, "examples": [example]});
    // The scheme may be written in capitals.
    let url =
        |example: &str| titled("URL", with_example(r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s#]+$", example));
    let host =
        |example: &str| titled("host name", with_example("^[A-Za-z0-9.-]+(:[0-9]+)?$", example));
    let path = |example: &str| titled("path", with_example(r"^/[^?#*;\\]*$", example));
    // A scope-token of RFC 6749 §3.3.
    let scope = || titled("scope", pattern(r"^[!#-\[\]-~]+$"));
    let filled = || json!({"minLength": 1});
    let claim_values = || {
        let one = json!({"type": ["string", "number", "boolean"]});
        json!({"additionalProperties": {
            "title": "values or lists of values",
            "anyOf": [one, {"type": "array", "minItems": 1, "items": one}],
        }})
    };
    vec![
        ("resource.url", url("https://mcp.example.com/mcp")),
        ("resource.documentation", url("https://mcp.example.com/docs")),
        ("resource.scopes_supported[]", scope()),
        ("resource.scopes_supported[]", json!({"not": {"const": "offline_access"}})),
        ("providers", json!({"minItems": 1})),
        ("providers[]", json!({"allOf": provider_rules()})),
        ("providers[].name", pattern("^[a-z0-9_-]+$")),
        (
            "providers[].tenant",
            with_example("^[A-Za-z0-9.-]+$", "8d5c1f2e-0000-4000-8000-000000000000"),
        ),
        ("providers[].domain", host("example.okta.com")),
        ("providers[].host", host("login.example.com")),
        ("providers[].realm", pattern("^[^/]+$")),
        ("providers[].authorization_server", pattern("^[A-Za-z0-9_-]+$")),
        ("providers[].client_ids", json!({"minItems": 1})),
        ("providers[].client_ids[]", filled()),
        (
            "providers[].metadata_url",
            url("https://login.example.com/.well-known/openid-configuration"),
        ),
        ("providers[].jwks_url", url("https://login.example.com/keys")),
        (
            "providers[].jwks",
            json!({
                "type": "object",
                "properties": {"keys": {
                    "description": "The keys, each as a JWK.",
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "object"},
                }},
                "required": ["keys"],
            }),
        ),
        ("providers[].certificates", json!({"minItems": 1})),
        ("providers[].cluster", filled()),
        ("providers[].clusters{}", filled()),
        ("providers[].clusters", json!({"examples": [{"login.example.com": "login"}]})),
        ("providers[].issuer", filled()),
        ("providers[].additional_issuers[]", filled()),
        ("providers[].algorithms", json!({"minItems": 1})),
        ("providers[].algorithms[]", json!({"enum": Algorithm::ALL.map(Algorithm::name)})),
        ("providers[].required_claims", claim_values()),
        ("providers[].required_any_claim", json!({"examples": [["scp", "roles"]]})),
        ("providers[].token_types", json!({"minItems": 1, "examples": [["at+jwt"]]})),
        ("providers[].user_field", filled()),
        ("providers[].auth_scopes[]", scope()),
        ("users.records", json!({"maxItems": MAX_USER_RECORDS})),
        (
            "users.records[]",
            json!({"additionalProperties": {
                "description": "A string that a provider's `user_field` may name, such as email. Default: none.",
                "type": "string",
                "minLength": 1,
            }}),
        ),
        ("users.records[].user_name", filled()),
        (
            "users.scim.url",
            titled(
                "URL",
                with_example(
                    r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s#?]+$",
                    "https://directory.example.com/scim/v2",
                ),
            ),
        ),
        ("users.scim.cluster", filled()),
        (
            "users.provision.fields",
            json!({"examples": [{"user_name": "preferred_username", "email": "email"}]}),
        ),
        ("access.rules[].match.paths[]", path("/mcp")),
        ("access.rules[].match.path_prefixes[]", path("/files")),
        ("access.rules[].match.methods[]", pattern("^[A-Z]+$")),
        (
            "access.rules[].match.mcp_methods[]",
            with_example(r"^[^*]*[^*]$|^[^*]*\*$", "tools/call"),
        ),
        ("access.rules[].match.mcp_names[]", with_example(r"^[^*]*[^*]$|^[^*]*\*$", "update_*")),
        ("access.mcp.protocol_versions[]", pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}$")),
        ("access.rules[].require.scopes[]", scope()),
        ("access.rules[].require.any_scope[]", scope()),
        ("access.rules[].require.claims", claim_values()),
        ("access.scope_hierarchy", json!({"propertyNames": scope()})),
        ("access.scope_hierarchy{}[]", scope()),
        ("identity.header_prefix", pattern("^[a-z0-9-]+$")),
        ("identity.claims_to_headers[].header", pattern("^[A-Za-z0-9-]+$")),
        ("exempt[].path", path("/healthz")),
        (
            "allowed_origins[]",
            titled(
                "origin",
                with_example(r"^[^A-Z\s]+://[^A-Z\s/?#@*,]+$", "https://app.example.com"),
            ),
        ),
        ("replay_store<1>.redis.cluster", filled()),
        (
            "replay_store<1>.redis",
            json!({"description": "Redis, called through webdis: for several Envoys together. Default: `local` instead."}),
        ),
        (
            "replay_store<1>.redis.authority",
            json!({"minLength": 1, "examples": ["webdis.example.com:7379"]}),
        ),
        ("replay_store<1>.redis.path_prefix", pattern("^/([A-Za-z0-9._~-]*/)*$")),
    ]
}

/// These members of a schema, and the kind of value that they are about.
fn titled(title: &str, mut members: Value) -> Value {
    if let Some(members) = members.as_object_mut() {
        members.insert("title".to_owned(), json!(title));
    }
    members
}

/// What must hold between the fields of a provider.
fn provider_rules() -> Vec<Value> {
    let has = |field: &str| json!({"required": [field]});
    let sources = ["metadata_url", "jwks_url", "jwks", "certificates"].map(has);
    let has_no_source = json!({"not": {"anyOf": sources}});
    let template_fills_in = json!({"allOf": [{"not": is_template("generic")}, has_no_source]});
    let one_source: Vec<Value> = sources.into_iter().chain([template_fills_in]).collect();
    let keys_or_cluster = ["jwks", "certificates", "cluster", "clusters"].map(has);
    let mut rules = vec![
        json!({"oneOf": one_source}),
        json!({"anyOf": keys_or_cluster}),
        json!({"not": {"required": ["cluster", "clusters"]}}),
    ];
    rules.extend(template_rules());
    rules
}

/// Which inputs each template takes.
fn template_rules() -> impl Iterator<Item = Value> {
    const INPUTS: [&str; 5] = ["tenant", "domain", "host", "realm", "authorization_server"];
    let templates: [(TemplateName, &[&str], &[&str]); 7] = [
        (TemplateName::EntraId, &["tenant"], &[]),
        (TemplateName::Okta, &["domain"], &["authorization_server"]),
        (TemplateName::Auth0, &["domain"], &[]),
        (TemplateName::Google, &[], &[]),
        (TemplateName::Adfs, &["host"], &[]),
        (TemplateName::Keycloak, &["host", "realm"], &[]),
        (TemplateName::Generic, &["issuer"], &[]),
    ];
    templates.into_iter().map(|(template, required, optional)| {
        let is_taken = |input: &str| required.contains(&input) || optional.contains(&input);
        let others = INPUTS.into_iter().filter(|input| !is_taken(input));
        let others: Map<String, Value> =
            others.map(|input| (input.to_owned(), json!(false))).collect();
        let is_this = if template == TemplateName::default() {
            is_template(&template.to_string())
        } else {
            // Present too. Editors would offer the field once more for each `required` here.
            json!({"not": {"properties": {"template": {"not": {"const": template.to_string()}}}}})
        };
        json!({"if": is_this, "then": {"required": required, "properties": others}})
    })
}

/// True of a provider of this template, and of one that names none.
fn is_template(name: &str) -> Value {
    json!({"properties": {"template": {"const": name}}})
}

/// Members that no field is named after are unknown fields. The derived schema allows them
/// wherever they are collected.
fn refuse_unknown(schema: &mut Schema) {
    if schema.get("properties").is_some() {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// Descriptions have the line breaks of the source.
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

/// Says the bounds in the description where a schema cannot compare.
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

/// Sets the default, and says it in the description: not every editor shows it otherwise.
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

/// The members of a field's schema. In a path `[]` is each element of a list, `{}` each value of an
/// object whose members have any name, and `<1>` the second of several forms.
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
            "description": "An object whose members have the values as their names.",
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
