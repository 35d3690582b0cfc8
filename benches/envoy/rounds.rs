//! Cases that are compared are measured in the same rounds.

use std::hash::{BuildHasher as _, RandomState};

/// Warm-up rounds, which are not counted.
pub const WARM_UP: usize = 4;

/// The numbers below `count` in a new order each time, so that no case is always first or always
/// after the same one.
pub fn in_any_order(count: usize) -> Vec<usize> {
    let hasher = RandomState::new();
    let mut numbers: Vec<usize> = (0..count).collect();
    numbers.sort_by_key(|number| hasher.hash_one(number));
    numbers
}
