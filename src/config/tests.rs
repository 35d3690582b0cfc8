//! Which configurations are accepted, and which faults the others have.

mod access;
mod protobuf;
mod users;

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};
use testkit::SigningKey;

use super::Config;
use crate::keys::KeySource;
use crate::token::{FleetStore, ReplayStore};

fn valid() -> Value {
    json!({
        "resource": {"url": "https://mcp.example.com/mcp"},
        "providers": [{
            "name": "example",
            "issuer": "https://id.example.com",
            "client_ids": ["mcp"],
            "metadata_url": "https://id.example.com/.well-known/openid-configuration",
            "cluster": "id",
        }],
    })
}

fn edited(edit: impl FnOnce(&mut Value)) -> Value {
    let mut document = valid();
    edit(&mut document);
    document
}

fn faults(document: &Value) -> Vec<String> {
    match Config::from_bytes(document.to_string().as_bytes()) {
        Ok(_) => Vec::new(),
        Err(error) => error.faults().map(ToString::to_string).collect(),
    }
}

/// Faults of the configuration in which the first provider has these fields too; null removes one.
fn provider_faults(fields: Value) -> Vec<String> {
    faults(&edited(|document| {
        let provider = document["providers"][0].as_object_mut().unwrap();
        for (name, value) in fields.as_object().unwrap() {
            provider.insert(name.clone(), value.clone());
        }
        provider.retain(|_, value| !value.is_null());
    }))
}

#[test]
fn the_smallest_configuration_is_accepted() {
    assert_eq!(faults(&valid()), [""; 0]);
}

#[test]
fn all_faults_are_reported_at_once_with_their_paths() {
    let document = json!({
        "resource": {"url": "http://mcp.example.com/mcp", "colour": "red"},
        "providers": [
            {"name": "Example!", "client_ids": [], "issuer": 5},
            "not an object",
            {"name": "two", "issuer": "https://two.example.com", "client_ids": ["b"],
             "jwks_url": "https://two.example.com/jwks", "clusters": {"one.example.com": "one"},
             "algorithms": ["RS256", "none", "HS256"], "clock_skew": "5",
             "keys": {"timeout": "1ms", "age": 1}},
        ],
        "max_token_size": 8,
        "errors": {"details": "everything"},
        "policies": [],
    });
    assert_eq!(
        faults(&document),
        [
            "policies: unknown field",
            "resource.colour: unknown field",
            "resource.url: must be an absolute https URL (http only for loopback hosts)",
            "providers[0].name: must consist of a-z, 0-9, _ and -",
            "providers[0].client_ids: must hold at least one audience",
            "providers[0].issuer: invalid type: integer `5`, expected a string",
            "providers[0]: must have exactly one of metadata_url, jwks_url, jwks and certificates",
            "providers[1]: invalid type: string \"not an object\", expected an object",
            "providers[2].keys.age: unknown field",
            "providers[2].keys.timeout: must be between 1s and 1h",
            "providers[2].jwks_url: no cluster is configured for its host two.example.com",
            "providers[2].algorithms[1]: \"none\" is not one of RS256, RS384, RS512, PS256, PS384, \
             PS512, ES256, ES384, ES512, EdDSA",
            "providers[2].algorithms[2]: \"HS256\" is not one of RS256, RS384, RS512, PS256, PS384, \
             PS512, ES256, ES384, ES512, EdDSA",
            "providers[2].clock_skew: \"5\" is not a duration such as 300s, 5m or 500ms",
            "max_token_size: invalid type: integer `8`, expected a string",
            "errors.details: unknown variant `everything`, expected one of `none`, `reason`, `full`",
        ]
    );
}

#[test]
fn missing_fields_are_named() {
    assert_eq!(faults(&json!({})), ["resource: is required", "providers: is required"]);
    assert_eq!(
        faults(&json!({"resource": {}, "providers": []})),
        ["resource.url: is required", "providers: must hold at least one provider"]
    );
    assert_eq!(
        faults(&json!({"resource": {"url": "https://a.example/"}, "providers": [{}]})),
        [
            "providers[0].name: is required",
            "providers[0].client_ids: is required",
            "providers[0].issuer: is required",
            "providers[0]: must have exactly one of metadata_url, jwks_url, jwks and certificates",
        ]
    );
}

