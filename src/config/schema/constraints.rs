//! The rules for fields that the types of the raw form do not express, as far as a schema can.

use serde_json::{Map, Value, json};

use super::super::limits::MAX_USER_RECORDS;
use super::super::templates::TemplateName;
use crate::jose::Algorithm;

/// A path, and members to add to the schema of its field.
type Constraint = (&'static str, Value);

pub(super) fn constraints() -> Vec<Constraint> {
    [resource(), resources(), providers(), key_sources(), users(), access(), login(), others()]
        .concat()
}

fn resource() -> Vec<Constraint> {
    vec![
        ("resource.url", url("https://mcp.example.com/mcp")),
        ("resource.documentation", url("https://mcp.example.com/docs")),
        ("resource.scopes_supported[]", scope()),
        ("resource.scopes_supported[]", json!({"not": {"const": "offline_access"}})),
    ]
}

fn resources() -> Vec<Constraint> {
    let has = |field: &str| json!({"required": [field]});
    let has_client_ids = json!({"properties": {"providers": {"items": has("client_ids")}}});
    let has_some = json!({
        "properties": {"resources": {"minItems": 1}},
        "required": ["resources"],
    });
    let rules = json!([
        {"anyOf": [has("resource"), has_some]},
        {"not": {"allOf": [has("resource"), has_some]}},
        {"anyOf": [has_client_ids, has_some]},
    ]);
    let host = r"^(\*|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*[A-Za-z0-9_-])(:[1-9][0-9]*)?)$";
    vec![
        ("", json!({"allOf": rules})),
        ("resources[].id", json!({"pattern": "^[a-z0-9_-]+$", "not": {"const": "none"}})),
        ("resources[].url", url("https://gateway.example.com/incidents/mcp")),
        ("resources[].documentation", url("https://gateway.example.com/docs")),
        ("resources[].scopes_supported[]", scope()),
        ("resources[].scopes_supported[]", json!({"not": {"const": "offline_access"}})),
        ("resources[].providers", json!({"minItems": 1})),
        ("resources[].hosts[]", with_example(host, "gateway.internal:8443")),
    ]
}

fn providers() -> Vec<Constraint> {
    vec![
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
        ("providers[].issuer", filled()),
        ("providers[].additional_issuers[]", filled()),
        ("providers[].algorithms", json!({"minItems": 1})),
        ("providers[].algorithms[]", json!({"enum": Algorithm::ALL.map(Algorithm::name)})),
        ("providers[].required_claims", claim_values()),
        ("providers[].required_any_claim", json!({"examples": [["scp", "roles"]]})),
        ("providers[].token_types", json!({"minItems": 1, "examples": [["at+jwt"]]})),
        ("providers[].user_field", filled()),
        ("providers[].auth_scopes[]", scope()),
    ]
}

fn key_sources() -> Vec<Constraint> {
    vec![
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
    ]
}

fn users() -> Vec<Constraint> {
    vec![
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
    ]
}

fn access() -> Vec<Constraint> {
    vec![
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
    ]
}

fn login() -> Vec<Constraint> {
    let host = "^[a-z0-9.-]+$";
    vec![
        (
            "login.issuer",
            titled(
                "origin",
                with_example(r"^https?://[^A-Z\s/?#@]+$", "https://login.example.com"),
            ),
        ),
        ("login.path", titled("path", with_example("^(/[A-Za-z0-9._~-]+)+$", "/oauth"))),
        ("login.clients[].client_id", json!({"minLength": 1, "maxLength": 512})),
        ("login.clients[].redirect_uris", json!({"minItems": 1})),
        ("login.client_metadata", json!({"propertyNames": pattern(host)})),
        ("login.client_metadata{}", filled()),
        ("providers[].login.client_id", filled()),
        ("providers[].login.always[]", scope()),
    ]
}

fn others() -> Vec<Constraint> {
    vec![
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
            json!({
                "description":
                    "Redis, called through webdis: for several Envoys. Default: `local` instead.",
            }),
        ),
        (
            "replay_store<1>.redis.authority",
            json!({"minLength": 1, "examples": ["webdis.example.com:7379"]}),
        ),
        ("replay_store<1>.redis.path_prefix", pattern("^/([A-Za-z0-9._~-]*/)*$")),
    ]
}

fn pattern(pattern: &str) -> Value {
    json!({"pattern": pattern})
}

fn with_example(pattern: &str, example: &str) -> Value {
    json!({"pattern": pattern, "examples": [example]})
}

/// The scheme may be written in capitals.
fn url(example: &str) -> Value {
    titled("URL", with_example(r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s#]+$", example))
}

fn host(example: &str) -> Value {
    titled("host name", with_example("^[A-Za-z0-9.-]+(:[0-9]+)?$", example))
}

fn path(example: &str) -> Value {
    titled("path", with_example(r"^/[^?#*;\\]*$", example))
}

/// A scope-token of RFC 6749 §3.3.
pub(super) fn scope() -> Value {
    titled("scope", pattern(r"^[!#-\[\]-~]+$"))
}

fn filled() -> Value {
    json!({"minLength": 1})
}

fn claim_values() -> Value {
    let one = json!({"type": ["string", "number", "boolean"]});
    json!({"additionalProperties": {
        "title": "values or lists of values",
        "anyOf": [one, {"type": "array", "minItems": 1, "items": one}],
    }})
}

/// Sets the title: the kind of value.
fn titled(title: &str, mut members: Value) -> Value {
    if let Some(members) = members.as_object_mut() {
        members.insert("title".to_owned(), json!(title));
    }
    members
}

/// Rules between the fields of a provider.
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
            // Matches only if `template` is present. A `required` here would make editors offer the
            // field once more.
            json!({"not": {"properties": {"template": {"not": {"const": template.to_string()}}}}})
        };
        json!({"if": is_this, "then": {"required": required, "properties": others}})
    })
}

/// Matches a provider with this template, or without any if it is the default.
fn is_template(name: &str) -> Value {
    json!({"properties": {"template": {"const": name}}})
}
