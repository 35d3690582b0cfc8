//! The token cache: verdicts on tokens, reused while they hold. What depends on more than the token
//! is decided for each request: access, and whether a single-use token was spent.

use std::ops::Range;
use std::rc::Rc;

use crate::identity::{IdentityFields, KnownBy, ScimLookups, VerifiedIdentity};
use crate::keys::KeyVersion;
use crate::provider::ProviderId;
use crate::refusal::Refusal;
use crate::resource::ResourceId;
use crate::time::UnixTime;
use crate::token::{HashedToken, KnownSignature, TokenCache, TokenHasher};

/// The result of verifying a token.
#[derive(Debug)]
pub(crate) struct TokenVerdict {
    /// The resource that the token was judged for.
    pub resource: ResourceId,
    /// The provider whose keys it was verified with.
    pub provider: ProviderId,
    /// The version of those keys.
    pub keys: KeyVersion,
    /// When its claims are valid, including clock skew.
    pub usable: Range<UnixTime>,
    /// The result.
    pub outcome: TokenOutcome,
}

/// The result of verifying a token.
#[derive(Debug)]
pub(crate) enum TokenOutcome {
    /// None of these keys verifies it.
    Forged(Refusal),
    /// It belongs to this requester, whose user is known from this source.
    Verified(Requester, KnownBy),
}

/// The sender of a request.
#[derive(Clone, Debug)]
pub(crate) struct Requester {
    /// The identity in the token, with only those claims that access rules read.
    pub identity: Rc<VerifiedIdentity>,
    /// The header fields that carry it.
    pub fields: Rc<IdentityFields>,
}

/// The verdicts on a token: one for each resource that it was judged for.
#[derive(Clone, Debug)]
struct TokenVerdicts {
    latest: Rc<TokenVerdict>,
    /// For other resources, the latest first.
    earlier: Vec<Rc<TokenVerdict>>,
}

/// Verdicts by token. Forged tokens have a small cache of their own, so they evict no valid ones.
#[derive(Debug)]
pub(crate) struct VerdictCache {
    hasher: TokenHasher,
    verified: TokenCache<TokenVerdicts>,
    forged: TokenCache<TokenVerdicts>,
    /// Whether a token may be judged for more than one resource.
    has_several_resources: bool,
}

impl TokenVerdict {
    /// Whether verification would give the same result now. `keys` are the current keys of its
    /// provider.
    #[must_use]
    pub(crate) fn holds(
        &self,
        keys: Option<KeyVersion>,
        users: Option<&ScimLookups>,
        now: UnixTime,
    ) -> bool {
        let is_known = match &self.outcome {
            TokenOutcome::Forged(_) => true,
            TokenOutcome::Verified(_, basis) => basis.still_holds(users, now),
        };
        keys == Some(self.keys) && self.usable.contains(&now) && is_known
    }

    /// The result of verifying the signature of the token.
    fn signature(&self) -> KnownSignature {
        let is_valid = matches!(self.outcome, TokenOutcome::Verified(..));
        KnownSignature { provider: self.provider, keys: self.keys, is_valid }
    }

    /// Its approximate size in bytes.
    fn size(&self) -> usize {
        let outcome = match &self.outcome {
            TokenOutcome::Forged(_) => 0,
            TokenOutcome::Verified(Requester { identity, fields }, basis) => {
                identity.size() + fields.size() + basis.heap_size()
            }
        };
        outcome + size_of::<Self>()
    }
}

impl TokenVerdicts {
    /// Maximum number of verdicts on a token. Judging it for a further resource verifies no
    /// signature, so a forgotten verdict costs little.
    const MAX: usize = 16;

    /// The verdict for this resource.
    fn for_resource(&self, resource: ResourceId) -> Option<&Rc<TokenVerdict>> {
        let mut all = [&self.latest].into_iter().chain(&self.earlier);
        all.find(|verdict| verdict.resource == resource)
    }

    /// These verdicts with a new one, without the earliest ones that do not fit into `max_bytes`.
    fn with(self, verdict: Rc<TokenVerdict>, max_bytes: usize) -> Self {
        let resource = verdict.resource;
        let mut earlier = self.earlier;
        earlier.insert(0, self.latest);
        earlier.retain(|earlier| earlier.resource != resource);
        earlier.truncate(Self::MAX - 1);
        let mut all = Self { latest: verdict, earlier };
        while all.size() > max_bytes && all.earlier.pop().is_some() {}
        all
    }

    fn size(&self) -> usize {
        let all = [&self.latest].into_iter().chain(&self.earlier);
        all.map(|verdict| verdict.size()).sum::<usize>() + size_of::<Self>()
    }
}

impl From<Rc<TokenVerdict>> for TokenVerdicts {
    fn from(latest: Rc<TokenVerdict>) -> Self {
        Self { latest, earlier: Vec::new() }
    }
}

impl VerdictCache {
    /// Memory for each cached token in bytes: a thousand ordinary ones fit into six MiB.
    const BYTES_PER_TOKEN: usize = 6 * 1024;
    /// Maximum number of forged tokens. A client that repeats one does not cause a verification
    /// each time.
    const MAX_FORGED: usize = 64;

    /// A cache for at most `max` tokens. `has_several_resources`: a token may be judged for several.
    #[must_use]
    pub(crate) fn new(max: usize, has_several_resources: bool) -> Self {
        let cache = |max: usize| TokenCache::new(max, max.saturating_mul(Self::BYTES_PER_TOKEN));
        Self {
            hasher: TokenHasher::default(),
            verified: cache(max),
            forged: cache(Self::MAX_FORGED.min(max)),
            has_several_resources,
        }
    }

    /// The hash by which a token is found and cached.
    #[must_use]
    pub(crate) fn hash<'a>(&self, token: &'a [u8]) -> HashedToken<'a> {
        self.hasher.hash(token)
    }

    /// The verdict on a token for this resource, or the result of verifying its signature for
    /// another one.
    pub(crate) fn find(
        &mut self,
        token: HashedToken<'_>,
        resource: ResourceId,
    ) -> (Option<Rc<TokenVerdict>>, Option<KnownSignature>) {
        let verdicts = self.verified.find(token).or_else(|| self.forged.find(token));
        match verdicts.map(|verdicts| (verdicts, verdicts.for_resource(resource))) {
            Some((_, Some(verdict))) => (Some(verdict.clone()), None),
            Some((verdicts, None)) => (None, Some(verdicts.latest.signature())),
            None => (None, None),
        }
    }

    /// Caches the verdict on a token.
    pub(crate) fn remember(&mut self, token: HashedToken<'_>, verdict: Rc<TokenVerdict>) {
        let is_forged = matches!(verdict.outcome, TokenOutcome::Forged(_));
        if !is_forged {
            self.forged.remove(token);
        }
        let cache = if is_forged { &mut self.forged } else { &mut self.verified };
        let known = if self.has_several_resources { cache.find(token).cloned() } else { None };
        let verdicts = match known {
            Some(known) => known.with(verdict, cache.max_value(token)),
            None => verdict.into(),
        };
        let size = verdicts.size();
        cache.insert(token, verdicts, size);
    }
}
