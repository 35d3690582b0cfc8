//! Client ID metadata documents: a client publishes what others register.

use std::fmt;

use serde_json::Value;

use super::client::{Client, ClientIdentity, ClientName, DocumentUrl};
use super::redirect_uri::RedirectUri;
use crate::callout::{BodyLimit, CalloutFault, CalloutResponse};

/// Why a document does not describe its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DocumentFault {
    Callout(CalloutFault),
    NotAnObject,
    /// It belongs to another client.
    OtherClient,
    /// It has no redirect URI that can be used.
    NoRedirectUri,
}

/// Longest document that is read.
pub(crate) const DOCUMENT_LIMIT: BodyLimit = BodyLimit { bytes: 16 * 1024, setting: "16KiB" };

impl Client {
    /// Maximum number of redirect URIs that are read from a document.
    const MAX_REDIRECT_URIS: usize = 32;

    /// Reads the response to a request for the document at `url`. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub(crate) fn from_document(
        response: Option<CalloutResponse>,
        url: &DocumentUrl,
    ) -> Result<Self, DocumentFault> {
        let response = CalloutResponse::checked(response, &[200], DOCUMENT_LIMIT)
            .map_err(DocumentFault::Callout)?;
        let document: Value =
            serde_json::from_slice(&response.body).map_err(|_| DocumentFault::NotAnObject)?;
        let string = |name: &str| document.get(name).and_then(Value::as_str);
        if string("client_id") != Some(url.as_str()) {
            return Err(DocumentFault::OtherClient);
        }
        let uris = document.get("redirect_uris").and_then(Value::as_array).into_iter().flatten();
        let redirect_uris: Vec<RedirectUri> = uris
            .filter_map(|uri| RedirectUri::parse(uri.as_str()?).ok())
            .take(Self::MAX_REDIRECT_URIS)
            .collect();
        if redirect_uris.is_empty() {
            return Err(DocumentFault::NoRedirectUri);
        }
        Ok(Self {
            identity: ClientIdentity::Document { host: url.host().to_owned() },
            name: string("client_name").and_then(ClientName::new),
            redirect_uris,
        })
    }
}

impl fmt::Display for DocumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callout(fault) => fault.fmt(f),
            Self::NotAnObject => f.write_str("the document is not a JSON object"),
            Self::OtherClient => f.write_str("the document's client_id is not its URL"),
            Self::NoRedirectUri => f.write_str("the document has no usable redirect URI"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "https://claude.ai/oauth/mcp.json";

    fn read(status: u16, document: &Value) -> Result<Client, DocumentFault> {
        let body = document.to_string().into_bytes();
        let response = CalloutResponse {
            status: Some(status),
            body_length: body.len(),
            body,
            ..CalloutResponse::default()
        };
        Client::from_document(Some(response), &DocumentUrl::parse(URL).unwrap())
    }

    #[test]
    fn a_document_describes_the_client_at_its_own_url() {
        let client = read(
            200,
            &json!({
                "client_id": URL, "client_name": "Claude",
                "redirect_uris": ["https://claude.ai/cb", "javascript:x", 7],
            }),
        );
        let client = client.unwrap();
        assert_eq!(client.identity, ClientIdentity::Document { host: "claude.ai".to_owned() });
        assert_eq!(client.redirect_uris.len(), 1);
        assert_eq!(client.name, ClientName::new("Claude"));
    }

    #[test]
    fn a_document_that_does_not_fit_is_refused() {
        let uris = json!(["https://claude.ai/cb"]);
        for (document, fault) in [
            (json!([]), DocumentFault::OtherClient),
            (json!({"redirect_uris": uris}), DocumentFault::OtherClient),
            (
                json!({"client_id": "https://claude.ai/x", "redirect_uris": uris}),
                DocumentFault::OtherClient,
            ),
            (json!({"client_id": URL}), DocumentFault::NoRedirectUri),
            (json!({"client_id": URL, "redirect_uris": []}), DocumentFault::NoRedirectUri),
        ] {
            assert_eq!(read(200, &document), Err(fault), "{document}");
        }
        let document = json!({"client_id": URL, "redirect_uris": uris});
        for status in [301, 404, 500] {
            assert!(matches!(read(status, &document), Err(DocumentFault::Callout(_))), "{status}");
        }
        let long = json!({"client_id": URL, "redirect_uris": uris, "x": "x".repeat(16 * 1024)});
        let fault = DocumentFault::Callout(CalloutFault::TooLong(DOCUMENT_LIMIT));
        assert_eq!(read(200, &long), Err(fault));
    }
}
