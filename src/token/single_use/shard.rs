//! A part of the local store: one value in shared data.

use std::time::Duration;

use super::NotSpent;
use super::single_use_token::{Expiry, SingleUseToken, TokenDigest};
use crate::refusal::StoreFault;
use crate::time::UnixTime;

/// The spent tokens whose digests begin with the same byte.
///
/// Encoding: the version, the expiry of forgotten tokens, then digest and expiry of each token.
/// Numbers are big-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shard {
    /// The latest expiry among the forgotten tokens.
    ///
    /// While the clock runs forward, no token that passes the other checks expires that early. If
    /// the clock was set back, a token expiring that early may already have been spent, so it is
    /// refused. So no token is accepted twice, whatever the clock and whichever times the workers
    /// read from it.
    forgotten: Expiry,
    spent: Vec<SingleUseToken>,
}

impl Shard {
    /// Maximum number of tokens in a shard. All 256 together are 131,072 tokens in 2.5 MiB.
    pub(super) const MAX_ENTRIES: usize = 512;
    /// Maximum size of a shard in bytes.
    #[cfg(test)]
    pub(super) const MAX_LENGTH: usize = Self::HEADER + Self::MAX_ENTRIES * Self::ENTRY;

    const VERSION: u8 = 1;
    const HEADER: usize = size_of::<u8>() + size_of::<u32>();
    const ENTRY: usize = TokenDigest::LENGTH + size_of::<u32>();
    /// Longest time after which a client should retry: room may become free before the estimate.
    const MAX_PAUSE: Duration = Duration::from_secs(60);

    /// The name of a shard in shared data.
    #[must_use]
    pub(super) fn name(index: u8) -> String {
        format!("mcp-federated-auth/1/spent-tokens/{index:02x}")
    }

    /// Decodes the shard with this index; `None` if the bytes are not one.
    #[must_use]
    pub(super) fn decode(index: u8, bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (forgotten, entries) = rest.split_first_chunk()?;
        let is_whole = entries.len().is_multiple_of(Self::ENTRY);
        if *version != Self::VERSION || !is_whole || entries.len() > Self::MAX_ENTRIES * Self::ENTRY
        {
            return None;
        }
        let spent = entries.chunks_exact(Self::ENTRY).map(|entry| {
            let (digest, expiry) = entry.split_first_chunk()?;
            let digest = TokenDigest(*digest);
            let expiry = Expiry(u32::from_be_bytes(expiry.try_into().ok()?));
            (digest.shard() == index).then_some(SingleUseToken { digest, expiry })
        });
        let forgotten = Expiry(u32::from_be_bytes(*forgotten));
        Some(Self { forgotten, spent: spent.collect::<Option<_>>()? })
    }

    /// Encodes the shard.
    #[must_use]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::HEADER + self.spent.len() * Self::ENTRY);
        bytes.push(Self::VERSION);
        bytes.extend(self.forgotten.0.to_be_bytes());
        for SingleUseToken { digest, expiry } in &self.spent {
            bytes.extend(digest.0);
            bytes.extend(expiry.0.to_be_bytes());
        }
        bytes
    }

    /// Spends a token that passed all other checks, and forgets expired ones.
    ///
    /// # Errors
    ///
    /// It was spent before, its state is unknown, or there is no room. The shard must not be
    /// written then.
    pub(super) fn spend(
        &mut self,
        single_use_token: SingleUseToken,
        now: UnixTime,
    ) -> Result<(), NotSpent> {
        let forgotten = &mut self.forgotten;
        self.spent.retain(|spent| {
            let is_past = spent.expiry.is_past(now);
            if is_past {
                *forgotten = spent.expiry.max(*forgotten);
            }
            !is_past
        });
        if self.spent.iter().any(|spent| spent.digest == single_use_token.digest) {
            return Err(NotSpent::AlreadySpent);
        }
        if single_use_token.expiry <= self.forgotten {
            return Err(Self::unknown(StoreFault::ClockSetBack, single_use_token.expiry, now));
        }
        if self.spent.len() >= Self::MAX_ENTRIES {
            let first = self.spent.iter().map(|spent| spent.expiry).min().unwrap_or_default();
            return Err(Self::unknown(StoreFault::Full, first, now));
        }
        self.spent.push(single_use_token);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn remembers(&self, single_use_token: SingleUseToken) -> bool {
        self.spent.contains(&single_use_token)
    }

    /// A fault that is over at that time.
    fn unknown(fault: StoreFault, over: Expiry, now: UnixTime) -> NotSpent {
        NotSpent::Unknown { fault, retry_after: over.time().since(now).min(Self::MAX_PAUSE) }
    }
}

