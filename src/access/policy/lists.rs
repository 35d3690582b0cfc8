//! What the lists in responses show.

use std::borrow::Cow;

use super::{AccessPolicy, ListRules, MessageView, RuleMatch, Target};
use crate::access::Match;
use crate::identity::VerifiedIdentity;
use crate::refusal::{McpCall, Refusal};

/// What an item of a list is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// This call.
    Call(McpCall),
    /// Calls for URIs that begin like that of this call: a template.
    Template(McpCall),
}

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

    /// Whether a list shows an item. `target` is that of the request for the list.
    #[must_use]
    pub(crate) fn shows(
        &self,
        target: &Target,
        item: &Listed,
        identity: &VerifiedIdentity,
        is_restricted: bool,
    ) -> bool {
        let method = Cow::Borrowed(Match::MESSAGE_METHOD);
        let target = Target { method, path: target.path.clone(), hints: None };
        let (call, view) = match item {
            Listed::Call(call) => (call, MessageView::McpCall(call)),
            Listed::Template(call) => (call, MessageView::Beginning(call)),
        };
        let found = self.find(&target, view);
        match found.and_then(|rule| self.check_found(rule, Some(call), identity, is_restricted)) {
            Ok(()) => true,
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
