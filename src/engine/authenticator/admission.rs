//! What an identity may do, and the decisions that depend on more than the request head.

use std::rc::Rc;
use std::time::Duration;

use super::Authenticator;
use super::decision::{Decision, Need, Refused, WorkerView};
use super::edits::{Attribution, RequestEdits};
use super::request::{Body, HeldRequest, Judged, PlausibleRequest, SpendingRequest};
use crate::access::{MessageId, Permission, Target};
use crate::callout::CalloutFault;
use crate::engine::verdicts::Requester;
use crate::identity::{IdentityFields, VerifiedIdentity};
use crate::keys::{KeysUnavailable, NoKeys};
use crate::provider::{Provider, ProviderId};
use crate::refusal::{BodyFault, DirectoryFault, Refusal};
use crate::resource::Mode;
use crate::response::Response;
use crate::time::UnixTime;
use crate::token::NotSpent;

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
        let Judged { requester, provider, verdict } = judged;
        let Requester { identity, fields } = requester;
        let is_restricted = self.config.providers[provider].restrict_to_policies;
        match self.config.resource.access.check(&target, identity, is_restricted) {
            Ok(Permission::Granted) => {
                Self::admit_or_spend(edits, Some(fields.clone()), identity, provider)
            }
            Ok(Permission::DependsOnBody) => Decision::AwaitBody(Box::new(HeldRequest {
                token: token(),
                target,
                edits: Some(edits),
                requester: requester.clone(),
                provider,
                verdict: verdict.cloned(),
                is_looked_up: false,
            })),
            Err(refusal) => {
                let provider = Some(&self.config.providers[provider]);
                self.refuse_known(refusal, provider, Some(fields.clone()), edits)
            }
        }
    }

    /// Decides on a held request by its body. If its head has been forwarded, the decision edits no
    /// header field.
    #[must_use]
    pub(crate) fn judge_body(&self, request: HeldRequest, body: Body<'_>) -> Decision {
        let permitted = match body {
            Body::TooLarge => Err(BodyFault::TooLarge { limit: self.max_body() }.into()),
            Body::Whole(body) => self.check_body(&request, body),
        };
        let HeldRequest { edits, requester, provider, .. } = request;
        let Requester { identity, fields } = requester;
        let identity_fields = edits.is_some().then_some(fields);
        let edits = edits.unwrap_or_default();
        let decision = match permitted {
            Ok(()) => Self::admit_or_spend(edits, identity_fields, &identity, provider),
            Err(refusal) => self.refuse_known(
                refusal,
                Some(&self.config.providers[provider]),
                identity_fields,
                edits,
            ),
        };
        self.about_message(decision, || match body {
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
        let SpendingRequest { edits, identity, attribution, message_id, .. } = request;
        match spent {
            Ok(()) => Decision::Forward(RequestEdits { identity, ..edits }, Some(attribution)),
            Err(not_spent) => {
                let provider = Some(&self.config.providers[attribution.provider]);
                let decision = self.refuse_known(not_spent.into(), provider, identity, edits);
                self.about_message(decision, || message_id)
            }
        }
    }

    /// Refuses a held request.
    #[must_use]
    pub(crate) fn refuse_held(&self, request: HeldRequest, refusal: Refusal) -> Decision {
        let HeldRequest { edits, requester, provider, .. } = request;
        let identity_fields = edits.is_some().then_some(requester.fields);
        let provider = Some(&self.config.providers[provider]);
        self.refuse_known(refusal, provider, identity_fields, edits.unwrap_or_default())
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
            Need::Keys(_) => {
                let KeysUnavailable { retry_after, why } =
                    view.keys[request.provider()].unavailability(now);
                Refusal::KeysUnavailable { retry_after, why }
            }
            Need::User(_) => {
                Refusal::directory_unavailable(DirectoryFault::Callout(CalloutFault::NoResponse))
            }
            Need::Turn => self.crowded(NoKeys::TooManyTrials),
        };
        let provider = Some(&self.config.providers[request.provider()]);
        self.refuse(refusal, provider, request.edits)
    }

    /// The response to a refused request.
    #[must_use]
    pub(crate) fn response(&self, refused: &Refused) -> Response {
        self.responses.response(&refused.refusal, refused.message_id.as_ref())
    }

    fn check_body(&self, request: &HeldRequest, body: &[u8]) -> Result<(), Refusal> {
        let HeldRequest { target, requester, provider, .. } = request;
        let is_restricted = self.config.providers[*provider].restrict_to_policies;
        self.config.resource.access.check_body(target, body, &requester.identity, is_restricted)
    }

    /// The same decision once the message was read: the response has its `id`, which is read only
    /// for responses that carry one.
    fn about_message(
        &self,
        decision: Decision,
        id: impl FnOnce() -> Option<MessageId>,
    ) -> Decision {
        match decision {
            Decision::Refuse(refused) if self.responses.carries_id(&refused.refusal) => {
                Decision::Refuse(Refused { message_id: id(), ..refused })
            }
            Decision::Spend(request) if self.responses.carries_id(&Refusal::TokenReplayed) => {
                Decision::Spend(SpendingRequest { message_id: id(), ..request })
            }
            decision => decision,
        }
    }

    /// The only way to forward a complete request with an identity: no single-use token passes
    /// unspent.
    fn admit_or_spend(
        edits: RequestEdits,
        identity_fields: Option<Rc<IdentityFields>>,
        identity: &VerifiedIdentity,
        provider: ProviderId,
    ) -> Decision {
        let attribution = Attribution { provider, overage: identity.overage() };
        match identity.single_use() {
            None => Decision::Forward(
                RequestEdits { identity: identity_fields, ..edits },
                Some(attribution),
            ),
            Some(single_use_token) => {
                let message_id = None;
                let request = SpendingRequest {
                    single_use_token,
                    edits,
                    identity: identity_fields,
                    attribution,
                    message_id,
                };
                Decision::Spend(request)
            }
        }
    }

    pub(super) fn refuse(
        &self,
        refusal: Refusal,
        provider: Option<&Provider>,
        edits: RequestEdits,
    ) -> Decision {
        self.refuse_known(refusal, provider, None, edits)
    }

    /// Refuses a request whose identity may be known.
    fn refuse_known(
        &self,
        refusal: Refusal,
        provider: Option<&Provider>,
        identity: Option<Rc<IdentityFields>>,
        edits: RequestEdits,
    ) -> Decision {
        let refused = Refused {
            provider: provider.map(|provider| provider.name.clone()),
            identity,
            message_id: None,
            refusal,
        };
        match self.config.resource.mode {
            Mode::Enforce => Decision::Refuse(refused),
            Mode::Report => Decision::LetThrough(refused, edits),
        }
    }
}
