//! Decisions on requests.

use std::rc::Rc;

use super::edits::{Attribution, RequestEdits};
use super::request::{BearerRequest, HeldRequest, PlausibleRequest, SpendingRequest};
use crate::access::{Grant, MessageId};
use crate::engine::verdicts::TokenVerdict;
use crate::identity::{IdentityFields, ScimLookups, UserQuery};
use crate::jose::SignatureVerifier;
use crate::keys::{Demand, ProviderKeys};
use crate::login::{Step, TokenJudgement};
use crate::provider::{ProviderId, ProviderMap};
use crate::refusal::Refusal;
use crate::resource::ResourceId;
use crate::response::Response;
use crate::token::VerificationBudget;

/// A request after the checks that do not depend on its token.
#[derive(Debug)]
pub(crate) enum Examined<'a> {
    /// It is decided.
    Decided(Box<Decision>),
    /// It depends on its token.
    Bearer(BearerRequest<'a>),
}

/// A decision on a request.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It waits for this.
    Await(Box<PlausibleRequest>, Need),
    /// It depends on its message. No part of its body may be forwarded until
    /// [`Authenticator::judge_body`](super::Authenticator::judge_body) has decided, and neither may
    /// its head where the proxy delivers the body before.
    AwaitBody(Box<HeldRequest>),
    /// It is forwarded with these edits. Without an attribution, its path requires no token.
    Forward(RequestEdits, Option<ResourceId>, Option<Attribution>),
    /// It gets an error response.
    Refuse(Refused),
    /// It would be refused, but is forwarded without an identity (report mode).
    LetThrough(Refused, RequestEdits),
    /// It asks for a document that the plugin serves itself.
    Respond(Response, Option<ResourceId>),
    /// It belongs to the login, and this is its first step.
    Login(Box<Step>),
    /// Its token must be spent; then [`Authenticator::conclude`](super::Authenticator::conclude)
    /// decides.
    Spend(SpendingRequest),
}

impl From<Decision> for Examined<'_> {
    fn from(decision: Decision) -> Self {
        Self::Decided(Box::new(decision))
    }
}

/// The decision on a request, and the verdict on its token.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub decision: Decision,
    /// `None` if the verdict must not be cached.
    pub verdict: Option<Rc<TokenVerdict>>,
}

impl From<Decision> for Judgement {
    fn from(decision: Decision) -> Self {
        Self { decision, verdict: None }
    }
}

/// The judgement on a token that a provider issued at a login.
pub(crate) enum IssuedJudgement {
    /// It waits for this.
    Await(Box<PlausibleRequest>, Need),
    /// It is judged. The verdict is `None` if it must not be cached.
    Judged(TokenJudgement, Option<Rc<TokenVerdict>>),
}

/// What a request needs before it can be decided on.
#[derive(Debug)]
pub(crate) enum Need {
    /// Keys of its provider, for this demand.
    Keys(Demand),
    /// The record of a user in the directory.
    User(Box<UserQuery>),
    /// Its turn to be verified with more keys.
    Turn,
}

/// The worker's state that decisions depend on.
#[derive(Clone, Copy)]
pub(crate) struct WorkerView<'a> {
    /// The keys of each provider.
    pub keys: &'a ProviderMap<ProviderKeys>,
    /// The user look-ups, if a directory is configured.
    pub users: Option<&'a ScimLookups>,
    /// Verifies signatures with those keys.
    pub verifier: &'a dyn SignatureVerifier,
    /// Bounds the cost of verification.
    pub budget: &'a VerificationBudget,
}

/// A request that is refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The reason and its data.
    pub(crate) refusal: Refusal,
    /// The resource that the request belongs to, if any.
    pub(crate) resource: Option<ResourceId>,
    /// The provider that the token selects, if any.
    pub(crate) provider: Option<ProviderId>,
    /// The identity, if it is verified and was not sent to the upstream yet.
    pub(crate) identity: Option<Rc<IdentityFields>>,
    /// The `id` of its message, if it was read and the response carries it.
    pub(super) message_id: Option<MessageId>,
    /// What allowed it before a later check refused it.
    pub(super) grant: Option<Box<Grant>>,
}
