//! The identity and lifetime of a single-use token.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::time::UnixTime;

/// A single-use token: its identity, and how long to record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SingleUseToken {
    pub(super) digest: TokenDigest,
    pub(super) expiry: Expiry,
}

impl SingleUseToken {
    /// The token with this `jti` (RFC 7519 §4.1.7) of this issuer. After `last_use` every other
    /// check refuses it.
    #[must_use]
    pub(crate) fn new(issuer: &str, token_id: &str, last_use: UnixTime) -> Self {
        Self { digest: TokenDigest::new(issuer, token_id), expiry: Expiry::after(last_use) }
    }
}

/// A digest of issuer and `jti`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TokenDigest(pub(super) [u8; Self::LENGTH]);

impl TokenDigest {
    /// A 128-bit collision is infeasible and would affect only those two tokens.
    pub(super) const LENGTH: usize = 16;

    fn new(issuer: &str, token_id: &str) -> Self {
        let mut hash = Sha256::new();
        // The length separates an issuer and a `jti` from a longer issuer and a shorter `jti`.
        hash.update(issuer.len().to_string());
        hash.update(":");
        hash.update(issuer);
        hash.update(token_id);
        let mut digest = [0; Self::LENGTH];
        digest.iter_mut().zip(hash.finalize()).for_each(|(target, byte)| *target = byte);
        Self(digest)
    }

    /// The index of its shard.
    #[must_use]
    pub(super) fn shard(&self) -> u8 {
        let [first, ..] = self.0;
        first
    }
}

/// In hexadecimal.
impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// When a token can be forgotten, in whole seconds since the Unix epoch. The greatest number, in
/// the year 2106, means never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Expiry(pub(super) u32);

impl Expiry {
    const NEVER: Self = Self(u32::MAX);

    /// The first whole second after this time.
    #[must_use]
    pub(super) fn after(time: UnixTime) -> Self {
        u32::try_from(time.as_secs().saturating_add(1)).map_or(Self::NEVER, Self)
    }

    /// Whether this time has passed.
    #[must_use]
    pub(super) fn is_past(self, now: UnixTime) -> bool {
        self != Self::NEVER && self.time() <= now
    }

    /// The time left; practically infinite if it never expires.
    #[must_use]
    pub(super) fn time_left(self, now: UnixTime) -> Duration {
        match self {
            Self::NEVER => Duration::from_secs(self.0.into()),
            _ => self.time().since(now),
        }
    }

    /// The time as a [`UnixTime`].
    #[must_use]
    pub(super) fn time(self) -> UnixTime {
        UnixTime::from_secs(self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_distinguished_by_issuer_and_id() {
        let digest =
            |issuer, token_id| SingleUseToken::new(issuer, token_id, UnixTime::default()).digest;
        assert_eq!(digest("https://a.example", "1"), digest("https://a.example", "1"));
        let all = [
            digest("https://a.example", "1"),
            digest("https://b.example", "1"),
            digest("https://a.example", "2"),
            digest("https://a.example1", ""),
            digest("https://a.exampl", "e1"),
            digest("", "https://a.example1"),
            digest("https://a.example", ""),
            digest("", ""),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
    }

    #[test]
    fn a_single_use_token_expires_in_the_second_after_its_last_use() {
        for (millis, expiry) in [(0, 1), (999, 1), (1000, 2), (1_800_000_000_500, 1_800_000_001)] {
            let last_use = UnixTime::default() + Duration::from_millis(millis);
            let kept = Expiry::after(last_use);
            assert_eq!(kept, Expiry(expiry));
            assert!(!kept.is_past(last_use));
            assert!(kept.is_past(UnixTime::from_secs(expiry.into())));
        }
    }

    #[test]
    fn an_expiry_beyond_the_range_never_expires() {
        let furthest = UnixTime::from_secs(u64::MAX);
        for last_use in [u64::from(u32::MAX) - 1, u64::from(u32::MAX), u64::MAX] {
            let kept = Expiry::after(UnixTime::from_secs(last_use));
            assert_eq!(kept, Expiry::NEVER);
            assert!(!kept.is_past(furthest));
        }
        assert!(Expiry::after(UnixTime::from_secs(u64::from(u32::MAX) - 2)).is_past(furthest));
    }

    #[test]
    fn the_time_left_ends_with_the_expiry_or_exceeds_a_century() {
        let now = UnixTime::default() + Duration::from_millis(1500);
        assert_eq!(Expiry(3).time_left(now), Duration::from_millis(1500));
        assert_eq!(Expiry(1).time_left(now), Duration::ZERO);
        let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        assert!(Expiry::NEVER.time_left(UnixTime::from_secs(u64::MAX)) > century);
    }
}
