//! What was found out about tokens, so that it need not be found out again while it is true. What
//! depends on more than the token is decided anew for each request: access, and whether a token that
//! serves once was spent.

use std::ops::Range;
use std::rc::Rc;

use crate::identity::{IdentityFields, KnownBy, ScimLookups, VerifiedIdentity};
use crate::keys::KeyVersion;
use crate::provider::ProviderId;
use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::token::{HashedToken, TokenCache, TokenHasher};

/// What was found out about a token.
#[derive(Debug)]
pub(crate) struct TokenVerdict {
    /// By whose keys it was judged.
    pub provider: ProviderId,
    /// The keys by which it was judged.
    pub keys: KeyVersion,
    /// When it can be used, as far as it says so.
    pub usable: Range<UnixTime>,
    /// What came of it.
    pub outcome: TokenOutcome,
}

/// What came of judging a token.
#[derive(Debug)]
pub(crate) enum TokenOutcome {
    /// None of these keys verifies it.
    Forged(Refusal),
    /// It stands for this requester, whose user is known by this.
    Verified(Requester, KnownBy),
}

/// Who sends a request, ready to be told to the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Requester {
    /// Whom the token stands for, with no more of its claims than are still of use.
    pub identity: Rc<VerifiedIdentity>,
    /// What says so.
    pub fields: Rc<IdentityFields>,
}

/// Verdicts by their tokens. Forged tokens have a small room of their own: they drive no good ones out.
#[derive(Debug)]
pub(crate) struct VerdictCache {
    hasher: TokenHasher,
    verified: TokenCache<Rc<TokenVerdict>>,
    forged: TokenCache<Rc<TokenVerdict>>,
}

impl TokenVerdict {
    /// Whether it would be the same now. `keys` are those of its provider that serve now.
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

    /// About how many bytes it takes up.
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
    /// Most bytes for each token that may be remembered: so that a thousand ordinary ones fit into
    /// six MiB.
    const BYTES_PER_TOKEN: usize = 6 * 1024;
    /// Most forged tokens: a client that repeats one need not cost a verification each time.
    const MAX_FORGED: usize = 64;

    /// Room for so many tokens.
    #[must_use]
    pub(crate) fn new(max: usize) -> Self {
        let cache = |max: usize| TokenCache::new(max, max.saturating_mul(Self::BYTES_PER_TOKEN));
        Self {
            hasher: TokenHasher::default(),
            verified: cache(max),
            forged: cache(Self::MAX_FORGED.min(max)),
        }
    }

    /// A token as it can be looked for and remembered.
    #[must_use]
    pub(crate) fn hash<'a>(&self, token: &'a [u8]) -> HashedToken<'a> {
        self.hasher.hash(token)
    }

    /// What was found out about this token.
    pub(crate) fn find(&mut self, token: HashedToken<'_>) -> Option<Rc<TokenVerdict>> {
        self.verified.find(token).or_else(|| self.forged.find(token)).cloned()
    }

    /// Remembers what was found out about a token.
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
