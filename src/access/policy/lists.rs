//! What the lists in responses show.

use std::borrow::Cow;

use super::{AccessPolicy, ListRules, RuleMatch, Target};
use crate::access::Match;
use crate::access::message::Message;
use crate::identity::VerifiedIdentity;
use crate::refusal::{McpCall, Refusal};

impl AccessPolicy {
    /// Longest message of a response that is read, in bytes; `None` if the lists in responses to
    /// messages on this path are not filtered.
    #[must_use]
    pub(crate) fn filters_lists(&self, target: &Target) -> Option<usize> {
        let ListRules { are_filtered, max_body, .. } = self.lists;
        let mut rules = self.reachable(target.path.as_ref(), Match::MESSAGE_METHOD);
        let is_filtered =
            are_filtered && self.reads_messages && rules.any(|found| self.is_about_names(found));
        is_filtered.then_some(max_body)
    }

    /// Longest message of a response that is read, in bytes.
    #[must_use]
    pub(crate) fn max_response_message(&self) -> usize {
        self.lists.max_body
    }

    /// Whether a list shows the item that this call is for. `target` is that of the request for
    /// the list.
    #[must_use]
    pub(crate) fn shows(
        &self,
        target: &Target,
        call: McpCall,
        identity: &VerifiedIdentity,
        is_restricted: bool,
    ) -> bool {
        let method = Cow::Borrowed(Match::MESSAGE_METHOD);
        let target = Target { method, path: target.path.clone(), hints: None };
        let message = Message { call: Some(call), is_request: true, version: None };
        match self.check_message(&target, Some(&message), identity, is_restricted) {
            Ok(_) => true,
            Err(Refusal::InsufficientScope { .. }) => self.lists.show_if_scopes_missing,
            Err(_) => false,
        }
    }

    pub(super) fn is_about_names(&self, found: RuleMatch) -> bool {
        match found {
            RuleMatch::Rule(index) => {
                self.rules.get(index).is_some_and(|rule| !rule.condition.mcp_names.is_empty())
            }
            RuleMatch::DependsOnMessage | RuleMatch::NoRule => false,
        }
    }
}