#[test]
fn the_configured_number_of_tokens_is_cached() {
    let entries = |token_cache: Value| {
        let document = edited(|document| document["token_cache"] = token_cache);
        Config::from_bytes(document.to_string().as_bytes()).unwrap().token_cache
    };
    for (token_cache, expected) in
        [(json!({}), 1000), (json!({"entries": 0}), 0), (json!({"entries": 100_000}), 100_000)]
    {
        assert_eq!(entries(token_cache), expected);
    }
    for (token_cache, fault) in [
        (json!({"entries": 100_001}), "token_cache.entries: must be at most 100000"),
        (json!({"entry": 1}), "token_cache.entry: unknown field"),
        (json!(1), "token_cache: invalid type: integer `1`, expected an object"),
        (
            json!({"entries": -1}),
            "token_cache.entries: invalid value: integer `-1`, expected a whole number between 0 and \
             4294967295",
        ),
    ] {
        assert_eq!(faults(&edited(|document| document["token_cache"] = token_cache)), [fault]);
    }
    for jti in ["ignore", "require", "single_use"] {
        assert_eq!(provider_faults(json!({"jti": jti})), [""; 0]);
    }
}

#[test]
fn spent_tokens_are_recorded_locally_or_in_redis() {
    for jti in ["ignore", "require", "single_use"] {
        assert_eq!(provider_faults(json!({"jti": jti})), [""; 0]);
    }
}

#[test]
fn a_store_for_several_envoys_needs_only_a_cluster() {
    let store = |value: Value| {
        let document = edited(|document| document["replay_store"] = value);
        Config::from_bytes(document.to_string().as_bytes()).unwrap().replay_store
    };
    let fleet = |authority: &str, path: &str, millis: u64| {
        ReplayStore::Fleet(FleetStore {
            cluster: "webdis".to_owned(),
            authority: authority.to_owned(),
            path: path.to_owned(),
            timeout: Duration::from_millis(millis),
        })
    };
    assert_eq!(store(json!("local")), ReplayStore::Local);
    assert_eq!(store(json!({"redis": {"cluster": "webdis"}})), fleet("webdis", "/", 1000));
    let all = json!({
        "cluster": "webdis", "authority": "gateway.example:8080", "path_prefix": "/a-b/c_d/",
        "timeout": "500ms",
    });
    assert_eq!(store(json!({"redis": all})), fleet("gateway.example:8080", "/a-b/c_d/", 500));
}

#[test]
fn faults_of_the_store_of_spent_tokens_are_named() {
    let store_faults =
        |value: Value| faults(&edited(|document| document["replay_store"] = value.clone()));
    for (value, fault) in [
        (json!("redis"), "expected an object with this one member"),
        (json!("memory"), "unknown variant `memory`, expected `local` or `redis`"),
        (json!({"webdis": {}}), "unknown variant `webdis`, expected `local` or `redis`"),
        (json!(5), "invalid type: integer `5`, expected a string or an object"),
        (
            json!({"redis": {}, "local": {}}),
            "invalid value: object, expected an object with one member",
        ),
    ] {
        assert_eq!(store_faults(value), [format!("replay_store: {fault}")]);
    }
    let path = "must begin and end with /, and consist of letters, digits and any of /-._~";
    let authority = "must be a host, or host:port";
    let timeout = "must be between 1ms and 60s";
    for (field, value, fault) in [
        ("cluster", json!(""), "must not be empty"),
        ("cluster", json!(null), "invalid type: null, expected a string"),
        ("path_prefix", json!(""), path),
        ("path_prefix", json!("a/"), path),
        ("path_prefix", json!("/a"), path),
        ("path_prefix", json!("/?a/"), path),
        ("path_prefix", json!("/ä/"), path),
        ("path_prefix", json!("/a b/"), path),
        ("authority", json!(""), authority),
        ("authority", json!("a b"), authority),
        ("authority", json!("a/b"), authority),
        ("authority", json!("user@a"), authority),
        ("authority", json!(":80"), authority),
        ("timeout", json!("0s"), timeout),
        ("timeout", json!("61s"), timeout),
        ("timeout", json!("1"), "\"1\" is not a duration such as 300s, 5m or 500ms"),
        ("key", json!("x"), "unknown field"),
    ] {
        let mut redis = json!({"cluster": "webdis"});
        redis[field] = value;
        let expected = format!("replay_store.redis.{field}: {fault}");
        assert_eq!(store_faults(json!({"redis": redis})), [expected]);
    }
    assert_eq!(store_faults(json!({"redis": {}})), ["replay_store.redis.cluster: is required"]);
    assert_eq!(
        store_faults(json!({"redis": "webdis"})),
        ["replay_store.redis: invalid type: string \"webdis\", expected an object"]
    );
}

