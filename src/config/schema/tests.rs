//! The schema in the repository is the one that is generated, and says what the plugin does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::{
    SigningKey, code_blocks, plugin_configurations, repository_root, yaml, yaml_documents,
    yaml_files,
};

use super::*;
use crate::Config;

static SCHEMA: LazyLock<Value> = LazyLock::new(config_schema);

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).unwrap());

/// A configuration in which every field is given somewhere.
pub(in crate::config) static FULL: LazyLock<Value> = LazyLock::new(|| {
    let key = SigningKey::generate(testkit::Algorithm::Es256, "a");
    let keys = json!({
        "max_age": "10m", "refresh_ahead": "30s", "refresh_cooldown": "30s", "timeout": "5s",
        "max_age_cap": "24h", "max_stale": "24h", "max_body": "256KiB",
    });
    let mut document = json!({
        "resource": {
            "url": "https://mcp.example.com/mcp",
            "name": "Incident tools",
            "documentation": "https://mcp.example.com/docs",
            "scopes_supported": ["mcp.tools"],
        },
        "providers": [
            {
                "name": "one",
                "template": "generic",
                "issuer": "https://one.example.com",
                "additional_issuers": ["https://also.example.com"],
                "client_ids": ["mcp"],
                "metadata_url": "https://one.example.com/metadata",
                "cluster": "one",
                "audience_claim": "aud",
                "algorithms": ["RS256"],
                "clock_skew": "300s",
                "max_token_age": "24h",
                "required_claims": {"tid": "a", "amr": ["mfa", 1, true]},
                "required_any_claim": ["scp", ["realm", "roles"]],
                "token_types": ["at+jwt"],
                "keys": keys,
                "user_claim": "email",
                "service_user_claim": ["client", "id"],
                "user_field": "email",
                "scope_claim": ["scopes", "here"],
                "roles_claim": "roles",
                "groups_claim": "groups",
                "jti": "ignore",
                "client_type": "auto",
                "auth_scopes": ["mcp.tools"],
                "restrict_to_policies": false,
                "active": true,
            },
            {
                "name": "two",
                "issuer": "https://two.example.com",
                "client_ids": ["mcp"],
                "roles_claim": {"keys_of": "urn:roles"},
                "groups_claim": {"keys_of": ["org", "groups"]},
                "jwks_url": "https://two.example.com/keys",
                "clusters": {"two.example.com": "two", "login.microsoftonline.com": "two"},
            },
            {
                "name": "three",
                "issuer": "three",
                "client_ids": ["mcp"],
                "jwks": {"keys": [key.public_jwk()]},
            },
            {
                "name": "four",
                "issuer": "four",
                "client_ids": ["mcp"],
                "certificates": [key.certificate_pem()],
            },
            {
                "name": "entra",
                "template": "entra_id",
                "tenant": "8d5c1f2e-0000-4000-8000-000000000000",
                "client_ids": ["mcp"],
                "cluster": "entra",
            },
            {
                "name": "okta",
                "template": "okta",
                "domain": "example.okta.com",
                "authorization_server": "default",
                "client_ids": ["mcp"],
                "cluster": "okta",
            },
            {
                "name": "auth0",
                "template": "auth0",
                "domain": "example.auth0.com",
                "client_ids": ["mcp"],
                "cluster": "auth0",
            },
            {"name": "google", "template": "google", "client_ids": ["mcp"], "cluster": "google"},
            {
                "name": "adfs",
                "template": "adfs",
                "host": "adfs.example.com",
                "client_ids": ["mcp"],
                "cluster": "adfs",
            },
            {
                "name": "keycloak",
                "template": "keycloak",
                "host": "keycloak.example.com:8443",
                "realm": "incidents",
                "client_ids": ["mcp"],
                "cluster": "keycloak",
            },
        ],
        "users": {
            "unknown": "provision",
            "scim": {
                "url": "https://directory.example.com/scim/v2",
                "cluster": "directory",
                "bearer_token_env": "SCIM_TOKEN",
                "cache_ttl": "5m",
                "timeout": "5s",
                "max_body": "256KiB",
            },
            "provision": {
                "roles": ["snc_external"],
                "fields": {"user_name": "preferred_username", "email": ["contact", "email"]},
            },
            "records": [{
                "user_name": "ada",
                "email": "ada@example.com",
                "roles": ["itil"],
                "groups": ["ops"],
                "active": true,
                "locked": false,
                "web_service_access_only": false,
                "provider": ["one"],
            }],
        },
        "access": {
            "default": "deny",
            "rules": [{
                "name": "tools",
                "match": {
                    "paths": ["/mcp"],
                    "path_prefixes": ["/files"],
                    "methods": ["POST"],
                    "mcp_methods": ["tools/call"],
                    "mcp_names": ["update_*"],
                },
                "require": {
                    "scopes": ["mcp.tools"],
                    "any_scope": ["mcp.tools"],
                    "roles": ["itil"],
                    "groups": ["ops"],
                    "providers": ["one"],
                    "client_types": ["user"],
                    "claims": {"tid": "a", "amr": ["mfa", 1, true]},
                },
            }],
            "scope_hierarchy": {"mcp.admin": ["mcp.tools"]},
            "mcp": {
                "inspect": "body",
                "max_body": "1MiB",
                "filter_lists": true,
                "show_if_scopes_missing": false,
                "protocol_versions": ["2026-07-28"],
                "upstream_validates_headers": false,
            },
        },
        "identity": {
            "header_prefix": "x-mcp-",
            "claims_to_headers": [{"claim": ["address", "country"], "header": "X-Country"}],
            "forward_token": false,
        },
        "exempt": [{"path": "/healthz"}],
        "allowed_origins": ["https://app.example.com"],
        "keys": keys,
        "max_token_size": "8KiB",
        "token_cache": {"entries": 1000},
        "audit": {"outcomes": true},
        "replay_store": {"redis": {
            "cluster": "webdis",
            "authority": "webdis",
            "path_prefix": "/",
            "timeout": "1s",
        }},
        "errors": {"format": "oauth", "details": "reason"},
        "mode": "enforce",
    });
    document["secret"] = json!({"env": "SECRET", "previous_env": "PREVIOUS"});
    document["sessions"] = json!({"bind": true});
    document["login"] = json!({
        "issuer": "https://login.example.com",
        "path": "/oauth",
        "registration": true,
        "redirect_uris": ["loopback"],
        "clients": [{
            "client_id": "reports",
            "redirect_uris": ["https://reports.example.com/cb"],
            "name": "Reports",
        }],
        "client_metadata": {"claude.ai": "claude"},
        "consent": "always",
    });
    document["providers"][0]["login"] = json!({
        "client_id": "gateway",
        "client_secret_env": "SECRET",
        "scopes": {"mcp.tools": "tools"},
        "always": ["openid"],
        "token": "access_token",
        "parameters": {"prompt": "login"},
    });
    document
});

