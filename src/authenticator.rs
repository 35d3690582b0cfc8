//! The decision on a request. Reads like the way of a request: metadata, origin, token, keys,
//! signature, identity, what it may do, and last its spending if it serves once. What it may do can
//! depend on the message in its body: then that and the spending come when the body is there.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use crate::access::{MessageId, Permission, Target};
use crate::callout::CalloutFault;
use crate::config::Config;
use crate::engine::verdicts::{Requester, TokenOutcome, TokenVerdict};
use crate::identity::{
    ClaimedIdentity, IdentityFields, KnownBy, Overage, ScimLookups, Unconfirmed, UserQuery,
    VerifiedIdentity,
};
use crate::jose::{KnownHeaders, SignatureVerifier};
use crate::keys::{Demand, KeyLookup, KeysUnavailable, NoKeys, ProviderKeys};
use crate::provider::{Provider, ProviderId, ProviderMap};
use crate::refusal::{BodyFault, DirectoryFault, Refusal, Strings};
use crate::request::RequestHead;
use crate::resource::Mode;
use crate::response::{NoAuthorizationServer, RefusalResponses, ResourceMetadata, Response};
use crate::time::UnixTime;
use crate::token::{
    NotSpent, PlausibleToken, SingleUseToken, Unverified, VerificationBudget, VerifiedToken,
    bearer_token,
};

/// Decides on requests for one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Authenticator {
    config: Config,
    metadata: ResourceMetadata,
    no_login: NoAuthorizationServer,
    responses: RefusalResponses,
    /// Names of the claims that are asked for once the identity is known.
    kept_claims: Vec<String>,
    known_headers: KnownHeaders,
}

/// What can be said of a request without its token.
#[derive(Debug)]
pub(crate) enum Examined<'a> {
    /// What becomes of it.
    Decided(Box<Decision>),
    /// It depends on its token.
    Bearer(BearerRequest<'a>),
}

/// A request with something that may be a token.
#[derive(Debug)]
pub(crate) struct BearerRequest<'a> {
    token: &'a [u8],
    /// Whatever becomes of the request, these are made if it goes to the upstream.
    edits: RequestEdits,
    target: Target,
}

/// A request with a token that could be good.
#[derive(Debug)]
pub(crate) struct PlausibleRequest {
    token: PlausibleToken,
    /// Whatever becomes of the request, these are made if it goes to the upstream.
    edits: RequestEdits,
    target: Target,
}

/// What is to become of a request.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It waits until something is known.
    Await(PlausibleRequest, Need),
    /// It depends on its message: nothing of its body may go on until [`Authenticator::judge_body`]
    /// has decided, and nothing of its head either where the host hands over the body before.
    AwaitBody(Box<HeldRequest>),
    /// It goes to the upstream with these changes; somebody vouches for its identity, unless no
    /// token is needed.
    Forward(RequestEdits, Option<Attribution>),
    /// It is refused.
    Refuse(Refused),
    /// It would be refused, but is let through, with these changes and without an identity.
    LetThrough(Refused, RequestEdits),
    /// It asks for something that is answered here.
    Respond(Response),
    /// Its token is to be spent; what it becomes then, [`Authenticator::conclude`] tells.
    Spend(SpendingRequest),
}

/// The decision on a request, and what was found out about its token.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// What is to become of the request.
    pub decision: Decision,
    /// What need not be found out again; none if nothing can be said for good.
    pub verdict: Option<Rc<TokenVerdict>>,
}

impl From<Decision> for Judgement {
    fn from(decision: Decision) -> Self {
        Self { decision, verdict: None }
    }
}

/// What has to be known before a request can be decided on.
#[derive(Debug)]
pub(crate) enum Need {
    /// Keys of its provider, which should be fetched for this reason.
    Keys(Demand),
    /// What the directory knows of a user.
    User(Box<UserQuery>),
    /// Its turn to be verified with more keys.
    Turn,
}

/// What is known by now, by which requests are judged.
#[derive(Clone, Copy)]
pub(crate) struct WorkerView<'a> {
    /// The keys of each provider.
    pub keys: &'a ProviderMap<ProviderKeys>,
    /// The users of the directory, if there is one that is asked.
    pub users: Option<&'a ScimLookups>,
    /// What verifies with them.
    pub verifier: &'a dyn SignatureVerifier,
    /// What that may cost.
    pub budget: &'a VerificationBudget,
}

