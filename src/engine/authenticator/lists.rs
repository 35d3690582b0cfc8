//! What a caller sees of the lists in a response.

use std::rc::Rc;

use super::Authenticator;
use super::decision::Refused;
use super::edits::RequestEdits;
use super::request::Judged;
use crate::access::{Listed, MessageId, Target};
use crate::identity::VerifiedIdentity;
use crate::lists::Asked;
use crate::provider::ProviderId;
use crate::refusal::Refusal;
use crate::resource::{Mode, ResourceId};

/// What decides on the lists in the response to a request.
#[derive(Debug)]
pub(crate) struct ListView {
    resource: ResourceId,
    provider: ProviderId,
    identity: Rc<VerifiedIdentity>,
    target: Target,
    /// What is known of the message in the request.
    asked: Asked,
    /// Longest message that is read, in bytes.
    max_body: usize,
}

impl Authenticator {
    /// What decides on the lists in the response to this request; `None` if they are not filtered.
    /// Such a response must not be compressed.
    pub(super) fn list_view(
        &self,
        judged: &Judged<'_>,
        target: &Target,
        asked: impl FnOnce() -> Asked,
        edits: Option<&mut RequestEdits>,
    ) -> Option<Box<ListView>> {
        let Judged { resource, requester, provider, .. } = *judged;
        let access = &self.config.resources[resource].access;
        let max_body = access.filters_lists(target).filter(|_| target.may_get_lists())?;
        let asked = asked();
        if let Some(edits) = edits.filter(|_| !asked.is_call()) {
            edits.ask_for_plain_response();
        }
        let identity = requester.identity.clone();
        let target = target.clone();
        Some(Box::new(ListView { resource, provider, identity, target, asked, max_body }))
    }

    /// Whether lists show an item to the caller.
    #[must_use]
    pub(crate) fn shows(&self, view: &ListView, item: &Listed) -> bool {
        let ListView { resource, provider, identity, target, .. } = view;
        let is_restricted = self.config.providers[*provider].restrict_to_policies;
        self.config.resources[*resource].access.shows(target, item, identity, is_restricted)
    }

    /// Whether lists are filtered; otherwise the log only reports what would be hidden.
    #[must_use]
    pub(crate) fn enforces(&self, view: &ListView) -> bool {
        self.config.resources[view.resource].mode == Mode::Enforce
    }

    /// The URL of the resource whose lists are filtered.
    #[must_use]
    pub(crate) fn url(&self, view: &ListView) -> &str {
        self.config.resources[view.resource].url.as_str()
    }

    /// The refusal of a response whose list cannot be read.
    #[must_use]
    pub(crate) fn list_refused(&self, view: &ListView, id: Option<MessageId>) -> Refused {
        let refusal = Refusal::McpListInvalid;
        let carries_id = self.sites[view.resource].responses.carries_id(&refusal);
        Refused {
            resource: Some(view.resource),
            provider: Some(view.provider),
            identity: None,
            message_id: id.filter(|_| carries_id),
            grant: None,
            refusal,
        }
    }

    /// The message in place of one whose list cannot be read, in one line.
    #[must_use]
    pub(crate) fn list_error(&self, view: &ListView, id: Option<&MessageId>) -> Vec<u8> {
        self.sites[view.resource].responses.list_error(id)
    }
}

impl ListView {
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Longest message that is read, in bytes.
    pub(crate) fn max_body(&self) -> usize {
        self.max_body
    }
}
