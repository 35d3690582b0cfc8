//! Tokens that were judged, with what came of it, so that a token that comes again costs no second
//! verification. A token is recognised by all of its bytes, never by a hash alone.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// What came of tokens, for a bounded number of them and of bytes. When there is no more room, the
/// oldest go first; but whoever was asked for stays for another turn.
#[derive(Debug)]
pub(crate) struct TokenCache<T> {
    entries: HashTable<Entry<T>>,
    /// Has a random key of its own.
    hasher: RandomState,
    /// The hashes of the tokens, by their turns to go.
    turns: BTreeMap<u64, u64>,
    next_turn: u64,
    bytes: usize,
    most_entries: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    token: Box<[u8]>,
    value: T,
    bytes: usize,
    turn: u64,
    was_asked_for: bool,
}

impl<T> TokenCache<T> {
    /// An empty cache with room for so many tokens and bytes; for none if either is 0.
    #[must_use]
    pub(crate) fn new(most_entries: usize, most_bytes: usize) -> Self {
        Self {
            entries: HashTable::new(),
            hasher: RandomState::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            bytes: 0,
            most_entries,
            most_bytes,
        }
    }

    /// What came of this token.
    pub(crate) fn find(&mut self, token: &[u8]) -> Option<&T> {
        let hash = self.hash(token);
        let entry = self.entries.find_mut(hash, |entry| is_same(&entry.token, token))?;
        entry.was_asked_for = true;
        Some(&entry.value)
    }

    /// Remembers what came of a token; `bytes` is about how much memory the value takes up. What
    /// would take up more than an eighth of the cache is not remembered.
    pub(crate) fn insert(&mut self, token: &[u8], value: T, bytes: usize) {
        self.remove(token);
        let bytes = bytes.saturating_add(token.len()).saturating_add(Self::OVERHEAD);
        if bytes > self.most_bytes / 8 || self.most_entries == 0 {
            return;
        }
        while self.entries.len() >= self.most_entries
            || self.bytes.saturating_add(bytes) > self.most_bytes
        {
            if !self.make_room() {
                return;
            }
        }
        let hash = self.hash(token);
        let turn = self.new_turn(hash);
        self.bytes += bytes;
        let entry = Entry { token: token.into(), value, bytes, turn, was_asked_for: false };
        let hasher = &self.hasher;
        self.entries.insert_unique(hash, entry, |entry| hash_of(hasher, &entry.token));
    }

    /// Forgets a token.
    pub(crate) fn remove(&mut self, token: &[u8]) {
        self.remove_entry(self.hash(token), |entry| is_same(&entry.token, token));
    }

    /// About how many bytes a token takes up besides its own and the value's: the table is half
    /// empty at times, and so are the nodes of the turns.
    const OVERHEAD: usize = 2 * (size_of::<Entry<T>>() + size_of::<(u64, u64)>());

    /// Lets the next one take its turn. False if there is none.
    fn make_room(&mut self) -> bool {
        let Some((turn, hash)) = self.turns.pop_first() else { return false };
        let is_it = |entry: &Entry<T>| entry.turn == turn;
        let next_turn = self.next_turn;
        match self.entries.find_mut(hash, is_it) {
            Some(entry) if entry.was_asked_for => {
                entry.was_asked_for = false;
                entry.turn = next_turn;
                self.new_turn(hash);
            }
            _ => self.remove_entry(hash, is_it),
        }
        true
    }

