//! A cache of results by token, so that a repeated token is not verified again. Tokens are compared
//! byte by byte, never by hash alone.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// A cache bounded by entries and bytes. Evicts the oldest entry, but gives entries that were hit a
/// second turn.
#[derive(Debug)]
pub(crate) struct TokenCache<T> {
    /// Boxed, since up to half of the table is empty.
    entries: HashTable<Box<CacheEntry<T>>>,
    /// Hashes of the tokens in the order of eviction.
    turns: BTreeMap<u64, u64>,
    next_turn: u64,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
    /// Larger entries are not stored.
    max_entry: usize,
}

/// Hashes tokens with a random key.
#[derive(Debug)]
pub(crate) struct TokenHasher([u64; 2]);

/// A token with its hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashedToken<'a> {
    token: &'a [u8],
    hash: u64,
}

impl Default for TokenHasher {
    fn default() -> Self {
        let random = RandomState::new();
        Self([0, 1].map(|number: u64| random.hash_one(number)))
    }
}

impl TokenHasher {
    /// Hashes only the end of a token, which is part of its signature. Tokens with the same end
    /// collide, which costs one comparison per entry at most.
    #[must_use]
    pub(crate) fn hash<'a>(&self, token: &'a [u8]) -> HashedToken<'a> {
        let Self([last_key, key]) = self;
        let mut rest = token;
        let mut last_word = || {
            let (before, word) = rest.split_last_chunk().unwrap_or((&[], &[0; 8]));
            rest = before;
            u64::from_ne_bytes(*word)
        };
        let product = u128::from(last_word() ^ last_key) * u128::from(last_word() ^ key);
        let product = product.to_ne_bytes();
        let (halves, _) = product.as_chunks();
        let hash = halves.iter().fold(0, |all, half| all ^ u64::from_ne_bytes(*half));
        HashedToken { token, hash }
    }
}

#[derive(Debug)]
struct CacheEntry<T> {
    token: Box<[u8]>,
    hash: u64,
    value: T,
    bytes: usize,
    turn: u64,
    was_asked_for: bool,
}