/// Who vouches for an identity.
#[derive(Debug)]
pub(crate) struct Attribution {
    /// The provider whose token says so.
    pub provider: ProviderId,
    /// What its token does not tell of the identity.
    pub overage: Option<Rc<Overage>>,
}

/// A request that lacks nothing but a look at its message, and maybe that its token is spent. Keeps
/// the verdict and the token, so that it can be judged again when the body has come.
#[derive(Debug)]
pub(crate) struct HeldRequest {
    token: Vec<u8>,
    target: Target,
    /// Changes to its head; none once the head has gone on with them.
    edits: Option<RequestEdits>,
    requester: Requester,
    provider: ProviderId,
    verdict: Option<Rc<TokenVerdict>>,
    /// Whether its token was looked up in the store of a fleet, and was not spent.
    is_looked_up: bool,
}

/// A requester, and by what its token was judged.
struct Judged<'a> {
    requester: &'a Requester,
    provider: ProviderId,
    verdict: Option<&'a Rc<TokenVerdict>>,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    /// There is more of it than is read.
    TooLarge,
    /// All of it, or as much as [`HeldRequest::is_decided_by`] asks for.
    Whole(&'a [u8]),
}

/// A request that lacks nothing but that its token, which serves once, is spent.
#[derive(Debug)]
pub(crate) struct SpendingRequest {
    single_use_token: SingleUseToken,
    edits: RequestEdits,
    /// What is added once the token is spent; none if that was added before.
    identity: Option<Rc<IdentityFields>>,
    attribution: Attribution,
    /// Of its message, if that was read.
    message_id: Option<MessageId>,
}

/// A request that is refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub(crate) refusal: Refusal,
    /// Name of the provider that the token says it comes from, if it is one.
    pub(crate) provider: Option<String>,
    /// Whom the token stands for, if that is certain and not told yet.
    pub(crate) identity: Option<Rc<IdentityFields>>,
    /// Of its message, if that was read and the response carries it.
    message_id: Option<MessageId>,
}

/// Changes to a request on its way to the upstream: first everything is removed, then added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestEdits {
    /// Names of fields that go, with all their values.
    pub remove: Vec<Cow<'static, str>>,
    /// What `Connection` becomes, if it is not that already.
    pub connection: Option<&'static str>,
    /// Whom the request comes from.
    pub identity: Option<Rc<IdentityFields>>,
}

impl<'a> BearerRequest<'a> {
    /// What may be its token.
    #[must_use]
    pub(crate) fn token(&self) -> &'a [u8] {
        self.token
    }
}

impl PlausibleRequest {
    /// The provider by whose keys it is to be judged.
    #[must_use]
    pub(crate) fn provider(&self) -> ProviderId {
        self.token.provider()
    }

    /// What the request would wait for if it were judged now, when that is keys again and all that
    /// could be found out is known. `keys` are those of its provider.
    #[must_use]
    pub(crate) fn still_awaits(&self, keys: &ProviderKeys, now: UnixTime) -> Option<Demand> {
        let demand = keys.awaited(now)?;
        self.token.is_tried_with(keys.version(now)).then_some(demand)
    }
}

impl HeldRequest {
    /// The provider by whose keys it was judged.
    #[must_use]
    pub(crate) fn provider(&self) -> ProviderId {
        self.provider
    }

    /// How many bytes its token has.
    #[must_use]
    pub(crate) fn token_length(&self) -> usize {
        self.token.len()
    }

    /// What has to be spent before it may go on.
    #[must_use]
    pub(crate) fn single_use_token(&self) -> Option<SingleUseToken> {
        self.requester.identity.single_use()
    }

    /// Whether its head need not wait for the store of a fleet.
    #[must_use]
    pub(crate) fn is_looked_up(&self) -> bool {
        self.is_looked_up
    }

    /// Its token was looked up in the store of a fleet, and was not spent.
    pub(crate) fn set_looked_up(&mut self) {
        self.is_looked_up = true;
    }

    /// What the server is told of whom it comes from.
    #[must_use]
    pub(crate) fn identity(&self) -> &Rc<IdentityFields> {
        &self.requester.fields
    }