/// A configuration in which every field of a resource is given, each that holds for all too.
pub(in crate::config) static SEVERAL: LazyLock<Value> = LazyLock::new(|| {
    let mut document = FULL.clone();
    let mut first = json!({
        "id": "incidents",
        "url": "https://gateway.example.com/incidents/mcp",
        "name": "Incident tools",
        "documentation": "https://gateway.example.com/docs",
        "scopes_supported": ["mcp.tools"],
        "providers": ["one", "two"],
        "audiences": ["api://incidents"],
        "hosts": ["gateway.internal:8443", "*"],
    });
    for own in OF_EACH_RESOURCE {
        first[own] = document[own].clone();
    }
    let second = json!({
        "id": "reports",
        "url": "https://gateway.example.com/reports/mcp",
        "audiences": {"one": ["api://reports"]},
    });
    let members = document.as_object_mut().unwrap();
    members.remove("resource");
    members.insert("resources".to_owned(), json!([first, second]));
    document
});

/// The configuration that has this field.
pub(in crate::config) fn full(path: &str) -> &'static Value {
    if path.starts_with("resources") { &SEVERAL } else { &FULL }
}

/// The same in parts, which take less time: all fields with one provider, each other provider in a
/// small configuration, and all of resources with two providers.
static EXAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let providers = FULL["providers"].as_array().unwrap();
    let with = |document: &Value, provider| {
        changed(document, "/providers", Some(&json!([provider]))).unwrap()
    };
    let others = providers[1..].iter().map(|provider| with(&small(), provider));
    let mut several = SEVERAL.clone();
    several["providers"] = json!(providers[..2]);
    [with(&FULL, &providers[0]), several].into_iter().chain(others).collect()
});