impl<T> TokenCache<T> {
    /// An empty cache. It stays empty if either limit is 0. An entry may take its share of the bytes,
    /// or an eighth of them if that is more.
    #[must_use]
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            entries: HashTable::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            bytes: 0,
            max_entries,
            max_bytes,
            max_entry: max_bytes.checked_div(max_entries.min(8)).unwrap_or_default(),
        }
    }

    /// The value of this token.
    pub(crate) fn find(&mut self, HashedToken { token, hash }: HashedToken<'_>) -> Option<&T> {
        let entry = self.entries.find_mut(hash, |entry| is_same(&entry.token, token))?;
        entry.was_asked_for = true;
        Some(&entry.value)
    }

    /// Maximum size in bytes of a value that is stored for this token.
    #[must_use]
    pub(crate) fn max_value(&self, HashedToken { token, .. }: HashedToken<'_>) -> usize {
        self.max_entry.saturating_sub(token.len()).saturating_sub(Self::OVERHEAD)
    }

    /// Adds the value of a token, of approximately `bytes` bytes, if it is not larger than
    /// [`Self::max_value`].
    pub(crate) fn insert(&mut self, hashed: HashedToken<'_>, value: T, bytes: usize) {
        self.remove(hashed);
        let HashedToken { token, hash } = hashed;
        let bytes = bytes.saturating_add(token.len()).saturating_add(Self::OVERHEAD);
        if bytes > self.max_entry {
            return;
        }
        while self.entries.len() >= self.max_entries
            || self.bytes.saturating_add(bytes) > self.max_bytes
        {
            if !self.make_room() {
                return;
            }
        }
        let turn = self.new_turn(hash);
        self.bytes += bytes;
        let entry =
            CacheEntry { token: token.into(), hash, value, bytes, turn, was_asked_for: false };
        self.entries.insert_unique(hash, Box::new(entry), |entry| entry.hash);
    }

    /// Removes a token.
    pub(crate) fn remove(&mut self, HashedToken { token, hash }: HashedToken<'_>) {
        self.remove_entry(hash, |entry| is_same(&entry.token, token));
    }

    /// Approximate overhead per entry in bytes. The hash table and the tree may be half empty.
    const OVERHEAD: usize = size_of::<CacheEntry<T>>()
        + 2 * (size_of::<Box<CacheEntry<T>>>() + size_of::<(u64, u64)>());

    /// Evicts the next entry, or gives it a second turn. False if the cache is empty.
    fn make_room(&mut self) -> bool {
        let Some((turn, hash)) = self.turns.pop_first() else { return false };
        let is_it = |entry: &CacheEntry<T>| entry.turn == turn;
        let next_turn = self.next_turn;
        match self.entries.find_mut(hash, |entry| is_it(entry)) {
            Some(entry) if entry.was_asked_for => {
                entry.was_asked_for = false;
                entry.turn = next_turn;
                self.new_turn(hash);
            }
            _ => self.remove_entry(hash, is_it),
        }
        true
    }

    fn remove_entry(&mut self, hash: u64, is_it: impl Fn(&CacheEntry<T>) -> bool) {
        if let Ok(found) = self.entries.find_entry(hash, |entry| is_it(entry)) {
            let (entry, _) = found.remove();
            self.turns.remove(&entry.turn);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    fn new_turn(&mut self, hash: u64) -> u64 {
        let turn = self.next_turn;
        self.turns.insert(turn, hash);
        self.next_turn = turn.wrapping_add(1);
        turn
    }
}

/// Compares 32 bytes at a time, because the `memcmp` of the Wasm C library, which slice equality
/// uses, compares single bytes. The last chunk may overlap the one before.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (Some(one_end), Some(other_end)) = (one.last_chunk(), other.last_chunk()) else {
        return one == other;
    };
    let mut chunks = one.as_chunks().0.iter().zip(other.as_chunks().0);
    is_same_chunk(one_end, other_end) && chunks.all(|(one, other)| is_same_chunk(one, other))
}

