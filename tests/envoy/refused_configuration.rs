//! Configurations that the plugin does not load. Envoy then does not start, and its log names each
//! wrong field.

use serde_json::{Value, json};
use testbed::{ConfigurationForm, Stack};

use crate::support::{add_providers, assert_none, without};

/// The faults that the log lacks: each is the path of a field and what must be there.
fn missing_in(log: &str, faults: &[(&str, &str)]) -> Vec<String> {
    let is_named = |path: &str, problem: &str| {
        log.lines().any(|line| line.contains(&format!(" {path}: ")) && line.contains(problem))
    };
    faults
        .iter()
        .filter(|(path, problem)| !is_named(path, problem))
        .map(|(path, problem)| format!("{path}: … {problem} …\n{log}"))
        .collect()
}

/// Starts with this configuration of the plugin, and asserts that the log names these faults.
async fn assert_refused(
    configure: impl FnOnce(&mut Value) + Send + 'static,
    faults: &[(&str, &str)],
) {
    let log = Stack::builder().configure(configure).expect_refusal().await;
    assert_none(&missing_in(&log, faults));
    assert!(!log.contains("panicked"), "{log}");
}

/// A valid provider.
fn provider(name: &str) -> Value {
    json!({
        "name": name,
        "issuer": format!("https://{name}.example"),
        "client_ids": ["a"],
        "jwks_url": format!("https://{name}.example/jwks"),
        "cluster": "identity_provider",
    })
}

fn edited(name: &str, edits: Value) -> Value {
    let mut provider = provider(name);
    for (name, value) in edits.as_object().expect("they are an object") {
        provider[name] = value.clone();
    }
    provider
}

#[tokio::test(flavor = "multi_thread")]
async fn the_base_configuration_of_the_other_tests_is_valid() {
    // Without this, each of them might be refused for the same reason.
    let stack = Stack::builder()
        .configure(|configuration| {
            add_providers(configuration, [provider("a"), provider("b")]);
            // A default value may be set explicitly.
            configuration["mode"] = json!("enforce");
            configuration["errors"] = json!({"format": "oauth", "details": "reason"});
            configuration["replay_store"] = json!("local");
            configuration["exempt"] = json!([]);
            configuration["allowed_origins"] = json!([]);
            configuration["identity"] = json!({"claims_to_headers": [], "forward_token": false});
            configuration["keys"] = json!({
                "max_age": "10m", "refresh_ahead": "30s", "refresh_cooldown": "1s",
                "timeout": "5s", "max_age_cap": "24h", "max_stale": "24h", "max_body": "256KiB",
            });
            let defaults = json!({
                "template": "generic", "auth_scopes": [], "restrict_to_policies": false,
                "active": true, "jti": "ignore", "client_type": "auto", "clock_skew": "0s",
            });
            add_providers(configuration, [edited("c", defaults)]);
        })
        .start()
        .await;
    assert_eq!(stack.call(&stack.token()).await.status, 200);
}

