use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The claims of an ordinary access token, valid for five minutes; edit them as the test needs.
pub fn claims(issuer: &str, audience: &str) -> Value {
    claims_at(now(), issuer, audience)
}

/// The claims of an ordinary access token that was issued at this time (Unix seconds).
pub fn claims_at(now: u64, issuer: &str, audience: &str) -> Value {
    json!({
        "iss": issuer,
        "aud": audience,
        "sub": "ada",
        "email": "ada@example.com",
        "client_id": "demo-agent",
        "scope": "mcp.tools",
        "iat": now,
        "exp": now + 300,
        "jti": random_id(),
    })
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs()
}

/// A name that no other call returns.
pub fn random_id() -> String {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the system has randomness");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
