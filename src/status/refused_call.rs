//! The last calls that were refused, with the names of tools, prompts and resources.

use std::cmp::Reverse;

use serde::Serialize;
use serde_json::Value;

use super::reason_status::{ReasonStatus, RefusalOutcome, RefusalStatus};
use crate::refusal::Reason;
use crate::time::{UnixTime, as_rfc3339};

/// Refused calls that differ in nothing but their time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RefusedCall {
    /// When the last one was refused.
    #[serde(serialize_with = "as_rfc3339")]
    pub last: UnixTime,
    /// The number of refusals that were logged: a lower bound.
    pub times: u64,
    /// The resource's `id`, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The method, as the client sent it.
    pub method: String,
    /// The name of the tool, prompt or task, or the URI of the resource, if the method takes one.
    pub name: Option<String>,
    /// The rule that decided, if one did.
    pub rule: Option<String>,
    /// Why it was refused.
    pub reason: Reason,
    /// Whether the calls were refused or forwarded.
    pub outcome: RefusalOutcome,
}

impl RefusedCall {
    const MAX_SHOWN: usize = 10;

    /// The last refused calls among these refusals.
    pub(super) fn last_of(reasons: &[ReasonStatus]) -> Vec<Self> {
        let of_reason = |status: &ReasonStatus| {
            let reason = status.reason;
            status.last.iter().filter_map(move |refusal| Self::new(reason, refusal)).collect()
        };
        let mut calls: Vec<Self> = reasons.iter().flat_map::<Vec<Self>, _>(of_reason).collect();
        calls.sort_by_key(|call| Reverse(call.last));
        calls.truncate(Self::MAX_SHOWN);
        calls
    }

    fn new(reason: Reason, refusal: &RefusalStatus) -> Option<Self> {
        let detail = |name| refusal.details.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            last: refusal.last,
            times: refusal.times,
            resource: refusal.resource.clone(),
            method: detail("mcp_method")?,
            name: detail("mcp_name"),
            rule: detail("rule"),
            reason,
            outcome: refusal.outcome,
        })
    }
}
