//! Paired values of two systems into p-values, intervals and effect sizes.
//!
//! Every test takes the differences `system - baseline`, one per query, and is two-sided.

mod bootstrap;
mod correction;
mod randomisation;
mod rank;
mod student;
mod tukey;

pub use bootstrap::{Interval, bootstrap_mean};
pub use correction::{benjamini_hochberg, holm};
pub use randomisation::{Randomisation, randomisation_test};
pub use rank::{sign_test, wilcoxon_test};
pub use student::{StudentTest, cohens_d, paired_t_test};
pub use tukey::{TukeyPair, studentized_range_survival, tukey_hsd};

/// The arithmetic mean; 0 for no values.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The standard deviation of a sample (`n - 1` below the line); 0 for fewer than two values.
#[must_use]
pub fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}
