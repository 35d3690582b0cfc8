//! Answers: the only place that makes any. A refusal becomes status, challenge and body here, and
//! the resource's metadata a document.

mod error;
mod no_authorization_server;
mod resource_metadata;

use std::borrow::Cow;

pub(crate) use error::{Details, ErrorStyle, Format, RefusalResponses};
pub(crate) use no_authorization_server::NoAuthorizationServer;
pub(crate) use resource_metadata::ResourceMetadata;

/// An answer that the client gets instead of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// The answer to a web page that asks whether it may read what is public (Fetch, CORS protocol).
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