    /// True when its head says that a body follows which is not empty.
    #[must_use]
    pub(crate) fn announces_content(&self) -> bool {
        self.target.announces_content()
    }

    /// True when a body of which so many bytes have come need not be waited for any longer.
    #[must_use]
    pub(crate) fn is_decided_by(&self, size: usize, is_whole: bool, max_body: usize) -> bool {
        is_whole || size > max_body || (size > 0 && self.target.accepts_no_content())
    }

    /// The changes by which its head goes on before its body was judged, identity included; none if
    /// it has.
    pub(crate) fn take_edits(&mut self) -> Option<RequestEdits> {
        let identity = Some(self.requester.fields.clone());
        self.edits.take().map(|edits| RequestEdits { identity, ..edits })
    }

    /// The request as it was before its token was judged.
    #[must_use]
    pub(crate) fn as_it_came(&self) -> BearerRequest<'_> {
        BearerRequest {
            token: &self.token,
            edits: self.edits.clone().unwrap_or_default(),
            target: self.target.clone(),
        }
    }
}

impl SpendingRequest {
    /// What to spend.
    #[must_use]
    pub(crate) fn single_use_token(&self) -> SingleUseToken {
        self.single_use_token
    }
}

impl Authenticator {
    /// When a client should try again whose request there was no room for.
    const CROWDED_PAUSE: Duration = Duration::from_secs(1);

    /// Look-ups in the directory of users, if there is one that is asked.
    #[must_use]
    pub(crate) fn user_lookups(&self) -> Option<ScimLookups> {
        self.config.users.lookups()
    }

    /// Prepares what does not depend on requests.
    #[must_use]
    pub(crate) fn new(config: Config) -> Self {
        Self {
            metadata: ResourceMetadata::new(&config.resource, &config.providers),
            no_login: NoAuthorizationServer::new(&config.resource),
            responses: RefusalResponses::new(&config.resource, config.errors),
            kept_claims: config.resource.access.claims_of_use(),
            known_headers: KnownHeaders::default(),
            config,
        }
    }

