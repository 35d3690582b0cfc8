//! Responses of the plugin itself. A refusal becomes status, challenge and body, and the metadata
//! of the resource a document.

mod error;
mod no_authorization_server;
mod resource_metadata;

use std::borrow::Cow;

pub(crate) use error::{Details, ErrorStyle, Format, RefusalResponses};
pub(crate) use no_authorization_server::NoAuthorizationServer;
pub(crate) use resource_metadata::ResourceMetadata;

/// A response that the client gets instead of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields, names in lower case.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Empty for a bare status.
    pub body: Vec<u8>,
}

impl Response {
    /// A status without header fields and body.
    #[must_use]
    pub fn bare(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// The response to a CORS preflight request for a public document.
    #[must_use]
    fn preflight() -> Self {
        Self {
            status: 204,
            headers: vec![
                ("access-control-allow-origin", "*".into()),
                ("access-control-allow-methods", "GET, HEAD, OPTIONS".into()),
                ("access-control-allow-headers", "MCP-Protocol-Version".into()),
                ("access-control-max-age", "3600".into()),
            ],
            body: Vec::new(),
        }
    }
}
