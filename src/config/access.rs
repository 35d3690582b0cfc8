//! `access` and `exempt`: who may do what, and which paths need no token.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Faults;
use super::claims::required_claims;
use super::defaults::{
    FILTER_LISTS, PROTOCOL_VERSIONS, SHOW_IF_SCOPES_MISSING, UPSTREAM_VALIDATES_HEADERS,
};
use super::field::{Field, UnknownFields, refuse_unknown};
use super::limits::ACCESS_MCP_MAX_BODY;
use super::provider::RawClientType;
use super::resource::RawExempt;
use super::scopes::{check_scope, scopes};
use super::units::SizeString;
use crate::access::{
    AccessPolicy, CanonicalPath, DefaultAccess, HEADERS_SINCE, Inspection, ListRules, Match,
    Pattern, Requirement, Rule, ScopeHierarchy, is_normal_uri,
};
use crate::provider::{ClientType, Providers};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawAccess {
    /// What happens to a request that no rule matches. Default: `deny` with rules, `allow` without.
    pub(super) default: Field<RawDefaultAccess>,
    /// The rules, in order: the first one that matches a request decides. Default: none.
    pub(super) rules: Field<Vec<Field<RawRule>>>,
    /// For a scope, the narrower ones that it implies. Default: none.
    pub(super) scope_hierarchy: Field<BTreeMap<String, Vec<String>>>,
    /// How rules with `mcp_methods` or `mcp_names` find out what a request asks for. Default: the
    /// defaults of its fields.
    pub(super) mcp: Field<RawMcp>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawDefaultAccess {
    /// The request passes with any valid token.
    Allow,
    /// The request is refused.
    Deny,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawMcp {
    /// Whether lists of tools, prompts and resources show only what the caller may use, on paths
    /// where rules have `mcp_names`.
    pub(super) filter_lists: Field<bool>,
    /// Whether these lists also show what the caller may use once its token has more scopes.
    pub(super) show_if_scopes_missing: Field<bool>,
    /// Where the MCP message is read. `headers` needs `upstream_validates_headers`.
    pub(super) inspect: Field<RawInspect>,
    /// Longest body that is read; longer bodies are refused, and so are longer lists in responses.
    /// Envoy's own limit (`per_connection_buffer_limit_bytes`) must be at least as high.
    pub(super) max_body: Field<SizeString>,
    /// With `inspect: headers`, the MCP revisions whose headers are trusted, 2026-07-28 or later.
    /// Requests of other revisions are refused.
    pub(super) protocol_versions: Field<Vec<String>>,
    /// States that the MCP server refuses requests whose `Mcp-*` headers do not match the body.
    pub(super) upstream_validates_headers: Field<bool>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub(super) enum RawInspect {
    /// In the body, which is held back until it is complete.
    #[default]
    Body,
    /// In the `Mcp-*` headers, which the MCP server must compare with the body.
    Headers,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawRule {
    /// The name of the rule in the log. Default: its place, such as `rules[0]`.
    pub(super) name: Field<String>,
    /// Which requests the rule matches: every given field must match. Default: all.
    #[serde(rename = "match")]
    pub(super) condition: Field<RawMatch>,
    /// What a matching request needs: every given field must be satisfied. Default: nothing but a
    /// valid token.
    pub(super) require: Field<RawRequire>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, expecting = "an object")]
pub(super) struct RawMatch {
    /// The path is one of these. Default: any.
    pub(super) paths: Field<Vec<String>>,
    /// The path is one of these or below one: /files matches /files/a, not /filesystem. Default:
    /// any.
    pub(super) path_prefixes: Field<Vec<String>>,
    /// The method is one of these, in upper case. Default: any.
    pub(super) methods: Field<Vec<String>>,
    /// The method of the MCP message is one of these; a final `*` matches any rest. If given, only
    /// requests whose message calls a method match. Default: any, and requests without a message.
    pub(super) mcp_methods: Field<Vec<String>>,
    /// The subject of the MCP message is one of these: a tool or prompt by name, a resource by URI,
    /// a task by id; a final `*` matches any rest. Default: any, and messages without one.
    pub(super) mcp_names: Field<Vec<String>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// A token of one of these kinds of client. Default: any.
    pub(super) client_types: Field<Vec<RawClientType>>,
    /// For each of these claims, the required value or a list of accepted values. Default: none.
    pub(super) claims: Field<BTreeMap<String, Value>>,
    #[serde(flatten)]
    pub(super) unknown: UnknownFields,
}

/// The validated `access`, before it is combined with the scopes of a resource.
#[derive(Clone)]
pub(super) struct Access {
    rules: Vec<Rule>,
    default: DefaultAccess,
    hierarchy: ScopeHierarchy,
    inspection: Inspection,
    lists: ListRules,
}

impl Access {
    /// The policy of a resource with these scopes.
    pub(super) fn into_policy(self, supported: &[String]) -> AccessPolicy {
        let Self { rules, default, hierarchy, inspection, lists } = self;
        AccessPolicy::new(rules, default, hierarchy, inspection, lists, supported)
    }
}

/// Reads the object at this path.
pub(super) fn access(
    raw: RawAccess,
    at: &str,
    providers: &Providers,
    faults: &mut Faults,
) -> Access {
    refuse_unknown(&format!("{at}."), &raw.unknown, faults);
    let member = |name: &str| format!("{at}.{name}");
    let mcp = raw.mcp.or_default(&member("mcp"), faults);
    let (inspection, lists) = mcp_rules(mcp, &member("mcp"), faults);
    let mut rules = Vec::new();
    let raw_rules = raw.rules.optional(&member("rules"), faults);
    for (index, raw) in raw_rules.into_iter().flatten().enumerate() {
        let name = format!("rules[{index}]");
        let path = member(&name);
        if let Some(raw) = raw.optional(&path, faults) {
            rules.push(rule(raw, name, &path, providers, faults));
        }
    }
    let default = match raw.default.optional(&member("default"), faults) {
        Some(RawDefaultAccess::Allow) => DefaultAccess::Allow,
        Some(RawDefaultAccess::Deny) => DefaultAccess::Deny,
        None if rules.is_empty() => DefaultAccess::Allow,
        None => DefaultAccess::Deny,
    };
    let hierarchy = scope_hierarchy(raw.scope_hierarchy, &member("scope_hierarchy"), faults);
    Access { rules, default, hierarchy, inspection, lists }
}

/// The paths that need no token, from the list at this path.
pub(super) fn exempt(
    raw: Vec<Field<RawExempt>>,
    at: &str,
    faults: &mut Faults,
) -> Vec<CanonicalPath> {
    let mut paths = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        let Some(raw) = raw.optional(&at, faults) else { continue };
        refuse_unknown(&format!("{at}."), &raw.unknown, faults);
        let at = format!("{at}.path");
        if let Some(path) = raw.path.required(&at, faults) {
            paths.extend(canonical_path(&path, &at, faults));
        }
    }
    paths
}

fn rule(
    raw: RawRule,
    default_name: String,
    path: &str,
    providers: &Providers,
    faults: &mut Faults,
) -> Rule {
    refuse_unknown(&format!("{path}."), &raw.unknown, faults);
    let name = raw.name.optional(&format!("{path}.name"), faults);
    let condition = raw.condition.or_default(&format!("{path}.match"), faults);
    let require = raw.require.or_default(&format!("{path}.require"), faults);
    Rule {
        name: name.unwrap_or(default_name),
        condition: conditions(condition, &format!("{path}.match"), faults),
        requirement: requirement(require, &format!("{path}.require"), providers, faults),
    }
}

fn conditions(raw: RawMatch, path: &str, faults: &mut Faults) -> Match {
    refuse_unknown(&format!("{path}."), &raw.unknown, faults);
    let mut paths = |raw: Field<Vec<String>>, name: &str| -> Vec<CanonicalPath> {
        let at = format!("{path}.{name}");
        let values = raw.or_default(&at, faults);
        let each = values.iter().enumerate();
        each.filter_map(|(index, value)| canonical_path(value, &format!("{at}[{index}]"), faults))
            .collect()
    };
    let (exact, prefixes) = (paths(raw.paths, "paths"), paths(raw.path_prefixes, "path_prefixes"));
    let methods = raw.methods.or_default(&format!("{path}.methods"), faults);
    for (index, method) in methods.iter().enumerate() {
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let at = format!("{path}.methods[{index}]");
            faults.add(&at, "must be an HTTP method in upper case, such as POST");
        }
    }
    let mcp_methods = patterns(raw.mcp_methods, &format!("{path}.mcp_methods"), faults);
    let mcp_names = patterns(raw.mcp_names, &format!("{path}.mcp_names"), faults);
    refuse_unmatchable_uris(&mcp_names, &format!("{path}.mcp_names"), faults);
    let condition =
        Match { paths: exact, path_prefixes: prefixes, methods, mcp_methods, mcp_names };
    if condition.never_matches() {
        faults.add(
            &format!("{path}.methods"),
            "must include POST with mcp_methods or mcp_names: only a POST carries a message",
        );
    }
    condition
}

fn patterns(raw: Field<Vec<String>>, path: &str, faults: &mut Faults) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for (index, text) in raw.optional(path, faults).into_iter().flatten().enumerate() {
        match Pattern::parse(&text) {
            Some(pattern) => patterns.push(pattern),
            None => faults.add(
                &format!("{path}[{index}]"),
                "must be a string with `*` at most once, at its end, such as update_*",
            ),
        }
    }
    patterns
}

