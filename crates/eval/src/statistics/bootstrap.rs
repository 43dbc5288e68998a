//! Values into a bootstrap confidence interval of their mean.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use statrs::distribution::{ContinuousCDF, Normal};

use super::mean;

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How often such intervals hold the true mean, for instance 0.95.
    pub confidence: f64,
}

/// The bias-corrected and accelerated (BCa) bootstrap interval of the mean.
///
/// Resamples come from streams of the seed, so that the interval does not depend on the number of
/// threads. Equal values, or fewer than two, give an interval of width zero.
///
/// # Source
/// Efron, JASA 82(397), 1987.
#[must_use]
pub fn bootstrap_mean(values: &[f64], confidence: f64, n_resamples: u32, seed: u64) -> Interval {
    let center = mean(values);
    if values.iter().all(|&value| value == values[0]) {
        return Interval { low: center, high: center, confidence };
    }
    let mut means: Vec<f64> = (0..u64::from(n_resamples))
        .into_par_iter()
        .map(|stream| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(stream);
            let n = values.len();
            (0..n).map(|_| values[random.random_range(0..n)]).sum::<f64>() / n as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let normal = Normal::standard();
    let below = means.partition_point(|&m| m < center) + means.partition_point(|&m| m <= center);
    let share = below as f64 / 2.0 / means.len() as f64;
    let bias = normal.inverse_cdf(share.clamp(1e-6, 1.0 - 1e-6));
    let deviations = values.iter().map(|value| value - center);
    let (squares, cubes) = deviations.fold((0.0, 0.0), |(s, c), d: f64| (s + d * d, c + d * d * d));
    let acceleration = cubes / (6.0 * squares.powf(1.5));
    let end = |probability: f64| {
        let z = bias + normal.inverse_cdf(probability);
        let adjusted = normal.cdf(bias + z / (1.0 - acceleration * z));
        let at = adjusted * (means.len() - 1) as f64;
        let (index, part) = (at.floor() as usize, at.fract());
        let next = (index + 1).min(means.len() - 1);
        means[index] * (1.0 - part) + means[next] * part
    };
    let tail = (1.0 - confidence) / 2.0;
    Interval { low: end(tail), high: end(1.0 - tail), confidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_near_the_normal_interval_and_repeatable() {
        let values: Vec<f64> = (0..200).map(|i| f64::from((i * 7919) % 200) / 200.0).collect();
        let interval = bootstrap_mean(&values, 0.95, 5_000, 3);
        assert_eq!(interval, bootstrap_mean(&values, 0.95, 5_000, 3));
        let half = 1.96 * super::super::standard_deviation(&values) / 200f64.sqrt();
        assert!((interval.low - (mean(&values) - half)).abs() < 0.003, "{interval:?}");
        assert!((interval.high - (mean(&values) + half)).abs() < 0.003, "{interval:?}");
    }

    #[test]
    fn one_value_has_no_width() {
        let interval = bootstrap_mean(&[0.5], 0.95, 100, 0);
        assert_eq!((interval.low, interval.high), (0.5, 0.5));
        assert_eq!(bootstrap_mean(&[], 0.95, 100, 0).low, 0.0);
    }
}
