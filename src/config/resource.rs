//! The protected resource.

use http::Uri;

use crate::response::ResourceMetadata;

/// The MCP server that is protected.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Its public URL, exactly as it was configured (RFC 9728 §3.3).
    pub url: String,
    /// Its name, for people.
    pub name: Option<String>,
    /// Where its documentation is.
    pub documentation: Option<String>,
    /// Scopes that its clients may ask for.
    pub scopes_supported: Vec<String>,
    pub(super) uri: Uri,
}

impl Resource {
    /// A resource of this URL.
    ///
    /// # Errors
    ///
    /// The URL cannot be parsed.
    pub(super) fn new(url: String) -> Result<Self, http::uri::InvalidUri> {
        let uri = url.parse()?;
        Ok(Self { url, uri, name: None, documentation: None, scopes_supported: Vec::new() })
    }

    /// The URL of its metadata: the well-known path stands between host and path (RFC 9728 §3.1).
    pub(crate) fn metadata_url(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let query = self.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = match self.uri.path() {
            "/" => "",
            path => path,
        };
        format!("{scheme}://{authority}{}{path}{query}", ResourceMetadata::WELL_KNOWN)
    }

    /// The path of that URL in the form in which paths are compared.
    pub(crate) fn metadata_path(&self) -> String {
        format!("{}{}", ResourceMetadata::WELL_KNOWN, self.path())
    }

    /// The path of its URL without a slash at its end.
    pub(crate) fn path(&self) -> &str {
        let path = self.uri.path();
        path.strip_suffix('/').unwrap_or(path)
    }
}
