//! The states of a request before the decision. Each has passed more checks than the one before.

use std::rc::Rc;

use super::edits::{Attribution, RequestEdits};
use crate::access::{MessageId, Target};
use crate::engine::verdicts::{Requester, TokenVerdict};
use crate::identity::IdentityFields;
use crate::keys::{Demand, ProviderKeys};
use crate::provider::ProviderId;
use crate::resource::ResourceId;
use crate::time::UnixTime;
use crate::token::{KnownSignature, PlausibleToken, SingleUseToken};

/// A request with credentials that may be a token.
#[derive(Debug)]
pub(crate) struct BearerRequest<'a> {
    pub(super) resource: ResourceId,
    pub(super) token: &'a [u8],
    /// Edits applied whenever the request is forwarded, whatever the decision.
    pub(super) edits: RequestEdits,
    pub(super) target: Target,
}

/// A request whose token has passed all checks that need no key.
#[derive(Debug)]
pub(crate) struct PlausibleRequest {
    pub(super) resource: ResourceId,
    pub(super) token: PlausibleToken,
    /// Edits applied whenever the request is forwarded, whatever the decision.
    pub(super) edits: RequestEdits,
    pub(super) target: Target,
}

/// A request that passed every check except those on its message and the spending of its token.
/// Keeps the verdict and the token, so that it can be judged again when the body arrives.
#[derive(Debug)]
pub(crate) struct HeldRequest {
    pub(super) resource: ResourceId,
    pub(super) token: Vec<u8>,
    pub(super) target: Target,
    /// Edits of its head; `None` once the head has been forwarded with them.
    pub(super) edits: Option<RequestEdits>,
    pub(super) requester: Requester,
    pub(super) provider: ProviderId,
    pub(super) verdict: Option<Rc<TokenVerdict>>,
    /// Whether its token was looked up in the shared store and is unspent.
    pub(super) is_looked_up: bool,
    /// Whether its response is read: it may ask for a list, or be followed.
    pub(super) reads_response: bool,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    /// It exceeds the limit.
    TooLarge,
    /// All of it, or as much as [`HeldRequest::is_decided_by`] requires.
    Whole(&'a [u8]),
}

/// A request that passed every check; its single-use token must still be spent.
#[derive(Debug)]
pub(crate) struct SpendingRequest {
    pub(super) resource: ResourceId,
    pub(super) single_use_token: SingleUseToken,
    pub(super) edits: RequestEdits,
    /// The identity to add once the token is spent; `None` if the head has been forwarded with it.
    pub(super) identity: Option<Rc<IdentityFields>>,
    pub(super) attribution: Attribution,
    /// The `id` of its message, if it was read.
    pub(super) message_id: Option<MessageId>,
}

/// A requester with the verdict on its token.
pub(super) struct Judged<'a> {
    pub resource: ResourceId,
    pub requester: &'a Requester,
    pub provider: ProviderId,
    pub verdict: Option<&'a Rc<TokenVerdict>>,
}

impl<'a> BearerRequest<'a> {
    /// The resource that it belongs to.
    #[must_use]
    pub(crate) fn resource(&self) -> ResourceId {
        self.resource
    }

    /// The credentials.
    #[must_use]
    pub(crate) fn token(&self) -> &'a [u8] {
        self.token
    }
}

impl PlausibleRequest {
    /// The provider whose keys verify its token.
    #[must_use]
    pub(crate) fn provider(&self) -> ProviderId {
        self.token.provider()
    }

    /// The resource that it belongs to.
    #[must_use]
    pub(crate) fn resource(&self) -> ResourceId {
        self.resource
    }

    /// The same request, with the result of verifying the signature of its token meanwhile.
    #[must_use]
    pub(crate) fn with_known(self, known: Option<KnownSignature>) -> Self {
        Self { token: self.token.with_known(known), ..self }
    }

    /// The credentials.
    #[must_use]
    pub(crate) fn token(&self) -> &[u8] {
        self.token.as_bytes()
    }

    /// The request before its token was read; `token` is its token.
    #[must_use]
    pub(crate) fn into_bearer(self, token: &[u8]) -> BearerRequest<'_> {
        let Self { resource, edits, target, .. } = self;
        BearerRequest { resource, token, edits, target }
    }

    /// The keys that the request still waits for; `None` if it should be judged again, because
    /// `keys` have changed or no more can be fetched.
    #[must_use]
    pub(crate) fn still_awaits(&self, keys: &ProviderKeys, now: UnixTime) -> Option<Demand> {
        let demand = keys.awaited(now)?;
        self.token.is_tried_with(keys.version(now)).then_some(demand)
    }
}

impl HeldRequest {
    /// The resource that it belongs to.
    #[must_use]
    pub(crate) fn resource(&self) -> ResourceId {
        self.resource
    }

    /// The provider whose keys verified its token.
    #[must_use]
    pub(crate) fn provider(&self) -> ProviderId {
        self.provider
    }

    /// The verdict on its token, if that may be remembered.
    #[must_use]
    pub(crate) fn verdict(&self) -> Option<&TokenVerdict> {
        self.verdict.as_deref()
    }

    /// Length of its token in bytes.
    #[must_use]
    pub(crate) fn token_length(&self) -> usize {
        self.token.len()
    }

    /// The token to spend before the request may be forwarded, if it is single-use.
    #[must_use]
    pub(crate) fn single_use_token(&self) -> Option<SingleUseToken> {
        self.requester.identity.single_use()
    }

    /// Whether its token was looked up in the shared store and is unspent.
    #[must_use]
    pub(crate) fn is_looked_up(&self) -> bool {
        self.is_looked_up
    }

    /// Records that its token was looked up in the shared store and is unspent.
    pub(crate) fn set_looked_up(&mut self) {
        self.is_looked_up = true;
    }

    /// The identity that the server receives.
    #[must_use]
    pub(crate) fn identity(&self) -> &Rc<IdentityFields> {
        &self.requester.fields
    }

    /// Whether its head announces a body that is not empty.
    #[must_use]
    pub(crate) fn announces_content(&self) -> bool {
        self.target.announces_content()
    }

    /// Whether `size` bytes of its body are enough to decide on it.
    #[must_use]
    pub(crate) fn is_decided_by(&self, size: usize, is_whole: bool, max_body: usize) -> bool {
        is_whole || size > max_body || (size > 0 && self.target.accepts_no_content())
    }

    /// The edits with which its head is forwarded before its body is judged, identity included;
    /// `None` if it was forwarded already.
    pub(crate) fn take_edits(&mut self) -> Option<RequestEdits> {
        let identity = Some(self.requester.fields.clone());
        let mut edits = RequestEdits { identity, ..self.edits.take()? };
        if self.reads_response {
            edits.ask_for_plain_response();
        }
        Some(edits)
    }

    /// The original request, before its token was judged.
    #[must_use]
    pub(crate) fn as_it_came(&self) -> BearerRequest<'_> {
        BearerRequest {
            resource: self.resource,
            token: &self.token,
            edits: self.edits.clone().unwrap_or_default(),
            target: self.target.clone(),
        }
    }
}

impl SpendingRequest {
    /// The token to spend.
    #[must_use]
    pub(crate) fn single_use_token(&self) -> SingleUseToken {
        self.single_use_token
    }
}