#[test]
fn contradictions_are_refused() {
    for (fields, fault) in [
        (
            json!({"jwks_url": "https://id.example.com/jwks"}),
            "providers[0]: must have exactly one of metadata_url, jwks_url, jwks and certificates",
        ),
        (
            json!({"clusters": {"id.example.com": "id"}}),
            "providers[0]: must have only one of cluster and clusters",
        ),
        (
            json!({"cluster": null}),
            "providers[0]: must have cluster or clusters, on which its keys are fetched",
        ),
        (json!({"active": false}), "providers: must hold at least one active provider"),
        (
            json!({"token_types": ["application/DPoP+jwt"]}),
            "providers[0].token_types[0]: dpop+jwt is never an access token",
        ),
        (
            json!({"required_claims": {"tid": []}}),
            "providers[0].required_claims.tid: must be a string, number or boolean, or a list of them",
        ),
        (
            json!({"issuer": "http://id.example.com"}),
            "providers[0].issuer: must be an absolute https URL (http only for loopback hosts)",
        ),
        (
            json!({"metadata_url": "http://id.example.com/"}),
            "providers[0].metadata_url: must be https (http only for loopback hosts)",
        ),
        (json!({"user_claim": []}), "providers[0].user_claim: a claim name must not be empty"),
        (
            json!({"user_claim": 5}),
            "providers[0].user_claim: expected a claim name, or a list of names as a path",
        ),
    ] {
        assert_eq!(provider_faults(fields), [fault]);
    }
}

#[test]
fn providers_of_one_issuer_must_differ_in_their_audiences() {
    let second = |issuer: &str, audience: &str| {
        faults(&edited(|document| {
            let mut provider = document["providers"][0].clone();
            provider["name"] = "second".into();
            provider["issuer"] = issuer.into();
            provider["client_ids"] = json!([audience]);
            document["providers"].as_array_mut().unwrap().push(provider);
        }))
    };
    assert_eq!(second("https://id.example.com", "other"), [""; 0]);
    assert_eq!(second("https://other.example.com", "mcp"), [""; 0]);
    assert_eq!(
        second("https://id.example.com", "mcp"),
        ["providers[1].client_ids: \"mcp\" is also one of providers[0], which has the same issuer"]
    );
}

#[test]
fn static_keys_are_checked_when_they_are_configured() {
    let key = SigningKey::generate(testkit::Algorithm::Es256, "a");
    let source = |source: &str, value: Value| {
        provider_faults(json!({"metadata_url": null, "cluster": null, source: value}))
    };
    assert_eq!(source("jwks", json!({"keys": [key.public_jwk()]})), [""; 0]);
    assert_eq!(source("certificates", json!([key.certificate_pem()])), [""; 0]);
    assert_eq!(
        source("jwks", json!({"keys": [key.public_jwk(), 5]})),
        ["providers[0].jwks: holds 1 elements that are not JWKs: keys[1]: it is not a JSON object"]
    );
    assert_eq!(
        source("jwks", json!({"keys": []})),
        ["providers[0].jwks: it holds no key that could verify a token: its list of keys is empty"]
    );
    assert_eq!(
        source("certificates", json!([key.certificate_pem(), "-----BEGIN CERTIFICATE-----"])),
        ["providers[0].certificates[1]: expected one X.509 certificate in PEM form"]
    );
    assert_eq!(
        source("certificates", json!([])),
        ["providers[0].certificates: must hold at least one certificate"]
    );
}

