//! The order of checks, and the decision on a request.
//!
//! 1. [`Authenticator::examine`]: metadata, the resource, exempt paths, origin, credentials.
//! 2. [`Authenticator::read`]: the checks of the token that need no key.
//! 3. [`Authenticator::judge`]: key, signature, claims, identity; or [`Authenticator::apply`], if
//!    the token was judged before at this resource. A signature that was verified for another
//!    resource, or found to be forged, is not verified again.
//! 4. `admit`: what the identity may do. Where that depends on the MCP message,
//!    [`Authenticator::judge_body`] decides once the body has come.
//! 5. [`Authenticator::conclude`]: the token is spent, if it is a single-use token. No check comes
//!    after this one: a token must not be spent for a request that is refused.
//!
//! [`Check`](crate::refusal::Check) names the single checks in their order.

mod admission;
mod calls;
mod decision;
mod edits;
mod issued;
mod lists;
mod request;
mod session;

use std::borrow::Cow;
use std::rc::Rc;

use crate::config::Config;
use crate::engine::verdicts::{Requester, TokenOutcome, TokenVerdict};
use crate::identity::{ClaimedIdentity, KnownBy, ReservedNames, ScimLookups, Unconfirmed};
use crate::keys::{KeyLookup, KeyVersion};
use crate::login::Cookie;
use crate::provider::{ProviderId, Validity};
use crate::refusal::{Refusal, Strings};
use crate::request::RequestHead;
use crate::resource::{
    Address, AmbiguousPath, Mode, ProtectedResource, ResourceId, ResourceLabel, ResourceMap,
    Sought, allows_origin,
};
use crate::response::{NoAuthorizationServer, RefusalResponses, ResourceMetadata, Response};
use crate::sessions::{RequestSession, SESSION_ID, SessionHolder};
use crate::time::UnixTime;
use crate::token::{
    KnownSignature, PlausibleToken, SignedToken, Unverified, VerifiedToken, bearer_token,
};

pub(crate) use self::calls::{FollowedCall, method_label};
pub use self::decision::Refused;
pub(crate) use self::decision::{Decision, Examined, IssuedJudgement, Judgement, Need, WorkerView};
pub(crate) use self::edits::Attribution;
pub use self::edits::RequestEdits;
pub(crate) use self::issued::{issued_judgement, judgement_by};
pub(crate) use self::lists::ListView;
use self::request::Judged;
pub(crate) use self::request::{
    BearerRequest, Body, HeldRequest, PlausibleRequest, SpendingRequest,
};

/// Decides on requests for one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Authenticator {
    config: Config,
    sites: ResourceMap<Site>,
    /// Responses to requests that belong to no resource.
    outside_responses: RefusalResponses,
    /// The response of a host with several resources to clients that look for an authorization
    /// server.
    no_login_of_several: NoAuthorizationServer,
    /// The names of the header fields that only this plugin may set, of all resources.
    reserved: ReservedNames,
}

/// What is prepared for a resource.
#[derive(Clone, Debug)]
struct Site {
    metadata: ResourceMetadata,
    no_login: NoAuthorizationServer,
    responses: RefusalResponses,
    /// Names of the claims that are needed once the identity is known.
    kept_claims: Vec<String>,
}

/// Why a token was not verified.
enum NotVerified {
    /// A key or a user must be fetched first.
    Await(Box<PlausibleToken>, Need),
    /// It is refused; the verdict is `None` if it must not be cached.
    Refused(Refusal, Option<Rc<TokenVerdict>>),
}

/// A token that passed all checks except those on what its identity may do.
struct Identified {
    requester: Requester,
    /// `None` if it must not be cached.
    verdict: Option<Rc<TokenVerdict>>,
    /// `exp`.
    expires: UnixTime,
    /// Without its claims.
    token: PlausibleToken,
}

impl From<Refusal> for NotVerified {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, None)
    }
}

impl Authenticator {
    /// Prepares everything that does not depend on requests.
    #[must_use]
    pub(crate) fn new(config: Config) -> Self {
        let site = |resource: &ProtectedResource| {
            let login = config.login.as_deref();
            let gateway = login.and_then(|login| login.issuer_for(resource.url.as_str()));
            Site {
                metadata: ResourceMetadata::new(resource, &config.providers, gateway),
                no_login: NoAuthorizationServer::new(resource),
                responses: RefusalResponses::new(resource, config.errors),
                kept_claims: resource.access.required_claims(),
            }
        };
        let names = config.resources.iter().flat_map(|resource| {
            let label = resource.label.as_ref().map(ResourceLabel::header);
            resource.identity_headers.names().chain(label)
        });
        let outside = config.resources.outside().into_iter();
        let by_default = outside.flat_map(|outside| &outside.identity_names).map(String::as_str);
        let session_id = config.sessions.as_ref().map(|_| SESSION_ID);
        let names = names.chain(by_default).chain(session_id);
        Self {
            sites: config.resources.map(site),
            outside_responses: RefusalResponses::without_resource(config.errors),
            no_login_of_several: NoAuthorizationServer::for_several_resources(),
            reserved: ReservedNames::new(names),
            config,
        }
    }

