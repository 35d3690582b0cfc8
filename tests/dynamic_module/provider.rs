//! A provider whose responses are written by the tests, and configurations that trust it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Algorithm, SigningKey, claims};

use crate::envoy::Envoy;
use crate::sequences::World;

const KID: &str = "one";

/// One provider for each test: the whole process shares keys.
pub struct Provider {
    pub issuer: String,
    pub key: SigningKey,
}

impl Provider {
    pub fn new() -> Self {
        Self { issuer: new_issuer(), key: SigningKey::generate(Algorithm::Es256, KID) }
    }

    /// Another provider with the same key.
    pub fn with_new_issuer(&self) -> Self {
        Self { issuer: new_issuer(), key: self.key.clone() }
    }

    pub fn configuration(&self) -> Value {
        json!({
            "resource": {"url": "https://mcp.example.com/mcp"},
            "providers": [{
                "name": "example",
                "issuer": self.issuer,
                "client_ids": ["mcp"],
                "jwks_url": format!("{}/jwks", self.issuer),
                "cluster": "provider",
            }],
        })
    }

    pub fn token(&self) -> String {
        self.key.token(&claims(&self.issuer, "mcp"))
    }

    pub fn key_set(&self) -> String {
        json!({"keys": [self.key.public_jwk()]}).to_string()
    }

    /// The tokens and keys that a sequence of callbacks may use.
    pub fn world(&self) -> World {
        static UNKNOWN: LazyLock<SigningKey> =
            LazyLock::new(|| SigningKey::generate(Algorithm::Es256, "unknown"));
        static FORGER: LazyLock<SigningKey> =
            LazyLock::new(|| SigningKey::generate(Algorithm::Es256, KID));
        let claims = claims(&self.issuer, "mcp");
        World {
            configuration: self.configuration(),
            key_set: self.key_set(),
            valid_tokens: vec![self.token(), self.token()],
            forged_tokens: vec![
                FORGER.token(&claims),
                UNKNOWN.token(&claims),
                "no-token".to_owned(),
                String::new(),
            ],
            patience: Duration::from_millis(10),
        }
    }

    /// Responds to the current or next fetch of the keys.
    pub fn serve_keys(&self, envoy: &Envoy) {
        let callout = envoy.await_callout("/jwks");
        envoy.respond(&callout, Some(("200", self.key_set().as_bytes())));
    }
}

fn new_issuer() -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    format!("https://id{}.example.com", LAST.fetch_add(1, Ordering::SeqCst))
}

/// An Envoy with a filter that has its keys.
pub fn start(provider: &Provider) -> (Envoy, usize) {
    start_with(provider, &provider.configuration())
}

/// The same with this configuration.
pub fn start_with(provider: &Provider, configuration: &Value) -> (Envoy, usize) {
    let envoy = Envoy::start();
    let config = envoy.configure("mcp-federated-auth", &configuration.to_string()).unwrap();
    provider.serve_keys(&envoy);
    (envoy, config)
}

/// Sends the head of a request with a token, on the default route.
pub fn open(envoy: &Envoy, config: usize, token: &str, is_end: bool) -> usize {
    open_on(envoy, config, token, is_end, 0)
}

/// The same on this route.
pub fn open_on(envoy: &Envoy, config: usize, token: &str, is_end: bool, route: usize) -> usize {
    let authorization = format!("Bearer {token}");
    let fields: [(&str, &[u8]); 6] = [
        (":method", b"POST"),
        (":path", b"/mcp"),
        ("authorization", authorization.as_bytes()),
        ("content-type", b"application/json"),
        ("x-mcp-user", b"mallory"),
        ("x-other", b"kept"),
    ];
    envoy.open(config, &fields, is_end, route)
}

/// Asserts that a request has the identity of the token, and no overwritten bytes.
#[track_caller]
pub fn assert_identity(envoy: &Envoy, stream: usize) {
    let request = envoy.request(stream);
    let values = |wanted: &str| -> Vec<String> {
        let named = request.iter().filter(|(name, _)| name == wanted.as_bytes());
        named.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect()
    };
    assert_eq!(values("x-mcp-user"), ["ada"], "{request:?}");
    assert_eq!(values("x-mcp-provider"), ["example"]);
    assert_eq!(values("x-other"), ["kept"]);
    assert_eq!(values("authorization"), [""; 0]);
}
