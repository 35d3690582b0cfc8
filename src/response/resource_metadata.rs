//! The protected resource's metadata (RFC 9728), from which clients learn which authorization
//! servers to use.

use super::Response;
use crate::provider::Providers;
use crate::request::{RequestHead, without_slash};
use crate::resource::{ProtectedResource, ResourceUrl};

/// The document and its path.
#[derive(Clone, Debug)]
pub(crate) struct ResourceMetadata {
    paths: [String; 2],
    document: Vec<u8>,
}

impl ResourceMetadata {
    /// The document for this resource.
    #[must_use]
    pub(crate) fn new(resource: &ProtectedResource, providers: &Providers) -> Self {
        Self {
            paths: [resource.url.metadata_path(), ResourceUrl::WELL_KNOWN.to_owned()],
            document: resource.metadata(providers).to_string().into_bytes(),
        }
    }

    /// The response, if the request asks for the document. No token is needed.
    #[must_use]
    pub(crate) fn response(&self, head: RequestHead<'_>) -> Option<Response> {
        let path = without_slash(head.path());
        if !self.paths.iter().any(|known| known.as_bytes() == path) {
            return None;
        }
        match head.method() {
            b"GET" | b"HEAD" => Some(Response {
                status: 200,
                headers: vec![
                    ("content-type", "application/json".into()),
                    ("cache-control", "public, max-age=300".into()),
                    ("access-control-allow-origin", "*".into()),
                ],
                body: self.document.clone(),
            }),
            b"OPTIONS" => Some(Response::preflight()),
            _ => None,
        }
    }
}
