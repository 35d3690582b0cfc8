//! For each check: a request that fails only this one, while all checks are enabled, and the same
//! request without the fault, which passes. Other forms of each fault are in the file on that
//! check; those of templates are with the templates.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testbed::{
    Algorithm, KeptConnection, Response, ScimDirectory, SigningKey, Stack, StackBuilder,
    documented_reasons, now,
};

use crate::support::{
    add_providers, assert_none, assert_refusal, claims_of, faults_of_refusal, issuer_of, named,
    static_provider, with, with_directory, without,
};

const APP: &str = "https://app.example.com";

/// Everything in a request that a check looks at.
#[derive(Clone)]
struct Attempt {
    path: &'static str,
    origin: &'static str,
    scheme: Option<&'static str>,
    key: SigningKey,
    header: Value,
    claims: Value,
}

/// A change that makes an [`Attempt`] invalid.
type Fault = Box<dyn Fn(Attempt) -> Attempt>;

/// A check: its name, the reason for the refusal, an attempt that passes, and the fault.
struct Case {
    name: &'static str,
    reason: &'static str,
    good: Attempt,
    fault: Fault,
}

impl Attempt {
    /// An attempt that passes, as the user with this e-mail address.
    fn new(key: &SigningKey, provider: &str, user: &str) -> Self {
        let mut claims = with(&claims_of(provider), "email", format!("{user}@example.com"));
        claims["tenant"] = json!("t");
        claims["amr"] = json!(["pwd", "mfa"]);
        claims["scope"] = json!("read list wide");
        Self {
            path: "/mcp",
            origin: APP,
            scheme: Some("Bearer"),
            key: key.clone(),
            header: key.header(),
            claims,
        }
    }

    fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// The same with this claim, or without it if it is null.
    fn claim(self, name: &str, value: impl Into<Value>) -> Self {
        Self { claims: changed(&self.claims, name, value.into()), ..self }
    }

    /// The same with this member of the token's header, or without it if it is null.
    fn header(self, name: &str, value: impl Into<Value>) -> Self {
        Self { header: changed(&self.header, name, value.into()), ..self }
    }

    fn token(&self) -> String {
        self.key.sign(&self.header, &self.claims)
    }

    async fn send(&self, stack: &Stack) -> Response {
        let url = stack.envoy.url(self.path);
        let mut request = Response::mcp_call(stack.client(), &url).header("origin", self.origin);
        if let Some(scheme) = self.scheme {
            request = request.header("authorization", format!("{scheme} {}", self.token()));
        }
        stack.send(request).await
    }
}

fn changed(object: &Value, name: &str, value: Value) -> Value {
    if value.is_null() { without(object, name) } else { with(object, name, value) }
}

/// Changes a claim of the token, or removes it if it is null.
fn claim(name: &'static str, value: impl Into<Value>) -> Fault {
    let value = value.into();
    Box::new(move |attempt| attempt.claim(name, value.clone()))
}

/// Changes a member of the token's header, or removes it if it is null.
fn header(name: &'static str, value: impl Into<Value>) -> Fault {
    let value = value.into();
    Box::new(move |attempt| attempt.header(name, value.clone()))
}

fn path(path: &'static str) -> Fault {
    Box::new(move |attempt| attempt.at(path))
}

/// Changes the issuer to another trusted one.
fn issuer(provider: &str) -> Fault {
    claim("iss", issuer_of(provider))
}

/// Changes the user.
fn user(user: &str) -> Fault {
    claim("email", format!("{user}@example.com"))
}

/// The keys that the attempts are signed with.
struct Keys {
    trusted: SigningKey,
    rsa: SigningKey,
    stranger: SigningKey,
}

impl Keys {
    fn generate() -> Self {
        Self {
            trusted: SigningKey::generate(Algorithm::Es256, "own"),
            rsa: SigningKey::generate(Algorithm::Rs256, "rsa"),
            stranger: SigningKey::generate(Algorithm::Es256, "own"),
        }
    }

    /// The key set that the providers publish.
    fn published(&self) -> Value {
        let plain = |kid: &str| without(&self.trusted.with_kid(kid).public_jwk(), "use");
        json!([
            self.trusted.public_jwk(),
            self.rsa.public_jwk(),
            SigningKey::generate(Algorithm::Es384, "p384").public_jwk(),
            with(&plain("for-encryption"), "use", "enc"),
            with(&plain("for-signing-only"), "key_ops", json!(["sign"])),
            with(&plain("for-es512"), "alg", "ES512"),
        ])
    }

