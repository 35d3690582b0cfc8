//! What is sent: the same requests to all listeners.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testbed::{IdentityProvider, Stack, random_id};

/// A kind of load.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// One token again and again.
    Hot,
    /// 500 tokens in turn.
    InTurn,
    /// Each token once.
    New,
    /// Each token once, with a wrong signature.
    Forged,
    /// No token.
    Missing,
}

impl Load {
    pub const ALL: [Self; 5] = [Self::Hot, Self::InTurn, Self::New, Self::Forged, Self::Missing];

    fn tokens(self) -> usize {
        match self {
            Self::Hot => 1,
            Self::InTurn => 500,
            Self::New | Self::Forged => 2000,
            Self::Missing => 0,
        }
    }

    fn requests(self) -> usize {
        match self {
            Self::Hot | Self::InTurn | Self::Missing => 5000,
            Self::New | Self::Forged => 2000,
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hot => "one hot token",
            Self::InTurn => "500 tokens in turn",
            Self::New => "always new tokens",
            Self::Forged => "forged signatures",
            Self::Missing => "no token",
        })
    }
}

/// The requests of one round.
pub struct Requests {
    load: Load,
    distinct: Vec<Vec<u8>>,
}

impl Requests {
    pub fn of(load: Load, provider: &IdentityProvider) -> Self {
        let key = provider.key();
        let tokens = (0..load.tokens()).map(|_| {
            let token = key.token(&claims(provider));
            if load == Load::Forged { forged(&token) } else { token }
        });
        let mut distinct: Vec<Vec<u8>> =
            tokens.map(|token| request(&format!("authorization: Bearer {token}\r\n"))).collect();
        if distinct.is_empty() {
            distinct.push(request(""));
        }
        Self { load, distinct }
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.distinct.iter().map(Vec::as_slice).cycle().take(self.load.requests())
    }

    pub fn expected_status(&self) -> u16 {
        match self.load {
            Load::Hot | Load::InTurn | Load::New => 200,
            Load::Forged | Load::Missing => 401,
        }
    }
}

/// As many claims as the plugin makes header fields of, each a text or a number.
fn claims(provider: &IdentityProvider) -> Value {
    let mut claims = provider.claims(Stack::AUDIENCE);
    for (name, value) in CLAIMS {
        if claims.get(name).is_none() {
            claims[name] = json!(value);
        }
    }
    claims["jti"] = json!(random_id());
    claims["exp"] = json!(testbed::now() + 3600);
    claims
}

/// Those that `jwt_authn` writes into header fields: twelve, as the plugin has with roles and groups.
pub const CLAIMS: [(&str, &str); 12] = [
    ("email", "ada@example.com"),
    ("sub", "ada"),
    ("iss", ""),
    ("client_id", "demo-agent"),
    ("scope", "mcp.tools"),
    ("jti", ""),
    ("exp", ""),
    ("roles", "itil"),
    ("groups", "ops"),
    ("name", "Ada Lovelace"),
    ("tid", "8d5c1f2e-0000-4000-8000-000000000000"),
    ("acr", "1"),
];

/// The same with another signature of the same length.
fn forged(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    // Not the first byte: an RSA signature that is greater than the modulus is refused at once.
    let middle = signature.len() / 2;
    signature[middle] ^= 1;
    format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// What an MCP client sends, but without a body, so that nothing but heads is measured.
fn request(authorization: &str) -> Vec<u8> {
    format!(
        "GET /mcp HTTP/1.1\r\nhost: mcp.example.com\r\naccept: application/json, text/event-stream\r\n\
         content-type: application/json\r\nmcp-protocol-version: 2025-11-25\r\n\
         mcp-session-id: 3f0c1f5d7e9b4a53\r\nuser-agent: bench\r\n{authorization}\r\n"
    )
    .into_bytes()
}
