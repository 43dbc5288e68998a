//! A run and judgements into the value of every measure for every query.

use std::str::FromStr;

use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use tamis_data::{Qrels, QueryId, Run};

use crate::error::{Error, Result};
use crate::measure::{Measure, Summary};
use crate::ranking::Ranking;
use crate::trec::MIN_GEO_MEAN;

/// What is done about judged queries that have no candidates in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingQueries {
    /// They count as 0, as with trec_eval's `-c` and in ir_measures.
    #[default]
    Zero,
    /// They are left out, as trec_eval and pytrec_eval do by default.
    Skip,
    /// They are an error.
    Error,
}

impl MissingQueries {
    /// The word that parses to it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Skip => "skip",
            Self::Error => "error",
        }
    }
}

impl FromStr for MissingQueries {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "zero" => Ok(Self::Zero),
            "skip" => Ok(Self::Skip),
            "error" => Ok(Self::Error),
            other => Err(Error::Option {
                option: "missing",
                expected: "`zero`, `skip` or `error`".to_owned(),
                found: other.to_owned(),
            }),
        }
    }
}

/// Computes measures for every judged query.
///
/// Queries are worked on in parallel; the result does not depend on the number of threads.
/// Queries of the run that nobody judged are passed over and listed.
///
/// # Errors
/// When run and judgements have no query in common, or a judged query is missing from the run and
/// `missing` is [`MissingQueries::Error`].
pub fn evaluate(
    qrels: &Qrels,
    run: &Run,
    measures: &[Measure],
    missing: MissingQueries,
) -> Result<Evaluation> {
    let absent: Vec<QueryId> = qrels
        .iter()
        .filter(|(query, _)| run.query(query.as_str()).is_none())
        .map(|(query, _)| query.clone())
        .collect();
    let unjudged = run.iter().filter(|(query, _)| qrels.query(query.as_str()).is_none());
    let unjudged = unjudged.map(|(query, _)| query.clone()).collect();
    let cohort = Cohort { tag: run.tag(), n_run: run.n_queries(), n_judged: qrels.n_queries() };
    cohort.check(&absent, missing)?;
    let queries: Vec<_> = qrels
        .iter()
        .map(|(query, judged)| (query, judged, run.query(query.as_str())))
        .filter(|(_, _, candidates)| candidates.is_some() || missing != MissingQueries::Skip)
        .collect();
    let values: Vec<Vec<f64>> = queries
        .par_iter()
        .map(|(_, judged, candidates)| {
            let ranking = Ranking::of(judged, candidates.unwrap_or(&[]));
            measures.iter().map(|measure| measure.compute(&ranking)).collect()
        })
        .collect();
    let queries = queries.into_iter().map(|(query, _, _)| query.clone()).collect();
    Ok(Evaluation::new(
        run.tag(),
        measures,
        queries,
        &values,
        Absence { missing, absent, unjudged },
    ))
}

/// How many queries each side has, to see whether they fit.
pub(crate) struct Cohort<'a> {
    pub(crate) tag: &'a str,
    pub(crate) n_run: usize,
    pub(crate) n_judged: usize,
}

impl Cohort<'_> {
    pub(crate) fn check(&self, absent: &[QueryId], missing: MissingQueries) -> Result<()> {
        let &Self { tag, n_run, n_judged } = self;
        if absent.len() == n_judged {
            return Err(Error::NoCommonQuery { tag: tag.to_owned(), n_run, n_judged });
        }
        match absent.first() {
            Some(query) if missing == MissingQueries::Error => Err(Error::MissingQuery {
                tag: tag.to_owned(),
                query: query.to_string(),
                n_missing: absent.len(),
                n_judged,
            }),
            _ => Ok(()),
        }
    }
}

/// Which queries one side lacks, and what was done about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Absence {
    /// What was done about judged queries missing from the run.
    pub missing: MissingQueries,
    /// Judged queries that the run lacks, in byte order.
    pub absent: Vec<QueryId>,
    /// Queries of the run that nobody judged, in byte order.
    pub unjudged: Vec<QueryId>,
}

/// The values of some measures for every evaluated query of a run, and their summaries.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    tag: String,
    measures: Vec<Measure>,
    queries: Vec<QueryId>,
    values: Vec<Vec<f64>>,
    absence: Absence,
}

impl Evaluation {
    /// Takes values as `[queries, measures]`.
    pub(crate) fn new(
        tag: &str,
        measures: &[Measure],
        queries: Vec<QueryId>,
        rows: &[Vec<f64>],
        absence: Absence,
    ) -> Self {
        let column = |index: usize| rows.iter().map(|row| row[index]).collect();
        let values = (0..measures.len()).map(column).collect();
        Self { tag: tag.to_owned(), measures: measures.to_vec(), queries, values, absence }
    }

    /// The run's name.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The same evaluation under another name.
    #[must_use]
    pub fn named(mut self, tag: &str) -> Self {
        tag.clone_into(&mut self.tag);
        self
    }

    /// The measures, in the order in which they were asked for.
    #[must_use]
    pub fn measures(&self) -> &[Measure] {
        &self.measures
    }

    /// The evaluated queries in byte order.
    #[must_use]
    pub fn queries(&self) -> &[QueryId] {
        &self.queries
    }

    /// The values of a measure, one per query in the order of [`Self::queries`].
    #[must_use]
    pub fn values(&self, measure: usize) -> &[f64] {
        &self.values[measure]
    }

    /// The summary of a measure over the queries: a mean, or the sum of counts. See [`Summary`].
    #[must_use]
    pub fn summary(&self, measure: usize) -> f64 {
        let sum: f64 = self.values[measure].iter().sum();
        match self.measures[measure].summary() {
            Summary::Sum => sum,
            Summary::Mean | Summary::GeometricMean if self.queries.is_empty() => 0.0,
            Summary::Mean => sum / self.queries.len() as f64,
            Summary::GeometricMean => {
                let logarithms = self.values[measure].iter().map(|v| v.max(MIN_GEO_MEAN).ln());
                (logarithms.sum::<f64>() / self.queries.len() as f64).exp()
            }
        }
    }

    /// The summary of a measure given by name, `None` when it was not computed.
    #[must_use]
    pub fn mean(&self, measure: &Measure) -> Option<f64> {
        self.measures.iter().position(|other| other == measure).map(|index| self.summary(index))
    }

    /// The value of a measure for one query.
    #[must_use]
    pub fn value(&self, measure: usize, query: &str) -> Option<f64> {
        let at = self.queries.binary_search_by(|id| id.as_str().cmp(query)).ok()?;
        Some(self.values[measure][at])
    }

    /// Which queries one side lacks, and what was done about it.
    #[must_use]
    pub fn absence(&self) -> &Absence {
        &self.absence
    }
}
