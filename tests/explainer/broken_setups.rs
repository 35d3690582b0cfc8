//! Set-ups that are broken as those of real people are: each gets a sentence that names the cause,
//! and one that says what to change.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testbed::{Algorithm, Document, Fault, IdentityProvider, Port, SigningKey, now};

use crate::support::{configuration, file, key_set, mcp_auth, response, self_signed, serve, with};

const TENANT: &str = "8d5c1f2e-0000-4000-8000-000000000000";
const OTHER_TENANT: &str = "1b7e0000-0000-4000-8000-00000000000f";
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const API: &str = "6a7f0000-0000-4000-8000-000000000000";
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// A broken set-up, and what has to be said of it.
struct Broken {
    name: &'static str,
    configuration: Value,
    token: String,
    /// The provider's key set; none when it is fetched.
    keys: Option<Value>,
    arguments: Vec<String>,
    reason: &'static str,
    /// Parts of the sentences.
    cause: &'static str,
    fix: &'static str,
}

/// A provider with its key, and claims that it accepts.
struct Sound {
    provider: Value,
    key: SigningKey,
    claims: Value,
}

impl Sound {
    fn new(provider: Value, claims: Value) -> Self {
        // All templates know this one.
        let by_template = provider.get("template").map(|_| Algorithm::Rs256);
        let key = SigningKey::generate(by_template.unwrap_or(Algorithm::Es256), "k1");
        let times = json!({"iat": now() - 60, "exp": now() + 3600});
        Self { provider, key, claims: with(&claims, times) }
    }

    fn entra() -> Self {
        let provider = json!({
            "name": "entra", "template": "entra_id", "tenant": TENANT, "client_ids": [API],
            "cluster": "entra",
        });
        let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
        Self::new(
            provider,
            json!({
                "iss": issuer, "aud": API, "sub": "s", "oid": "o", "upn": "ada@contoso.com",
                "scp": "mcp.tools",
            }),
        )
    }

    fn keycloak() -> Self {
        let provider = json!({
            "name": "kc", "template": "keycloak", "host": "kc.example.com", "realm": "tools",
            "client_ids": ["incident-mcp"], "cluster": "kc",
        });
        let issuer = "https://kc.example.com/realms/tools";
        Self::new(
            provider,
            json!({"iss": issuer, "aud": "incident-mcp", "typ": "Bearer", "preferred_username": "ada"}),
        )
    }

    fn okta() -> Self {
        let provider = json!({
            "name": "okta", "template": "okta", "domain": "dev-1.okta.com",
            "client_ids": ["api://default"], "cluster": "okta",
        });
        let issuer = "https://dev-1.okta.com/oauth2/default";
        Self::new(provider, json!({"iss": issuer, "aud": "api://default", "sub": "ada"}))
    }

    fn auth0() -> Self {
        let provider = json!({
            "name": "auth0", "template": "auth0", "domain": "contoso.eu.auth0.com",
            "client_ids": ["https://mcp.example.com/mcp"], "cluster": "auth0",
        });
        let audience = "https://mcp.example.com/mcp";
        let issuer = "https://contoso.eu.auth0.com/";
        Self::new(provider, json!({"iss": issuer, "aud": audience, "sub": "auth0|1"}))
    }

    fn google() -> Self {
        let provider = json!({
            "name": "google", "template": "google", "client_ids": ["1.apps.googleusercontent.com"],
            "clusters": {"accounts.google.com": "google"},
        });
        Self::new(
            provider,
            json!({
                "iss": "https://accounts.google.com", "aud": "1.apps.googleusercontent.com",
                "sub": "1", "email": "ada@example.com", "email_verified": true,
            }),
        )
    }

    fn generic() -> Self {
        let provider = json!({
            "name": "own", "issuer": "https://id.example.com", "client_ids": ["mcp"],
            "jwks_url": "https://id.example.com/jwks", "cluster": "own",
        });
        Self::new(provider, json!({"iss": "https://id.example.com", "aud": "mcp", "sub": "ada"}))
    }

    /// One whose keys are really fetched, from this address.
    fn fetched(base: &str) -> Self {
        let provider = json!({
            "name": "own", "issuer": base, "client_ids": ["mcp"],
            "metadata_url": format!("{base}/.well-known/openid-configuration"), "cluster": "own",
        });
        Self::new(provider, json!({"iss": base, "aud": "mcp", "sub": "ada"}))
    }

    /// The provider of the test bed.
    fn for_provider(provider: &IdentityProvider) -> Self {
        let mut sound = Self::fetched(&provider.issuer());
        sound.key = provider.key();
        sound
    }

