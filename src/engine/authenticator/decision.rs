//! Decisions on requests.

use std::rc::Rc;

use super::edits::{Attribution, RequestEdits};
use super::request::{BearerRequest, HeldRequest, PlausibleRequest, SpendingRequest};
use crate::access::MessageId;
use crate::engine::verdicts::TokenVerdict;
use crate::identity::{IdentityFields, ScimLookups, UserQuery};
use crate::jose::SignatureVerifier;
use crate::keys::{Demand, ProviderKeys};
use crate::provider::ProviderMap;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::token::VerificationBudget;

/// A request after the checks that do not depend on its token.
#[derive(Debug)]
pub(crate) enum Examined<'a> {
    /// It was decided on.
    Decided(Box<Decision>),
    /// It depends on its token.
    Bearer(BearerRequest<'a>),
}

/// A decision on a request.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It waits for what it needs.
    Await(PlausibleRequest, Need),
    /// It depends on its message. Nothing of its body may go on until
    /// [`Authenticator::judge_body`](super::Authenticator::judge_body) has decided, nor its head
    /// where the proxy hands over the body before.
    AwaitBody(Box<HeldRequest>),
    /// It goes to the upstream with these edits. Without an attribution, its path requires no token.
    Forward(RequestEdits, Option<Attribution>),
    /// It is refused.
    Refuse(Refused),
    /// It would be refused, but goes to the upstream without an identity (report mode).
    LetThrough(Refused, RequestEdits),
    /// It asks for a document that the plugin serves itself.
    Respond(Response),
    /// Its token is to be spent; then [`Authenticator::conclude`](super::Authenticator::conclude)
    /// decides.
    Spend(SpendingRequest),
}

/// The decision on a request, and the verdict on its token.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// The decision.
    pub decision: Decision,
    /// None if nothing about the token may be remembered.
    pub verdict: Option<Rc<TokenVerdict>>,
}

impl From<Decision> for Judgement {
    fn from(decision: Decision) -> Self {
        Self { decision, verdict: None }
    }
}

/// What a request needs before it can be decided on.
#[derive(Debug)]
pub(crate) enum Need {
    /// Keys of its provider, fetched for this reason.
    Keys(Demand),
    /// A user's record in the directory.
    User(Box<UserQuery>),
    /// Its turn to be tried with more keys.
    Turn,
}

/// What a worker knows, by which it judges requests.
#[derive(Clone, Copy)]
pub(crate) struct WorkerView<'a> {
    /// The keys of each provider.
    pub keys: &'a ProviderMap<ProviderKeys>,
    /// The look-ups of users, if there is a directory.
    pub users: Option<&'a ScimLookups>,
    /// Verifies signatures with those keys.
    pub verifier: &'a dyn SignatureVerifier,
    /// Bounds the cost of verifying.
    pub budget: &'a VerificationBudget,
}

/// A request that is refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The reason, with its data.
    pub(crate) refusal: Refusal,
    /// Name of the provider that the token picks, if it picks one.
    pub(crate) provider: Option<String>,
    /// The identity, if it is verified and was not sent to the upstream yet.
    pub(crate) identity: Option<Rc<IdentityFields>>,
    /// The `id` of its message, if that was read and the response carries it.
    pub(super) message_id: Option<MessageId>,
}
