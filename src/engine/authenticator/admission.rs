//! What an identity may do, and the decisions that depend on more than the request head.

use std::rc::Rc;
use std::time::Duration;

use super::Authenticator;
use super::calls::FollowedCall;
use super::decision::{Decision, Need, Refused, WorkerView};
use super::edits::{Attribution, RequestEdits};
use super::lists::ListView;
use super::request::{Body, HeldRequest, Judged, PlausibleRequest, SpendingRequest};
use crate::access::{Grant, MessageId, Permission, Target};
use crate::callout::CalloutFault;
use crate::engine::verdicts::Requester;
use crate::identity::IdentityFields;
use crate::keys::NoKeys;
use crate::lists::Asked;
use crate::provider::ProviderId;
use crate::refusal::{BodyFault, DirectoryFault, Refusal};
use crate::resource::{Mode, ResourceId};
use crate::response::Response;
use crate::time::UnixTime;
use crate::token::NotSpent;

/// What allowed a request, and what is done with its response.
struct Granted {
    grant: Grant,
    lists: Option<Box<ListView>>,
    followed: Option<Box<FollowedCall>>,
}

impl Authenticator {
    /// Retry pause for a client whose request found no room.
    const CROWDED_PAUSE: Duration = Duration::from_secs(1);

    /// Decides whether a requester may make the request. `token` is called only if the request is
    /// held.
    pub(super) fn admit(
        &self,
        judged: Judged<'_>,
        edits: RequestEdits,
        target: Target,
        token: impl FnOnce() -> Vec<u8>,
    ) -> Decision {
        let Judged { resource, requester, provider, verdict } = judged;
        let Requester { identity, fields } = requester;
        let mut edits = edits;
        if let Err(refusal) = self.bind_session(&mut edits, identity) {
            let identity = Some(fields.clone());
            return self.refuse_known(refusal, resource, Some(provider), identity, edits);
        }
        let is_restricted = self.config.providers[provider].restrict_to_policies;
        let access = &self.config.resources[resource].access;
        match access.check(&target, identity, is_restricted) {
            Ok(Permission::Granted(grant)) => {
                let asked = || Asked::new(grant.call(), None);
                let lists = self.list_view(&judged, &target, asked, Some(&mut edits));
                let followed = self.follow(resource, &target, &grant, || None);
                if followed.as_ref().is_some_and(|call| call.needs_plain_response()) {
                    edits.ask_for_plain_response();
                }
                let granted = Granted { grant, lists, followed };
                Self::admit_or_spend(judged, edits, Some(fields.clone()), granted)
            }
            Ok(Permission::DependsOnBody) => Decision::AwaitBody(Box::new(HeldRequest {
                reads_response: access.filters_lists(&target).is_some() || self.follows_calls(),
                resource,
                token: token(),
                target,
                edits: Some(edits),
                requester: requester.clone(),
                provider,
                verdict: verdict.cloned(),
                is_looked_up: false,
            })),
            Err(refusal) => {
                self.refuse_known(refusal, resource, Some(provider), Some(fields.clone()), edits)
            }
        }
    }

    /// Decides on a held request by its body. If its head has been forwarded, the decision edits no
    /// header field.
    #[must_use]
    pub(crate) fn judge_body(&self, request: HeldRequest, body: Body<'_>) -> Decision {
        let permitted = match body {
            Body::TooLarge => {
                Err(BodyFault::TooLarge { limit: self.max_body(request.resource) }.into())
            }
            Body::Whole(body) => self.check_body(&request, body),
        };
        let HeldRequest { resource, mut edits, requester, provider, target, .. } = request;
        let identity_fields = edits.is_some().then(|| requester.fields.clone());
        let judged = Judged { resource, requester: &requester, provider, verdict: None };
        let body_bytes = match body {
            Body::Whole(body) => body,
            Body::TooLarge => b"",
        };
        let decision = match permitted {
            Ok(grant) => {
                let id = || MessageId::from_body(body_bytes);
                let asked = || Asked::new(grant.call(), id());
                let lists = self.list_view(&judged, &target, asked, edits.as_mut());
                let followed = self.follow(resource, &target, &grant, id);
                if let (Some(edits), Some(_)) = (&mut edits, &followed) {
                    edits.ask_for_plain_response();
                }
                let granted = Granted { grant, lists, followed };
                Self::admit_or_spend(judged, edits.unwrap_or_default(), identity_fields, granted)
            }
            Err(refusal) => {
                let edits = edits.unwrap_or_default();
                self.refuse_known(refusal, resource, Some(provider), identity_fields, edits)
            }
        };
        self.about_message(decision, resource, || match body {
            Body::TooLarge => None,
            Body::Whole(body) => MessageId::from_body(body),
        })
    }

    /// Decides on a request by the result of spending its token. This is the last check, so no
    /// token is spent for a request that is refused afterwards.
    #[must_use]
    pub(crate) fn conclude(
        &self,
        request: SpendingRequest,
        spent: Result<(), NotSpent>,
    ) -> Decision {
        let SpendingRequest { resource, edits, identity, attribution, message_id, .. } = request;
        match spent {
            Ok(()) => {
                let edits = RequestEdits { identity, ..edits };
                Decision::Forward(edits, Some(resource), Some(attribution))
            }
            Err(not_spent) => {
                let provider = Some(attribution.provider);
                let decision =
                    self.refuse_known(not_spent.into(), resource, provider, identity, edits);
                let decision = self.about_message(decision, resource, || message_id);
                decision.with_grant(attribution.grant)
            }
        }
    }

