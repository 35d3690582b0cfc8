//! The protected resource's metadata (RFC 9728): what tells a client whose tokens are accepted.

use serde_json::{Map, Value};

use super::Response;
use crate::callout::is_secure_url;
use crate::config::Resource;
use crate::provider::Providers;
use crate::request::{RequestHead, without_slash};

/// The document, and where it is served.
#[derive(Clone, Debug)]
pub(crate) struct ResourceMetadata {
    paths: [String; 2],
    document: Vec<u8>,
}

impl ResourceMetadata {
    /// The well-known path of RFC 9728 §3.
    pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

    /// The document of this resource.
    #[must_use]
    pub(crate) fn new(resource: &Resource, providers: &Providers) -> Self {
        let mut document = Map::new();
        document.insert("resource".to_owned(), resource.url.as_str().into());
        // RFC 9728 §3.2: members without a value are left out.
        //
        // Clients parse issuers as URLs, and some refuse the whole document for one that is none.
        let issuers: Vec<&str> =
            providers.authorization_servers().filter(|issuer| is_secure_url(issuer)).collect();
        if !issuers.is_empty() {
            document.insert("authorization_servers".to_owned(), issuers.into());
        }
        document.insert("bearer_methods_supported".to_owned(), ["header"].as_slice().into());
        if !resource.scopes_supported.is_empty() {
            document
                .insert("scopes_supported".to_owned(), resource.scopes_supported.as_slice().into());
        }
        if let Some(name) = &resource.name {
            document.insert("resource_name".to_owned(), name.as_str().into());
        }
        if let Some(documentation) = &resource.documentation {
            document.insert("resource_documentation".to_owned(), documentation.as_str().into());
        }
        Self {
            paths: [resource.metadata_path(), Self::WELL_KNOWN.to_owned()],
            document: Value::Object(document).to_string().into_bytes(),
        }
    }

    /// The answer, if the request asks for the document. No token is needed for it.
    #[must_use]
    pub(crate) fn response(&self, head: RequestHead<'_>) -> Option<Response> {
        let path = without_slash(head.path());
        if !self.paths.iter().any(|own| own.as_bytes() == path) {
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
