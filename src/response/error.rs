//! Error responses: RFC 6750 §3, RFC 9728 §5.1.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Response;
use crate::access::MessageId;
use crate::refusal::{OAuthError, Reason, Refusal, Row};
use crate::resource::ProtectedResource;

/// Converts refusals to responses.
#[derive(Clone, Debug)]
pub(crate) struct RefusalResponses {
    style: ErrorStyle,
    /// The URL of the resource metadata, a parameter of every challenge.
    metadata_url: String,
    scope: String,
    /// The response to a request without a token: the most frequent one, and always the same.
    /// `None` where there is no resource.
    missing_token: Option<Response>,
}

/// The format and detail of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorStyle {
    pub format: Format,
    pub details: Details,
}

/// The format of a refusal's body. Status and challenge are the same in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// An error response of JSON-RPC 2.0.
    JsonRpc,
    /// The format of OAuth's token endpoint (RFC 6749 §5.2).
    OAuth,
    /// The format of ServiceNow's REST API.
    ServiceNow,
}

/// How much a response says about the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Details {
    /// The reason code, and the found and expected values.
    Full,
    /// Only what RFC 6750 requires.
    None,
    /// The reason code.
    Reason,
}

impl RefusalResponses {
    /// An error code of MCP 2026-07-28.
    const HEADER_MISMATCH: i32 = -32020;

    /// Responses for this resource.
    #[must_use]
    pub(crate) fn new(resource: &ProtectedResource, style: ErrorStyle) -> Self {
        let metadata_url = resource.url.metadata_url();
        let scope = resource.scopes_supported.join(" ");
        let responses = Self { style, metadata_url, scope, missing_token: None };
        let missing_token = Some(responses.build(&Refusal::MissingToken, None));
        Self { missing_token, ..responses }
    }

    /// Responses to requests that belong to no resource, none of which has a challenge.
    #[must_use]
    pub(crate) fn without_resource(style: ErrorStyle) -> Self {
        Self { style, metadata_url: String::new(), scope: String::new(), missing_token: None }
    }

    /// Whether the response to this refusal has the `id` of the message.
    #[must_use]
    pub(crate) fn carries_id(&self, refusal: &Refusal) -> bool {
        self.style.format == Format::JsonRpc || is_header_mismatch(refusal.reason())
    }

    /// The response to a refused request, whose message has this `id` if it is known.
    #[must_use]
    pub(crate) fn response(&self, refusal: &Refusal, id: Option<&MessageId>) -> Response {
        match (refusal, id, &self.missing_token) {
            (Refusal::MissingToken, None, Some(response)) => response.clone(),
            _ => self.build(refusal, id),
        }
    }

    fn build(&self, refusal: &Refusal, id: Option<&MessageId>) -> Response {
        let Row { status, error, .. } = *refusal.reason().row();
        let description = self.description(refusal, error);
        let mut headers: Vec<(_, Cow<'_, _>)> = Vec::with_capacity(4);
        headers.push(("content-type", "application/json".into()));
        headers.push(("cache-control", "no-store".into()));
        let scope: Option<Cow<'_, str>> = match refusal {
            Refusal::InsufficientScope { scopes, .. } => Some(scopes.join(" ").into()),
            _ if status == 401 => Some(self.scope.as_str().into()),
            _ => None,
        };
        if let Some(scope) = scope {
            headers.push(("www-authenticate", self.challenge(error, &description, &scope).into()));
        }
        if let Some(seconds) = refusal.retry_after() {
            headers.push(("retry-after", seconds.to_string().into()));
        }
        Response { status, headers, body: self.body(refusal, id, &description) }
    }

    /// The message in place of one that cannot be filtered, in an event stream or after the
    /// head of its response.
    #[must_use]
    pub(crate) fn list_error(&self, id: Option<&MessageId>) -> Vec<u8> {
        let refusal = Refusal::McpListInvalid;
        let row = refusal.reason().row();
        let description = self.description(&refusal, row.error);
        json_rpc_error(id, row.status.into(), &description, self.cause(&refusal))
    }

    /// The challenge: one line without any client input, in the order that all known MCP clients
    /// parse.
    fn challenge(&self, error: Option<OAuthError>, description: &str, scope: &str) -> String {
        let error = match error {
            Some(error) => {
                ["error=\"", error.as_str(), "\", error_description=\"", description, "\", "]
            }
            None => [""; 5],
        };
        let metadata = ["resource_metadata=\"", &self.metadata_url, "\""];
        let scope = if scope.is_empty() { [""; 3] } else { [", scope=\"", scope, "\""] };
        [&["Bearer "][..], &error, &metadata, &scope].concat().concat()
    }

    fn body(&self, refusal: &Refusal, id: Option<&MessageId>, description: &str) -> Vec<u8> {
        let cause = self.cause(refusal);
        let reason = refusal.reason();
        let Row { code, status, error, .. } = *reason.row();
        if is_header_mismatch(reason) {
            return json_rpc_error(id, Self::HEADER_MISMATCH, description, cause);
        }
        match self.style.format {
            Format::OAuth => {
                let error = error.map_or(code, OAuthError::as_str);
                written(&OAuthBody { error, error_description: description, cause })
            }
            Format::ServiceNow => written(&ServiceNowBody {
                error: ServiceNowError { message: "User Not Authenticated", detail: description },
                status: "failure",
                cause,
            }),
            Format::JsonRpc => {
                // JSON-RPC reserves -32768 to -32000; a status code is well known.
                json_rpc_error(id, status.into(), description, cause)
            }
        }
    }

