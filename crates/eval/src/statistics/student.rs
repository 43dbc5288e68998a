//! Differences into Student's paired t-test and Cohen's effect size.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{mean, standard_deviation};

/// The outcome of a paired t-test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StudentTest {
    /// Mean difference divided by its standard error.
    pub t: f64,
    /// Degrees of freedom, `n - 1`.
    pub freedom: f64,
    /// Two-sided p-value.
    pub p: f64,
}

/// Tests whether the mean difference is zero. Without differences, or with fewer than two, p is 1.
#[must_use]
pub fn paired_t_test(differences: &[f64]) -> StudentTest {
    let freedom = differences.len().saturating_sub(1) as f64;
    let (mean, deviation) = (mean(differences), standard_deviation(differences));
    if mean == 0.0 || differences.len() < 2 {
        return StudentTest { t: 0.0, freedom, p: 1.0 };
    }
    if deviation == 0.0 {
        return StudentTest { t: f64::INFINITY.copysign(mean), freedom, p: 0.0 };
    }
    let t = mean / (deviation / (differences.len() as f64).sqrt());
    let student =
        StudentsT::new(0.0, 1.0, freedom).expect("there is at least one degree of freedom");
    StudentTest { t, freedom, p: 2.0 * student.sf(t.abs()) }
}

/// Mean difference in units of the differences' standard deviation (Cohen's d for pairs).
#[must_use]
pub fn cohens_d(differences: &[f64]) -> f64 {
    let deviation = standard_deviation(differences);
    if deviation == 0.0 { 0.0 } else { mean(differences) / deviation }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: f64 = 2.943_337_675_120_687_4;
    const P: f64 = 0.021_610_482_667_641_17;

    // scipy.stats.ttest_rel on the same numbers.
    #[test]
    fn agrees_with_scipy() {
        let a = [0.62, 0.31, 0.55, 0.80, 0.12, 0.44, 0.93, 0.27];
        let b = [0.50, 0.33, 0.41, 0.72, 0.10, 0.29, 0.95, 0.11];
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let test = paired_t_test(&differences);
        assert!((test.t - T).abs() < 1e-9, "{}", test.t);
        assert!((test.p - P).abs() < 1e-9, "{}", test.p);
        assert!((cohens_d(&differences) - T / 8f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn constant_differences_are_extremes() {
        assert_eq!(paired_t_test(&[0.0, 0.0]).p, 1.0);
        assert_eq!(paired_t_test(&[0.5, 0.5]).p, 0.0);
        assert_eq!(paired_t_test(&[0.5]).p, 1.0);
    }
}