/// Whether these bytes are a shard, which then encodes to the same bytes.
#[cfg(any(fuzzing, test))]
pub fn fuzz_spent_tokens(bytes: &[u8]) -> bool {
    // All tokens of a value begin with its number.
    let number = bytes.get(5).copied().unwrap_or_default();
    let shard = Shard::decode(number, bytes);
    assert!(shard.as_ref().is_none_or(|shard| shard.encode() == bytes));
    shard.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_800_000_000;

    fn now() -> UnixTime {
        UnixTime::from_secs(NOW.into())
    }

    fn single_use_token(number: usize, expiry: u32) -> SingleUseToken {
        let mut digest = [0; TokenDigest::LENGTH];
        digest[8..].copy_from_slice(&number.to_be_bytes());
        SingleUseToken { digest: TokenDigest(digest), expiry: Expiry(expiry) }
    }

    /// A shard in which token n expires n + 1 seconds from now.
    fn full() -> Shard {
        let mut shard = Shard::default();
        for (number, expiry) in (0..Shard::MAX_ENTRIES).zip(NOW + 1..) {
            assert_eq!(shard.spend(single_use_token(number, expiry), now()), Ok(()));
        }
        shard
    }

    fn fault(
        shard: &mut Shard,
        single_use_token: SingleUseToken,
        now: UnixTime,
    ) -> (StoreFault, u64) {
        match shard.spend(single_use_token, now) {
            Err(NotSpent::Unknown { fault, retry_after }) => (fault, retry_after.as_secs()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_is_spent_once_until_it_expires() {
        let mut shard = Shard::default();
        assert_eq!(shard.spend(single_use_token(1, NOW + 10), now()), Ok(()));
        for seconds in [0, 1, 9] {
            let later = now() + Duration::from_secs(seconds);
            // The issuer may use the same `jti` for tokens with different expiry.
            for expiry in [NOW + 10, NOW + 20, NOW + 9] {
                let again = shard.spend(single_use_token(1, expiry), later);
                assert_eq!(again, Err(NotSpent::AlreadySpent));
            }
        }
        let later = now() + Duration::from_secs(10);
        assert_eq!(shard.spend(single_use_token(1, NOW + 20), later), Ok(()));
        assert_eq!(shard.spent.len(), 1);
    }

    #[test]
    fn a_full_shard_accepts_no_token_and_forgets_none_until_one_expires() {
        let mut shard = full();
        let before = shard.clone();
        assert_eq!(shard.encode().len(), Shard::MAX_LENGTH);
        assert_eq!(
            fault(&mut shard, single_use_token(9999, NOW + 5), now()),
            (StoreFault::Full, 1)
        );
        for number in 0..Shard::MAX_ENTRIES {
            let again = shard.spend(single_use_token(number, NOW + 5), now());
            assert_eq!(again, Err(NotSpent::AlreadySpent));
        }
        assert_eq!(shard, before);
        let later = now() + Duration::from_secs(1);
        assert_eq!(shard.spend(single_use_token(9999, NOW + 5), later), Ok(()));
        assert_eq!(
            fault(&mut shard, single_use_token(9998, NOW + 5), later),
            (StoreFault::Full, 1)
        );
    }

    #[test]
    fn a_token_that_may_have_been_forgotten_does_not_pass_when_the_clock_is_set_back() {
        let mut shard = Shard::default();
        assert_eq!(shard.spend(single_use_token(1, NOW + 10), now()), Ok(()));
        let ahead = now() + Duration::from_secs(100);
        assert_eq!(shard.spend(single_use_token(2, NOW + 200), ahead), Ok(()));
        let expected = (StoreFault::ClockSetBack, 10);
        assert_eq!(fault(&mut shard, single_use_token(1, NOW + 10), now()), expected);
        assert_eq!(fault(&mut shard, single_use_token(3, NOW + 10), now()), expected);
        // Tokens that expire later were not forgotten.
        assert_eq!(shard.spend(single_use_token(3, NOW + 11), now()), Ok(()));
        assert_eq!(shard.spend(single_use_token(2, NOW + 200), now()), Err(NotSpent::AlreadySpent));
    }

    #[test]
    fn a_clock_set_back_keeps_no_token_forever() {
        let mut shard = full();
        let back = UnixTime::from_secs(1000);
        assert_eq!(
            fault(&mut shard, single_use_token(9999, NOW + 5), back),
            (StoreFault::Full, 60)
        );
        let later = now() + Duration::from_secs(1000);
        assert_eq!(shard.spend(single_use_token(9999, NOW + 2000), later), Ok(()));
        assert_eq!(shard.spent.len(), 1);
    }

    #[test]
    fn bytes_are_read_as_they_were_written() {
        let mut shard = full();
        let later = now() + Duration::from_secs(3);
        shard.spend(single_use_token(9999, u32::MAX), later).unwrap();
        for shard in [shard, full(), Shard::default()] {
            assert_eq!(Shard::decode(0, &shard.encode()), Some(shard));
        }
    }

    #[test]
    fn foreign_bytes_do_not_decode_as_a_shard() {
        let shard = full().encode();
        let mut longer = shard.clone();
        longer.extend_from_slice(&shard[shard.len() - Shard::ENTRY..]);
        let mut other_version = shard.clone();
        other_version[0] = 2;
        for bytes in [&b""[..], b"\x01", b"\x01\0\0\0", b"{}", &longer, &other_version] {
            assert_eq!(Shard::decode(0, bytes), None);
        }
        // Truncated anywhere except between two tokens, or taken from another shard.
        for length in 0..shard.len() {
            let is_cut_between =
                length >= Shard::HEADER && (length - Shard::HEADER).is_multiple_of(Shard::ENTRY);
            assert_eq!(Shard::decode(0, &shard[..length]).is_some(), is_cut_between, "{length}");
        }
        assert_eq!(Shard::decode(1, &shard), None);
    }
}
