//! Calls as access logs and metrics show them.

use super::Authenticator;
use super::decision::{Decision, Refused};
use crate::access::{Grant, MessageId, RuleIndex, Target};
use crate::outcome::Sent;
use crate::refusal::McpCall;
use crate::resource::ResourceId;

/// A call whose outcome is read.
#[derive(Debug)]
pub(crate) struct FollowedCall {
    /// The resource that it belongs to.
    pub resource: ResourceId,
    /// Its method in metrics.
    pub method: &'static str,
    /// What the request carries.
    pub sent: Sent,
    /// Longest message of the response that is read, in bytes.
    pub max_body: usize,
}

impl Authenticator {
    /// Whether the outcomes of calls are read from responses.
    #[must_use]
    pub(crate) fn follows_calls(&self) -> bool {
        self.config.follows_calls
    }

    /// How to read the outcome of a call; `None` if outcomes are not read. `id` reads the id of its
    /// message.
    pub(super) fn follow(
        &self,
        resource: ResourceId,
        target: &Target,
        grant: &Grant,
        id: impl FnOnce() -> Option<MessageId>,
    ) -> Option<Box<FollowedCall>> {
        if !self.follows_calls() {
            return None;
        }
        let sent = match &grant.message {
            _ if !target.may_carry_message() => Sent::Nothing,
            None => Sent::Unread,
            Some(message) if message.is_request() => Sent::Request(id()),
            Some(_) => Sent::Notification,
        };
        Some(Box::new(FollowedCall {
            resource,
            method: method_label(grant.call()),
            sent,
            max_body: self.config.resources[resource].access.max_response_message(),
        }))
    }

    /// The name of a rule in access logs.
    #[must_use]
    pub(crate) fn logged_rule(&self, resource: ResourceId, rule: RuleIndex) -> &str {
        self.config.resources[resource].access.logged_name(rule)
    }
}

impl FollowedCall {
    /// Whether the response must not be compressed, because it is read.
    pub(super) fn needs_plain_response(&self) -> bool {
        !matches!(self.sent, Sent::Nothing)
    }
}

impl Refused {
    /// What its message calls, if it was read.
    #[must_use]
    pub(crate) fn call(&self) -> Option<&McpCall> {
        self.refusal.call().or_else(|| self.grant.as_ref()?.call())
    }

    /// The rule that allowed it before a later check refused it.
    #[must_use]
    pub(crate) fn rule_of_grant(&self) -> Option<RuleIndex> {
        self.grant.as_ref()?.rule
    }
}

impl Decision {
    /// The same decision; a refusal also gets what allowed the request before.
    pub(super) fn with_grant(self, grant: Grant) -> Self {
        let grant = Some(Box::new(grant));
        match self {
            Self::Refuse(refused) => Self::Refuse(Refused { grant, ..refused }),
            Self::LetThrough(refused, edits) => {
                Self::LetThrough(Refused { grant, ..refused }, edits)
            }
            other => other,
        }
    }
}

/// The method of a call in metrics: one that MCP defines for messages of clients, or `other`; `none`
/// where no message was read, or it is no call.
pub(crate) fn method_label(call: Option<&McpCall>) -> &'static str {
    match call {
        None => "none",
        Some(call) => call.known_method().unwrap_or("other"),
    }
}