/// Texts to put in the place of others.
static TEXTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let texts = [
        "",
        " ",
        "a",
        "A",
        "é",
        "a b",
        "a.b",
        "a_b",
        "a:b",
        "a/b",
        "[~!$]",
        "\"",
        "\\",
        "\n",
        "a\n",
        "*",
        "0s",
        "00s",
        "1ms",
        "1s",
        "61m",
        "9000h",
        "1.5s",
        "5 m",
        "5",
        "0B",
        "07B",
        "8KiB",
        "16MiB",
        "8KB",
        "https://a.example",
        "HTTPS://a.example/",
        "http://localhost:1/x?y=[1]",
        "http://[::1]/",
        "http://a.example/",
        "https://a.example/#x",
        "HtTp://127.0.0.1/",
        "ftp://a.example",
        "https://user@a.example/",
        "file://",
        "://a",
        "a://b://c",
        "a://b c",
        "a://[::1]:80",
        "moz-extension://a-b",
        "https://é.example",
        "https://A.example",
        "/",
        "/a/",
        "/a%20b",
        "/é",
        "/a.b/~c",
        "/a;b",
        "/a\\b",
        "/a?b",
        "/a#b",
        "/a*",
        "//",
        "/..",
        "/a%2Fb",
        "a.example",
        "a.example:80",
        "a.example:0",
        "A.EXAMPLE",
        "contoso.onmicrosoft.com",
        "common",
        "8D5C1F2E-0000-4000-8000-000000000000",
        "RS256",
        "EdDSA",
        "HS256",
        "none",
        "at+jwt",
        "dpop+jwt",
        "local",
        "auto",
        "user",
        "service",
        "ignore",
        "require",
        "single_use",
        "allow",
        "deny",
        "reject",
        "provision",
        "generic",
        "google",
        "okta",
        "enforce",
        "report",
        "oauth",
        "json_rpc",
        "servicenow",
        "full",
        "reason",
        "POST",
        "post",
        "body",
        "tools/call",
        "update_*",
        "*_incident",
        "2026-07-28",
        "offline_access",
        "useraccount",
        "user_name",
        "one",
        "two",
        "x-mcp-user",
        "X-Two",
        "x_two",
        "mcp.tools",
    ];
    texts.map(Value::from).into()
});

/// Values to put anywhere.
static OTHERS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    vec![
        json!(""),
        json!("a"),
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e30),
        json!([]),
        json!([[]]),
        json!([1]),
        json!([null]),
        json!([true, "a"]),
        json!([{}]),
        json!(["a", "b"]),
        json!(["a", "a"]),
        json!({}),
        json!({"a": null}),
        json!({"a": 1}),
        json!({"a": "b"}),
        json!({"a": ""}),
        json!({"a": []}),
        json!({"a": ["b", 1]}),
        json!({"a": [""]}),
        json!({"a": [{}]}),
        json!({"a": {}}),
        json!({"a b": ["c"]}),
        json!({"": "a"}),
    ]
});

#[test]
fn the_file_in_the_repository_is_what_is_generated() {
    let file = fs::read_to_string(repository_root().join("docs/configuration.schema.json"));
    let is_current = file.is_ok_and(|file| file == format!("{:#}\n", *SCHEMA));
    assert!(is_current, "docs/configuration.schema.json is not current: run `make schema`");
}

#[test]
fn the_schema_is_one() {
    jsonschema::meta::validate(&SCHEMA).unwrap();
}

