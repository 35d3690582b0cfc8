//! The request to decide on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The request to decide on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The token, without `Bearer`.
    pub token: &'a [u8],
    /// The method of the request.
    pub method: &'a str,
    /// The URL of the request; `None` means that of the only resource.
    pub url: Option<&'a str>,
    /// The path of the request; `None` means that of the URL.
    pub path: Option<&'a str>,
    /// The message in the request; `None` if it is not known.
    pub message: Option<Message<'a>>,
    /// A key set document that replaces the keys of the token's provider.
    pub key_set: Option<&'a [u8]>,
}

/// A request of MCP.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its method.
    pub(super) method: &'a str,
    /// The name of the tool or prompt, or the URI of the resource, that it calls.
    pub(super) name: Option<&'a str>,
    /// The revision of MCP, of those that repeat the message in header fields.
    pub(super) revision: &'a str,
}

impl Message<'_> {
    /// The header fields in which clients repeat it.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let name = self.name.map(|name| format!("=?base64?{}?=", STANDARD.encode(name)));
        let fields = [
            ("mcp-protocol-version", Some(self.revision.to_owned())),
            ("mcp-method", Some(self.method.to_owned())),
            ("mcp-name", name),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Its body.
    pub(super) fn body(&self) -> Vec<u8> {
        let member = if self.method == "resources/read" { "uri" } else { "name" };
        let params = match self.name {
            Some(name) => json!({(member): name}),
            None => json!({}),
        };
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": self.method, "params": params});
        message.to_string().into_bytes()
    }
}
