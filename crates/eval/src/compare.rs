//! Two evaluations of the same queries into differences, tests and the queries that moved most.

use std::cmp::Ordering;

use tamis_data::QueryId;

use crate::error::{Error, Result};
use crate::evaluate::Evaluation;
use crate::measure::Measure;
use crate::statistics::{
    Interval, Randomisation, StudentTest, benjamini_hochberg, bootstrap_mean, cohens_d, holm, mean,
    paired_t_test, randomisation_test, sign_test, wilcoxon_test,
};

/// How a comparison is made.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareConfig {
    /// Samples of the randomisation test where it is not exact.
    pub n_permutations: u64,
    /// Resamples of the bootstrap.
    pub n_resamples: u32,
    /// How often the interval holds the true difference.
    pub confidence: f64,
    /// A query counts as won or lost when it differs by more than this.
    pub tie: f64,
    /// Seeds the randomisation test and the bootstrap.
    pub seed: u64,
}

impl Default for CompareConfig {
    fn default() -> Self {
        Self { n_permutations: 100_000, n_resamples: 10_000, confidence: 0.95, tie: 1e-9, seed: 42 }
    }
}

/// What the comparison of two systems found for one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureComparison {
    /// Which measure.
    pub measure: Measure,
    /// Mean of the baseline.
    pub baseline: f64,
    /// Mean of the system.
    pub system: f64,
    /// One difference per query, system minus baseline.
    pub differences: Vec<f64>,
    /// Queries on which the system is better.
    pub wins: usize,
    /// Queries without a difference.
    pub ties: usize,
    /// Queries on which it is worse.
    pub losses: usize,
    /// Fisher's paired randomisation test.
    pub randomisation: Randomisation,
    /// The randomisation test's p-value after adjustment for several systems; the plain one until
    /// [`compare_all`] adjusts it.
    pub adjusted_p: f64,
    /// Student's paired t-test.
    pub student: StudentTest,
    /// p-value of Wilcoxon's signed-rank test.
    pub wilcoxon_p: f64,
    /// p-value of the sign test.
    pub sign_p: f64,
    /// Interval of the mean difference.
    pub interval: Interval,
    /// Mean difference in standard deviations of the differences.
    pub effect_size: f64,
}

impl MeasureComparison {
    /// The mean difference.
    #[must_use]
    pub fn difference(&self) -> f64 {
        mean(&self.differences)
    }
}

/// A system beside a baseline, on the same queries and measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The baseline's name.
    pub baseline: String,
    /// The system's name.
    pub system: String,
    /// The queries in byte order.
    pub queries: Vec<QueryId>,
    /// What was found, one entry per measure.
    pub measures: Vec<MeasureComparison>,
}

/// Compares a system with a baseline.
///
/// # Errors
/// When the two were not computed for the same queries and measures.
pub fn compare(
    baseline: &Evaluation,
    system: &Evaluation,
    config: &CompareConfig,
) -> Result<Comparison> {
    let incomparable = |why: String| Error::Incomparable {
        baseline: baseline.tag().to_owned(),
        system: system.tag().to_owned(),
        why,
    };
    if baseline.measures() != system.measures() {
        return Err(incomparable("they hold different measures".to_owned()));
    }
    if baseline.queries() != system.queries() {
        let (a, b) = (baseline.queries(), system.queries());
        let stray = a.iter().find(|query| b.binary_search(query).is_err());
        let stray = stray.or_else(|| b.iter().find(|query| a.binary_search(query).is_err()));
        let name = stray.map_or_else(String::new, ToString::to_string);
        return Err(incomparable(format!("only one of them has query `{name}`")));
    }
    let measures = (0..baseline.measures().len())
        .map(|index| {
            let pairs = baseline.values(index).iter().zip(system.values(index));
            let differences: Vec<f64> = pairs.map(|(b, s)| s - b).collect();
            let count = |test: fn(f64, f64) -> bool| {
                differences.iter().filter(|&&d| test(d, config.tie)).count()
            };
            let (wins, losses) = (count(|d, tie| d > tie), count(|d, tie| d < -tie));
            let randomisation =
                randomisation_test(&differences, config.n_permutations, config.seed);
            MeasureComparison {
                measure: baseline.measures()[index].clone(),
                baseline: baseline.summary(index),
                system: system.summary(index),
                wins,
                ties: differences.len() - wins - losses,
                losses,
                adjusted_p: randomisation.p,
                randomisation,
                student: paired_t_test(&differences),
                wilcoxon_p: wilcoxon_test(&differences),
                sign_p: sign_test(&differences),
                interval: bootstrap_mean(
                    &differences,
                    config.confidence,
                    config.n_resamples,
                    config.seed,
                ),
                effect_size: cohens_d(&differences),
                differences,
            }
        })
        .collect();
    Ok(Comparison {
        baseline: baseline.tag().to_owned(),
        system: system.tag().to_owned(),
        queries: baseline.queries().to_vec(),
        measures,
    })
}

/// How p-values are adjusted when several systems are compared with one baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Correction {
    /// Not at all.
    None,
    /// Holm: bounds the chance of any false finding.
    #[default]
    Holm,
    /// Benjamini and Hochberg: bounds the share of false findings.
    BenjaminiHochberg,
}

impl std::str::FromStr for Correction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "holm" => Ok(Self::Holm),
            "bh" => Ok(Self::BenjaminiHochberg),
            other => Err(Error::Option {
                option: "correction",
                expected: "`none`, `holm` or `bh`".to_owned(),
                found: other.to_owned(),
            }),
        }
    }
}

/// Compares each system with a baseline; p-values are adjusted over the systems, for each measure
/// on its own.
///
/// # Errors
/// As [`compare`].
pub fn compare_all(
    baseline: &Evaluation,
    systems: &[&Evaluation],
    config: &CompareConfig,
    correction: Correction,
) -> Result<Vec<Comparison>> {
    let mut comparisons = systems
        .iter()
        .map(|system| compare(baseline, system, config))
        .collect::<Result<Vec<_>>>()?;
    for measure in 0..baseline.measures().len() {
        let p_values: Vec<f64> =
            comparisons.iter().map(|c| c.measures[measure].randomisation.p).collect();
        let adjusted = match correction {
            Correction::None => p_values,
            Correction::Holm => holm(&p_values),
            Correction::BenjaminiHochberg => benjamini_hochberg(&p_values),
        };
        for (comparison, p) in comparisons.iter_mut().zip(adjusted) {
            comparison.measures[measure].adjusted_p = p;
        }
    }
    Ok(comparisons)
}

impl Comparison {
    /// The queries that moved most under a measure, by size of the difference, then by id.
    #[must_use]
    pub fn most_moved(&self, measure: usize, n: usize) -> Vec<(&QueryId, f64)> {
        let differences = &self.measures[measure].differences;
        let mut moved: Vec<_> = self
            .queries
            .iter()
            .zip(differences.iter().copied())
            .filter(|(_, d)| *d != 0.0)
            .collect();
        moved.sort_by(|(a, x), (b, y)| match y.abs().total_cmp(&x.abs()) {
            Ordering::Equal => a.cmp(b),
            order => order,
        });
        moved.truncate(n);
        moved
    }
}
