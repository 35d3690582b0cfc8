//! The token cache: verdicts on tokens, reused while they hold. What depends on more than the token
//! is decided for each request: access, and whether a single-use token was spent.

use std::ops::Range;
use std::rc::Rc;

use crate::identity::{IdentityFields, KnownBy, ScimLookups, VerifiedIdentity};
use crate::keys::KeyVersion;
use crate::provider::ProviderId;
use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::token::{HashedToken, TokenCache, TokenHasher};

/// The result of verifying a token.
#[derive(Debug)]
pub(crate) struct TokenVerdict {
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

/// Verdicts by token. Forged tokens have a small cache of their own, so they evict no valid ones.
#[derive(Debug)]
pub(crate) struct VerdictCache {
    hasher: TokenHasher,
    verified: TokenCache<Rc<TokenVerdict>>,
    forged: TokenCache<Rc<TokenVerdict>>,
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

impl VerdictCache {
    /// Memory for each cached token in bytes: a thousand ordinary ones fit into six MiB.
    const BYTES_PER_TOKEN: usize = 6 * 1024;
    /// Maximum number of forged tokens. A client that repeats one causes no verification each time.
    const MAX_FORGED: usize = 64;

    /// A cache for at most `max` tokens.
    #[must_use]
    pub(crate) fn new(max: usize) -> Self {
        let cache = |max: usize| TokenCache::new(max, max.saturating_mul(Self::BYTES_PER_TOKEN));
        Self {
            hasher: TokenHasher::default(),
            verified: cache(max),
            forged: cache(Self::MAX_FORGED.min(max)),
        }
    }

    /// The hash by which a token is found and cached.
    #[must_use]
    pub(crate) fn hash<'a>(&self, token: &'a [u8]) -> HashedToken<'a> {
        self.hasher.hash(token)
    }

    /// The verdict on a token.
    pub(crate) fn find(&mut self, token: HashedToken<'_>) -> Option<Rc<TokenVerdict>> {
        self.verified.find(token).or_else(|| self.forged.find(token)).cloned()
    }

    /// Caches the verdict on a token.
    pub(crate) fn remember(&mut self, token: HashedToken<'_>, verdict: Rc<TokenVerdict>) {
        let size = verdict.size();
        match verdict.outcome {
            TokenOutcome::Forged(_) => self.forged.insert(token, verdict, size),
            TokenOutcome::Verified(..) => {
                self.forged.remove(token);
                self.verified.insert(token, verdict, size);
            }
        }
    }
}