    fn remove_entry(&mut self, hash: u64, is_it: impl Fn(&Entry<T>) -> bool) {
        if let Ok(found) = self.entries.find_entry(hash, is_it) {
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

    fn hash(&self, token: &[u8]) -> u64 {
        hash_of(&self.hasher, token)
    }
}

/// A token's end is enough to hash, since there stands its signature. Whoever sends many that end
/// alike makes looking for them slower, but no more so than there are entries.
fn hash_of(hasher: &RandomState, token: &[u8]) -> u64 {
    const END: usize = 32;
    let start = token.len().saturating_sub(END);
    hasher.hash_one(token.get(start..).unwrap_or_default())
}

/// Compares eight bytes at a time: the C library's comparison, which a slice's own goes by, takes
/// them one by one in a Wasm VM.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (one, one_end) = one.as_chunks::<8>();
    let (other, other_end) = other.as_chunks::<8>();
    one.len() == other.len()
        && one_end == other_end
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| u64::from_ne_bytes(*one) == u64::from_ne_bytes(*other))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const PLENTY: usize = 1 << 20;

    #[test]
    fn a_token_is_found_by_all_of_its_bytes() {
        let mut cache = TokenCache::new(10, PLENTY);
        cache.insert(b"a.b.c", 1, 0);
        assert_eq!(cache.find(b"a.b.c"), Some(&1));
        for other in ["a.b.d", "a.b.", "a.b.cc", "A.b.c", ""] {
            assert_eq!(cache.find(other.as_bytes()), None, "{other}");
        }
        cache.insert(b"a.b.c", 2, 0);
        assert_eq!(cache.find(b"a.b.c"), Some(&2));
        cache.remove(b"a.b.c");
        assert_eq!(cache.find(b"a.b.c"), None);
    }

    #[test]
    fn the_oldest_goes_first_unless_it_was_asked_for() {
        let mut cache = TokenCache::new(3, PLENTY);
        for token in [b"1", b"2", b"3"] {
            cache.insert(token, (), 0);
        }
        assert!(cache.find(b"1").is_some());
        cache.insert(b"4", (), 0);
        assert!(cache.find(b"2").is_none());
        // Its next turn comes after those that were there by then.
        cache.insert(b"5", (), 0);
        assert!(cache.find(b"3").is_none());
        assert!(cache.find(b"1").is_some() && cache.find(b"4").is_some());
    }

    #[test]
    fn a_flood_of_new_tokens_does_not_drive_out_one_that_is_in_use() {
        let mut cache = TokenCache::new(10, PLENTY);
        cache.insert(b"hot", (), 0);
        for number in 0..1000 {
            cache.insert(number.to_string().as_bytes(), (), 0);
            assert!(cache.find(b"hot").is_some(), "{number}");
        }
    }

    #[test]
    fn what_takes_up_too_much_is_not_remembered() {
        let mut cache = TokenCache::new(10, 80_000);
        cache.insert(b"large", (), 10_000);
        assert!(cache.find(b"large").is_none());
        cache.insert(b"small", (), 1000);
        assert!(cache.find(b"small").is_some());
        let mut none = TokenCache::new(0, PLENTY);
        none.insert(b"a", (), 0);
        assert!(none.find(b"a").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn whatever_comes_it_stays_within_its_bounds_and_tells_the_truth(
            deeds in prop::collection::vec((0..40_u8, 0..3_u8, 0..4000_usize), 0..300),
        ) {
            const MOST_BYTES: usize = 40_000;
            let mut cache = TokenCache::new(20, MOST_BYTES);
            let mut truth = HashMap::new();
            for (token, deed, bytes) in deeds {
                match deed {
                    0 => {
                        cache.insert(&[token], bytes, bytes);
                        truth.insert(token, bytes);
                    }
                    1 => cache.remove(&[token]),
                    _ => {
                        if let Some(found) = cache.find(&[token]) {
                            prop_assert_eq!(Some(found), truth.get(&token));
                        }
                    }
                }
                prop_assert!(cache.entries.len() <= 20 && cache.bytes <= MOST_BYTES);
                prop_assert_eq!(cache.entries.len(), cache.turns.len());
                let bytes: usize = cache.entries.iter().map(|entry| entry.bytes).sum();
                prop_assert_eq!(bytes, cache.bytes);
            }
        }
    }
}