    /// Refuses a held request.
    #[must_use]
    pub(crate) fn refuse_held(&self, request: HeldRequest, refusal: Refusal) -> Decision {
        let HeldRequest { resource, edits, requester, provider, .. } = request;
        let identity_fields = edits.is_some().then_some(requester.fields);
        let edits = edits.unwrap_or_default();
        self.refuse_known(refusal, resource, Some(provider), identity_fields, edits)
    }

    /// The refusal of a request that found no room.
    #[must_use]
    pub(crate) fn crowded(&self, why: NoKeys) -> Refusal {
        Refusal::KeysUnavailable { retry_after: Self::CROWDED_PAUSE, why }
    }

    /// Refuses a request that waited too long.
    #[must_use]
    pub(crate) fn give_up(
        &self,
        request: PlausibleRequest,
        need: Need,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> Decision {
        let refusal = match need {
            Need::Keys(_) => view.keys[request.provider()].unavailability(now).into(),
            Need::User(_) => {
                Refusal::directory_unavailable(DirectoryFault::Callout(CalloutFault::NoResponse))
            }
            Need::Turn => self.crowded(NoKeys::TooManyTrials),
        };
        self.refuse(refusal, request.resource, Some(request.provider()), request.edits)
    }

    /// The response to a refused request.
    #[must_use]
    pub(crate) fn response(&self, refused: &Refused) -> Response {
        let responses = match refused.resource {
            Some(resource) => &self.sites[resource].responses,
            None => &self.outside_responses,
        };
        responses.response(&refused.refusal, refused.message_id.as_ref())
    }

    fn check_body(&self, request: &HeldRequest, body: &[u8]) -> Result<Grant, Refusal> {
        let HeldRequest { resource, target, requester, provider, .. } = request;
        let is_restricted = self.config.providers[*provider].restrict_to_policies;
        let access = &self.config.resources[*resource].access;
        access.check_body(target, body, &requester.identity, is_restricted)
    }

    /// The same decision after the message was read. A refusal whose format carries the `id` of the
    /// message gets it.
    fn about_message(
        &self,
        decision: Decision,
        resource: ResourceId,
        id: impl FnOnce() -> Option<MessageId>,
    ) -> Decision {
        let responses = &self.sites[resource].responses;
        match decision {
            Decision::Refuse(refused) if responses.carries_id(&refused.refusal) => {
                Decision::Refuse(Refused { message_id: id(), ..refused })
            }
            Decision::Spend(request) if responses.carries_id(&Refusal::TokenReplayed) => {
                Decision::Spend(SpendingRequest { message_id: id(), ..request })
            }
            decision => decision,
        }
    }

    /// The only way to forward a complete request with an identity: no single-use token passes
    /// unspent.
    fn admit_or_spend(
        judged: Judged<'_>,
        edits: RequestEdits,
        identity_fields: Option<Rc<IdentityFields>>,
        granted: Granted,
    ) -> Decision {
        let Judged { resource, requester, provider, .. } = judged;
        let identity = &requester.identity;
        let overage = identity.overage();
        let Granted { grant, lists, followed } = granted;
        let attribution = Attribution { provider, overage, grant, lists, followed };
        match identity.single_use() {
            None => {
                let edits = RequestEdits { identity: identity_fields, ..edits };
                Decision::Forward(edits, Some(resource), Some(attribution))
            }
            Some(single_use_token) => Decision::Spend(SpendingRequest {
                resource,
                single_use_token,
                edits,
                identity: identity_fields,
                attribution,
                message_id: None,
            }),
        }
    }

    pub(super) fn refuse(
        &self,
        refusal: Refusal,
        resource: ResourceId,
        provider: Option<ProviderId>,
        edits: RequestEdits,
    ) -> Decision {
        self.refuse_known(refusal, resource, provider, None, edits)
    }

    /// Refuses a request whose identity may be known.
    fn refuse_known(
        &self,
        refusal: Refusal,
        resource: ResourceId,
        provider: Option<ProviderId>,
        identity: Option<Rc<IdentityFields>>,
        edits: RequestEdits,
    ) -> Decision {
        let refused = Refused {
            resource: Some(resource),
            provider,
            identity,
            message_id: None,
            grant: None,
            refusal,
        };
        Self::refuse_in_mode(self.config.resources[resource].mode, refused, edits)
    }

    /// Refuses a request that belongs to no resource.
    pub(super) fn refuse_outside(refusal: Refusal, mode: Mode, edits: RequestEdits) -> Decision {
        let refused = Refused {
            resource: None,
            provider: None,
            identity: None,
            message_id: None,
            grant: None,
            refusal,
        };
        Self::refuse_in_mode(mode, refused, edits)
    }

    fn refuse_in_mode(mode: Mode, refused: Refused, edits: RequestEdits) -> Decision {
        match mode {
            Mode::Enforce => Decision::Refuse(refused),
            Mode::Report => Decision::LetThrough(refused, edits),
        }
    }
}
