//! Requests, ready to be sent.

use serde_json::{Value, json};
use testbed::{IdentityProvider, Stack, random_id};

/// Some requests, sent in turn.
pub struct Requests {
    distinct: Vec<Vec<u8>>,
    count: usize,
}

impl Requests {
    /// The next `count` of them, in a cycle.
    pub fn new(distinct: Vec<Vec<u8>>, count: usize) -> Self {
        Self { distinct, count }
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.distinct.iter().map(Vec::as_slice).cycle().take(self.count)
    }
}

/// The request of an MCP client, but without a body, so that only heads are measured.
pub fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let fields = fields(token);
    format!("GET {path} HTTP/1.1\r\n{fields}mcp-protocol-version: 2025-11-25\r\n\r\n").into_bytes()
}

/// A call to this tool by a client of MCP 2026-07-28.
pub fn call(path: &str, token: &str, tool: &str) -> Vec<u8> {
    let params = json!({"name": tool, "arguments": {"state": "open", "limit": 20}});
    post(path, token, "tools/call", &format!("mcp-name: {tool}\r\n"), &params)
}

/// A request for the list of tools by such a client.
pub fn list(path: &str, token: &str) -> Vec<u8> {
    post(path, token, "tools/list", "", &json!({}))
}

fn post(path: &str, token: &str, method: &str, more_fields: &str, params: &Value) -> Vec<u8> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let fields = fields(Some(token));
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\n{fields}mcp-protocol-version: 2026-07-28\r\n\
         mcp-method: {method}\r\n{more_fields}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The header fields of every request of an MCP client.
fn fields(token: Option<&str>) -> String {
    let authorization =
        token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "host: mcp.example.com\r\naccept: application/json, text/event-stream\r\n\
         content-type: application/json\r\nmcp-session-id: 3f0c1f5d7e9b4a53\r\n\
         user-agent: bench\r\n{authorization}"
    )
}

/// A token that no other call returns, signed by the current key.
pub fn token(provider: &IdentityProvider) -> String {
    provider.token(&claims(provider))
}

/// As many claims as the plugin copies into header fields, each a string or a number.
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

/// The claims that `jwt_authn` copies into header fields: twelve, as many as the plugin with roles
/// and groups.
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