#[test]
fn the_maximum_lifetime_of_a_key_set_is_the_providers_or_the_general_one() {
    let caps = |all: Value, value: Value| {
        let document = edited(|document| {
            document["keys"] = all;
            document["providers"][0]["keys"] = value;
        });
        let config = Config::from_bytes(document.to_string().as_bytes())
            .map_err(|refused| refused.to_string())?;
        let sources = config.providers.iter().map(|provider| match &provider.key_source {
            KeySource::Remote(source) => source.settings.max_age_cap.as_secs(),
            KeySource::Static(_) => 0,
        });
        Ok::<_, String>(sources.collect::<Vec<_>>())
    };
    assert_eq!(caps(json!({}), json!({})), Ok(vec![86_400]));
    assert_eq!(caps(json!({"max_age_cap": "1m"}), json!({})), Ok(vec![60]));
    assert_eq!(caps(json!({"max_age_cap": "1m"}), json!({"max_age_cap": "24h"})), Ok(vec![86_400]));
    for beyond in ["59s", "59999ms", "86401s", "25h"] {
        let fault = caps(json!({"max_age_cap": beyond}), json!({})).unwrap_err();
        assert!(fault.contains("keys.max_age_cap: must be between 1m and 24h"), "{fault}");
        assert!(!fault.contains("providers[0].keys"), "{fault}");
        let fault = caps(json!({}), json!({"max_age_cap": beyond})).unwrap_err();
        assert!(fault.contains("providers[0].keys.max_age_cap: must be"), "{fault}");
    }
}

#[test]
fn json_may_begin_with_a_byte_order_mark() {
    let plain = valid().to_string();
    let marked = format!("\u{feff}{plain}");
    let digest = |text: &str| Config::from_bytes(text.as_bytes()).map(|config| config.digest).ok();
    assert!(digest(&plain).is_some());
    assert_eq!(digest(&marked), digest(&plain));
}

#[test]
fn a_claim_must_not_set_a_header_that_envoy_or_a_server_trusts() {
    let faults_with = |prefix: &str, header: &str| {
        let document = edited(|document| {
            let claims = json!([{"claim": "a", "header": header}]);
            document["identity"] = json!({"header_prefix": prefix, "claims_to_headers": claims});
        });
        faults(&document)
    };
    for header in [
        "x-envoy-original-dst-host",
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-decorator-operation",
        "X-Envoy-Retry-On",
        "x-forwarded-for",
        "x-forwarded-client-cert",
        "x-request-id",
        "x-original-url",
        "traceparent",
        "host",
        "content-length",
        "mcp-param-tenant",
    ] {
        let expected = "identity.claims_to_headers[0].header: has another meaning in HTTP, MCP or \
                        proxies";
        assert_eq!(faults_with("x-mcp-", header), [expected], "{header}");
    }
    assert_eq!(
        faults_with("x-envoy-", "x-a"),
        ["identity.header_prefix: has another meaning in HTTP, MCP or proxies"]
    );
    // Headers in which servers commonly expect the user's name.
    for (prefix, header) in [("x-mcp-", "x-forwarded-user"), ("x-forwarded-", "remote-user")] {
        assert_eq!(faults_with(prefix, header), [""; 0], "{prefix} {header}");
    }
}

#[test]
fn claim_headers_must_not_collide() {
    let document = edited(|document| {
        document["identity"] = json!({"header_prefix": "x-id-", "claims_to_headers": [
            {"claim": "a", "header": "X-A"},
            {"claim": "b", "header": "x-a"},
            {"claim": "c", "header": "x-id-user"},
            {"claim": "d", "header": "authorization"},
            {"claim": "e", "header": "x_e"},
            {"header": ":path"},
        ]});
    });
    assert_eq!(
        faults(&document),
        [
            "identity.claims_to_headers[1].header: is duplicated",
            "identity.claims_to_headers[2].header: is one of the identity headers",
            "identity.claims_to_headers[3].header: has another meaning in HTTP, MCP or proxies",
            "identity.claims_to_headers[4].header: must be a header name of a-z, 0-9 and -",
            "identity.claims_to_headers[5].claim: is required",
            "identity.claims_to_headers[5].header: must be a header name of a-z, 0-9 and -",
        ]
    );
}

#[test]
fn a_key_that_json_repeats_is_refused() {
    let text = valid().to_string().replacen(
        "\"name\":\"example\"",
        "\"name\":\"example\",\"name\":\"other\"",
        1,
    );
    let error = Config::from_bytes(text.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "providers[0].name: is duplicated");
}

#[test]
fn input_that_is_neither_json_nor_a_struct_is_refused() {
    for bytes in [&b""[..], b"{", b"\xff\xff", b"text", b"[1]", b"null", b"5"] {
        let error = Config::from_bytes(bytes).unwrap_err();
        assert!(error.to_string().starts_with("configuration: "), "{error}");
    }
}

