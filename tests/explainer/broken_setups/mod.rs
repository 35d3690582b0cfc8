//! Broken set-ups as they occur in practice: for each, one sentence names the cause, and another
//! says what to change.

mod keys;
mod providers;
mod tokens;

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

/// A broken set-up, and what the program must say about it.
struct Broken {
    name: &'static str,
    configuration: Value,
    token: String,
    /// The provider's key set; `None` if it is fetched.
    keys: Option<Value>,
    arguments: Vec<String>,
    reason: &'static str,
    /// Parts of the sentences.
    cause: &'static str,
    fix: &'static str,
}

/// A valid provider with its key, and claims that it accepts.
struct Sound {
    provider: Value,
    key: SigningKey,
    claims: Value,
}

impl Sound {
    fn new(provider: Value, claims: Value) -> Self {
        // Every template allows RS256.
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

    /// A provider whose keys are fetched from this address.
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

    /// The same for keys that are fetched.
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

    /// What is wrong with the program's output.
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
