//! The order of checks, and the decision on a request.
//!
//! 1. [`Authenticator::examine`]: metadata, exempt paths, origin, credentials.
//! 2. [`Authenticator::read`]: what can be said of the token without a key.
//! 3. [`Authenticator::judge`]: key, signature, claims, identity; or [`Authenticator::apply`], if
//!    the token was judged before.
//! 4. `admit`: what the identity may do. Where that depends on the MCP message,
//!    [`Authenticator::judge_body`] decides once the body has come.
//! 5. [`Authenticator::conclude`]: the token is spent, if it is a single-use token. No check comes
//!    after this one: a token must not be spent in vain.
//!
//! [`Check`](crate::refusal::Check) names the single checks in their order.

mod admission;
mod decision;
mod edits;
mod request;

use std::borrow::Cow;
use std::rc::Rc;

use crate::config::Config;
use crate::engine::verdicts::{Requester, TokenOutcome, TokenVerdict};
use crate::identity::{ClaimedIdentity, KnownBy, ScimLookups, Unconfirmed};
use crate::keys::{KeyLookup, KeyVersion, KeysUnavailable};
use crate::provider::Provider;
use crate::refusal::{Refusal, Strings};
use crate::request::RequestHead;
use crate::response::{NoAuthorizationServer, RefusalResponses, ResourceMetadata};
use crate::time::UnixTime;
use crate::token::{PlausibleToken, SignedToken, Unverified, VerifiedToken, bearer_token};

pub use self::decision::Refused;
pub(crate) use self::decision::{Decision, Examined, Judgement, Need, WorkerView};
pub use self::edits::RequestEdits;
use self::request::Judged;
pub(crate) use self::request::{
    BearerRequest, Body, HeldRequest, PlausibleRequest, SpendingRequest,
};

/// Decides on requests for one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Authenticator {
    config: Config,
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

impl From<Refusal> for NotVerified {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, None)
    }
}

impl Authenticator {
    /// Prepares everything that does not depend on requests.
    #[must_use]
    pub(crate) fn new(config: Config) -> Self {
        Self {
            metadata: ResourceMetadata::new(&config.resource, &config.providers),
            no_login: NoAuthorizationServer::new(&config.resource),
            responses: RefusalResponses::new(&config.resource, config.errors),
            kept_claims: config.resource.access.claims_of_use(),
            config,
        }
    }

    /// User look-ups, if a directory is configured.
    #[must_use]
    pub(crate) fn user_lookups(&self) -> Option<ScimLookups> {
        self.config.users.lookups()
    }

    /// Limit of a body that is read, in bytes.
    #[must_use]
    pub(crate) fn max_body(&self) -> usize {
        self.config.resource.access.max_body()
    }

    /// Whether a request has to wait for its message once its token was verified.
    #[must_use]
    pub(crate) fn depends_on_message(&self, request: &PlausibleRequest) -> bool {
        self.config.resource.access.depends_on_message(&request.target)
    }

    /// True for names of trailers that are removed from every request: names that only this plugin
    /// may set, because some servers merge trailers into the header, and credentials, because those
    /// in trailers are never checked (RFC 9110 §6.5.1 forbids them there).
    #[must_use]
    pub(crate) fn removes_trailer(&self, name: &[u8]) -> bool {
        self.config.identity_headers.is_reserved(name)
            || name.eq_ignore_ascii_case(b"authorization")
    }

    /// Makes the checks that do not depend on the token.
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

    /// Makes the checks of the token that need no key.
    ///
    /// # Errors
    ///
    /// The decision to refuse the token.
    pub(crate) fn read(
        &self,
        request: BearerRequest<'_>,
        now: UnixTime,
    ) -> Result<PlausibleRequest, Box<Decision>> {
        let BearerRequest { token, edits, target } = request;
        let Config { max_token_size, providers, .. } = &self.config;
        match PlausibleToken::read(token, *max_token_size, providers, now) {
            Ok(token) => Ok(PlausibleRequest { token, edits, target }),
            Err((refusal, provider)) => Err(Box::new(self.refuse(refusal, provider, edits))),
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
        let PlausibleRequest { token, edits, target } = request;
        let id = token.provider();
        let provider = &self.config.providers[id];
        let refuse = |refusal, edits| self.refuse(refusal, Some(provider), edits).into();
        let (token, keys) = match self.verify(token, view, now) {
            Ok(verified) => verified,
            Err(NotVerified::Await(token, need)) => {
                let request = PlausibleRequest { token: token.without_claims(), edits, target };
                return Decision::Await(request, need).into();
            }
            Err(NotVerified::Refused(refusal, verdict)) => {
                return Judgement { verdict, ..refuse(refusal, edits) };
            }
        };
        let (token, without_claims) = match token.check_claims(provider, now) {
            Ok(checked) => checked,
            Err(refusal) => return refuse(refusal, edits),
        };
        let usable = provider.claim_rules.usable(token.claims(), token.expires());
        let (requester, known_by) = match self.requester(&token, provider, view, now) {
            Ok(known) => known,
            Err(Unconfirmed::Refused(refusal)) => return refuse(refusal, edits),
            Err(Unconfirmed::Await(query)) => {
                let request = PlausibleRequest { token: without_claims, edits, target };
                return Decision::Await(request, Need::User(Box::new(query))).into();
            }
        };
        let verdict = known_by.map(|known_by| {
            let outcome = TokenOutcome::Verified(requester.clone(), known_by);
            Rc::new(TokenVerdict { provider: id, keys, usable, outcome })
        });
        let judged = Judged { requester: &requester, provider: id, verdict: verdict.as_ref() };
        let decision = self.admit(judged, edits, target, || without_claims.into_bytes());
        Judgement { decision, verdict }
    }

    /// Decides on a request by an earlier verdict on its token, which must still hold.
    #[must_use]
    pub(crate) fn apply(&self, request: BearerRequest<'_>, verdict: &Rc<TokenVerdict>) -> Decision {
        let id = verdict.provider;
        let BearerRequest { token, edits, target } = request;
        match &verdict.outcome {
            TokenOutcome::Forged(refusal) => {
                self.refuse(refusal.clone(), Some(&self.config.providers[id]), edits)
            }
            TokenOutcome::Verified(requester, _) => {
                let judged = Judged { requester, provider: id, verdict: Some(verdict) };
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
            KeyLookup::Unavailable(KeysUnavailable { retry_after, why }) => {
                return Err(Refusal::KeysUnavailable { retry_after, why }.into());
            }
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
                    let usable = token.usable(&self.config.providers[id]);
                    let verdict = is_final.then(|| {
                        Rc::new(TokenVerdict { provider: id, keys: version, usable, outcome })
                    });
                    Err(NotVerified::Refused(refusal, verdict))
                }
            },
        }
    }

    /// The requester of a verified token, and the source of what is known about its user.
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

    /// Edits of every request: removes the token, and header fields that only this plugin may set.
    fn edits_of_any_request(&self, head: RequestHead<'_>) -> RequestEdits {
        let mut remove = self.config.identity_headers.forged(head);
        if !self.config.forward_token && head.values("authorization").next().is_some() {
            remove.push(Cow::Borrowed("authorization"));
        }
        RequestEdits { remove, connection: head.connection_to_forward(), identity: None }
    }
}

#[cfg(test)]
mod tests;
