//! Configurations that use each field, and values that fields might have.

use super::*;

/// A configuration in which every field is given somewhere.
pub(super) static FULL: LazyLock<Value> = LazyLock::new(|| {
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

/// A configuration in which a resource has every field, including those that override top-level
/// ones.
pub(super) static SEVERAL: LazyLock<Value> = LazyLock::new(|| {
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

/// The same in parts, which take less time: all fields with one provider, each other provider in a
/// small configuration, and all fields of resources with two providers.
pub(super) static EXAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let providers = FULL["providers"].as_array().unwrap();
    let with = |document: &Value, provider| {
        changed(document, "/providers", Some(&json!([provider]))).unwrap()
    };
    let others = providers[1..].iter().map(|provider| with(&small(), provider));
    let mut several = SEVERAL.clone();
    several["providers"] = json!(providers[..2]);
    [several, with(&FULL, &providers[0])].into_iter().chain(others).collect()
});

/// Strings that replace others.
pub(super) static TEXTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
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

/// Values that replace any other.
pub(super) static OTHERS: LazyLock<Vec<Value>> = LazyLock::new(|| {
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
