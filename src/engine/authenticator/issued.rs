//! Tokens that providers issue at logins, judged before a client gets them.

use std::time::Duration;

use serde_json::{Map, Value};

use super::decision::{IssuedJudgement, WorkerView};
use super::request::{BearerRequest, PlausibleRequest};
use super::{Authenticator, Decision, Identified, NotVerified, RequestEdits};
use crate::login::TokenJudgement;
use crate::refusal::Refusal;
use crate::request::RequestHead;
use crate::time::UnixTime;

impl Authenticator {
    /// Makes the checks of an issued token that need no key, as for a request at the resource with
    /// this URL.
    ///
    /// # Errors
    ///
    /// The judgement on the token.
    pub(crate) fn read_issued(
        &self,
        token: &str,
        resource: &str,
        now: UnixTime,
    ) -> Result<PlausibleRequest, TokenJudgement> {
        let resources = &self.config.resources;
        // The login names resources of this configuration alone.
        let gone = || TokenJudgement::unavailable_for_now("its resource is not configured");
        let resource = resources.with_url(resource).ok_or_else(gone)?;
        let target = resources[resource].access.target(RequestHead::new(&[], false), None);
        let token = token.as_bytes();
        let edits = RequestEdits::default();
        let request = BearerRequest { resource, token, edits, target };
        self.read(request, None, now).map_err(|decision| judgement_by(*decision))
    }

    /// Judges an issued token like the token of a request, but without access rules, and without
    /// spending single-use tokens.
    pub(crate) fn judge_issued(
        &self,
        request: PlausibleRequest,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> IssuedJudgement {
        let PlausibleRequest { resource, token, edits, target } = request;
        match self.identify(token, resource, view, now) {
            Ok(Identified { verdict, expires, .. }) => {
                IssuedJudgement::Judged(TokenJudgement::Accepted { expires }, verdict)
            }
            Err(NotVerified::Await(token, need)) => {
                let token = token.without_claims();
                let request = PlausibleRequest { resource, token, edits, target };
                IssuedJudgement::Await(Box::new(request), need)
            }
            Err(NotVerified::Refused(refusal, verdict)) => {
                IssuedJudgement::Judged(issued_judgement(&refusal), verdict)
            }
        }
    }
}

/// The judgement on a token that is refused by this decision.
pub(crate) fn judgement_by(decision: Decision) -> TokenJudgement {
    match decision {
        Decision::Refuse(refused) | Decision::LetThrough(refused, _) => {
            issued_judgement(&refused.refusal)
        }
        // No other decision is made before a token is accepted.
        _ => TokenJudgement::unavailable_for_now("it was not judged"),
    }
}

/// The judgement on a token that is refused with this refusal.
pub(crate) fn issued_judgement(refusal: &Refusal) -> TokenJudgement {
    let details = Value::Object(refusal.log_details()).to_string();
    match refusal.retry_after() {
        Some(seconds) => TokenJudgement::Unavailable {
            why: format!("{} ({refusal}) details={details}", refusal.reason().code()),
            retry_after: Duration::from_secs(seconds),
        },
        None => TokenJudgement::Refused {
            reason: refusal.reason().code(),
            cause: refusal.to_string(),
            values: in_words(&refusal.details()),
            fix: refusal.reason().row().fix,
            details,
        },
    }
}

/// Details in words: `aud: api://other; configured: api://mcp`. Empty if there are none.
fn in_words(details: &Map<String, Value>) -> String {
    let word = |value: &Value| match value {
        Value::String(string) => string.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    let members = details.iter().map(|(name, value)| {
        let words = match value {
            Value::Array(values) => values.iter().map(word).collect::<Vec<_>>().join(", "),
            other => word(other),
        };
        format!("{name}: {words}")
    });
    members.collect::<Vec<_>>().join("; ")
}