/// A URI that no canonical request can name would make a rule that never matches and so protects
/// nothing. Names of tools, prompts and tasks are unlikely to contain `:/`.
fn refuse_unmatchable_uris(names: &[Pattern], path: &str, faults: &mut Faults) {
    for (index, name) in names.iter().enumerate() {
        if let Pattern::Exact(uri) = name
            && uri.contains(":/")
            && !is_normal_uri(uri)
        {
            faults.add(
                &format!("{path}[{index}]"),
                "must be a URI in its normal form (https://example.com/ and not \
                 HTTPS://example.com:443): requests with another form are refused",
            );
        }
    }
}

/// Where messages are read, and what lists show.
fn mcp_rules(raw: RawMcp, at: &str, faults: &mut Faults) -> (Inspection, ListRules) {
    refuse_unknown(&format!("{at}."), &raw.unknown, faults);
    let at = |name: &str| format!("{at}.{name}");
    let max_body = ACCESS_MCP_MAX_BODY.read(raw.max_body, &at("max_body"), faults);
    let lists = ListRules {
        are_filtered: FILTER_LISTS.read(raw.filter_lists, &at("filter_lists"), faults),
        show_if_scopes_missing: SHOW_IF_SCOPES_MISSING.read(
            raw.show_if_scopes_missing,
            &at("show_if_scopes_missing"),
            faults,
        ),
        max_body,
    };
    let versions = raw.protocol_versions.optional(&at("protocol_versions"), faults);
    let versions = versions.unwrap_or_else(|| PROTOCOL_VERSIONS.value.map(str::to_owned).to_vec());
    for (index, version) in versions.iter().enumerate() {
        if !is_version_with_headers(version) {
            faults.add(
                &at(&format!("protocol_versions[{index}]")),
                format!(
                    "must be an MCP revision from {HEADERS_SINCE} on: older ones have no headers"
                ),
            );
        }
    }
    let validates = UPSTREAM_VALIDATES_HEADERS.read(
        raw.upstream_validates_headers,
        &at("upstream_validates_headers"),
        faults,
    );
    let inspection = match raw.inspect.or_default(&at("inspect"), faults) {
        RawInspect::Body => Inspection::Body { max_body },
        RawInspect::Headers => {
            if !validates {
                faults.add(
                    &at("upstream_validates_headers"),
                    "must be true with inspect: headers, or the headers may differ from the body",
                );
            }
            if versions.is_empty() {
                faults.add(&at("protocol_versions"), "must hold at least one revision");
            }
            Inspection::Headers { versions }
        }
    };
    (inspection, lists)
}