    /// A provider with all checks enabled, and these additional fields.
    fn provider(&self, name: &str, fields: Value) -> Value {
        let mut provider = json!({
            "algorithms": ["ES256"],
            "token_types": ["at+jwt"],
            "clock_skew": "10s",
            "max_token_age": "10m",
            "required_claims": {"tenant": "t"},
            "jti": "single_use",
            "user_claim": "email",
            "user_field": "email",
            "jwks": {"keys": self.published()},
        });
        for (name, value) in fields.as_object().expect("they are an object") {
            provider[name] = value.clone();
        }
        static_provider(name, &[], provider)
    }

    /// Three providers: `house`, whose tokens pass only where a rule names it and may not have the
    /// scope `wide`; `annex`, without these limits; and `dark`, whose keys cannot be fetched.
    fn builder(&self) -> StackBuilder {
        let house = json!({"auth_scopes": ["read", "list"], "restrict_to_policies": true});
        let dark = json!({"jwks_url": "http://127.0.0.1:1/keys", "cluster": "dark"});
        let providers = [
            self.provider("house", house),
            self.provider("annex", json!({})),
            without(&self.provider("dark", dark), "jwks"),
        ];
        Stack::builder()
            .configure(move |configuration| {
                add_providers(configuration, providers);
                configuration["users"] = users();
                configuration["access"] = access();
                configuration["allowed_origins"] = json!([APP]);
            })
            .cluster("dark", ([127, 0, 0, 1], 1).into())
    }
}

fn users() -> Value {
    let record = |name: &str, fields: Value| {
        let mut record = json!({
            "user_name": name, "email": format!("{name}@example.com"),
            "roles": ["itil"], "groups": ["ops"],
        });
        for (name, value) in fields.as_object().expect("they are an object") {
            record[name] = value.clone();
        }
        record
    };
    json!({"records": [
        record("ada", json!({})),
        record("inactive", json!({"active": false})),
        record("locked", json!({"locked": true})),
        record("robot", json!({"web_service_access_only": true})),
        record("without-roles", json!({"roles": ["other"]})),
        record("without-groups", json!({"groups": ["other"]})),
    ]})
}