fn is_same_chunk(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let (one, other) = (one.as_chunks().0, other.as_chunks().0);
    let words = one.iter().zip(other);
    words.fold(0, |all, (one, other)| all | (u64::from_ne_bytes(*one) ^ u64::from_ne_bytes(*other)))
        == 0
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    const PLENTY: usize = 1 << 20;

    /// All have the same hash, so only their bytes distinguish them.
    fn hashed(token: &[u8]) -> HashedToken<'_> {
        HashedToken { token, hash: 0 }
    }

    #[test]
    fn a_token_is_found_by_all_of_its_bytes() {
        let mut cache = TokenCache::new(10, PLENTY);
        cache.insert(hashed(b"a.b.c"), 1, 0);
        assert_eq!(cache.find(hashed(b"a.b.c")), Some(&1));
        for other in ["a.b.d", "a.b.", "a.b.cc", "A.b.c", ""] {
            assert_eq!(cache.find(hashed(other.as_bytes())), None, "{other}");
        }
        cache.insert(hashed(b"a.b.c"), 2, 0);
        assert_eq!(cache.find(hashed(b"a.b.c")), Some(&2));
        cache.remove(hashed(b"a.b.c"));
        assert_eq!(cache.find(hashed(b"a.b.c")), None);
    }

    #[test]
    fn tokens_that_differ_in_one_byte_or_in_length_are_not_the_same() {
        for length in 0..100 {
            let token = vec![1; length];
            assert!(is_same(&token, &token.clone()));
            assert!(!is_same(&token, &[token.as_slice(), &[1]].concat()));
            for at in 0..length {
                for bit in 0..8 {
                    let mut other = token.clone();
                    other[at] ^= 1 << bit;
                    assert!(!is_same(&token, &other), "{length}, {at}, {bit}");
                }
            }
        }
    }

    #[test]
    fn tokens_with_different_ends_have_different_hashes() {
        let (hasher, other) = (TokenHasher::default(), TokenHasher::default());
        // The end of a signature looks random.
        let ends = (0..1000).map(|number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let tokens: Vec<String> = ends.map(|end| format!("a.token.of-{end:016x}")).collect();
        let hashes: HashSet<u64> =
            tokens.iter().map(|token| hasher.hash(token.as_bytes()).hash).collect();
        assert_eq!(hashes.len(), tokens.len());
        // They differ also in the bits by which a small table finds its entries.
        let low: HashSet<u64> = hashes.iter().map(|hash| hash % 4096).collect();
        let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert!(low.len() > 800 && high.len() > 100, "{} {}", low.len(), high.len());
        assert_ne!(hasher.hash(b"a.b.c").hash, other.hash(b"a.b.c").hash, "the key is random");
    }

    #[test]
    fn the_oldest_is_evicted_first_unless_it_was_used() {
        let mut cache = TokenCache::new(3, PLENTY);
        for token in [b"1", b"2", b"3"] {
            cache.insert(hashed(token), (), 0);
        }
        assert!(cache.find(hashed(b"1")).is_some());
        cache.insert(hashed(b"4"), (), 0);
        assert!(cache.find(hashed(b"2")).is_none());
        // Its next turn comes after the entries that are present now.
        cache.insert(hashed(b"5"), (), 0);
        assert!(cache.find(hashed(b"3")).is_none());
        assert!(cache.find(hashed(b"1")).is_some() && cache.find(hashed(b"4")).is_some());
    }

    #[test]
    fn a_flood_of_new_tokens_does_not_evict_one_in_use() {
        let mut cache = TokenCache::new(10, PLENTY);
        cache.insert(hashed(b"hot"), (), 0);
        for number in 0..1000 {
            cache.insert(hashed(number.to_string().as_bytes()), (), 0);
            assert!(cache.find(hashed(b"hot")).is_some(), "{number}");
        }
    }

    #[test]
    fn oversized_entries_are_not_stored() {
        let mut cache = TokenCache::new(10, 80_000);
        cache.insert(hashed(b"large"), (), 10_000);
        assert!(cache.find(hashed(b"large")).is_none());
        cache.insert(hashed(b"small"), (), 1000);
        assert!(cache.find(hashed(b"small")).is_some());
        // The only entry may take all bytes.
        let mut one = TokenCache::new(1, 4000);
        one.insert(hashed(b"large"), (), 3000);
        assert!(one.find(hashed(b"large")).is_some());
        let mut none = TokenCache::new(0, PLENTY);
        none.insert(hashed(b"a"), (), 0);
        assert!(none.find(hashed(b"a")).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_sequence_stays_within_bounds_and_finds_only_what_was_inserted(
            deeds in prop::collection::vec((0..40_u8, 0..3_u8, 0..4000_usize), 0..300),
        ) {
            const MAX_BYTES: usize = 40_000;
            let mut cache = TokenCache::new(20, MAX_BYTES);
            let mut truth = HashMap::new();
            for (token, deed, bytes) in deeds {
                match deed {
                    0 => {
                        cache.insert(hashed(&[token]), bytes, bytes);
                        truth.insert(token, bytes);
                    }
                    1 => cache.remove(hashed(&[token])),
                    _ => {
                        if let Some(found) = cache.find(hashed(&[token])) {
                            prop_assert_eq!(Some(found), truth.get(&token));
                        }
                    }
                }
                prop_assert!(cache.entries.len() <= 20 && cache.bytes <= MAX_BYTES);
                prop_assert_eq!(cache.entries.len(), cache.turns.len());
                let bytes: usize = cache.entries.iter().map(|entry| entry.bytes).sum();
                prop_assert_eq!(bytes, cache.bytes);
            }
        }
    }
}
