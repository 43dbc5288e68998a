//! Differences into Fisher's paired randomisation test: exact for few queries, sampled for many.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

/// The outcome of a randomisation test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Randomisation {
    /// Two-sided p-value.
    pub p: f64,
    /// How many assignments of signs were looked at.
    pub n_permutations: u64,
    /// Whether those were all there are.
    pub exact: bool,
}

/// Up to this many non-zero differences all `2^n` assignments are looked at.
const EXACT: usize = 20;
/// Samples drawn from one stream of the generator, whatever the number of threads.
const CHUNK: u64 = 1_000;

/// Tests whether the signs of the differences could be chance.
///
/// # Formula
/// ```text
/// p = share of sign assignments s with |sum s_i d_i| >= |sum d_i|      (exact)
/// p = (1 + such samples) / (1 + samples)                              (sampled)
/// ```
/// The `1 +` counts the observed assignment itself, so p is never 0 and the test is valid
/// (Phipson and Smyth 2010).
///
/// # Source
/// Smucker, Allan and Carterette, CIKM 2007.
#[must_use]
pub fn randomisation_test(differences: &[f64], n_samples: u64, seed: u64) -> Randomisation {
    let moved: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    let observed = moved.iter().sum::<f64>().abs();
    // Sums in another order differ by rounding; equal assignments must count as equal.
    let threshold = observed - 1e-12 * moved.iter().map(|d| d.abs()).sum::<f64>();
    if moved.len() <= EXACT {
        return exact(&moved, threshold);
    }
    let n_chunks = n_samples.div_ceil(CHUNK);
    let extreme: u64 = (0..n_chunks)
        .into_par_iter()
        .map(|chunk| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(chunk);
            let n = CHUNK.min(n_samples - chunk * CHUNK);
            (0..n).filter(|_| sample(&moved, &mut random).abs() >= threshold).count() as u64
        })
        .sum();
    let p = (extreme + 1) as f64 / (n_samples + 1) as f64;
    Randomisation { p, n_permutations: n_samples, exact: false }
}

fn exact(moved: &[f64], threshold: f64) -> Randomisation {
    let total = 1u64 << moved.len();
    // Flipping every sign mirrors the sum, so half of the assignments stand for all. The Gray code
    // changes one sign per step; sums are made anew now and then so that rounding cannot add up.
    let half = total / 2;
    let mut signs = 0u64;
    let mut sum: f64 = moved.iter().sum();
    let mut extreme = 0;
    for step in 0..half.max(1) {
        if step > 0 {
            let bit = step.trailing_zeros();
            signs ^= 1 << bit;
            if step % 1024 == 0 {
                sum =
                    (0..).zip(moved).map(|(i, d)| if signs >> i & 1 == 1 { -d } else { *d }).sum();
            } else {
                let change = 2.0 * moved[bit as usize];
                sum += if signs >> bit & 1 == 1 { -change } else { change };
            }
        }
        extreme += u64::from(sum.abs() >= threshold);
    }
    let p = extreme as f64 / half.max(1) as f64;
    Randomisation { p, n_permutations: total, exact: true }
}

fn sample(moved: &[f64], random: &mut ChaCha8Rng) -> f64 {
    let mut sum = 0.0;
    for block in moved.chunks(64) {
        let mut bits = random.next_u64();
        for &difference in block {
            sum += if bits & 1 == 1 { -difference } else { difference };
            bits >>= 1;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_counts_every_assignment() {
        // |±3 ±2 ±1| >= 6 only for all signs equal: 2 of 8.
        let test = randomisation_test(&[3.0, 2.0, 1.0, 0.0], 100, 0);
        assert_eq!(test, Randomisation { p: 0.25, n_permutations: 8, exact: true });
        assert_eq!(randomisation_test(&[0.0, 0.0], 100, 0).p, 1.0);
        assert_eq!(randomisation_test(&[], 100, 0).p, 1.0);
    }

    #[test]
    fn exact_agrees_with_a_plain_loop() {
        let differences: Vec<f64> =
            (0..13).map(|i| f64::from((i * 37) % 11) / 11.0 - 0.3).collect();
        let observed: f64 = differences.iter().sum();
        let mut extreme = 0;
        for signs in 0..1u32 << 13 {
            let signed = differences.iter().enumerate();
            let sum: f64 = signed.map(|(i, d)| if signs >> i & 1 == 1 { -d } else { *d }).sum();
            extreme += u32::from(sum.abs() >= observed.abs() - 1e-12);
        }
        let test = randomisation_test(&differences, 100, 0);
        assert!((test.p - f64::from(extreme) / f64::from(1 << 13)).abs() < 1e-12);
    }

    #[test]
    fn sampling_is_close_to_normal_and_repeatable() {
        let differences: Vec<f64> = (0..60).map(|i| if i % 3 == 0 { -0.1 } else { 0.08 }).collect();
        let test = randomisation_test(&differences, 100_000, 7);
        assert_eq!(test, randomisation_test(&differences, 100_000, 7));
        // z = sum / sqrt(sum of squares) = 1.2 / 0.6746 = 1.779, two-sided p about 0.075.
        assert!((0.06..0.09).contains(&test.p), "{}", test.p);
        assert!(!test.exact);
    }
}