// Requirement: no-offline-access
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn all_faults_of_a_configuration_are_named_at_once() {
    let configure = |configuration: &mut Value| {
        *configuration = json!({
            "resource": {
                "url": "http://mcp.example.com/mcp",
                "documentation": "docs",
                "name": 7,
                "scopes_supported": ["a b", "offline_access", "ok"],
                "nmae": "x",
            },
            "providers": [
                {
                    "name": "Entra ID",
                    "issuer": "http://login.example",
                    "client_ids": [],
                    "metadata_url": "http://login.example/metadata",
                    "cluster": "a",
                    "clusters": {"b": "c"},
                    "algorithms": ["RS256", "none", "HS256", "rs256"],
                    "clock_skew": "300",
                    "max_token_age": -1,
                    "token_types": ["at+jwt", "logout+jwt"],
                    "required_claims": {"tid": {"a": 1}},
                    "user_claim": [],
                    "jti": "sometimes",
                    "client_type": "robot",
                    "isuer": "x",
                    "keys": {"timeout": "0s", "max_age": "forever", "refresh_colldown": "1s"},
                    "active": "yes",
                },
                "entra",
                {"name": "two", "issuer": "", "client_ids": ["a", ""], "jwks_url": "ftp://x/y", "cluster": ""},
                {"name": "three", "client_ids": "a", "jwks": {"keys": []}},
                {"name": "four", "issuer": "i", "client_ids": ["a"], "certificates": ["x"]},
                {"name": "five", "issuer": "i5", "client_ids": ["a"]},
                {"name": "six", "issuer": "i6", "client_ids": ["a"], "jwks": {"keys": []}, "jwks_url": "https://x/y", "cluster": "a"},
                {"name": "seven", "issuer": "i7", "client_ids": ["a"], "jwks_url": "https://x/y"},
                {"name": "seven", "issuer": "i8", "client_ids": ["a"], "jwks_url": "https://x/y", "clusters": {"z": "a"}},
            ],
            "identity": {
                "header_prefix": "X_",
                "claims_to_headers": [
                    {"claim": "a"},
                    {"header": "x-a"},
                    {"claim": "a", "header": "authorization"},
                    {"claim": "a", "header": "x a"},
                    {"claim": "", "header": "x-b"},
                    {"claim": "a", "header": "x-b"},
                    {"claim": "b", "header": "X-B"},
                    {"claim": "c", "header": "X-Envoy-Original-Dst-Host"},
                ],
                "forward_token": "no",
            },
            "allowed_origins": ["https://ok.example", "https://ok.example/", "*", "ok.example"],
            "keys": {"timeout": 5, "max_stale": "1ms", "max_body": "big"},
            "max_token_size": 8192,
            "errors": {"details": "all"},
            "replay_store": {"redis": {"path_prefix": "spent", "authority": "a b", "timeout": "0s", "key": 1}},
            "mdoe": "enforce",
        });
    };
    let faults = [
        ("resource.url", "https"),
        ("resource.documentation", "https"),
        ("resource.name", "string"),
        ("resource.scopes_supported[0]", "scope"),
        ("resource.scopes_supported[1]", "offline_access"),
        ("resource.nmae", "unknown field"),
        ("providers[0].name", "a-z"),
        ("providers[0].issuer", "https"),
        ("providers[0].client_ids", "must hold at least one audience"),
        ("providers[0]", "only one of cluster and clusters"),
        ("providers[0].algorithms[1]", "none"),
        ("providers[0].algorithms[2]", "HS256"),
        ("providers[0].algorithms[3]", "rs256"),
        ("providers[0].clock_skew", "300s"),
        ("providers[0].max_token_age", "-1"),
        ("providers[0].token_types[1]", "logout+jwt"),
        ("providers[0].required_claims.tid", "string, number or boolean"),
        ("providers[0].user_claim", "claim name"),
        ("providers[0].jti", "sometimes"),
        ("providers[0].client_type", "robot"),
        ("providers[0].isuer", "unknown field"),
        ("providers[0].keys.timeout", "1s"),
        ("providers[0].keys.max_age", "forever"),
        ("providers[0].keys.refresh_colldown", "unknown field"),
        ("providers[0].active", "boolean"),
        ("providers[1]", "object"),
        ("providers[2].issuer", "empty"),
        ("providers[2].client_ids", "empty"),
        ("providers[2].jwks_url", "https"),
        ("providers[2].cluster", "empty"),
        ("providers[3].issuer", "is required"),
        ("providers[3].client_ids", "list"),
        ("providers[3].jwks", "no key"),
        ("providers[4].certificates[0]", "PEM"),
        ("providers[5]", "exactly one of"),
        ("providers[6]", "exactly one of"),
        ("providers[7]", "must have cluster or clusters"),
        ("providers[8].jwks_url", "no cluster is configured for its host x"),
        ("identity.header_prefix", "header name"),
        ("identity.claims_to_headers[0].header", "is required"),
        ("identity.claims_to_headers[1].claim", "is required"),
        ("identity.claims_to_headers[2].header", "another meaning"),
        ("identity.claims_to_headers[3].header", "header name"),
        ("identity.claims_to_headers[4].claim", "empty"),
        ("identity.claims_to_headers[6].header", "duplicated"),
        ("identity.claims_to_headers[7].header", "another meaning"),
        ("identity.forward_token", "boolean"),
        ("allowed_origins[1]", "origin"),
        ("allowed_origins[2]", "origin"),
        ("allowed_origins[3]", "origin"),
        ("keys.timeout", "string"),
        ("keys.max_stale", "1s"),
        ("keys.max_body", "big"),
        ("max_token_size", "string"),
        ("errors.details", "all"),
        ("replay_store.redis.cluster", "required"),
        ("replay_store.redis.path_prefix", "begin and end with /"),
        ("replay_store.redis.authority", "host"),
        ("replay_store.redis.timeout", "1ms"),
        ("replay_store.redis.key", "unknown field"),
        ("mdoe", "unknown field"),
    ];
    assert_refused(configure, &faults).await;
}

