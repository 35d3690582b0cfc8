//! Access policy: rules that match paths, HTTP methods and MCP messages, and what they require.

mod case;
mod inspection;
mod mcp_call;
mod mcp_headers;
mod message;
mod message_id;
mod path;
mod pattern;
mod policy;
mod rule;
mod scopes;
mod uri;

pub(crate) use inspection::Inspection;
pub(crate) use mcp_headers::McpHeaders;
pub(crate) use message_id::MessageId;
pub(crate) use path::CanonicalPath;
pub(crate) use pattern::Pattern;
pub(crate) use policy::{AccessPolicy, DefaultAccess, Permission, Target};
pub(crate) use rule::{Match, Requirement, Rule};
pub(crate) use scopes::ScopeHierarchy;
pub(crate) use uri::is_normal as is_normal_uri;

/// For the fuzz targets: whether the body of a request is a message. Asserts that an `id` that would
/// be sent back is short JSON.
#[cfg(any(fuzzing, test))]
pub(crate) fn reads_message(body: &[u8]) -> bool {
    let is_message = message::Message::read(body).is_ok();
    assert!(!is_message || std::str::from_utf8(body).is_ok());
    if let Some(id) = MessageId::from_body(body) {
        let id = serde_json::to_string(&id).unwrap_or_default();
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&id).is_ok());
        assert!(id.len() <= 6 * 1024 + 2);
    }
    if std::str::from_utf8(body).is_ok_and(is_normal_uri) {
        assert!(body.is_ascii());
    }
    is_message
}
