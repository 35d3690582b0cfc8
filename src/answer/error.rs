//! Refusals as answers: RFC 6750 §3, RFC 9728 §5.1.

use serde_json::{Map, Value, json};

use super::Answer;
use crate::config::Resource;
use crate::refusal::Refusal;

/// Turns refusals into answers.
#[derive(Clone, Debug)]
pub(crate) struct RefusalAnswers {
    details: Details,
    /// The parameters of every challenge of this resource.
    metadata_url: String,
    scope: String,
}

/// How much an answer says of the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Details {
    /// Besides the reason code, what the token says of itself beside what is configured.
    Full,
    /// Only what RFC 6750 asks for.
    None,
    /// The reason code.
    Reason,
}

/// Error codes of RFC 6750 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorCode {
    InvalidRequest,
    InvalidToken,
}

impl ErrorCode {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
        }
    }
}

impl RefusalAnswers {
    /// Answers for this resource.
    #[must_use]
    pub(crate) fn new(resource: &Resource, details: Details) -> Self {
        Self {
            details,
            metadata_url: resource.metadata_url(),
            scope: resource.scopes_supported.join(" "),
        }
    }

    /// The answer to a refused request.
    #[must_use]
    pub(crate) fn answer(&self, refusal: &Refusal) -> Answer {
        let (status, code) = status_and_code(refusal);
        let description = self.description(refusal, code);
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ];
        if status == 401 {
            headers.push(("www-authenticate", self.challenge(code, &description)));
        }
        if let Refusal::KeysUnavailable { retry_after, .. } = refusal {
            let seconds = retry_after.as_millis().div_ceil(1000).max(1);
            headers.push(("retry-after", seconds.to_string()));
        }
        Answer { status, headers, body: self.body(refusal, code, description) }
    }

    /// The challenge: one line, its values without anything that the client chose, and in the
    /// order that the parsers of all MCP clients get right.
    fn challenge(&self, code: Option<ErrorCode>, description: &str) -> String {
        let mut challenge = "Bearer ".to_owned();
        if let Some(code) = code {
            challenge +=
                &format!("error=\"{}\", error_description=\"{description}\", ", code.as_str());
        }
        challenge += &format!("resource_metadata=\"{}\"", self.metadata_url);
        if !self.scope.is_empty() {
            challenge += &format!(", scope=\"{}\"", self.scope);
        }
        challenge
    }

    fn body(&self, refusal: &Refusal, code: Option<ErrorCode>, description: String) -> Vec<u8> {
        let mut body = Map::new();
        let error = code.map_or(refusal.reason(), ErrorCode::as_str);
        body.insert("error".to_owned(), error.into());
        body.insert("error_description".to_owned(), description.into());
        if self.details != Details::None {
            body.insert("reason".to_owned(), refusal.reason().into());
        }
        let details = refusal.details();
        if self.details == Details::Full && !details.is_empty() {
            body.insert("details".to_owned(), json!(details));
        }
        Value::Object(body).to_string().into_bytes()
    }

    fn description(&self, refusal: &Refusal, code: Option<ErrorCode>) -> String {
        match (self.details, code) {
            (Details::None, Some(ErrorCode::InvalidRequest)) => {
                "the request is malformed".to_owned()
            }
            (Details::None, Some(ErrorCode::InvalidToken)) => {
                "the access token is not accepted".to_owned()
            }
            _ => refusal.to_string(),
        }
    }
}

/// The table of the contract.
fn status_and_code(refusal: &Refusal) -> (u16, Option<ErrorCode>) {
    match refusal {
        // RFC 6750 §3.1: no error code for a request without credentials.
        Refusal::MissingToken => (401, None),
        Refusal::MalformedAuthorization(_) => (400, Some(ErrorCode::InvalidRequest)),
        Refusal::AudienceMismatch { .. }
        | Refusal::BadSignature { .. }
        | Refusal::BoundToken
        | Refusal::ClaimMismatch { .. }
        | Refusal::Expired { .. }
        | Refusal::GraphToken
        | Refusal::KeyMismatch(_)
        | Refusal::MalformedToken(_)
        | Refusal::MissingClaim { .. }
        | Refusal::NotYetValid { .. }
        | Refusal::TokenIdMissing
        | Refusal::TokenTooOld { .. }
        | Refusal::UnknownIssuer { .. }
        | Refusal::UnknownKid { .. }
        | Refusal::UnsupportedAlgorithm { .. }
        | Refusal::UnsupportedCriticalHeader { .. }
        | Refusal::WrongTokenType { .. } => (401, Some(ErrorCode::InvalidToken)),
        Refusal::OriginDenied => (403, None),
        Refusal::KeysUnavailable { .. } => (503, None),
    }
}