// Requirement: https
// Requirement: https-communication
#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_refused_but_for_loopback_hosts() {
    let configure = |configuration: &mut Value| {
        configuration["resource"]["url"] = json!("http://localhost.example.com/mcp");
        add_providers(
            configuration,
            [
                edited("a", json!({"jwks_url": "http://a.example/jwks"})),
                without(
                    &edited("b", json!({"metadata_url": "http://127.0.0.1.example/"})),
                    "jwks_url",
                ),
                edited("c", json!({"issuer": "http://c.example"})),
                edited("d", json!({"jwks_url": "http://10.0.0.1/jwks"})),
                edited("e", json!({"jwks_url": "http://user@localhost/jwks"})),
            ],
        );
    };
    let faults = [
        ("resource.url", "https"),
        ("providers[1].jwks_url", "https"),
        ("providers[2].metadata_url", "https"),
        ("providers[3].issuer", "https"),
        ("providers[4].jwks_url", "https"),
        ("providers[5].jwks_url", "https"),
    ];
    assert_refused(configure, &faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_that_two_providers_of_one_issuer_share_is_refused() {
    let configure = |configuration: &mut Value| {
        let issuer = "https://shared.example";
        add_providers(
            configuration,
            [
                edited("a", json!({"issuer": issuer, "client_ids": ["one", "two"]})),
                edited("b", json!({"issuer": issuer, "client_ids": ["two", "three"]})),
                edited("c", json!({"additional_issuers": [issuer], "client_ids": ["three"]})),
                // No conflict: the provider is inactive, or has another issuer.
                edited("d", json!({"issuer": issuer, "client_ids": ["one"], "active": false})),
                edited("e", json!({"client_ids": ["one", "two", "three"]})),
            ],
        );
    };
    let log = Stack::builder().configure(configure).expect_refusal().await;
    let faults = [("providers[2].client_ids", "two"), ("providers[3].client_ids", "three")];
    assert_none(&missing_in(&log, &faults));
    for path in ["providers[1]", "providers[4]", "providers[5]"] {
        assert!(!log.contains(&format!(" {path}.client_ids: ")), "{path}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_provider_and_no_active_one_are_refused() {
    for (providers, problem) in [
        (json!([]), "at least one provider"),
        (json!([edited("a", json!({"active": false}))]), "at least one active provider"),
        (Value::Null, "list"),
    ] {
        let configure = move |configuration: &mut Value| configuration["providers"] = providers;
        assert_refused(configure, &[("providers", problem)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_configuration_and_anything_but_an_object_are_refused() {
    let log = Stack::builder()
        .edit(|bootstrap| {
            bootstrap.plugin().as_object_mut().expect("it is an object").remove("configuration");
        })
        .expect_refusal()
        .await;
    assert_none(&missing_in(&log, &[("configuration", "is required")]));
    for (text, faults) in [
        ("", &[("configuration", "is required")][..]),
        ("{}", &[("resource", "is required"), ("providers", "is required")]),
        ("[]", &[("configuration", "object")]),
        ("null", &[("configuration", "object")]),
        ("resource: {url: x}", &[("configuration", "JSON")]),
        ("{\"resource\":", &[("configuration", "JSON")]),
        ("\u{0}\u{1}\u{2}", &[("configuration", "JSON")]),
    ] {
        let log = Stack::builder()
            .edit(move |bootstrap| bootstrap.set_configuration_text(text))
            .expect_refusal()
            .await;
        assert_none(&missing_in(&log, faults));
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_members_in_json_are_refused_with_their_paths() {
    let log = Stack::builder()
        .edit(|bootstrap| {
            let text = bootstrap.plugin_configuration().to_string();
            let text =
                text.replace("\"resource\":{", "\"resource\":{\"name\":\"a\",\"name\":\"b\",");
            let text = text.replace("\"client_ids\":", "\"client_ids\":[\"x\"],\"client_ids\":");
            let text = text.replacen('{', "{\"mode\":\"enforce\",\"m\\u006fde\":\"enforce\",", 1);
            bootstrap.set_configuration_text(text);
        })
        .expect_refusal()
        .await;
    let paths = ["mode", "resource.name", "providers[0].client_ids"];
    assert_none(&missing_in(&log, &paths.map(|path| (path, "duplicated"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_judged_like_a_struct() {
    let log = Stack::builder()
        .form(ConfigurationForm::StringValue)
        .configure(|configuration| {
            configuration["providers"][0]["client_ids"] = json!([]);
            configuration["max_token_size"] = json!(1);
        })
        .expect_refusal()
        .await;
    let faults = [
        ("providers[0].client_ids", "must hold at least one audience"),
        ("max_token_size", "string"),
    ];
    assert_none(&missing_in(&log, &faults));
}