/// True for a date, the form of every MCP revision, from [`HEADERS_SINCE`] on.
fn is_version_with_headers(version: &str) -> bool {
    let is_date = version.len() == HEADERS_SINCE.len()
        && version.bytes().zip(HEADERS_SINCE.bytes()).all(|(byte, sample)| match sample {
            b'-' => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_date && version >= HEADERS_SINCE
}

fn requirement(
    raw: RawRequire,
    path: &str,
    providers: &Providers,
    faults: &mut Faults,
) -> Requirement {
    refuse_unknown(&format!("{path}."), &raw.unknown, faults);
    let scopes = scopes(raw.scopes, &format!("{path}.scopes"), faults);
    let any_scope = super::scopes::scopes(raw.any_scope, &format!("{path}.any_scope"), faults);
    let mut names =
        |raw: Field<Vec<String>>, name: &str| raw.or_default(&format!("{path}.{name}"), faults);
    let (roles, groups) = (names(raw.roles, "roles"), names(raw.groups, "groups"));
    let named = names(raw.providers, "providers");
    for (index, name) in named.iter().enumerate() {
        if !providers.iter().any(|provider| provider.name == *name) {
            let at = format!("{path}.providers[{index}]");
            faults.add(&at, format!("there is no active provider {name:?}"));
        }
    }
    let client_types = raw.client_types.or_default(&format!("{path}.client_types"), faults);
    let client_types =
        client_types.into_iter().enumerate().filter_map(|(index, client_type)| match client_type {
            RawClientType::User => Some(ClientType::User),
            RawClientType::Service => Some(ClientType::Service),
            RawClientType::Auto => {
                let at = format!("{path}.client_types[{index}]");
                faults.add(&at, "must be user or service");
                None
            }
        });
    let client_types = client_types.collect();
    let claims = required_claims(raw.claims, &format!("{path}.claims"), faults);
    Requirement { scopes, any_scope, roles, groups, providers: named, client_types, claims }
}

fn scope_hierarchy(
    raw: Field<BTreeMap<String, Vec<String>>>,
    at: &str,
    faults: &mut Faults,
) -> ScopeHierarchy {
    let implied = raw.or_default(at, faults);
    for (broad, narrow) in &implied {
        check_scope(broad, &format!("{at}.{broad}"), faults);
        for (index, scope) in narrow.iter().enumerate() {
            check_scope(scope, &format!("{at}.{broad}[{index}]"), faults);
        }
    }
    ScopeHierarchy::new(implied)
}

pub(super) fn canonical_path(
    value: &str,
    path: &str,
    faults: &mut Faults,
) -> Option<CanonicalPath> {
    let canonical = Some(value)
        .filter(|value| !value.contains(['?', '#', '*']))
        .and_then(|value| CanonicalPath::parse(value.as_bytes()));
    if canonical.is_none() {
        faults.add(
            path,
            "must be a path such as /mcp: no query, no wildcard, no dot segments, no `//`, `;` or \
             `\\`",
        );
    }
    canonical
}
