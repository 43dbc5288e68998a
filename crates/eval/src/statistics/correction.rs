//! Several p-values into adjusted ones, so that many comparisons do not find too much.

/// Holm's step-down adjustment: bounds the chance of any false finding. Keeps the order.
///
/// # Source
/// Holm, Scandinavian Journal of Statistics 6(2), 1979.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![0.0; p_values.len()];
    let mut highest: f64 = 0.0;
    for (step, index) in ascending(p_values).into_iter().enumerate() {
        let n_left = (p_values.len() - step) as f64;
        highest = highest.max(n_left * p_values[index]).min(1.0);
        adjusted[index] = highest;
    }
    adjusted
}

/// Benjamini and Hochberg's adjustment: bounds the share of false findings. Keeps the order.
///
/// # Source
/// Benjamini and Hochberg, JRSS B 57(1), 1995.
#[must_use]
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![0.0; p_values.len()];
    let mut lowest: f64 = 1.0;
    for (step, index) in ascending(p_values).into_iter().enumerate().rev() {
        lowest = lowest.min(p_values[index] * p_values.len() as f64 / (step + 1) as f64);
        adjusted[index] = lowest;
    }
    adjusted
}

fn ascending(p_values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    // statsmodels.stats.multitest.multipletests(p, method="holm" / "fdr_bh").
    #[test]
    fn agrees_with_statsmodels() {
        let p = [0.01, 0.04, 0.03, 0.005];
        let close = |found: Vec<f64>, expect: [f64; 4]| {
            for (found, expect) in found.into_iter().zip(expect) {
                assert!((found - expect).abs() < 1e-12, "{found} {expect}");
            }
        };
        close(holm(&p), [0.03, 0.06, 0.06, 0.02]);
        close(benjamini_hochberg(&p), [0.02, 0.04, 0.04, 0.02]);
        assert!(holm(&[]).is_empty());
    }
}
