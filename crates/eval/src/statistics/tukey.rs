//! Values of several systems into Tukey's honestly significant differences.

use statrs::function::erf::erfc;
use statrs::function::gamma::ln_gamma;

use super::mean;

/// One pair of systems under Tukey's test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TukeyPair {
    /// Index of the first system.
    pub first: usize,
    /// Index of the second system.
    pub second: usize,
    /// Mean of the second minus mean of the first.
    pub difference: f64,
    /// p-value, adjusted for all pairs.
    pub p: f64,
}

/// Compares every pair of systems, given as `[systems, queries]`, at once.
///
/// The error is that of a two-way analysis of variance (systems and queries without interaction),
/// since the same queries stand behind every system.
///
/// # Source
/// Carterette, ACM TOIS 30(1), 2012, section 3.
#[must_use]
pub fn tukey_hsd(systems: &[&[f64]]) -> Vec<TukeyPair> {
    let n_systems = systems.len();
    let n_queries = systems.first().map_or(0, |values| values.len());
    if n_systems < 2 || n_queries < 2 {
        return Vec::new();
    }
    let means: Vec<f64> = systems.iter().map(|values| mean(values)).collect();
    let grand = mean(&means);
    let mut squares = 0.0;
    for query in 0..n_queries {
        let of_query = systems.iter().map(|values| values[query]).sum::<f64>() / n_systems as f64;
        for (values, of_system) in systems.iter().zip(&means) {
            squares += (values[query] - of_query - of_system + grand).powi(2);
        }
    }
    let freedom = ((n_systems - 1) * (n_queries - 1)) as f64;
    let error = (squares / freedom / n_queries as f64).sqrt();
    let mut pairs = Vec::new();
    for first in 0..n_systems {
        for second in first + 1..n_systems {
            let difference = means[second] - means[first];
            let p = match (difference == 0.0, error == 0.0) {
                (true, _) => 1.0,
                (false, true) => 0.0,
                _ => studentized_range_survival(difference.abs() / error, n_systems, freedom),
            };
            pairs.push(TukeyPair { first, second, difference, p });
        }
    }
    pairs
}

/// The probability that the range of `groups` standard normal means, over an independent estimate
/// of their deviation with `freedom` degrees of freedom, exceeds `q`.
///
/// Both integrals are Simpson's; the result is good to about 1e-7.
#[must_use]
pub fn studentized_range_survival(q: f64, groups: usize, freedom: f64) -> f64 {
    if q <= 0.0 {
        return 1.0;
    }
    // The density of s = chi / sqrt(freedom), over all that matters of it.
    let half = freedom / 2.0;
    let constant = std::f64::consts::LN_2 + half * half.ln() - ln_gamma(half);
    let density = |s: f64| (constant + (freedom - 1.0) * s.ln() - half * s * s).exp();
    let spread = 9.0 / (2.0 * freedom).sqrt();
    let (low, high) = ((1.0 - spread).max(1e-9), 1.0 + spread.min(9.0));
    let below = simpson(low, high, 400, |s| density(s) * range_probability(q * s, groups));
    (1.0 - below).clamp(0.0, 1.0)
}

/// The probability that the range of `groups` standard normal values is below `width`.
fn range_probability(width: f64, groups: usize) -> f64 {
    let exponent = i32::try_from(groups - 1).unwrap_or(i32::MAX);
    let inside = |z: f64| {
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        density * (normal(z) - normal(z - width)).powi(exponent)
    };
    groups as f64 * simpson(-8.0, 8.0 + width.min(8.0), 300, inside)
}

fn normal(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

fn simpson(low: f64, high: f64, n_steps: u32, f: impl Fn(f64) -> f64) -> f64 {
    let step = (high - low) / f64::from(n_steps);
    let inner: f64 = (1..n_steps)
        .map(|i| f(low + f64::from(i) * step) * if i % 2 == 1 { 4.0 } else { 2.0 })
        .sum();
    (f(low) + inner + f(high)) * step / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    // scipy.stats.studentized_range.sf(q, k, df).
    #[test]
    fn agrees_with_scipy() {
        for (q, groups, freedom, expect) in [
            (3.5, 3, 20.0, 0.055_891_849_081_749_934),
            (2.0, 4, 10.0, 0.518_962_675_612_374_6),
            (5.0, 5, 60.0, 0.006_833_582_836_261_787),
            (3.0, 2, 1000.0, 0.034_140_343_855_695_754),
            (3.877, 4, 198.0, 0.033_506_570_820_517_89),
            (1.0, 3, 5.0, 0.770_149_216_143_117_9),
        ] {
            let found = studentized_range_survival(q, groups, freedom);
            assert!((found - expect).abs() < 1e-6, "{q} {groups} {freedom}: {found}");
        }
    }

    #[test]
    fn two_systems_are_a_paired_t_test() {
        let a = [0.62, 0.31, 0.55, 0.80, 0.12, 0.44, 0.93, 0.27];
        let b = [0.50, 0.33, 0.41, 0.72, 0.10, 0.29, 0.95, 0.11];
        let pairs = tukey_hsd(&[&a, &b]);
        assert_eq!(pairs.len(), 1);
        assert!((pairs[0].p - 0.021_610_482_667_641_17).abs() < 1e-5, "{}", pairs[0].p);
    }
}