    /// Looks at everything that does not depend on the token.
    #[must_use]
    pub(crate) fn examine<'a>(&self, head: RequestHead<'a>) -> Examined<'a> {
        let decided = |decision| Examined::Decided(Box::new(decision));
        if let Some(response) = self.metadata.response(head) {
            return decided(Decision::Respond(response));
        }
        let edits = self.edits_of_any_request(head);
        let target = self.config.resource.access.target(head);
        if let Some(response) = self.no_login.response(head)
            && !target.is_one_of(&self.config.resource.exempt)
            && !self.config.resource.access.has_rule_for_path(&target)
        {
            return decided(Decision::Respond(response));
        }
        if !self.config.resource.allows_origin(head) {
            return decided(self.refuse(Refusal::OriginDenied, None, edits));
        }
        if target.is_one_of(&self.config.resource.exempt) {
            return decided(Decision::Forward(edits, None));
        }
        match bearer_token(head) {
            Ok(token) => Examined::Bearer(BearerRequest { token, edits, target }),
            Err(refusal) => decided(self.refuse(refusal, None, edits)),
        }
    }

    /// Looks at everything of the token that needs no key.
    ///
    /// # Errors
    ///
    /// The token cannot be good: what becomes of the request.
    pub(crate) fn read(
        &self,
        request: BearerRequest<'_>,
        now: UnixTime,
    ) -> Result<PlausibleRequest, Box<Decision>> {
        let BearerRequest { token, edits, target } = request;
        let Config { max_token_size, providers, .. } = &self.config;
        match PlausibleToken::read(token, *max_token_size, providers, &self.known_headers, now) {
            Ok(token) => Ok(PlausibleRequest { token, edits, target }),
            Err((refusal, provider)) => Err(Box::new(self.refuse(refusal, provider, edits))),
        }
    }

    /// Decides on a request whose token could be good, as far as what is known allows. A request
    /// that waited is judged anew.
    #[must_use]
    pub(crate) fn judge(
        &self,
        request: PlausibleRequest,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> Judgement {
        let PlausibleRequest { token, edits, target } = request;
        let id = token.provider();
        let (provider, own_keys) = (&self.config.providers[id], &view.keys[id]);
        let wait = |token: PlausibleToken, edits, target, need| {
            let token = token.without_claims();
            let request = PlausibleRequest { token, edits, target };
            Judgement::from(Decision::Await(request, need))
        };
        let refuse = |refusal, edits| Judgement::from(self.refuse(refusal, Some(provider), edits));
        let lookup = own_keys.find(token.header(), token.algorithm(), now);
        let (candidates, version) = match lookup {
            KeyLookup::Candidates(candidates, version) => (candidates, version),
            KeyLookup::Await(demand) => {
                let token = token.without_key_in(own_keys.version(now));
                return wait(token, edits, target, Need::Keys(demand));
            }
            KeyLookup::KeyMismatch(mismatch) => {
                return refuse(Refusal::KeyMismatch(mismatch), edits);
            }
            KeyLookup::Unavailable(KeysUnavailable { retry_after, why }) => {
                return refuse(Refusal::KeysUnavailable { retry_after, why }, edits);
            }
            KeyLookup::Unknown(set) => {
                let kid = token.header().kid().map(str::to_owned);
                let published = Strings::new(set.kids());
                return refuse(Refusal::UnknownKid { kid, published }, edits);
            }
        };
        let WorkerView { verifier, budget, .. } = view;
        let token = match token.verify_signature(&candidates, version, verifier, budget, now) {
            Ok(token) => token,
            Err(Unverified::ForNow(token)) => return wait(*token, edits, target, Need::Turn),
            Err(Unverified::ByAny(token)) => match own_keys.newer_keys(now) {
                // Its own key may be one that is not held yet.
                Some(demand) if !candidates.are_named => {
                    return wait(*token, edits, target, Need::Keys(demand));
                }
                _ => {
                    let refusal = token.bad_signature();
                    let outcome = TokenOutcome::Forged(refusal.clone());
                    // A later fetch may be allowed to look for a key without a name.
                    let is_final = candidates.are_named || own_keys.remote().is_none();
                    let usable = token.usable(provider);
                    let verdict = is_final.then(|| {
                        Rc::new(TokenVerdict { provider: id, keys: version, usable, outcome })
                    });
                    return Judgement { verdict, ..refuse(refusal, edits) };
                }
            },
        };
        token.remember_header(&self.known_headers);
        let (token, without_claims) = match token.check_claims(provider, now) {
            Ok(checked) => checked,
            Err(refusal) => return refuse(refusal, edits),
        };
        let usable = provider.claim_rules.usable(token.claims(), token.expires());
        let (requester, basis) = match self.requester(&token, provider, view, now) {
            Ok(known) => known,
            Err(Unconfirmed::Refused(refusal)) => return refuse(refusal, edits),
            Err(Unconfirmed::Await(query)) => {
                let request = PlausibleRequest { token: without_claims, edits, target };
                return Decision::Await(request, Need::User(Box::new(query))).into();
            }
        };
        let verdict = basis.map(|basis| {
            let outcome = TokenOutcome::Verified(requester.clone(), basis);
            Rc::new(TokenVerdict { provider: id, keys: version, usable, outcome })
        });
        let judged = Judged { requester: &requester, provider: id, verdict: verdict.as_ref() };
        let decision = self.admit(judged, edits, target, || without_claims.into_bytes());
        Judgement { decision, verdict }
    }

    /// Decides on a request by what was found out about its token before.
    ///
    /// # Errors
    ///
    /// That holds no longer: gives the request back.
    pub(crate) fn apply<'a>(
        &self,
        request: BearerRequest<'a>,
        verdict: &Rc<TokenVerdict>,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> Result<Decision, BearerRequest<'a>> {
        let id = verdict.provider;
        let keys = view.keys[id].version(now);
        if !verdict.holds(keys, view.users, now) {
            return Err(request);
        }
        let BearerRequest { token, edits, target } = request;
        Ok(match &verdict.outcome {
            TokenOutcome::Forged(refusal) => {
                self.refuse(refusal.clone(), Some(&self.config.providers[id]), edits)
            }
            TokenOutcome::Verified(requester, _) => {
                let judged = Judged { requester, provider: id, verdict: Some(verdict) };
                self.admit(judged, edits, target, || token.to_vec())
            }
        })
    }

    /// Whether what a held request was judged by still holds: its keys, its user and its time. If
    /// not, it has to be judged anew from the start.
    #[must_use]
    pub(crate) fn still_holds(
        &self,
        request: &HeldRequest,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> bool {
        let keys = view.keys[request.provider].version(now);
        let verdict = request.verdict.as_ref();
        verdict.is_some_and(|verdict| verdict.holds(keys, view.users, now))
    }

    /// Whether a request will have to wait for its message, once its token was judged.
    #[must_use]
    pub(crate) fn depends_on_message(&self, request: &PlausibleRequest) -> bool {
        self.config.resource.access.depends_on_message(&request.target)
    }

    /// Most bytes of a body that is read.
    #[must_use]
    pub(crate) fn max_body(&self) -> usize {
        self.config.resource.access.max_body()
    }

    /// Decides on a held request by its body. If its head has gone on, what comes of it changes no
    /// header field any more.
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

    fn check_body(&self, request: &HeldRequest, body: &[u8]) -> Result<(), Refusal> {
        let HeldRequest { target, requester, provider, .. } = request;
        let is_restricted = self.config.providers[*provider].restrict_to_policies;
        self.config.resource.access.check_body(target, body, &requester.identity, is_restricted)
    }

    /// Refuses a held request.
    #[must_use]
    pub(crate) fn refuse_held(&self, request: HeldRequest, refusal: Refusal) -> Decision {
        let HeldRequest { edits, requester, provider, .. } = request;
        let identity_fields = edits.is_some().then_some(requester.fields);
        let provider = Some(&self.config.providers[provider]);
        self.refuse_known(refusal, provider, identity_fields, edits.unwrap_or_default())
    }

    /// There is no room for a request.
    #[must_use]
    pub(crate) fn crowded(&self, why: NoKeys) -> Refusal {
        Refusal::KeysUnavailable { retry_after: Self::CROWDED_PAUSE, why }
    }

    /// Decides on a request by what came of spending its token. No check comes after this one, lest a
    /// token be spent in vain.
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

    /// The response to a refused request.
    #[must_use]
    pub(crate) fn response(&self, refused: &Refused) -> Response {
        self.responses.response(&refused.refusal, refused.message_id.as_ref())
    }

    /// The same decision on a request whose message was read: the response carries its `id`, which is
    /// read only where a response carries any.
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

    /// Refuses a request that waited for too long.
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

    /// What goes from every request: names that only this plugin may set, and the token.
    fn edits_of_any_request(&self, head: RequestHead<'_>) -> RequestEdits {
        let mut remove = self.config.identity_headers.forged(head);
        if !self.config.forward_token && head.values("authorization").next().is_some() {
            remove.push(Cow::Borrowed("authorization"));
        }
        RequestEdits { remove, connection: head.connection_to_forward(), identity: None }
    }

    /// True for the name of a trailer that goes from every request: one that only this plugin may
    /// set, since some servers join trailers and header fields, and credentials, since those in
    /// trailers are never judged (RFC 9110 §6.5.1 allows none there).
    #[must_use]
    pub(crate) fn removes_trailer(&self, name: &[u8]) -> bool {
        self.config.identity_headers.is_reserved(name)
            || name.eq_ignore_ascii_case(b"authorization")
    }

    /// Whom a verified token stands for, and by what its user is known.
    fn requester(
        &self,
        token: &VerifiedToken,
        provider: &Provider,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> Result<(Requester, Option<KnownBy>), Unconfirmed> {
        let claimed = ClaimedIdentity::from_token(token, &provider.identity_rules)?;
        let (finding, basis) = self.config.users.find(claimed.selector(), view.users, now);
        let identity = claimed.confirmed_by(finding)?;
        let fields = Rc::new(self.config.identity_headers.fields(&identity));
        let identity = Rc::new(identity.retain_claims(&self.kept_claims));
        Ok((Requester { identity, fields }, basis))
    }

    /// Decides whether a requester may do what it asks for. `token` is asked only if the request is
    /// held.
    fn admit(
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

    /// The only way for the whole of a request with an identity, so that no token that serves once
    /// passes unspent.
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

    fn refuse(
        &self,
        refusal: Refusal,
        provider: Option<&Provider>,
        edits: RequestEdits,
    ) -> Decision {
        self.refuse_known(refusal, provider, None, edits)
    }

    /// Refuses a request of which is known whom it comes from.
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

#[cfg(test)]
mod tests;
