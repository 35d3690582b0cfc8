use serde_json::json;
use testkit::{Algorithm, SigningKey, claims};

use super::*;
use crate::jose::PureRust;
use crate::keys::ProviderKeys;
use crate::token::VerificationBudget;

const ISSUER: &str = "https://id.example.com";

/// A request that waits for its message, and the authenticator that decides on it.
fn held() -> (Authenticator, HeldRequest) {
    let key = SigningKey::generate(Algorithm::Es256, "one");
    let configuration = json!({
        "resource": {"url": "https://mcp.example.com/mcp"},
        "providers": [{
            "name": "example",
            "issuer": ISSUER,
            "client_ids": ["mcp"],
            "jwks": {"keys": [key.public_jwk()]},
        }],
        "access": {"rules": [{"name": "ping", "match": {"mcp_methods": ["ping"]}}]},
    });
    let config = Config::from_bytes(configuration.to_string().as_bytes()).unwrap();
    let keys = config.providers.map(|provider| ProviderKeys::new(provider.key_source.clone(), 0));
    let authenticator = Authenticator::new(config);
    let authorization = format!("Bearer {}", key.token(&claims(ISSUER, "mcp")));
    let fields: [(&[u8], &[u8]); 4] = [
        (b":method", b"POST"),
        (b":path", b"/mcp"),
        (b"content-type", b"application/json"),
        (b"authorization", authorization.as_bytes()),
    ];
    let now = UnixTime::from_secs(testkit::now());
    let (_, examined) = authenticator.examine(RequestHead::new(&fields, true));
    let Examined::Bearer(request) = examined else {
        panic!("it has a token");
    };
    let request = authenticator.read(request, None, now).unwrap();
    let budget = &VerificationBudget::new();
    let view = WorkerView { keys: &keys, users: None, verifier: &PureRust, budget };
    let decision = authenticator.judge(request, view, now).decision;
    let Decision::AwaitBody(held) = decision else { panic!("{decision:?}") };
    (authenticator, *held)
}

const PING: &[u8] = br#"{"jsonrpc": "2.0", "id": 1, "method": "ping"}"#;

#[test]
fn a_message_passes_as_long_as_its_token_is_valid() {
    let (authenticator, held) = held();
    let decision = authenticator.judge_body(held, Body::Whole(PING));
    assert!(matches!(decision, Decision::Forward(..)), "{decision:?}");
}
