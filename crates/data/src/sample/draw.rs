//! A seed, an epoch and a position into a stream of random numbers of their own.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// Random numbers that depend on nothing but what they were made from.
///
/// Bounded numbers and shuffles are written out here, so that a stream does not change with the versions
/// of a library's sampling methods.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// ChaCha8 seeded with the SHA-256 of the purpose and the three numbers.
    pub(crate) fn new(purpose: &str, seed: u64, epoch: u64, position: u64) -> Self {
        let mut hash = Sha256::new();
        for number in [seed, epoch, position] {
            hash.update(number.to_le_bytes());
        }
        hash.update(purpose);
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// A number below `n`, each equally likely.
    ///
    /// # Source
    /// Lemire, Fast Random Integer Generation in an Interval, 2019, algorithm 5.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        debug_assert!(n > 0, "there is no number below 0");
        let n = n as u64;
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(n);
            if product as u64 >= threshold {
                return (product >> 64) as usize;
            }
        }
    }

    /// A number from 0 to below 1: 53 random bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (0.5_f64).powi(53)
    }

    /// Moves a uniform draw without replacement to the first `n` places (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T], n: usize) {
        for i in 0..n.min(values.len()) {
            let j = i + self.below(values.len() - i);
            values.swap(i, j);
        }
    }
}