    /// The set-up with other fields in the provider, and another token.
    fn broken(
        &self,
        name: &'static str,
        fields: Value,
        token: impl Into<String>,
        [reason, cause, fix]: [&'static str; 3],
    ) -> Broken {
        Broken {
            name,
            configuration: configuration(json!([with(&self.provider, fields)])),
            token: token.into(),
            keys: Some(key_set(&[&self.key])),
            arguments: vec![],
            reason,
            cause,
            fix,
        }
    }

    /// The same, when the keys are fetched.
    fn unreachable(
        &self,
        name: &'static str,
        fields: Value,
        [cause, fix]: [&'static str; 2],
    ) -> Broken {
        let token = self.token(json!({}));
        let keys = None;
        Broken { keys, ..self.broken(name, fields, token, ["keys_unavailable", cause, fix]) }
    }

    /// The token with other claims.
    fn token(&self, claims: Value) -> String {
        self.key.token(&with(&self.claims, claims))
    }

    /// The token with another header.
    fn token_with_header(&self, members: Value, claims: Value) -> String {
        self.key.sign(&with(&self.key.header(), members), &with(&self.claims, claims))
    }
}

impl Broken {
    fn with(mut self, member: &str, value: Value) -> Self {
        self.configuration[member] = value;
        self
    }

    /// What is wrong with what the program says.
    fn faults(&self) -> Vec<String> {
        let config = file(".json", &self.configuration.to_string());
        let mut arguments = vec!["explain".to_owned(), config, "--json".to_owned()];
        if let Some(keys) = &self.keys {
            arguments.extend(["--keys".to_owned(), file(".jwks", &keys.to_string())]);
        }
        arguments.extend(self.arguments.clone());
        let run = mcp_auth(&arguments, &self.token);
        let json = run.json();
        let mut faults = Vec::new();
        let mut expect = |what: &str, part: &str| {
            let found = json[what].as_str().unwrap_or_default();
            if !found.contains(part) {
                faults.push(format!("{}: {what} is {found:?}, without {part:?}", self.name));
            }
        };
        expect("cause", self.cause);
        expect("fix", self.fix);
        expect("reason", self.reason);
        if run.code != Some(1) {
            faults.push(format!("{}: status {:?}: {}", self.name, run.code, run.stderr));
        }
        let signature = self.token.rsplit('.').next().unwrap_or_default();
        if signature.len() > 16 && (run.stdout + &run.stderr).contains(signature) {
            faults.push(format!("{}: shows the signature", self.name));
        }
        if std::env::var_os("SHOW_SETUPS").is_some() {
            let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
            println!("| {} | `{}` | {} {} |", self.name, self.reason, text("cause"), text("fix"));
        }
        faults
    }
}

fn assert_explained(cases: impl IntoIterator<Item = Broken>) {
    let faults: Vec<String> = cases.into_iter().flat_map(|case| case.faults()).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn v1(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

fn v2(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

/// A URL as `iss`, with everything else right.
fn issued_by(issuer: &str) -> Value {
    json!({ "iss": issuer })
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn of_entra_id() {
    let entra = Sound::entra();
    let none = json!({});
    let own_issuer = json!({
        "template": null, "tenant": null, "issuer": v2(TENANT),
        "metadata_url": format!("{}/.well-known/openid-configuration", v2(TENANT)),
    });
    let other_key = SigningKey::generate(Algorithm::Rs256, "own-key-of-the-application");
    let without_rights = json!({"upn": null, "scp": null, "azp": "c"});
    assert_explained([
        entra.broken(
            "wrong tenant",
            none.clone(),
            entra.token(issued_by(&v2(OTHER_TENANT))),
            [
                "unknown_issuer",
                "of another tenant: 1b7e0000-0000-4000-8000-00000000000f",
                "providers[0].tenant",
            ],
        ),
        entra.broken(
            "personal account",
            none.clone(),
            entra.token(issued_by(&v2(PERSONAL))),
            ["unknown_issuer", "personal Microsoft account", "account of the tenant 8d5c1f2e"],
        ),
        entra.broken(
            "v1 token with v2 issuer",
            own_issuer,
            entra.token(issued_by(&v1(TENANT))),
            ["unknown_issuer", "the token is of version 1", "`requestedAccessTokenVersion` to 2"],
        ),
        entra.broken(
            "v1 refused by an empty list",
            json!({"additional_issuers": []}),
            entra.token(issued_by(&v1(TENANT))),
            ["unknown_issuer", "only the issuer of version 2", "providers[0].additional_issuers"],
        ),
        entra.broken(
            "Graph token",
            none.clone(),
            entra
                .token_with_header(json!({"nonce": "n"}), json!({"aud": GRAPH, "iss": v1(TENANT)})),
            ["graph_token", "token is for Microsoft Graph", "api://<application id>/<scope>"],
        ),
        entra.broken(
            "Graph token without nonce",
            none.clone(),
            entra.token(json!({ "aud": GRAPH })),
            [
                "audience_mismatch",
                "token is for Microsoft Graph",
                "api://<application id>/.default",
            ],
        ),
        entra.broken(
            "missing api://",
            json!({"client_ids": ["incident-tools"]}),
            entra.token(json!({"aud": "api://incident-tools"})),
            ["audience_mismatch", "differ by `api://` alone", "Write \"api://incident-tools\""],
        ),
        entra.broken(
            "ID token instead of access token",
            none.clone(),
            entra.token(json!({"aud": "c11e0000-0000-4000-8000-000000000000", "nonce": "n"})),
            [
                "audience_mismatch",
                "This is an ID token",
                "`access_token` in the provider's response",
            ],
        ),
        entra.broken(
            "no upn",
            none.clone(),
            entra.token(json!({"upn": null})),
            ["missing_claim", "no upn or preferred_username", "providers[0].user_claim: oid"],
        ),
        entra.broken(
            "no permission for this API",
            none.clone(),
            entra.token(without_rights.clone()),
            [
                "missing_claim",
                "grants this client nothing at this API: the token carries nothing in scp or roles",
                "set *Assignment required* at the API's enterprise application, and \
                 `providers[0].required_any_claim: []`",
            ],
        ),
        entra.broken(
            "ID token that is for this API",
            none.clone(),
            entra.token(json!({"scp": null, "nonce": "n"})),
            ["missing_claim", "This is an ID token", "send its access token"],
        ),
        entra.broken(
            "roles that are too many",
            none.clone(),
            entra.token(json!({"scp": null, "_claim_names": {"roles": "src1"}})),
            ["missing_claim", "`scp or roles` because there are too many", "use app roles"],
        ),
        entra.broken(
            "another algorithm than Entra ID's",
            none.clone(),
            entra.key.with_algorithm(Algorithm::Ps512).token(&entra.claims),
            [
                "unsupported_algorithm",
                "signed with PS512, and the providers of template entra_id sign with RS256",
                "write `providers[0].algorithms: [RS256, PS512]`",
            ],
        ),
        entra.broken(
            "an algorithm that is left out",
            json!({"algorithms": ["PS256"]}),
            entra.token(none.clone()),
            ["unsupported_algorithm", "configuration leaves out", "Add RS256 to `providers[0]."],
        ),
        entra.broken(
            "groups that are too many",
            json!({"required_claims": {"groups": "g1"}}),
            entra.token(json!({"_claim_names": {"groups": "src1"}})),
            ["missing_claim", "too many", "Groups assigned to the application"],
        ),
        entra.broken(
            "own signing key",
            none,
            other_key.token(&entra.claims),
            ["unknown_kid", "key \"own-key-of-the-application\"", "leave `--keys` out"],
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn of_keycloak_okta_auth0_and_google() {
    let (kc, okta, auth0, google) =
        (Sound::keycloak(), Sound::okta(), Sound::auth0(), Sound::google());
    let none = || json!({});
    let hmac = kc.token_with_header(json!({"alg": "HS512"}), none());
    let jwe = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A256GCM"}"#);
    assert_explained([
        kc.broken(
            "Keycloak without audience mapper",
            none(),
            kc.token(json!({"aud": "account"})),
            ["audience_mismatch", "`aud` is \"account\"", "Add mapper → Audience"],
        ),
        kc.broken(
            "Keycloak's ID token",
            none(),
            kc.token(json!({"typ": "ID"})),
            ["claim_mismatch", "its claim `typ` is \"ID\"", "send its access token"],
        ),
        kc.broken(
            "Keycloak's refresh token",
            none(),
            hmac,
            ["unsupported_algorithm", "signed with HS512", "not the refresh token"],
        ),
        kc.broken(
            "Keycloak under another address",
            none(),
            kc.token(issued_by("http://keycloak:8080/realms/tools")),
            ["unknown_issuer", "under another address", "Keycloak's `hostname`"],
        ),
        kc.broken(
            "another realm",
            none(),
            kc.token(issued_by("https://kc.example.com/realms/master")),
            ["unknown_issuer", "of another realm", "providers[0].realm"],
        ),
        okta.broken(
            "Okta's org server",
            none(),
            okta.token(issued_by("https://dev-1.okta.com")),
            ["unknown_issuer", "org authorization server", "custom authorization server"],
        ),
        okta.broken(
            "another authorization server of Okta",
            none(),
            okta.token(issued_by("https://dev-1.okta.com/oauth2/aus1")),
            ["unknown_issuer", "another authorization server", "providers[0].authorization_server"],
        ),
        okta.broken(
            "Okta's custom domain",
            none(),
            okta.token(issued_by("https://login.contoso.com/oauth2/default")),
            [
                "unknown_issuer",
                "under another domain",
                "`providers[0].domain` to \"login.contoso.com\"",
            ],
        ),
        auth0.broken(
            "opaque token of Auth0",
            none(),
            "SlAV32hkKG",
            ["malformed_token", "The token is opaque", "`audience=<Identifier of your API>`"],
        ),
        auth0.broken(
            "encrypted token of Auth0",
            none(),
            format!("{jwe}..YQ.YQ.YQ"),
            ["malformed_token", "encrypted", "`audience=<Identifier of your API>`"],
        ),
        auth0.broken(
            "issuer without its slash",
            json!({"issuer": "https://contoso.eu.auth0.com"}),
            auth0.token(none()),
            ["unknown_issuer", "differ by the slash", "Remove `providers[0].issuer`"],
        ),
        google.broken(
            "Google's access token",
            none(),
            "ya29.a0AfH6SNotReal",
            ["malformed_token", "access token of Google", "ID token"],
        ),
        google.broken(
            "another client of Google",
            none(),
            google.token(json!({"aud": "2.apps.googleusercontent.com"})),
            ["audience_mismatch", "for somebody else", "another client of Google"],
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn of_any_provider() {
    let sound = Sound::generic();
    let none = || json!({});
    let small = SigningKey::generate_rsa(Algorithm::Rs256, "small", 1024);
    let good = sound.token(none());
    let other = SigningKey::generate(Algorithm::Es256, "k1").token(&sound.claims);
    let pasted = json!({"jwks_url": null, "cluster": null, "jwks": key_set(&[&sound.key])});
    let renewed = SigningKey::generate(Algorithm::Es256, "k2").token(&sound.claims);
    let expired = sound.token(json!({"iat": now() - 7212, "exp": now() - 3612}));
    let small_key = Broken {
        keys: Some(key_set(&[&small, &sound.key])),
        ..sound.broken(
            "small RSA key",
            none(),
            small.token(&sound.claims),
            ["key_mismatch", "1024", "2048 to 4096 bits"],
        )
    };
    let pasted_key = Broken {
        keys: None,
        ..sound.broken(
            "rotated key, pasted key set",
            pasted,
            renewed,
            [
                "unknown_kid",
                "has changed its key since",
                "providers[0].jwks`; or give `metadata_url`",
            ],
        )
    };
    let switched_off = {
        let other = json!({
            "name": "other", "issuer": "https://other.example.com", "client_ids": ["mcp"],
            "jwks": key_set(&[&sound.key]),
        });
        let off = with(&sound.provider, json!({"active": false}));
        Broken {
            configuration: configuration(json!([other, off])),
            ..sound.broken(
                "provider switched off",
                none(),
                good.clone(),
                ["unknown_issuer", "configured and switched off", "providers[1].active"],
            )
        }
    };
    assert_explained([
        sound.broken(
            "expired token",
            none(),
            expired,
            ["expired", "The token expired 3,61", "get a new token"],
        ),
        sound.broken(
            "milliseconds",
            none(),
            sound.token(json!({"iat": now() * 1000})),
            ["not_yet_valid", "in milliseconds", "Fix the issuer of these tokens"],
        ),
        sound.broken(
            "too old",
            json!({"max_token_age": "1h"}),
            sound.token(json!({"iat": now() - 7200})),
            ["token_too_old", "allows 3,600 s", "providers[0].max_token_age"],
        ),
        sound.broken(
            "capital letters",
            none(),
            sound.token(json!({"aud": "MCP"})),
            [
                "audience_mismatch",
                "differ by capital letters",
                "Write \"MCP\" in `providers[0].client_ids`",
            ],
        ),
        sound.broken(
            "token for the server's URL",
            none(),
            sound.token(json!({"aud": "https://mcp.example.com/mcp"})),
            ["audience_mismatch", "for this very server", "Add \"https://mcp.example.com/mcp\""],
        ),
        sound.broken(
            "changed token",
            none(),
            other,
            ["bad_signature", "was changed afterwards", "Copy the token again"],
        ),
        sound.broken(
            "DPoP",
            none(),
            sound.token(json!({"cnf": {"jkt": "t"}})),
            ["bound_token", "DPoP (RFC 9449)", "Switch off sender-constrained tokens"],
        ),
        sound.broken(
            "typ is JWT and at+jwt alone is listed",
            json!({"token_types": ["at+jwt"]}),
            sound.token_with_header(json!({"typ": "JWT"}), none()),
            ["wrong_token_type", "calls itself \"JWT\"", "providers[0].token_types"],
        ),
        sound.broken(
            "quotes",
            none(),
            format!("\"{good}\""),
            ["malformed_token", "is in quotes", "Leave the quotes out"],
        ),
        sound.broken(
            "too long",
            none(),
            sound.token(json!({"groups": vec!["g"; 3000]})),
            ["malformed_token", "at most 8192 are read", "`max_token_size`"],
        ),
        sound
            .broken(
                "user without a record",
                none(),
                good.clone(),
                ["user_unknown", "no user here has its sub", "`users.records`"],
            )
            .with("users", json!({"records": [{"user_name": "bob"}]})),
        sound
            .broken(
                "locked user",
                none(),
                good.clone(),
                ["user_inactive", "\"ada\" is locked", "correct `active` or `locked`"],
            )
            .with("users", json!({"records": [{"user_name": "ada", "locked": true}]})),
        sound
            .broken(
                "service on a person's record",
                none(),
                sound.token(json!({"client_id": "ada"})),
                ["user_not_service_account", "a service's own", "`web_service_access_only: true`"],
            )
            .with("users", json!({"records": [{"user_name": "ada"}]})),
        sound
            .broken(
                "scope is lacking",
                none(),
                good.clone(),
                ["insufficient_scope", "rule \"write\"", "ask for \"incident.write\""],
            )
            .with(
                "access",
                json!({"rules": [{
                    "name": "write", "match": {"paths": ["/mcp"]},
                    "require": {"scopes": ["incident.write"]},
                }]}),
            ),
        sound.broken(
            "no rule for a restricted provider",
            json!({"restrict_to_policies": true}),
            good,
            [
                "access_denied",
                "only where an access rule names it",
                "providers[0].restrict_to_policies",
            ],
        ),
        small_key,
        pasted_key,
        switched_off,
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn of_the_form_of_a_token() {
    let sound = Sound::generic();
    let none = || json!({});
    let good = sound.token(none());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    let header_in_plain_base64 =
        BASE64_STANDARD_NO_PAD.encode(json!({"alg": "ES256", "kid": "???>>>???"}).to_string());
    assert!(header_in_plain_base64.contains(['+', '/']));
    let malformed = |name, token: String, [cause, fix]: [&'static str; 2]| {
        sound.broken(name, none(), token, ["malformed_token", cause, fix])
    };
    let with_kid = |kid: Value| sound.token_with_header(json!({ "kid": kid }), none());
    let null = |member: &str| {
        let mut header = sound.key.header();
        header[member] = Value::Null;
        sound.key.sign(&header, &sound.claims)
    };
    assert_explained([
        malformed(
            "padded signature",
            format!("{good}=="),
            ["The signature of the token is padded with `=`", "have the client send it as it came"],
        ),
        malformed(
            "padded payload",
            format!("{header}.{payload}=.{signature}"),
            ["The payload of the token is padded with `=`", "as they are sent"],
        ),
        malformed(
            "plain base64",
            format!("{header_in_plain_base64}.{payload}.{signature}"),
            ["The header of the token is plain base64, with `+` or `/`", "with `-` and `_`"],
        ),
        malformed(
            "damaged",
            format!("{good}!"),
            ["is damaged, or is not a JWT: its signature is not base64url", "cut ends"],
        ),
        malformed(
            "kid is a number",
            with_kid(json!(7)),
            ["`kid` in the token's header is 7, and must be a string", "or leave it out"],
        ),
        malformed(
            "kid is null",
            null("kid"),
            ["`kid` in the token's header is null", "write `kid` as a string, or leave it out"],
        ),
        malformed(
            "x5t is null",
            null("x5t"),
            ["`x5t` in the token's header is null", "write `x5t` as a string, or leave it out"],
        ),
        malformed(
            "alg is null",
            null("alg"),
            ["`alg` in the token's header is null", "`alg` names the algorithm"],
        ),
        malformed(
            "no alg",
            sound.token_with_header(json!({"alg": null}), none()),
            ["it has no `alg`", "what the identity provider handed out"],
        ),
        sound.broken(
            "typ is null",
            none(),
            null("typ"),
            [
                "wrong_token_type",
                "`typ` in the token's header is null, and must be a string",
                "write it as \"at+jwt\" or \"JWT\", or leave it out",
            ],
        ),
        sound.broken(
            "typ is a number, and types are listed",
            json!({"token_types": ["at+jwt"]}),
            sound.token_with_header(json!({"typ": 1}), none()),
            [
                "wrong_token_type",
                "`typ` in the token's header is 1",
                "have it write it as \"at+jwt\"",
            ],
        ),
        sound.broken(
            "no typ, and types are listed",
            json!({"token_types": ["at+jwt"]}),
            sound.token_with_header(json!({"typ": null}), none()),
            ["wrong_token_type", "has no `typ`", "Remove `providers[0].token_types`"],
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn of_claims_that_are_there_and_cannot_be_used() {
    let sound = Sound::generic();
    let none = || json!({});
    let mut subject_is_null = sound.claims.clone();
    subject_is_null["sub"] = Value::Null;
    let by_client = json!({"audience_claim": "client_id", "client_ids": ["agent"]});
    let rule = |line: &str| {
        let require = json!({ line: ["admin"] });
        json!({"rules": [{"name": "admin", "match": {"paths": ["/mcp"]}, "require": require}]})
    };
    let zitadel = json!({"admin": {"1": "acme.example"}});
    assert_explained([
        sound.broken(
            "sub is empty",
            none(),
            sound.token(json!({"sub": "", "email": "a@b.c"})),
            [
                "missing_claim",
                "its `sub` is \"\", and must be a string that is not empty",
                "set `providers[0].user_claim` to one that names the user: email",
            ],
        ),
        sound.broken(
            "sub is null",
            none(),
            sound.key.token(&subject_is_null),
            ["missing_claim", "its `sub` is null", "Have the provider write the user into `sub`"],
        ),
        sound.broken(
            "sub is an object",
            none(),
            sound.token(json!({"sub": {"id": 1}})),
            ["missing_claim", "its `sub` is {\"id\":1}", "write the user into `sub`."],
        ),
        sound.broken(
            "machine without sub",
            none(),
            sound.token(json!({"sub": null, "client_id": "agent"})),
            [
                "missing_claim",
                "it has no sub",
                "set `providers[0].service_user_claim` to the claim that names its client; but only",
            ],
        ),
        sound.broken(
            "service without its claim",
            json!({"service_user_claim": "azp"}),
            sound.token(json!({"sub": null, "client_id": "agent"})),
            ["missing_claim", "it has no azp", "set `providers[0].service_user_claim` to a claim"],
        ),
        sound.broken(
            "no audience",
            none(),
            sound.token(json!({"aud": null, "client_id": "agent"})),
            [
                "audience_mismatch",
                "it has no `aud`",
                "set `providers[0].audience_claim: client_id` and add \"agent\" to \
                 `providers[0].client_ids`; but then a token that this client got for any other API",
            ],
        ),
        sound.broken(
            "another client",
            by_client.clone(),
            sound.token(json!({"aud": null, "client_id": "other"})),
            ["audience_mismatch", "to another client: `client_id` \"other\"", "trust that client"],
        ),
        sound.broken(
            "two clients",
            by_client.clone(),
            sound.token(json!({"aud": null, "client_id": "agent", "azp": "other"})),
            [
                "audience_mismatch",
                "in several ways: `azp` \"other\", `client_id` \"agent\"",
                "write its id alike everywhere",
            ],
        ),
        sound.broken(
            "no client",
            by_client.clone(),
            sound.token(json!({"aud": "agent"})),
            ["audience_mismatch", "does not say to which client", "ID tokens name the client in `aud`"],
        ),
        sound.broken(
            "the right client and another audience",
            by_client,
            sound.token(json!({"aud": "other", "client_id": "agent"})),
            ["audience_mismatch", "`aud` is \"other\", accepted are \"agent\"", "client_ids"],
        ),
        sound.broken(
            "nothing of what one is required of",
            json!({"required_any_claim": ["scope", ["realm", "roles"]]}),
            sound.token(json!({"scope": " ", "realm": {"roles": []}})),
            [
                "missing_claim",
                "carries nothing in scope or realm.roles",
                "`providers[0].required_any_claim`",
            ],
        ),
        sound.broken(
            "roles in an object",
            json!({"roles_claim": "urn:zitadel:iam:org:project:roles"}),
            sound.token(json!({"urn:zitadel:iam:org:project:roles": zitadel})),
            [
                "access_denied",
                "none can be read in the claim `urn:zitadel:iam:org:project:roles`: it is an object, \
                 not a list",
                "`providers[0].roles_claim: {keys_of: \"urn:zitadel:iam:org:project:roles\"}`",
            ],
        )
        .with("access", rule("roles")),
        sound.broken(
            "groups in an object in an object",
            json!({"groups_claim": ["realm", "groups"]}),
            sound.token(json!({"realm": {"groups": zitadel}})),
            [
                "access_denied",
                "asks for groups, and none can be read in the claim `realm.groups`",
                "`providers[0].groups_claim: {keys_of: [\"realm\",\"groups\"]}`",
            ],
        )
        .with("access", rule("groups")),
        sound.broken(
            "a list where an object is asked for",
            json!({"roles_claim": {"keys_of": "roles"}}),
            sound.token(json!({"roles": ["admin"]})),
            ["access_denied", "claim `roles`: it is a list, not an object", "providers[0].roles_claim"],
        )
        .with("access", rule("roles")),
        sound.broken(
            "roles that are not there",
            none(),
            sound.token(none()),
            ["access_denied", "asks for other roles", "`require.roles`"],
        )
        .with("access", rule("roles")),
    ]);
}

#[test]
fn of_milliseconds() {
    let sound = Sound::generic();
    let in_milliseconds = now() * 1000;
    assert_explained([
        sound.broken(
            "nbf in milliseconds",
            json!({}),
            sound.token(json!({"nbf": in_milliseconds})),
            ["not_yet_valid", "`nbf` is in milliseconds", "Fix the issuer of these tokens"],
        ),
        sound.broken(
            "iat in milliseconds, with a fraction",
            json!({}),
            sound.token(json!({"iat": 1.8e12})),
            ["not_yet_valid", "`iat` is in milliseconds", "Fix the issuer of these tokens"],
        ),
    ]);
    let config = file(".json", &configuration(json!([sound.provider])).to_string());
    let keys = file(".jwks", &key_set(&[&sound.key]).to_string());
    let note = "exp is in milliseconds";
    for (claims, code, is_noticed) in [
        (json!({"exp": in_milliseconds}), 0, true),
        (json!({"exp": 1.8e12}), 0, true),
        // Whatever else is wrong with it.
        (json!({"exp": in_milliseconds, "aud": "other"}), 1, true),
        (json!({}), 0, false),
        (json!({"aud": "other"}), 1, false),
    ] {
        let arguments = ["explain", &config, "--json", "--keys", &keys];
        let run = mcp_auth(&arguments, &sound.token(claims.clone()));
        assert_eq!(run.code, Some(code), "{claims}: {run:?}");
        let notes = run.json()["notes"].to_string();
        assert_eq!(notes.contains(note), is_noticed, "{claims}: {notes}");
    }
}

#[test]
fn a_token_accepted_only_by_its_client_is_noted() {
    let sound = Sound::generic();
    let provider =
        with(&sound.provider, json!({"audience_claim": "client_id", "client_ids": ["agent"]}));
    let config = file(".json", &configuration(json!([provider])).to_string());
    let keys = file(".jwks", &key_set(&[&sound.key]).to_string());
    for (aud, is_said) in [(Value::Null, true), (json!("agent"), false)] {
        let token = sound.token(json!({"aud": aud, "client_id": "agent"}));
        let run = mcp_auth(&["explain", &config, "--json", "--keys", &keys], &token);
        assert_eq!(run.code, Some(0), "{run:?}");
        let notes = run.json()["notes"].to_string();
        assert_eq!(
            notes.contains("has no audience and is accepted by its client id"),
            is_said,
            "{notes}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn of_keys_that_cannot_be_fetched() {
    let mut stopped = IdentityProvider::start().await;
    let rotated = Sound::for_provider(&stopped);
    stopped.stop().await;
    let cluster = |name: &str| json!({"cluster": null, "clusters": {"127.0.0.1": name}});
    let providers: Vec<IdentityProvider> = {
        let mut providers = Vec::new();
        for _ in 0..8 {
            providers.push(IdentityProvider::start_on(Port::free()).await);
        }
        providers
    };
    let [other_issuer, other_host, gone, redirect, page, no_key, hangs, long] = &providers[..]
    else {
        panic!("eight providers")
    };
    other_issuer
        .edit(Document::Discovery, |document| document["issuer"] = "https://b.example".into());
    other_host.edit(Document::Discovery, |document| {
        document["jwks_uri"] = "https://www.googleapis.com/oauth2/v3/certs".into();
    });
    gone.fail(Document::Discovery, Fault::Status(404));
    redirect.fail(Document::Discovery, Fault::Redirect("http://127.0.0.1:1/".to_owned()));
    page.fail(Document::Discovery, Fault::Body(b"<html>Sign in</html>".to_vec()));
    no_key.edit(Document::KeySet, |document| document["keys"][0]["use"] = "enc".into());
    hangs.fail(Document::Discovery, Fault::Hang);
    long.fail(Document::KeySet, Fault::Oversize(300 * 1024));

    let (tls, _) = self_signed();
    let untrusted = serve(Some(tls), |_, _| response("200 OK", "", "{}"));
    let untrusted = Sound::fetched(&format!("https://localhost:{}", untrusted.port()));
    let nowhere = Sound::fetched("https://id.invalid");
    let entra = IdentityProvider::start().await;
    let mut of_entra = Sound::for_provider(&entra);
    let template = json!({"template": "entra_id", "tenant": TENANT});
    of_entra.claims["upn"] = "ada".into();
    let own_key = SigningKey::generate(Algorithm::Rs256, "own").token(&of_entra.claims);
    let none = || json!({});
    assert_explained([
        Broken {
            keys: None,
            ..of_entra.broken(
                "application of Entra ID with a key of its own",
                template,
                own_key,
                ["unknown_kid", "a signing key of its own", "`?appid=mcp` at its end"],
            )
        },
        rotated.unreachable(
            "rotated key with blocked endpoint",
            none(),
            ["cannot be reached (Connection refused", "Allow traffic from Envoy to that host"],
        ),
        untrusted.unreachable(
            "TLS failure at the provider",
            none(),
            ["the TLS handshake with https://localhost", "`trusted_ca` of Envoy's cluster \"own\""],
        ),
        nowhere.unreachable(
            "unknown host",
            none(),
            ["the host name of https://id.invalid", "(DNS)"],
        ),
        Sound::for_provider(other_issuer).unreachable(
            "metadata of another issuer",
            none(),
            ["says issuer \"https://b.example\"", "providers[0].issuer"],
        ),
        Sound::for_provider(other_host).unreachable(
            "key set on a host without cluster",
            cluster("own"),
            [
                "no cluster is configured for its host www.googleapis.com",
                "Add `www.googleapis.com: <cluster>` to `providers[0].clusters`",
            ],
        ),
        Sound::for_provider(gone).unreachable(
            "no document there",
            none(),
            ["status 404", "comes from `providers[0].metadata_url`"],
        ),
        Sound::for_provider(redirect).unreachable(
            "redirect",
            none(),
            ["a redirect to \"http://127.0.0.1:1/\"", "comes from `providers[0].metadata_url`"],
        ),
        Sound::for_provider(page).unreachable(
            "login page instead of metadata",
            none(),
            ["begins with \"<html>", "a login page or a proxy: open the URL in a browser"],
        ),
        Sound::for_provider(no_key).unreachable(
            "no key for signatures",
            none(),
            ["holds no key that could verify", "`mcp-auth keys`"],
        ),
        Sound::for_provider(hangs).unreachable(
            "endpoint that hangs",
            json!({"keys": {"timeout": "1s"}}),
            ["does not respond in time", "`keys.timeout`"],
        ),
        Sound::for_provider(long).unreachable(
            "key set that is too long",
            none(),
            ["longer than keys.max_body, 262144 bytes", "Raise `keys.max_body`"],
        ),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn of_something_else_where_keys_should_be() {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let html = || Fault::Body(b"<html>Sign in</html>".to_vec());
    let body = |value: Value| Fault::Body(value.to_string().into());
    let metadata = json!({"issuer": "https://a.example", "jwks_uri": "https://a.example/keys"});
    let moved = "https://id.example.com/keys";
    let browser = "correct it. It comes from `providers[0].metadata_url`";
    let faults = [
        (
            "no signing key",
            Document::KeySet,
            body(json!({})),
            ["an empty object, without `keys`", "no signing key"],
        ),
        ("login page", Document::KeySet, html(), ["begins with \"<html>", browser]),
        (
            "compressed keys",
            Document::KeySet,
            Fault::Encoded("gzip", vec![0x1f, 0x8b]),
            ["(content-encoding \"gzip\")", "does not request compression"],
        ),
        (
            "compressed metadata",
            Document::Discovery,
            Fault::Encoded("zstd", vec![0x28, 0xb5]),
            ["(content-encoding \"zstd\")", "does not request compression"],
        ),
        ("list", Document::KeySet, body(json!([key.public_jwk()])), ["it is a list", browser]),
        (
            "bare key",
            Document::KeySet,
            body(key.public_jwk()),
            ["it is a single key", "copy the key to `providers[0].jwks`"],
        ),
        (
            "certificates",
            Document::KeySet,
            body(json!({"a": key.certificate_pem()})),
            [
                "an object of X.509 certificates",
                "copy the certificates to `providers[0].certificates`",
            ],
        ),
        (
            "metadata where keys should be",
            Document::KeySet,
            body(metadata),
            ["only [\"issuer\", \"jwks_uri\"]", "as `providers[0].metadata_url`"],
        ),
        (
            "keys where metadata should be",
            Document::Discovery,
            body(key_set(&[&key])),
            ["only [\"keys\"]", "as `providers[0].jwks_url`"],
        ),
        (
            "keys that have moved",
            Document::KeySet,
            Fault::Redirect(moved.to_owned()),
            ["a redirect to \"https://id.example.com/keys\"", "configure the address"],
        ),
    ];
    let mut broken = Vec::new();
    let mut providers = Vec::new();
    for (name, document, fault, cause) in faults {
        let provider = IdentityProvider::start().await;
        provider.fail(document, fault);
        broken.push(Sound::for_provider(&provider).unreachable(name, json!({}), cause));
        providers.push(provider);
    }
    assert_explained(broken);
}

#[test]
fn of_clocks_that_differ() {
    let clock = |seconds_ahead: i64| {
        let address = serve(None, move |_, _| {
            let seconds = now().checked_add_signed(seconds_ahead).unwrap();
            let date = UNIX_EPOCH + Duration::from_secs(seconds);
            response("200 OK", &format!("date: {}\r\n", httpdate::fmt_http_date(date)), "{}")
        });
        Sound::fetched(&format!("http://{address}"))
    };
    let (slow, fast, right) = (clock(-900), clock(900), clock(0));
    let of_yesterday = json!({"iat": now() - 90_000, "exp": now() - 86_400});
    let cases = [
        slow.broken(
            "clock of this machine is fast",
            json!({}),
            slow.token(json!({"iat": now() - 4000, "exp": now() - 400})),
            ["expired", "The clock of this machine is 900 s ahead of the provider's", "follow NTP"],
        ),
        slow.broken(
            "clock is fast, but not that fast",
            json!({}),
            slow.token(of_yesterday),
            ["expired", "It was issued for 3,600 s", "--at"],
        ),
        fast.broken(
            "clock of this machine is slow",
            json!({}),
            fast.token(json!({"iat": now() + 900})),
            ["not_yet_valid", "The clock of this machine is", "follow NTP"],
        ),
        fast.broken(
            "expired, though the clock is slow",
            json!({}),
            fast.token(json!({"iat": now() - 4000, "exp": now() - 400})),
            ["expired", "It was issued for 3,600 s", "get a new token"],
        ),
        right.broken(
            "clock of the issuer is fast",
            json!({}),
            right.token(json!({"iat": now() + 900})),
            ["not_yet_valid", "two clocks differ by that much", "providers[0].clock_skew"],
        ),
    ];
    assert_explained(cases.into_iter().map(|case| Broken { keys: None, ..case }));
}