    /// The name of a resource, if there are several.
    #[must_use]
    pub(crate) fn label(&self, resource: ResourceId) -> Option<&ResourceLabel> {
        self.config.resources[resource].label.as_ref()
    }

    /// User look-ups, if a directory is configured.
    #[must_use]
    pub(crate) fn user_lookups(&self) -> Option<ScimLookups> {
        self.config.users.lookups()
    }

    /// Limit of a body that is read at this resource, in bytes.
    #[must_use]
    pub(crate) fn max_body(&self, resource: ResourceId) -> usize {
        self.config.resources[resource].access.max_body()
    }

    /// Whether a request has to wait for its message once its token was verified.
    #[must_use]
    pub(crate) fn depends_on_message(&self, request: &PlausibleRequest) -> bool {
        self.config.resources[request.resource].access.depends_on_message(&request.target)
    }

    /// True for names of trailers that are removed from every request: names that only this plugin
    /// may set, because some servers merge trailers into the header, and credentials, because those
    /// in trailers are never checked (RFC 9110 §6.5.1 forbids them there).
    #[must_use]
    pub(crate) fn removes_trailer(&self, name: &[u8]) -> bool {
        self.reserved.is_reserved(name) || name.eq_ignore_ascii_case(b"authorization")
    }

    /// Finds the resource of a request, and makes the checks that do not depend on the token.
    #[must_use]
    pub(crate) fn examine<'a>(&self, head: RequestHead<'a>) -> (Option<ResourceId>, Examined<'a>) {
        let resources = &self.config.resources;
        let address = resources.address(head);
        if let Some(id) = resources.described_at(head, &address)
            && let Some(response) = self.sites[id].metadata.response(head)
        {
            return (Some(id), Decision::Respond(response, Some(id)).into());
        }
        match resources.owner(head, &address) {
            Ok(Some(id)) => (Some(id), self.examine_at(id, head, address)),
            Ok(None) => (None, self.decide_outside(head, &address).into()),
            Err(AmbiguousPath) => (None, Self::refuse_ambiguous(head).into()),
        }
    }

    fn examine_at<'a>(
        &self,
        id: ResourceId,
        head: RequestHead<'a>,
        address: Address,
    ) -> Examined<'a> {
        let resource = &self.config.resources[id];
        let edits = RequestEdits {
            resource: resource.label.clone(),
            ..self.edits_of_any_request(head, resource.forward_token)
        };
        let no_login = self.no_login_at(id, head, &address);
        let target = resource.access.target(head, address.path);
        if let Some(response) = no_login
            && !target.is_one_of(&resource.exempt)
            && !resource.access.has_rule_for_path(&target)
        {
            return Decision::Respond(response, Some(id)).into();
        }
        if !resource.allows_origin(head) {
            return self.refuse(Refusal::OriginDenied, id, None, edits).into();
        }
        if target.is_one_of(&resource.exempt) {
            return Decision::Forward(edits, Some(id), None).into();
        }
        match bearer_token(head) {
            Ok(token) => Examined::Bearer(BearerRequest { resource: id, token, edits, target }),
            Err(refusal) => self.refuse(refusal, id, None, edits).into(),
        }
    }

    /// Decides on a request that belongs to no resource.
    fn decide_outside(&self, head: RequestHead<'_>, address: &Address) -> Decision {
        let (Some(path), Some(outside)) = (&address.path, self.config.resources.outside()) else {
            return Self::refuse_ambiguous(head);
        };
        let edits = self.edits_of_any_request(head, outside.forward_token);
        if outside.exempt.contains(path) {
            return if allows_origin(&outside.allowed_origins, head) {
                Decision::Forward(edits, None, None)
            } else {
                Self::refuse_outside(Refusal::OriginDenied, outside.mode, edits)
            };
        }
        if let Some(response) = self.no_login_outside(head, address) {
            return Decision::Respond(response, None);
        }
        Self::refuse_outside(Self::unknown_resource(head, false), outside.mode, edits)
    }

    /// Refuses a request whose path several servers may serve: no mode lets it through.
    fn refuse_ambiguous(head: RequestHead<'_>) -> Decision {
        let refusal = Self::unknown_resource(head, true);
        Self::refuse_outside(refusal, Mode::Enforce, RequestEdits::default())
    }

    fn unknown_resource(head: RequestHead<'_>, is_ambiguous: bool) -> Refusal {
        let authority = head.values(":authority").next();
        let authority = authority.map(|authority| String::from_utf8_lossy(authority).into_owned());
        Refusal::UnknownResource { authority, is_ambiguous }
    }

    /// The response to a client that looks for an authorization server at a path of this resource.
    fn no_login_at(
        &self,
        id: ResourceId,
        head: RequestHead<'_>,
        address: &Address,
    ) -> Option<Response> {
        if !self.sites[id].no_login.is_looked_for(head) {
            return None;
        }
        let id = match self.sought(address) {
            Some(Sought::Resource(sought)) => sought,
            Some(Sought::AnyOfHost | Sought::NoneOfHost) | None => id,
        };
        self.sites[id].no_login.response(head)
    }

    /// The same at a path that belongs to no resource, of a host that has resources.
    fn no_login_outside(&self, head: RequestHead<'_>, address: &Address) -> Option<Response> {
        match self.sought(address)? {
            Sought::AnyOfHost => self.no_login_of_several.response(head),
            Sought::NoneOfHost => None,
            Sought::Resource(id) => self.sites[id].no_login.response(head),
        }
    }

    fn sought(&self, address: &Address) -> Option<Sought> {
        self.config.resources.sought_at(address, &NoAuthorizationServer::WELL_KNOWN)
    }

    /// Makes the checks of the token that need no key. `known`: the result of verifying its signature
    /// before.
    ///
    /// # Errors
    ///
    /// The decision to refuse the token.
    pub(crate) fn read(
        &self,
        request: BearerRequest<'_>,
        known: Option<KnownSignature>,
        now: UnixTime,
    ) -> Result<PlausibleRequest, Box<Decision>> {
        let BearerRequest { resource, token, edits, target } = request;
        let Config { max_token_size, providers, resources, .. } = &self.config;
        let accepted = &resources[resource].providers;
        match PlausibleToken::read(token, *max_token_size, providers, accepted, now) {
            Ok(token) => {
                let token = token.with_known(known);
                Ok(PlausibleRequest { resource, token, edits, target })
            }
            Err((refusal, provider)) => {
                Err(Box::new(self.refuse(refusal, resource, provider, edits)))
            }
        }
    }

    /// Decides on a request with a plausible token, as far as the current state allows. A request
    /// that waited is judged again.
    #[must_use]
    pub(crate) fn judge(
        &self,
        request: PlausibleRequest,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> Judgement {
        let PlausibleRequest { resource, token, edits, target } = request;
        let id = token.provider();
        let Identified { requester, verdict, token, .. } =
            match self.identify(token, resource, view, now) {
                Ok(identified) => identified,
                Err(NotVerified::Await(token, need)) => {
                    let token = token.without_claims();
                    let request = PlausibleRequest { resource, token, edits, target };
                    return Decision::Await(Box::new(request), need).into();
                }
                Err(NotVerified::Refused(refusal, verdict)) => {
                    let decision = self.refuse(refusal, resource, Some(id), edits);
                    return Judgement { decision, verdict };
                }
            };
        let verdict_ref = verdict.as_ref();
        let judged = Judged { resource, requester: &requester, provider: id, verdict: verdict_ref };
        let decision = self.admit(judged, edits, target, || token.into_bytes());
        Judgement { decision, verdict }
    }

    /// Makes all checks of a token except those on what its identity may do.
    #[inline]
    fn identify(
        &self,
        token: PlausibleToken,
        resource: ResourceId,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> Result<Identified, NotVerified> {
        let id = token.provider();
        let provider = &self.config.providers[id];
        let (token, keys) = self.verify(token, resource, view, now)?;
        let (token, without_claims) = token.check_claims(provider, now)?;
        let Validity { expires, usable } = token.validity().clone();
        let (requester, known_by) = match self.requester(&token, resource, id, view, now) {
            Ok(known) => known,
            Err(Unconfirmed::Refused(refusal)) => return Err(refusal.into()),
            Err(Unconfirmed::Await(query)) => {
                let need = Need::User(Box::new(query));
                return Err(NotVerified::Await(Box::new(without_claims), need));
            }
        };
        let verdict = known_by.map(|known_by| {
            let outcome = TokenOutcome::Verified(requester.clone(), known_by);
            Rc::new(TokenVerdict { resource, provider: id, keys, usable, outcome })
        });
        Ok(Identified { requester, verdict, expires, token: without_claims })
    }

    /// Decides on a request by an earlier verdict on its token at the same resource, which must still
    /// hold.
    #[must_use]
    pub(crate) fn apply(&self, request: BearerRequest<'_>, verdict: &Rc<TokenVerdict>) -> Decision {
        let id = verdict.provider;
        let BearerRequest { resource, token, edits, target } = request;
        match &verdict.outcome {
            TokenOutcome::Forged(refusal) => {
                self.refuse(refusal.clone(), resource, Some(id), edits)
            }
            TokenOutcome::Verified(requester, _) => {
                let judged = Judged { resource, requester, provider: id, verdict: Some(verdict) };
                self.admit(judged, edits, target, || token.to_vec())
            }
        }
    }

    /// Whether a verdict still holds: its keys, its user and its time. If not, the request has to be
    /// judged from the start.
    #[must_use]
    pub(crate) fn holds(
        &self,
        verdict: &TokenVerdict,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> bool {
        let keys = view.keys[verdict.provider].version(now);
        verdict.holds(keys, view.users, now)
    }

    /// Finds the keys of a token and verifies its signature. Returns the version of the keys too.
    fn verify(
        &self,
        token: PlausibleToken,
        resource: ResourceId,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> Result<(SignedToken, KeyVersion), NotVerified> {
        let id = token.provider();
        let keys = &view.keys[id];
        let (candidates, version) = match keys.find(token.header(), token.algorithm(), now) {
            KeyLookup::Candidates(candidates, version) => (candidates, version),
            KeyLookup::Await(demand) => {
                let token = token.without_key_in(keys.version(now));
                return Err(NotVerified::Await(Box::new(token), Need::Keys(demand)));
            }
            KeyLookup::KeyMismatch(mismatch) => return Err(Refusal::KeyMismatch(mismatch).into()),
            KeyLookup::Unavailable(keys) => return Err(Refusal::from(keys).into()),
            KeyLookup::Unknown(set) => {
                let kid = token.header().kid().map(str::to_owned);
                let published = Strings::new(set.kids());
                return Err(Refusal::UnknownKid { kid, published }.into());
            }
        };
        let WorkerView { verifier, budget, .. } = view;
        match token.verify_signature(&candidates, version, verifier, budget, now) {
            Ok(token) => Ok((token, version)),
            Err(Unverified::ForNow(token)) => Err(NotVerified::Await(token, Need::Turn)),
            Err(Unverified::ByAny(token)) => match keys.newer_keys(now) {
                // Its key may be one that has not been fetched yet.
                Some(demand) if !candidates.are_named => {
                    Err(NotVerified::Await(token, Need::Keys(demand)))
                }
                _ => {
                    let refusal = token.bad_signature();
                    let outcome = TokenOutcome::Forged(refusal.clone());
                    // A later fetch may bring a key for a token that names none.
                    let is_final = candidates.are_named || keys.remote().is_none();
                    let usable = token.usable();
                    let verdict = is_final.then(|| {
                        let keys = version;
                        Rc::new(TokenVerdict { resource, provider: id, keys, usable, outcome })
                    });
                    Err(NotVerified::Refused(refusal, verdict))
                }
            },
        }
    }

    /// The requester of a verified token, and how its user is known.
    fn requester(
        &self,
        token: &VerifiedToken,
        resource: ResourceId,
        provider: ProviderId,
        view: WorkerView<'_>,
        now: UnixTime,
    ) -> Result<(Requester, Option<KnownBy>), Unconfirmed> {
        let Config { providers, resources, users, .. } = &self.config;
        let rules = &providers[provider].identity_rules;
        let resource_rules = &resources[resource];
        let accepted = resource_rules.providers.get(provider);
        let roles = accepted.map(|tokens| tokens.audience_roles.as_slice()).unwrap_or_default();
        let claimed = ClaimedIdentity::from_token(token, rules, roles)?;
        let holder = self.config.sessions.as_ref().map(|_| {
            let url = resource_rules.url.as_str();
            Rc::new(SessionHolder::new(claimed.issuer(), claimed.subject(), url))
        });
        let (finding, basis) = users.find(claimed.selector(), view.users, now);
        let identity = claimed.confirmed_by(finding)?;
        let fields = Rc::new(resource_rules.identity_headers.fields(&identity));
        let identity = Rc::new(identity.retain_claims(&self.sites[resource].kept_claims, holder));
        Ok((Requester { identity, fields }, basis))
    }

    /// Edits of every request: removes the token, and header fields that only this plugin may set.
    fn edits_of_any_request(&self, head: RequestHead<'_>, forward_token: bool) -> RequestEdits {
        let mut remove = self.reserved.forged(head);
        if !forward_token && head.values("authorization").next().is_some() {
            remove.push(Cow::Borrowed("authorization"));
        }
        let connection = head.connection_to_forward();
        let mut add = Vec::new();
        let cookie = self.config.login.as_ref().and_then(|_| Cookie::removed_from_head(head));
        if let Some(cookie) = cookie {
            remove.push(Cow::Borrowed("cookie"));
            if !cookie.is_empty() {
                add.push(("cookie", cookie));
            }
        }
        let sessions = self.config.sessions.as_ref();
        let session = sessions.map(|_| Box::new(RequestSession::from_head(head)));
        RequestEdits { remove, connection, add, session, ..RequestEdits::default() }
    }
}

#[cfg(test)]
mod tests;
