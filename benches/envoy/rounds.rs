//! What is compared is measured in the same rounds.

use std::hash::{BuildHasher as _, RandomState};

/// Rounds before those that count.
pub const WARM_UP: usize = 4;

/// So many numbers from 0 on, in another order each time: no case always comes first, or after the
/// same one.
pub fn in_any_order(count: usize) -> Vec<usize> {
    let hasher = RandomState::new();
    let mut numbers: Vec<usize> = (0..count).collect();
    numbers.sort_by_key(|number| hasher.hash_one(number));
    numbers
}
