//! Dropout masks from a hash of seed and position.

use multiversion::multiversion;
use rayon::prelude::*;

use super::BLOCK;
use crate::Dropout;

/// Decides for each position whether its element stays.
#[derive(Clone, Copy)]
pub(super) struct Mask {
    low: u32,
    high: u32,
    /// An element stays when its hash reaches this.
    threshold: u32,
    /// What elements that stay are multiplied by.
    scale: f32,
}

impl Mask {
    pub(super) fn new(dropout: Dropout) -> Self {
        // SplitMix64's finaliser: neighbouring seeds become unrelated keys.
        let mut key = dropout.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        key ^= key >> 31;
        Self {
            low: key as u32,
            high: (key >> 32) as u32,
            threshold: (f64::from(dropout.probability) * 2f64.powi(32)) as u32,
            scale: 1.0 / (1.0 - dropout.probability),
        }
    }

    /// The factor of the element at a position: 0 or the scale.
    #[inline(always)]
    pub(super) fn factor(self, position: u32) -> f32 {
        // Two rounds of a 32-bit mixer (Wellons' lowbias32), keyed before each.
        let mut x = position ^ self.low;
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x = (x ^ (x >> 16)) ^ self.high;
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        if x >= self.threshold { self.scale } else { 0.0 }
    }
}

/// Drops and scales the elements of `x`.
pub(crate) fn apply(x: &[f32], dropout: Dropout) -> Vec<f32> {
    if dropout.is_none() {
        return x.to_vec();
    }
    let mask = Mask::new(dropout);
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(BLOCK)
        .zip(x.par_chunks(BLOCK))
        .enumerate()
        .for_each(|(block, (y, x))| apply_block(x, y, mask, first_position(block)));
    y
}

/// `residual + dropout(x)`.
pub(crate) fn add(x: &[f32], residual: &[f32], dropout: Dropout) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    let blocks = y.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).zip(residual.par_chunks(BLOCK));
    if dropout.is_none() {
        blocks.for_each(|((y, x), residual)| add_block(x, residual, y));
    } else {
        let mask = Mask::new(dropout);
        blocks.enumerate().for_each(|(block, ((y, x), residual))| {
            add_dropped_block(x, residual, y, mask, first_position(block));
        });
    }
    y
}

/// Positions wrap after 2^32 elements; a mask that repeats there is still a mask.
fn first_position(block: usize) -> u32 {
    (block * BLOCK) as u32
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn apply_block(x: &[f32], y: &mut [f32], mask: Mask, first: u32) {
    for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
        *y = x * mask.factor(first.wrapping_add(i as u32));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn add_dropped_block(x: &[f32], residual: &[f32], y: &mut [f32], mask: Mask, first: u32) {
    for (i, ((y, &x), &residual)) in y.iter_mut().zip(x).zip(residual).enumerate() {
        *y = residual + x * mask.factor(first.wrapping_add(i as u32));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn add_block(x: &[f32], residual: &[f32], y: &mut [f32]) {
    for ((y, &x), &residual) in y.iter_mut().zip(x).zip(residual) {
        *y = residual + x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_of_dropped_elements_is_the_probability() {
        let n = 1_000_000;
        for (probability, seed) in [(0.1, 0), (0.1, 1), (0.5, 7), (0.9, u64::MAX)] {
            let y = apply(&vec![1.0; n], Dropout { probability, seed });
            let kept = y.iter().filter(|&&y| y != 0.0).count() as f64 / n as f64;
            // Five standard deviations of a binomial share at n = 10^6.
            assert!((kept - (1.0 - f64::from(probability))).abs() < 2.5e-3, "kept {kept}");
            let mean = y.iter().map(|&y| f64::from(y)).sum::<f64>() / n as f64;
            assert!((mean - 1.0).abs() < 2e-2, "mean {mean}");
        }
    }

    #[test]
    fn seeds_and_neighbours_are_unrelated() {
        let ones = vec![1.0; 100_000];
        let mask = |seed| apply(&ones, Dropout { probability: 0.5, seed });
        let agree = |a: &[f32], b: &[f32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        let (a, b) = (mask(1), mask(2));
        assert!(agree(&a, &b).abs_diff(50_000) < 800);
        assert!(agree(&a[1..], &a[..99_999]).abs_diff(50_000) < 800);
        assert_eq!(a, mask(1));
    }
}