#[test]
fn every_configuration_of_the_repository_fits() {
    let mut whole = vec![FULL.clone(), SEVERAL.clone()];
    for file in yaml_files("envoy") {
        let documents = yaml_documents(&fs::read_to_string(file).unwrap());
        whole.extend(documents.iter().flat_map(plugin_configurations));
    }
    assert!(whole.len() >= 8, "{}", whole.len());
    let mut parts = Vec::new();
    for page in pages() {
        for block in code_blocks(&page, "yaml") {
            // Lists and these belong to Envoy's configuration, and Prometheus has one of its own.
            const OTHERS: [&str; 3] = ["config", "http_filters", "scrape_configs"];
            let document = yaml(&block);
            if ["resource", "resources"].iter().any(|member| document.get(member).is_some())
                && document.get("providers").is_some()
            {
                whole.push(document);
            } else if document.is_object()
                && OTHERS.iter().all(|member| document.get(member).is_none())
            {
                parts.push(document);
            }
        }
    }
    assert!(whole.len() >= 17 && parts.len() >= 2, "{} and {}", whole.len(), parts.len());
    for document in whole.into_iter().chain(parts.iter().map(completed)) {
        assert_eq!(faults(&document), "", "{document:#}");
        assert_eq!(schema_faults(&document), "", "{document:#}");
    }
}

/// The README and all pages under docs/.
fn pages() -> Vec<String> {
    let root = repository_root();
    let mut pages = vec![fs::read_to_string(root.join("README.md")).unwrap()];
    add_pages(&root.join("docs"), &mut pages);
    pages
}

