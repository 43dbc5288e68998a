//! Differences into tests that use only their signs or ranks: sign test, Wilcoxon's signed ranks.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

/// Up to this many non-zero differences the distribution of rank sums is counted out.
const EXACT: usize = 60;

/// Tests whether gains and losses are equally likely; ties are left out. Exact and two-sided.
#[must_use]
pub fn sign_test(differences: &[f64]) -> f64 {
    let wins = differences.iter().filter(|&&d| d > 0.0).count() as u64;
    let losses = differences.iter().filter(|&&d| d < 0.0).count() as u64;
    let rarer = wins.min(losses);
    if wins == losses {
        return 1.0;
    }
    let fair = Binomial::new(0.5, wins + losses).expect("one half is a probability");
    (2.0 * fair.cdf(rarer)).min(1.0)
}

/// Wilcoxon's signed-rank test: zeros are left out, equal sizes share their mean rank.
///
/// The p-value is two-sided and exact for up to 60 differences; beyond, it is normal with the
/// variance corrected for ties and without continuity correction.
///
/// # Source
/// Wilcoxon, Biometrics Bulletin 1(6), 1945; `scipy.stats.wilcoxon`.
#[must_use]
pub fn wilcoxon_test(differences: &[f64]) -> f64 {
    let mut moved: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    if moved.is_empty() {
        return 1.0;
    }
    moved.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Ranks are doubled so that mean ranks of ties stay whole.
    let mut ranks = vec![0usize; moved.len()];
    let mut tie_term = 0.0;
    let mut start = 0;
    for group in moved.chunk_by(|a, b| a.abs() == b.abs()) {
        let end = start + group.len();
        ranks[start..end].fill(start + end + 1);
        let size = group.len() as f64;
        tie_term += size.powi(3) - size;
        start = end;
    }
    let rise = moved.iter().zip(&ranks).filter(|&(&d, _)| d > 0.0).map(|(_, r)| r).sum::<usize>();
    let total: usize = ranks.iter().sum();
    let smaller = rise.min(total - rise);
    if moved.len() <= EXACT {
        return exact(&ranks, smaller, total);
    }
    let n = moved.len() as f64;
    let mean = n * (n + 1.0) / 4.0;
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - tie_term / 48.0;
    let z = (smaller as f64 / 2.0 - mean) / variance.sqrt();
    (2.0 * Normal::standard().cdf(z)).min(1.0)
}

fn exact(ranks: &[usize], smaller: usize, total: usize) -> f64 {
    // ways[w] = share of sign assignments whose positive ranks sum to w.
    let mut ways = vec![0.0; total + 1];
    ways[0] = 1.0;
    for &rank in ranks {
        for sum in (0..=total).rev() {
            let with = if sum >= rank { ways[sum - rank] } else { 0.0 };
            ways[sum] = (ways[sum] + with) / 2.0;
        }
    }
    (2.0 * ways[..=smaller].iter().sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // scipy.stats.wilcoxon(d, method="exact") and scipy.stats.binomtest(9, 12).
    #[test]
    fn agrees_with_scipy() {
        let d = [0.12, -0.02, 0.14, 0.08, 0.021, 0.15, -0.021_5, 0.16];
        assert!((wilcoxon_test(&d) - 0.054_687_5).abs() < 1e-12, "{}", wilcoxon_test(&d));
        let signs: Vec<f64> = (0..12).map(|i| if i < 9 { 1.0 } else { -1.0 }).collect();
        assert!((sign_test(&signs) - 0.145_996_093_75).abs() < 1e-12);
    }

    // scipy.stats.wilcoxon(d, method="approx", correction=False), without and with ties.
    #[test]
    fn agrees_with_scipy_where_it_is_normal() {
        let sign = |i: i32| if i % 3 == 0 { -1.0 } else { 1.0 };
        let plain: Vec<f64> = (1..=80).map(|i| f64::from(i) * sign(i)).collect();
        assert!((wilcoxon_test(&plain) - 0.006_538_171_549_765_151_5).abs() < 1e-10);
        let tied: Vec<f64> = (1..=80).map(|i| f64::from(i / 2 + 1) * sign(i)).collect();
        assert!((wilcoxon_test(&tied) - 0.006_535_157_264_895_734_5).abs() < 1e-10);
    }

    #[test]
    fn nothing_moved_is_no_evidence() {
        assert_eq!(wilcoxon_test(&[0.0; 5]), 1.0);
        assert_eq!(sign_test(&[]), 1.0);
    }
}