    /// The cause, in the configured detail.
    fn cause(&self, refusal: &Refusal) -> Cause {
        let details = self.style.details;
        Cause {
            reason: (details != Details::None).then(|| refusal.reason().code()),
            details: if details == Details::Full { refusal.details() } else { Map::new() },
        }
    }

    fn description(&self, refusal: &Refusal, error: Option<OAuthError>) -> String {
        match (self.style.details, error) {
            (Details::None, Some(OAuthError::InvalidRequest)) => {
                "the request is malformed".to_owned()
            }
            (Details::None, Some(OAuthError::InvalidToken)) => {
                "the access token is not accepted".to_owned()
            }
            (Details::None, Some(OAuthError::InsufficientScope)) => {
                "the access token lacks scopes".to_owned()
            }
            _ => refusal.to_string(),
        }
    }
}

/// The cause, in the configured detail.
#[derive(Serialize)]
struct Cause {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    details: Map<String, Value>,
}

#[derive(Serialize)]
struct OAuthBody<'a> {
    error: &'a str,
    error_description: &'a str,
    #[serde(flatten)]
    cause: Cause,
}

#[derive(Serialize)]
struct ServiceNowBody<'a> {
    error: ServiceNowError<'a>,
    status: &'a str,
    #[serde(flatten)]
    cause: Cause,
}

#[derive(Serialize)]
struct ServiceNowError<'a> {
    message: &'a str,
    detail: &'a str,
}

/// Whether this is HeaderMismatch of MCP: clients recognise it by its code, whatever the configured
/// format.
fn is_header_mismatch(reason: Reason) -> bool {
    reason == Reason::McpHeaderMismatch
}

/// An error response to the message with this `id`.
fn json_rpc_error(id: Option<&MessageId>, code: i32, message: &str, cause: Cause) -> Vec<u8> {
    #[derive(Serialize)]
    struct Response<'a> {
        jsonrpc: &'a str,
        /// Null if unknown (JSON-RPC 2.0 §5).
        id: Option<&'a MessageId>,
        error: Error<'a>,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        code: i32,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Cause>,
    }
    let data = Some(cause).filter(|cause| cause.reason.is_some());
    written(&Response { jsonrpc: "2.0", id, error: Error { code, message, data } })
}

/// Serialising numbers, strings and a parsed `id` cannot fail.
fn written(body: &impl Serialize) -> Vec<u8> {
    // Enough for most bodies; growing costs more than allocating.
    let mut bytes = Vec::with_capacity(512);
    serde_json::to_writer(&mut bytes, body).map(|()| bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::keys::NoKeys;
    use crate::refusal::{DirectoryFault, StoreFault};

    fn responses(format: Format, details: Details) -> RefusalResponses {
        let configuration = json!({
            "resource": {"url": "https://mcp.example.com/mcp"},
            "providers": [{
                "name": "a", "issuer": "https://a.example", "client_ids": ["a"],
                "jwks_url": "https://a.example/keys", "cluster": "a",
            }],
        });
        let config = Config::from_bytes(configuration.to_string().as_bytes()).unwrap();
        let resource = config.resources.iter().next().unwrap();
        RefusalResponses::new(resource, ErrorStyle { format, details })
    }

    // Requirement: error-code-range
    #[test]
    fn our_codes_are_outside_the_range_that_json_rpc_reserves() {
        let responses = responses(Format::JsonRpc, Details::None);
        for (refusal, status) in
            [(Refusal::MissingToken, 401), (Refusal::BoundToken, 401), (Refusal::OriginDenied, 403)]
        {
            let body: Value =
                serde_json::from_slice(&responses.response(&refusal, None).body).unwrap();
            assert_eq!(body["error"]["code"], status, "{body}");
        }
    }

    #[test]
    fn the_header_and_the_details_agree_on_when_to_retry() {
        let responses = responses(Format::OAuth, Details::Full);
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (3400, 4), (4000, 4)] {
            let retry_after = std::time::Duration::from_millis(millis);
            for refusal in [
                Refusal::KeysUnavailable { retry_after, why: NoKeys::NotFetchedYet },
                Refusal::DirectoryUnavailable { retry_after, fault: DirectoryFault::Crowded },
                Refusal::ReplayStoreUnavailable { retry_after, fault: StoreFault::Full },
            ] {
                let response = responses.response(&refusal, None);
                let header = response.headers.iter().find(|(name, _)| *name == "retry-after");
                assert_eq!(header.unwrap().1, seconds.to_string());
                let body: Value = serde_json::from_slice(&response.body).unwrap();
                assert_eq!(body["details"]["retry_after"], seconds);
                assert_eq!(refusal.log_details()["retry_after"], seconds);
            }
        }
    }
}
