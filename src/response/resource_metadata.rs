//! The protected resource's metadata (RFC 9728), from which clients learn which authorization
//! servers to use.

use super::Response;
use crate::provider::Providers;
use crate::request::RequestHead;
use crate::resource::ProtectedResource;

/// The document of a resource.
#[derive(Clone, Debug)]
pub(crate) struct ResourceMetadata {
    document: Vec<u8>,
}

impl ResourceMetadata {
    /// The document for this resource. `gateway` is the issuer of the gateway, where people log in
    /// through it.
    #[must_use]
    pub(crate) fn new(
        resource: &ProtectedResource,
        providers: &Providers,
        gateway: Option<&str>,
    ) -> Self {
        Self { document: resource.metadata(providers, gateway).to_string().into_bytes() }
    }

    /// The response to a request at the path of the document, if its method asks for it. No token is
    /// needed.
    #[must_use]
    pub(crate) fn response(&self, head: RequestHead<'_>) -> Option<Response> {
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