fn access() -> Value {
    json!({"rules": [
        {
            "match": {"paths": ["/mcp"]},
            "require": {
                "scopes": ["read"], "any_scope": ["search", "list"], "roles": ["itil"],
                "groups": ["ops"], "providers": ["house"], "client_types": ["user"],
                "claims": {"amr": "mfa"},
            },
        },
        {"match": {"paths": ["/batch"]}, "require": {"providers": ["house"]}},
        {"match": {"paths": ["/open"]}},
        {"match": {"path_prefixes": ["/files/secret"]}, "require": {"roles": ["admin"]}},
        {"match": {"path_prefixes": ["/files"]}, "require": {"providers": ["house"]}},
        {
            "match": {"paths": ["/wide"]},
            "require": {"providers": ["house", "annex"], "scopes": ["wide"]},
        },
    ]})
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn cases(keys: &Keys) -> Vec<Case> {
    let ada = || Attempt::new(&keys.trusted, "house", "ada");
    let annex = || Attempt::new(&keys.trusted, "annex", "ada");
    let robot = || Attempt::new(&keys.trusted, "house", "robot");
    let service = || robot().at("/batch").claim("idtyp", "app");
    let file = || ada().at("/files/public");
    let case = |name, reason, good: Attempt, fault: Fault| Case { name, reason, good, fault };
    let of_ada = |name, reason, fault: Fault| case(name, reason, ada(), fault);
    let (rsa, stranger) = (keys.rsa.clone(), keys.stranger.clone());
    vec![
        of_ada(
            "no token",
            "missing_token",
            Box::new(|attempt| Attempt { scheme: None, ..attempt }),
        ),
        of_ada(
            "another scheme",
            "malformed_authorization",
            Box::new(|attempt| Attempt { scheme: Some("DPoP"), ..attempt }),
        ),
        of_ada(
            "an origin that is not listed",
            "origin_denied",
            Box::new(|attempt| Attempt { origin: "https://evil.example", ..attempt }),
        ),
        of_ada(
            "a header that is not an object",
            "malformed_token",
            Box::new(|attempt| Attempt { header: json!([attempt.header]), ..attempt }),
        ),
        of_ada(
            "a payload that is not an object",
            "malformed_token",
            Box::new(|attempt| Attempt { claims: json!([attempt.claims]), ..attempt }),
        ),
        of_ada("too long", "malformed_token", claim("fill", "x".repeat(8 * 1024))),
        of_ada("alg none", "unsupported_algorithm", header("alg", "none")),
        of_ada("alg HS256", "unsupported_algorithm", header("alg", "HS256")),
        of_ada(
            "an algorithm that is not in the list",
            "unsupported_algorithm",
            Box::new(move |attempt| Attempt { key: rsa.clone(), header: rsa.header(), ..attempt }),
        ),
        of_ada("crit", "unsupported_critical_header", header("crit", json!(["x"]))),
        of_ada("b64", "unsupported_critical_header", header("b64", false)),
        of_ada("typ JWT, not listed", "wrong_token_type", header("typ", "JWT")),
        of_ada("typ missing, not listed", "wrong_token_type", header("typ", Value::Null)),
        of_ada("typ of an ID-JAG", "wrong_token_type", header("typ", "oauth-id-jag+jwt")),
        of_ada("typ of a DPoP proof", "wrong_token_type", header("typ", "dpop+jwt")),
        of_ada("typ of a logout token", "wrong_token_type", header("typ", "logout+jwt")),
        of_ada("iss", "unknown_issuer", claim("iss", "https://else.example")),
        of_ada("iss missing", "unknown_issuer", claim("iss", Value::Null)),
        of_ada("aud", "audience_mismatch", claim("aud", "other")),
        of_ada("aud missing", "audience_mismatch", claim("aud", Value::Null)),
        of_ada(
            "for Graph",
            "graph_token",
            Box::new(|attempt| {
                attempt.header("nonce", "x").claim("aud", "00000003-0000-0000-c000-000000000000")
            }),
        ),
        of_ada("exp past", "expired", claim("exp", now() - 60)),
        of_ada("exp missing", "expired", claim("exp", Value::Null)),
        of_ada("nbf in the future", "not_yet_valid", claim("nbf", now() + 3600)),
        of_ada("iat in the future", "not_yet_valid", claim("iat", now() + 3600)),
        of_ada("iat too old", "token_too_old", claim("iat", now() - 700)),
        of_ada("iat missing", "token_too_old", claim("iat", Value::Null)),
        of_ada("kid", "unknown_kid", header("kid", "other")),
        of_ada("kty of the key", "key_mismatch", header("kid", "rsa")),
        of_ada("crv of the key", "key_mismatch", header("kid", "p384")),
        of_ada("use of the key", "key_mismatch", header("kid", "for-encryption")),
        of_ada("key_ops of the key", "key_mismatch", header("kid", "for-signing-only")),
        of_ada("alg of the key", "key_mismatch", header("kid", "for-es512")),
        of_ada(
            "signature",
            "bad_signature",
            Box::new(move |attempt| Attempt { key: stranger.clone(), ..attempt }),
        ),
        of_ada("keys that cannot be fetched", "keys_unavailable", issuer("dark")),
        of_ada("required claim", "claim_mismatch", claim("tenant", "other")),
        of_ada("required claim missing", "missing_claim", claim("tenant", Value::Null)),
        of_ada("user claim missing", "missing_claim", claim("email", Value::Null)),
        of_ada("bound to a key", "bound_token", claim("cnf", json!({"jkt": "x"}))),
        of_ada("jti missing", "jti_missing", claim("jti", Value::Null)),
        of_ada("a user without a record", "user_unknown", user("stranger")),
        of_ada("an inactive user", "user_inactive", user("inactive")),
        of_ada("a locked user", "user_inactive", user("locked")),
        case("no service account", "user_not_service_account", service(), user("ada")),
        of_ada("scopes of a rule", "insufficient_scope", claim("scope", "list")),
        of_ada("any_scope of a rule", "insufficient_scope", claim("scope", "read")),
        of_ada("roles of a rule", "access_denied", user("without-roles")),
        of_ada("groups of a rule", "access_denied", user("without-groups")),
        of_ada("providers of a rule", "access_denied", issuer("annex")),
        case("client_types of a rule", "access_denied", robot(), claim("idtyp", "app")),
        of_ada("claims of a rule", "access_denied", claim("amr", "pwd")),
        of_ada("claims of a rule missing", "access_denied", claim("amr", Value::Null)),
        of_ada("no rule", "access_denied", path("/none")),
        case("a path with parameters", "access_denied", file(), path("/files/public;x")),
        case(
            "a path that is another in small letters",
            "access_denied",
            file(),
            path("/files/Secret"),
        ),
        case(
            "no rule that names the provider",
            "access_denied",
            annex().at("/open"),
            issuer("house"),
        ),
        case("auth_scopes", "insufficient_scope", annex().at("/wide"), issuer("house")),
    ]
}

// Requirement: token-validation
// Requirement: token-before-processing
// Requirement: status-codes
// Requirement: challenge-without-token
// Requirement: error-codes
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_a_single_check_does_not_reach_the_server() {
    let keys = Keys::generate();
    let stack = keys.builder().start().await;
    let mut faults = Vec::new();
    for Case { name, reason, good, fault } in cases(&keys) {
        let before = stack.server.count();
        let response = fault(good.clone()).send(&stack).await;
        faults.extend(named(name, faults_of_refusal(&response, reason)));
        if stack.server.count() != before {
            faults.push(format!("{name}: reached the MCP server"));
        }
        // The same without the fault; the failed attempt has not even spent the token.
        let before = stack.server.count();
        let response = good.send(&stack).await;
        if stack.server.count() != before + 1 {
            faults.push(format!("{name}: does not pass without the fault: {response:?}"));
        }
    }
    assert_none(&faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_token_that_was_spent_does_not_reach_the_server() {
    let keys = Keys::generate();
    let stack = keys.builder().start().await;
    let attempt = Attempt::new(&keys.trusted, "house", "ada");
    assert_eq!(attempt.send(&stack).await.status, 200);
    assert_refusal(&attempt.send(&stack).await, "jti_replayed");
    assert_eq!(stack.server.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_token_cannot_be_recorded_does_not_reach_the_server() {
    /// The number of tokens that fit into one of the 256 shards of the store.
    const MAX_IDS: usize = 512;
    let keys = Keys::generate();
    let stack = keys.builder().edit(|bootstrap| bootstrap.respond_directly("/open")).start().await;
    let issuer = issuer_of("annex");
    // The first byte of the digest selects the shard.
    let part = |id: &str| Sha256::digest(format!("{}:{issuer}{id}", issuer.len()))[0];
    let ids = |value: u8| (0_u32..).map(|id| id.to_string()).filter(move |id| part(id) == value);
    let attempt =
        |id: String| Attempt::new(&keys.trusted, "annex", "ada").at("/wide").claim("jti", id);
    let mut ids_of_part = ids(0);
    let mut connection = KeptConnection::open(stack.envoy.address()).await.unwrap();
    for id in ids_of_part.by_ref().take(MAX_IDS) {
        let response = connection.get("/open", &attempt(id).token()).await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.body());
    }
    let one_more = attempt(ids_of_part.next().unwrap());
    assert_refusal(&one_more.send(&stack).await, "replay_store_unavailable");
    assert_eq!(stack.server.count(), 0);
    attempt(ids(1).next().unwrap()).send(&stack).await;
    assert_eq!(stack.server.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_user_cannot_be_looked_up_does_not_reach_the_server() {
    let keys = Keys::generate();
    let directory = ScimDirectory::start().await;
    for user in ["eve", "mallory"] {
        let address = format!("{user}@example.com");
        directory.add_user(json!({"userName": user, "emails": [{"value": address}]})).await;
    }
    let stack = with_directory(keys.builder(), &directory, json!({})).start().await;
    let attempt = |user: &str| Attempt::new(&keys.trusted, "annex", user).at("/open");
    directory.gateway.fail(testbed::Fault::Status(500));
    assert_refusal(&attempt("eve").send(&stack).await, "directory_unavailable");
    assert_eq!(stack.server.count(), 0);
    directory.gateway.heal();
    attempt("mallory").send(&stack).await;
    assert_eq!(stack.server.count(), 1);
}

/// The reasons of all checks must be in the table above.
#[test]
fn every_reason_in_the_readme_has_a_case() {
    let documented: BTreeSet<String> =
        documented_reasons().into_iter().map(|(_, reason)| reason).collect();
    // These have tests of their own, those of MCP in mcp_rules.rs and lists.rs, that of resources in
    // resources_choice.rs, that of sessions in bound_sessions.rs.
    let trusted = [
        "directory_unavailable",
        "jti_replayed",
        "mcp_body_invalid",
        "mcp_header_mismatch",
        "mcp_list_invalid",
        "replay_store_unavailable",
        "session_mismatch",
        "unknown_resource",
    ];
    let tested: BTreeSet<String> = cases(&Keys::generate())
        .iter()
        .map(|case| case.reason)
        .chain(trusted)
        .map(str::to_owned)
        .collect();
    assert_eq!(tested, documented);
}
