//! Client ID metadata documents: a client publishes what others register.

use std::fmt;

use serde_json::Value;

use super::client::{Client, ClientIdentity, ClientName, DocumentUrl};
use super::redirect_uri::RedirectUri;
use crate::callout::{BodyLimit, CalloutFault, CalloutResponse};
use crate::json::parse_strict;

/// Why a document does not describe its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DocumentFault {
    Callout(CalloutFault),
    /// It is served as something else than JSON.
    MediaType,
    NotAnObject,
    /// It tells of a secret, which no public document can hold (OAuth Client ID Metadata Document
    /// §4.1).
    Secret,
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
        if !response.content_type.as_deref().is_none_or(is_json) {
            return Err(DocumentFault::MediaType);
        }
        // A member that is repeated means one thing here and another elsewhere.
        let document = parse_strict(&response.body).map_err(|_| DocumentFault::NotAnObject)?;
        let string = |name: &str| document.get(name).and_then(Value::as_str);
        if string("client_id") != Some(url.as_str()) {
            return Err(DocumentFault::OtherClient);
        }
        let method = string("token_endpoint_auth_method").unwrap_or_default();
        let secrets = ["client_secret", "client_secret_expires_at"];
        if method.starts_with("client_secret_")
            || secrets.iter().any(|name| document.get(name).is_some())
        {
            return Err(DocumentFault::Secret);
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

/// `application/json`, or another type that ends in `+json` (RFC 6839 §3.1).
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

impl DocumentFault {
    /// Whether the operator has to do something about it: the cluster is not there.
    #[must_use]
    pub(crate) fn is_of_operator(&self) -> bool {
        matches!(self, Self::Callout(CalloutFault::Dispatch { .. }))
    }

    /// Whether the document may still be the one that was read before: its host did not respond, or
    /// is out of order.
    #[must_use]
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Callout(fault) if fault.is_outage())
    }
}

impl fmt::Display for DocumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callout(fault) => fault.fmt(f),
            Self::MediaType => f.write_str("the document's content-type is not JSON"),
            Self::NotAnObject => f.write_str("the document is not a JSON object"),
            Self::Secret => f.write_str("the document claims a client secret"),
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
        read_as(status, None, &document.to_string())
    }

    fn read_as(
        status: u16,
        content_type: Option<&str>,
        document: &str,
    ) -> Result<Client, DocumentFault> {
        let body = document.as_bytes().to_vec();
        let response = CalloutResponse {
            status: Some(status),
            content_type: content_type.map(str::to_owned),
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
    fn an_invalid_document_is_refused() {
        let uris = json!(["https://claude.ai/cb"]);
        for (document, fault) in [
            (json!([]), DocumentFault::OtherClient),
            (json!({"redirect_uris": uris}), DocumentFault::OtherClient),
            (
                json!({"client_id": "https://claude.ai/x", "redirect_uris": uris}),
                DocumentFault::OtherClient,
            ),
            (
                json!({"client_id": URL, "redirect_uris": uris, "client_secret": "x"}),
                DocumentFault::Secret,
            ),
            (
                json!({
                    "client_id": URL, "redirect_uris": uris,
                    "token_endpoint_auth_method": "client_secret_basic",
                }),
                DocumentFault::Secret,
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

    #[test]
    fn a_document_is_json_without_duplicate_members() {
        let uris = r#""redirect_uris": ["https://claude.ai/cb"]"#;
        let document = format!(r#"{{"client_id": "{URL}", {uris}}}"#);
        for (content_type, is_read) in [
            (None, true),
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/client-metadata+json"), true),
            (Some("text/html"), false),
            (Some("text/plain; x=application/json"), false),
            (Some(""), false),
        ] {
            let read = read_as(200, content_type, &document);
            assert_eq!(read.is_ok(), is_read, "{content_type:?}");
        }
        let twice = format!(r#"{{"client_id": "{URL}", {uris}, {uris}}}"#);
        assert_eq!(read_as(200, None, &twice), Err(DocumentFault::NotAnObject));
        let method = r#""token_endpoint_auth_method": "private_key_jwt""#;
        let with_key = format!(r#"{{"client_id": "{URL}", {uris}, {method}}}"#);
        assert!(read_as(200, None, &with_key).is_ok(), "the client is public here");
    }
}