fn add_pages(folder: &Path, pages: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_pages(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// The smallest configuration with this part of another one.
fn completed(part: &Value) -> Value {
    let mut document = small();
    for (name, value) in part.as_object().unwrap() {
        if name == "providers" {
            let given = value[0].as_object().unwrap().clone();
            document["providers"][0].as_object_mut().unwrap().extend(given);
        } else {
            document[name] = value.clone();
        }
    }
    // Pages speak of records of several providers without repeating what those look like.
    let named = document.pointer("/users/records").and_then(Value::as_array).cloned();
    let names = named.into_iter().flatten().flat_map(|record| match &record["provider"] {
        Value::Array(names) => names.clone(),
        name => vec![name.clone()],
    });
    let resources = document.get("resources").and_then(Value::as_array).cloned();
    let accepted: Vec<Value> = resources
        .iter()
        .flatten()
        .flat_map(|resource| resource["providers"].as_array().cloned().unwrap_or_default())
        .collect();
    if resources.is_some() {
        document.as_object_mut().unwrap().remove("resource");
    }
    let mut added: Vec<Value> = Vec::new();
    for name in names.chain(accepted).filter(Value::is_string) {
        if added.contains(&name) {
            continue;
        }
        added.push(name.clone());
        let mut provider = document["providers"][0].clone();
        provider["issuer"] = json!(format!("https://{}.example.com", name.as_str().unwrap()));
        provider["name"] = name;
        document["providers"].as_array_mut().unwrap().push(provider);
    }
    document
}

fn small() -> Value {
    json!({
        "resource": {"url": "https://mcp.example.com/mcp"},
        "providers": [{
            "name": "id",
            "issuer": "https://id.example.com",
            "client_ids": ["mcp"],
            "jwks_url": "https://id.example.com/keys",
            "cluster": "id",
        }],
    })
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn the_schema_and_the_plugin_refuse_the_same_faults_of_shape() {
    let unknown = [
        "",
        "/resource",
        "/providers/0",
        "/providers/0/keys",
        "/providers/1/roles_claim",
        "/users",
        "/users/scim",
        "/users/provision",
        "/access",
        "/access/rules/0",
        "/access/rules/0/match",
        "/access/rules/0/require",
        "/identity",
        "/identity/claims_to_headers/0",
        "/exempt/0",
        "/keys",
        "/errors",
        "/replay_store/redis",
        "/token_cache",
        "/audit",
    ];
    let missing = [
        "/resource",
        "/resource/url",
        "/providers",
        "/providers/0/name",
        "/providers/0/client_ids",
        "/providers/0/issuer",
        "/providers/0/metadata_url",
        "/providers/0/cluster",
        "/providers/1/clusters",
        "/providers/4/tenant",
        "/providers/5/domain",
        "/providers/6/domain",
        "/providers/8/host",
        "/providers/9/host",
        "/providers/9/realm",
        "/users/records/0/user_name",
        "/users/scim/url",
        "/users/scim/cluster",
        "/identity/claims_to_headers/0/claim",
        "/identity/claims_to_headers/0/header",
        "/exempt/0/path",
    ];
    let wrong = [
        ("/resource", json!("https://mcp.example.com/mcp")),
        ("/resource/url", json!("mcp.example.com/mcp")),
        ("/resource/scopes_supported", json!("mcp.tools")),
        ("/resource/scopes_supported/0", json!("two words")),
        ("/resource/scopes_supported/0", json!("offline_access")),
        ("/providers", json!([])),
        ("/providers", json!({})),
        ("/providers/0", json!("one")),
        ("/providers/0/name", json!("One!")),
        ("/providers/0/template", json!("entra")),
        ("/providers/0/tenant", json!("contoso.onmicrosoft.com")),
        ("/providers/0/client_ids", json!([])),
        ("/providers/0/client_ids", json!("mcp")),
        ("/providers/0/client_ids/0", json!("")),
        ("/providers/0/jwks_url", json!("https://one.example.com/keys")),
        ("/providers/0/clusters", json!({"one.example.com": "one"})),
        ("/providers/0/cluster", json!("")),
        ("/providers/0/audience_claim", json!("azp")),
        ("/providers/0/algorithms", json!([])),
        ("/providers/0/algorithms/0", json!("HS256")),
        ("/providers/0/clock_skew", json!(300)),
        ("/providers/0/clock_skew", json!("300")),
        ("/providers/0/clock_skew", json!("five minutes")),
        ("/providers/0/required_claims/tid", json!([])),
        ("/providers/0/required_claims/tid", json!({"a": "b"})),
        ("/providers/0/required_any_claim", json!("scp")),
        ("/providers/0/required_any_claim/0", json!("")),
        ("/providers/0/required_any_claim/1", json!([])),
        ("/providers/0/token_types", json!([])),
        ("/providers/0/keys/max_body", json!("8KB")),
        ("/providers/0/user_claim", json!([])),
        ("/providers/0/user_claim", json!("")),
        ("/providers/0/user_claim", json!(1)),
        ("/providers/0/service_user_claim", json!([])),
        ("/providers/0/user_field", json!("")),
        ("/providers/1/roles_claim", json!({})),
        ("/providers/1/roles_claim", json!({"keys": "roles"})),
        ("/providers/1/roles_claim/keys_of", json!([])),
        ("/providers/1/groups_claim/keys_of", json!({"keys_of": "groups"})),
        ("/providers/0/jti", json!("once")),
        ("/providers/0/client_type", json!("robot")),
        ("/providers/0/active", json!("yes")),
        ("/providers/2/jwks", json!([])),
        ("/providers/2/jwks", json!({"keys": []})),
        ("/providers/3/certificates", json!([])),
        ("/providers/5/domain", json!("https://example.okta.com")),
        ("/providers/7/domain", json!("accounts.google.com")),
        ("/users/unknown", json!("ignore")),
        ("/users/records", json!({})),
        ("/users/records/0/email", json!(5)),
        ("/users/records/0/email", json!("")),
        ("/users/records/0/locked", json!("no")),
        ("/users/records/0/provider", json!([])),
        ("/users/records/0/provider", json!({"name": "one"})),
        ("/users/scim/url", json!("https://directory.example.com/?x")),
        ("/users/scim/cluster", json!("")),
        ("/users/scim/timeout", json!(5)),
        ("/users/provision/fields/email", json!([])),
        ("/users/provision/roles", json!("snc_external")),
        ("/access/default", json!("maybe")),
        ("/access/rules/0/match/paths/0", json!("mcp")),
        ("/access/rules/0/match/methods/0", json!("post")),
        ("/access/rules/0/match/mcp_methods", json!("tools/call")),
        ("/access/rules/0/match/mcp_methods/0", json!("")),
        ("/access/rules/0/match/mcp_names/0", json!("*_incident")),
        ("/access/mcp/inspect", json!("both")),
        ("/access/mcp/max_body", json!(1024)),
        ("/access/mcp/protocol_versions/0", json!("latest")),
        ("/access/mcp/upstream_validates_headers", json!("yes")),
        ("/access/rules/0/require/scopes/0", json!("\"")),
        ("/access/rules/0/require/client_types/0", json!("auto")),
        ("/access/rules/0/require/claims/tid", json!(null)),
        ("/access/scope_hierarchy", json!({"two words": []})),
        ("/access/scope_hierarchy/mcp.admin/0", json!("two words")),
        ("/identity/header_prefix", json!("X-MCP-")),
        ("/identity/claims_to_headers/0/header", json!("x_country")),
        ("/exempt/0/path", json!("/health?full")),
        ("/allowed_origins/0", json!("https://app.example.com/")),
        ("/keys/timeout", json!("-1s")),
        ("/max_token_size", json!(8192)),
        ("/token_cache/entries", json!(100_001)),
        ("/token_cache/entries", json!("1000")),
        ("/audit/outcomes", json!("yes")),
        ("/replay_store", json!("elsewhere")),
        ("/replay_store", json!({"redis": {}})),
        ("/replay_store/redis/cluster", json!("")),
        ("/replay_store/redis/authority", json!("")),
        ("/replay_store/redis/path_prefix", json!("redis")),
        ("/replay_store/redis/timeout", json!(1)),
        ("/errors/format", json!("xml")),
        ("/errors/details", json!(true)),
        ("/mode", json!("off")),
    ];
    let of_resources = [
        ("/resources", json!([])),
        ("/resources/0/id", json!("Incidents")),
        ("/resources/0/id", json!("none")),
        ("/resources/0/url", json!("gateway.example.com")),
        ("/resources/0/scopes_supported/0", json!("offline_access")),
        ("/resources/0/providers", json!([])),
        ("/resources/0/providers", json!("one")),
        ("/resources/0/audiences", json!([])),
        ("/resources/0/audiences", json!([""])),
        ("/resources/0/audiences", json!("api://incidents")),
        ("/resources/0/audiences", json!({})),
        ("/resources/1/audiences/one", json!([])),
        ("/resources/0/hosts", json!("*")),
        ("/resources/0/hosts/0", json!("a.example.")),
        ("/resources/0/hosts/0", json!("a.example:0443")),
        ("/resources/0/hosts/0", json!("https://a.example")),
        ("/resources/0/access/default", json!("maybe")),
        ("/resources/0/access/mcp/max_body", json!(1024)),
        ("/resources/0/exempt/0/path", json!("healthz")),
        ("/resources/0/allowed_origins/0", json!("app.example.com")),
        ("/resources/0/identity/header_prefix", json!("X-")),
        ("/resources/0/identity/claims_to_headers/0/header", json!(null)),
        ("/resources/0/mode", json!("off")),
        ("/resource", json!({"url": "https://mcp.example.com/mcp"})),
    ];
    for (at, value) in of_resources {
        let document = changed(&SEVERAL, at, Some(&value)).unwrap();
        assert_ne!(faults(&document), "", "{at}: {value}");
        assert_ne!(schema_faults(&document), "", "{at}: {value}");
    }
    let faulty = unknown
        .map(|at| (format!("{at}/colour"), Some(json!("red"))))
        .into_iter()
        .chain(missing.map(|at| (at.to_owned(), None)))
        .chain(wrong.map(|(at, value)| (at.to_owned(), Some(value))));
    for (at, value) in faulty {
        let document = changed(&FULL, &at, value.as_ref()).unwrap();
        assert_ne!(faults(&document), "", "{at}: {value:?}");
        assert_ne!(schema_faults(&document), "", "{at}: {value:?}");
    }
}

#[test]
fn values_that_are_never_accepted_are_not_offered() {
    for ((path, value), fault) in NOT_ACCEPTED
        .into_iter()
        .zip(["access.rules[0].require.client_types[0]: must be user or service"])
    {
        let document = changed(&FULL, &instance(path), Some(&json!(value))).unwrap();
        assert_eq!(faults(&document), fault);
        assert_ne!(schema_faults(&document), "", "{path}");
    }
}

#[test]
fn the_offered_fields_are_those_that_are_read() {
    let files = fs::read_dir(repository_root().join("src/config")).unwrap();
    let files = files.map(|file| file.unwrap().path()).filter(|path| path.is_file());
    // The status page has a configuration of its own.
    let files = files.filter(|path| !path.ends_with("status.rs"));
    let source = files.map(|path| fs::read_to_string(path).unwrap()).collect::<String>();
    let lines = source.lines().map(str::trim);
    let read = lines
        .filter_map(|line| line.strip_prefix("pub(super) ")?.split_once(": Field<"))
        .map(|(name, _)| if name == "condition" { "match" } else { name })
        .filter(|name| !name.starts_with("fn "));
    // This one is read as a form of `replay_store`.
    let read = read.chain(["redis"]);
    let offered = fields();
    let offered: BTreeSet<&str> = offered.iter().map(|(path, _)| split(path).1).collect();
    assert_eq!(offered, read.collect());
    for (path, _) in fields() {
        let document = changed(full(&path), &instance(&path), Some(&json!(null))).unwrap();
        assert!(!faults(&document).contains("unknown field"), "{path}");
    }
}

#[test]
fn each_field_is_described() {
    for (path, schema) in fields() {
        let description = schema["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.') && !description.contains('\n'), "{path}: {description}");
    }
}

#[test]
fn constraints_of_the_schema_apply_to_existing_fields() {
    let paths = REQUIRED
        .into_iter()
        .chain(constraints().into_iter().map(|(path, _)| path))
        .chain(defaults().into_iter().map(|(path, _)| path))
        .chain(NOT_ACCEPTED.map(|(path, _)| path));
    for path in paths {
        assert!(SCHEMA.pointer(&pointer(path)).is_some_and(Value::is_object), "{path}");
    }
}

#[test]
fn a_default_is_what_a_missing_field_means() {
    for (path, default) in defaults() {
        let at = instance(path);
        let absent = changed(&FULL, &at, None).unwrap();
        let given = changed(&absent, &at, Some(&default)).unwrap();
        assert_eq!(schema_faults(&given), "", "{path}");
        assert_eq!(validated(&given), validated(&absent), "{path}");
    }
}

/// The words of the validated form, sorted, since sets have no order.
pub(in crate::config) fn validated(document: &Value) -> Vec<String> {
    let mut config =
        Config::with_environment(document.to_string().as_bytes(), &environment).unwrap();
    // It is of what was written.
    config.digest.clear();
    let text = format!("{config:?}");
    let mut words: Vec<String> = text.split([' ', ',', '{', '}']).map(str::to_owned).collect();
    words.sort();
    words
}

#[test]
fn the_schema_refuses_nothing_that_the_plugin_accepts() {
    let mut accepted = 0;
    for whole in &*EXAMPLES {
        for at in places(whole) {
            let is_text = whole.pointer(&at).is_some_and(Value::is_string);
            let texts = TEXTS.iter().filter(|_| is_text);
            let values = OTHERS.iter().chain(texts).map(Some).chain([None]);
            for document in values.filter_map(|value| changed(whole, &at, value)) {
                if faults(&document).is_empty() {
                    accepted += 1;
                    assert_eq!(schema_faults(&document), "", "{at}: {:?}", document.pointer(&at));
                }
            }
        }
    }
    assert!(accepted > 1000, "{accepted}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    })]

    #[test]
    fn the_schema_refuses_no_combination_that_the_plugin_accepts(
        mut document in prop::sample::select(EXAMPLES.clone()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 2..4),
    ) {
        for (at, value) in changes {
            let places = places(&document);
            let place: &String = at.get(&places);
            document = changed(&document, place, value.as_ref()).unwrap_or(document);
        }
        if faults(&document).is_empty() {
            prop_assert_eq!(schema_faults(&document), "");
        }
    }
}

fn value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        1 => Just(None),
        2 => prop::sample::select(TEXTS.clone()).prop_map(Some),
        1 => prop::sample::select(OTHERS.clone()).prop_map(Some),
        1 => "\\PC{0,8}".prop_map(|text| Some(json!(text))),
        1 => "/[!-~]{0,6}".prop_map(|text| Some(json!(text))),
        1 => "[0-9]{1,5}(ms|s|m|h|B|KiB|MiB)".prop_map(|text| Some(json!(text))),
        1 => "https?://[!-~]{1,8}".prop_map(|text| Some(json!(text))),
        1 => "[!-~]{1,8}".prop_map(|text| Some(json!(text))),
    ]
}

/// JSON pointers of everything in a document, the document itself and what could be added to it.
fn places(document: &Value) -> Vec<String> {
    let within = |(name, value): (String, &Value)| {
        let name = name.replace('~', "~0").replace('/', "~1");
        places(value).into_iter().map(move |place| format!("/{name}{place}")).collect::<Vec<_>>()
    };
    let inner: Vec<String> = match document {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .chain([("added".to_owned(), &Value::Null)])
            .flat_map(within)
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .flat_map(within)
            .collect(),
        _ => vec![],
    };
    [String::new()].into_iter().chain(inner).collect()
}

/// The document with this value at this place, or without one. None when there is no such place.
pub(in crate::config) fn changed(
    document: &Value,
    at: &str,
    value: Option<&Value>,
) -> Option<Value> {
    let mut document = document.clone();
    let Some((parent, name)) = at.rsplit_once('/') else { return value.cloned() };
    let name = name.replace("~1", "/").replace("~0", "~");
    match (document.pointer_mut(parent)?, value) {
        (Value::Object(members), Some(value)) => {
            members.insert(name, value.clone());
        }
        (Value::Object(members), None) => {
            members.remove(&name);
        }
        (Value::Array(elements), value) => {
            let index: usize = name.parse().ok()?;
            elements.get(index)?;
            match value {
                Some(value) => elements[index] = value.clone(),
                None => {
                    elements.remove(index);
                }
            }
        }
        _ => return None,
    }
    Some(document)
}

/// The path of each field that the schema offers, and its schema.
pub(in crate::config) fn fields() -> Vec<(String, Value)> {
    fn add(schema: &Value, path: &str, fields: &mut Vec<(String, Value)>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            fields.push((path.clone(), field.clone()));
            add(field, &path, fields);
            add(&field["items"], &format!("{path}[]"), fields);
            add(&field["oneOf"][1], &format!("{path}<1>"), fields);
        }
    }
    let mut fields = Vec::new();
    add(&SCHEMA, "", &mut fields);
    fields
}

/// The JSON pointer of a field where the full configuration has it.
pub(in crate::config) fn instance(path: &str) -> String {
    let first = format!("/{}", path.replace("<1>", "").replace("[]", ".0").replace('.', "/"));
    let each_provider = (0..FULL["providers"].as_array().unwrap().len())
        .map(|index| first.replacen("/providers/0", &format!("/providers/{index}"), 1));
    let mut there = each_provider.filter(|at| full(path).pointer(at).is_some());
    there.next().unwrap_or_else(|| panic!("the full configuration lacks {path}"))
}

/// Each variable holds a secret.
fn environment(_: &str) -> Option<String> {
    Some("s3cret".repeat(8))
}

pub(in crate::config) fn faults(document: &Value) -> String {
    match Config::with_environment(document.to_string().as_bytes(), &environment) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn schema_faults(document: &Value) -> String {
    let faults = VALIDATOR.iter_errors(document);
    faults.map(|fault| format!("{}: {fault}\n", fault.instance_path())).collect()
}
