//! Responses of the endpoints that programs call.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::error_code::ErrorCode;
use crate::response::Response;
use crate::time::seconds_to_wait;

/// An error of the token or registration endpoint (RFC 6749 §5.2, RFC 7591 §3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OAuthError {
    pub code: ErrorCode,
    description: String,
}

impl OAuthError {
    /// `description` is for the developer of the client.
    #[must_use]
    pub(crate) fn new(code: ErrorCode, description: impl AsRef<str>) -> Self {
        Self { code, description: described(description.as_ref()) }
    }

    /// The response with this status.
    #[must_use]
    pub(crate) fn response(&self, status: u16) -> Response {
        let body = json!({"error": self.code.as_str(), "error_description": self.description});
        let mut response = json_response(status, &body);
        if status == 401 {
            // It names a scheme that the client may have used (RFC 6749 §5.2, RFC 9110 §15.5.2).
            response.headers.push(("www-authenticate", "Basic realm=\"login\"".into()));
        }
        response
    }

    /// What went wrong, in the characters that a description may have.
    #[must_use]
    pub(crate) fn description(&self) -> &str {
        &self.description
    }
}

/// A response that no cache keeps and every web page may read (RFC 6749 §5.1; Fetch, CORS protocol).
#[must_use]
pub(crate) fn json_response(status: u16, body: &impl Serialize) -> Response {
    let headers = vec![
        ("content-type", "application/json".into()),
        ("cache-control", "no-store".into()),
        ("access-control-allow-origin", "*".into()),
        ("x-content-type-options", "nosniff".into()),
    ];
    // None of the bodies can fail to serialise.
    Response { status, headers, body: serde_json::to_vec(body).unwrap_or_default() }
}

/// The login cannot continue for now: 503 with `Retry-After`.
#[must_use]
pub(crate) fn unavailable(description: &str, retry_after: Duration) -> Response {
    let mut response =
        OAuthError::new(ErrorCode::TemporarilyUnavailable, description).response(503);
    response.headers.push(("retry-after", seconds_to_wait(retry_after).to_string().into()));
    response
}

/// A request with a method that the endpoint does not have.
#[must_use]
pub(crate) fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response =
        OAuthError::new(ErrorCode::InvalidRequest, "this endpoint does not support this method")
            .response(405);
    response.headers.push(("allow", allowed.into()));
    response
}

/// The response to the preflight of a web page (Fetch, CORS protocol).
#[must_use]
pub(crate) fn preflight(methods: &'static str) -> Response {
    let headers = vec![
        ("access-control-allow-origin", Cow::Borrowed("*")),
        ("access-control-allow-methods", methods.into()),
        (
            "access-control-allow-headers",
            "Authorization, Content-Type, MCP-Protocol-Version".into(),
        ),
        ("access-control-max-age", "3600".into()),
    ];
    Response { status: 204, headers, body: Vec::new() }
}

/// A description in the characters that `error_description` may have (RFC 6749 §5.2), clipped.
fn described(string: &str) -> String {
    const MAX_LENGTH: usize = 600;
    let clean = |character: char| match character {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => character,
        _ => '?',
    };
    string.chars().map(clean).take(MAX_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_only_allowed_characters() {
        let error = OAuthError::new(ErrorCode::InvalidGrant, "say \"é\"\\\n");
        assert_eq!(error.description(), "say '?'/?");
    }
}
