//! The URL by which clients know the resource.

use http::Uri;
use http::uri::InvalidUri;

/// The public URL of the resource.
#[derive(Clone, Debug)]
pub(crate) struct ResourceUrl {
    /// Exactly as it was configured (RFC 9728 §3.3).
    text: String,
    uri: Uri,
    /// Whether its path has percent-encoded bytes.
    is_encoded: bool,
}

impl ResourceUrl {
    /// The well-known path of RFC 9728 §3.
    pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

    /// The URL as it was configured.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL of the resource's metadata: the well-known path between host and path (RFC 9728
    /// §3.1).
    #[must_use]
    pub(crate) fn metadata_url(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let query = self.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = match self.uri.path() {
            "/" => "",
            path => path,
        };
        format!("{scheme}://{authority}{}{path}{query}", Self::WELL_KNOWN)
    }

    /// The path of that URL in the form in which paths are compared.
    #[must_use]
    pub(crate) fn metadata_path(&self) -> String {
        format!("{}{}", Self::WELL_KNOWN, self.path_without_slash())
    }

    /// Host and port, as they were configured.
    #[must_use]
    pub(crate) fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// The port of its scheme.
    #[must_use]
    pub(crate) fn default_port(&self) -> u16 {
        let is_plain =
            self.uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
        if is_plain { 80 } else { 443 }
    }

    /// Its path.
    #[must_use]
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// Whether a path, which once decoded is at or below the path of this URL, begins with the same
    /// bytes: its segments are percent-encoded as in the URL.
    #[must_use]
    pub(crate) fn begins_as_written(&self, path: &[u8]) -> bool {
        let own = self.path_without_slash().as_bytes().split(|byte| *byte == b'/').skip(1);
        let sent = path.split(|byte| *byte == b'/').skip(1);
        let is_written_alike = !self.is_encoded && !path.contains(&b'%');
        is_written_alike || own.zip(sent).all(|(own, sent)| own == sent)
    }

    /// Whether its path is as Envoy forwards it if it normalises paths: characters that never need
    /// encoding (RFC 3986 §2.3) are plain, and those that a path cannot have (§3.3) are encoded.
    #[must_use]
    pub(crate) fn is_normalised(&self) -> bool {
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let bytes = self.uri.path().as_bytes();
        bytes.iter().enumerate().all(|(at, byte)| match byte {
            b'%' => percent_encoding::percent_decode(bytes.get(at..at + 3).unwrap_or_default())
                .next()
                .is_some_and(|decoded| !is_unreserved(decoded)),
            byte => is_unreserved(*byte) || b"!$&'()*+,;=:@/".contains(byte),
        })
    }

    /// Its path without a slash at the end.
    #[must_use]
    pub(crate) fn path_without_slash(&self) -> &str {
        let path = self.uri.path();
        path.strip_suffix('/').unwrap_or(path)
    }
}

impl TryFrom<String> for ResourceUrl {
    type Error = InvalidUri;

    fn try_from(text: String) -> Result<Self, InvalidUri> {
        let uri: Uri = text.parse()?;
        let is_encoded = uri.path().contains('%');
        Ok(Self { text, uri, is_encoded })
    }
}
