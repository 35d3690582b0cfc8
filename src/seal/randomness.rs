//! Random bytes as an argument: the host provides a seed, and a step derives what it needs.

use hkdf::Hkdf;
use sha2::Sha256;

/// A source of unpredictable bytes, fresh for each step.
#[derive(Debug)]
pub(crate) struct Randomness {
    seed: [u8; 32],
    taken: u32,
}

impl Randomness {
    /// `seed` must come from a cryptographic random number generator, and be used once.
    #[must_use]
    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed, taken: 0 }
    }

    /// The next bytes. No two calls return the same ones.
    pub(crate) fn bytes<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let hkdf = Hkdf::<Sha256>::new(None, &self.seed);
        // HKDF has up to 8160 bytes.
        let expanded = hkdf.expand(&self.taken.to_be_bytes(), &mut bytes);
        debug_assert!(expanded.is_ok(), "nothing needs that many bytes");
        self.taken = self.taken.wrapping_add(1);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_are_returned_twice() {
        let mut random = Randomness::from_seed([1; 32]);
        let first: [u8; 32] = random.bytes();
        let second: [u8; 32] = random.bytes();
        assert_ne!(first, second);
        assert_ne!(Randomness::from_seed([2; 32]).bytes(), first);
    }
}