#[test]
fn faults_never_use_terms_of_rust() {
    const RUST: [&str; 11] = [
        "struct", "sequence", "u32", "u64", "i64", "newtype", "unit", "tuple", "enum", "map",
        "Option",
    ];

    /// Replaces each value of a document in turn by one of another type.
    fn spoil(value: &Value, spoiled: &mut Vec<Value>) {
        let others = [
            json!(null),
            json!(true),
            json!(-1),
            json!(5_000_000_000_u64),
            json!(1.5),
            json!("a"),
            json!([]),
            json!({}),
            json!([1]),
            json!({"a": 1}),
        ];
        spoiled.extend(others);
        let inner: Vec<(String, Value)> = match value {
            Value::Object(members) => members.clone().into_iter().collect(),
            Value::Array(elements) => {
                elements.first().map(|first| ("0".to_owned(), first.clone())).into_iter().collect()
            }
            _ => Vec::new(),
        };
        for (name, inner) in inner {
            let mut inner_faults = Vec::new();
            spoil(&inner, &mut inner_faults);
            spoiled.extend(inner_faults.into_iter().map(|inner| {
                let mut value = value.clone();
                match &mut value {
                    Value::Object(members) => drop(members.insert(name.clone(), inner)),
                    other => other[0] = inner,
                }
                value
            }));
        }
    }
    let example = testkit::yaml(include_str!("reference/example.yaml"));
    let mut spoiled = Vec::new();
    spoil(&example, &mut spoiled);
    assert!(spoiled.len() > 1000, "{}", spoiled.len());
    let of_status = [json!([]), json!("a"), json!({"hosts": {}}), json!({"hosts": [1]})];
    let reported = spoiled.iter().flat_map(faults).chain(of_status.iter().flat_map(|document| {
        let read = super::StatusConfig::from_bytes(document.to_string().as_bytes());
        read.unwrap_err().faults().map(ToString::to_string).collect::<Vec<_>>()
    }));
    for fault in reported {
        let word =
            fault.split(|character: char| !character.is_ascii_alphanumeric() && character != ':');
        let of_rust = word.into_iter().find(|word| RUST.iter().any(|rust| word == rust));
        assert_eq!(of_rust, None, "{fault}");
        assert!(!fault.contains("Raw") && !fault.contains("::"), "{fault}");
    }
}

#[test]
fn sessions_are_bound_only_with_a_secret() {
    let of = |sessions: Value, secret: Value| {
        let document = edited(|document| {
            let fields = [("sessions", sessions), ("secret", secret)].into_iter();
            let given = fields.filter(|(_, value)| !value.is_null());
            given.for_each(|(name, value)| document[name] = value);
        });
        let environment = |name: &str| (name == "SECRET").then(|| "s3cret".repeat(8));
        let bytes = document.to_string();
        match Config::with_environment(bytes.as_bytes(), &environment) {
            Ok(config) => Ok(config.sessions.is_some()),
            Err(error) => Err(error.to_string()),
        }
    };
    let secret = json!({"env": "SECRET"});
    assert_eq!(of(json!({"bind": true}), secret.clone()), Ok(true));
    for sessions in [json!({"bind": false}), json!({}), Value::Null] {
        assert_eq!(of(sessions.clone(), secret.clone()), Ok(false), "{sessions}");
        assert_eq!(of(sessions.clone(), Value::Null), Ok(false), "{sessions}");
    }
    let lacks_secret = "sessions.bind: needs secret, which seals the session ids";
    assert_eq!(of(json!({"bind": true}), Value::Null), Err(lacks_secret.to_owned()));
    let is_unset = "secret.env: the environment variable \"UNSET\" is not set or not passed";
    let refused = of(json!({"bind": true}), json!({"env": "UNSET"})).unwrap_err();
    assert!(refused.starts_with(is_unset) && refused.lines().count() == 1, "{refused}");
    let faults = [
        (json!({"bound": true}), "sessions.bound: unknown field"),
        (json!({"bind": "yes"}), "sessions.bind: "),
        (json!(true), "sessions: "),
    ];
    for (sessions, fault) in faults {
        let found = of(sessions, secret.clone()).unwrap_err();
        assert!(found.starts_with(fault), "{found}");
    }
}
