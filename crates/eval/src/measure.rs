//! A measure: parsed from and printed as the names of ir_measures, computed on one [`Ranking`].

mod average_precision;
mod cascade;
mod display;
mod gain;
mod name;
mod page;
mod precision;
mod set;

pub use cascade::Continuation;
pub use gain::Gain;
pub use page::measures_page;

pub(crate) use average_precision::{
    average_precision, bpref, inferred_average_precision, interpolated_precisions, reciprocal_rank,
    sum_of_precisions,
};
pub(crate) use gain::{discount, ndcg};
pub(crate) use precision::{precision, r_precision, recall, relative_precision, success};
pub(crate) use set::{set_average_precision, set_f, set_precision, set_relative_precision};

use crate::error::Result;
use crate::ranking::Ranking;
use crate::trec::TrecMeasure;

/// A measure of ranking quality, with its parameters.
///
/// ```
/// use tamis_eval::Measure;
///
/// let measure: Measure = "AP(rel=2)@100".parse()?;
/// assert_eq!((measure.rel, measure.cutoff), (2, Some(100)));
/// assert_eq!(measure.to_string(), "AP(rel=2)@100");
/// # Ok::<(), tamis_eval::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What is computed.
    pub family: Family,
    /// The lowest grade that counts as relevant; no part of measures made of gains.
    pub rel: i32,
    /// How many documents from the top are looked at; `None` for all.
    pub cutoff: Option<usize>,
    /// Whether unjudged documents are taken out before ranks are counted.
    pub judged_only: bool,
}

/// The families of measures. `docs/measures.md` has the formula and the authority of each.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Family {
    /// `nDCG`: normalised discounted cumulative gain.
    Ndcg(Gain),
    /// `RR`: reciprocal rank of the first relevant document.
    ReciprocalRank,
    /// `AP`: average precision.
    AveragePrecision,
    /// `P`: precision at a cutoff.
    Precision,
    /// `R`: recall at a cutoff.
    Recall,
    /// `Success`: whether a relevant document is there.
    Success,
    /// `Rprec`: precision at as many documents as are relevant.
    RPrecision,
    /// `Bpref`: preference of relevant over judged non-relevant documents.
    Bpref,
    /// `infAP`: average precision estimated from sampled judgements.
    InferredAp,
    /// `IPrec`: interpolated precision at a recall point.
    InterpolatedPrecision {
        /// The recall point, from 0 to 1.
        recall: f64,
    },
    /// `RBP`: rank-biased precision.
    RankBiasedPrecision {
        /// How likely the user is to go on.
        p: f64,
        /// Whether gains are grades instead of relevant or not.
        graded: bool,
    },
    /// `ERR`: expected reciprocal rank.
    ExpectedReciprocalRank {
        /// The highest grade of the scale.
        max_rel: i32,
    },
    /// `NERR8` to `NERR11`: nearly expected reciprocal rank.
    NearlyErr {
        /// How the user goes on.
        continuation: Continuation,
        /// The grade worth nothing.
        min_rel: i32,
        /// The grade worth 1.
        max_rel: i32,
    },
    /// `Compat`: overlap with the nearest ideal ranking.
    Compatibility {
        /// The weight of a rank relative to the one above.
        p: f64,
        /// Whether the ideal itself scores 1.
        normalize: bool,
    },
    /// `Judged`: share of judged documents.
    Judged,
    /// `SetP`: precision of the retrieved set.
    SetPrecision,
    /// `SetRelP`: precision of the set relative to the best possible.
    SetRelativePrecision,
    /// `SetR`: recall of the retrieved set.
    SetRecall,
    /// `SetF`: weighted harmonic mean of the two.
    SetF {
        /// trec_eval's weight `x` of recall, which ir_measures calls beta.
        beta: f64,
    },
    /// `SetAP`: precision times recall.
    SetAp,
    /// `NumQ`: 1 for each query.
    NumQueries,
    /// `NumRet`: documents retrieved; with `rel`, relevant documents retrieved.
    NumRetrieved {
        /// Whether only relevant documents are counted.
        relevant_only: bool,
    },
    /// `NumRel`: relevant documents.
    NumRelevant,
    /// `NumRelRet`: relevant documents retrieved.
    NumRelevantRetrieved,
    /// `MSMARCO_RR`: the official script of MS MARCO, for which every judged document is relevant.
    MsMarcoRr,
    /// A measure of trec_eval under its own name, such as `ndcg_cut_10` or `gm_map`.
    TrecEval(TrecMeasure),
}

/// How the values of single queries become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summary {
    /// Their arithmetic mean.
    Mean,
    /// Their geometric mean, values below 0.00001 taken as that.
    GeometricMean,
    /// Their sum: counts.
    Sum,
}

impl Measure {
    /// A measure without cutoff at relevance level 1.
    #[must_use]
    pub fn new(family: Family) -> Self {
        Self { family, rel: 1, cutoff: None, judged_only: false }
    }

    /// The measures that a name stands for: one, unless it is a name of trec_eval that stands for
    /// several (`P`, `ndcg_cut.5,10`, `official`, `all_trec`). Those of `relstring` and `runid`,
    /// which are text, are left out.
    ///
    /// ```
    /// use tamis_eval::Measure;
    ///
    /// let names: Vec<String> =
    ///     Measure::parse_all("ndcg_cut.5,10")?.iter().map(ToString::to_string).collect();
    /// assert_eq!(names, ["ndcg_cut_5", "ndcg_cut_10"]);
    /// # Ok::<(), tamis_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the name or a parameter is not known, or a value lies outside its range.
    pub fn parse_all(text: &str) -> Result<Vec<Self>> {
        match (text.parse(), TrecMeasure::parse(text)) {
            (Err(_), Some(Ok(measures))) => {
                Ok(measures.into_iter().map(|m| Self::new(Family::TrecEval(m))).collect())
            }
            (parsed, _) => parsed.map(|measure| vec![measure]),
        }
    }

    /// The value for one query. It is 0 where the definition has nothing to divide by.
    #[must_use]
    pub fn compute(&self, ranking: &Ranking) -> f64 {
        if self.judged_only {
            let judged = ranking.grades().iter().copied().filter(|g| g.is_some_and(|g| g >= 0));
            let ranking = Ranking::new(judged.collect(), ranking.judged().to_vec());
            return self.value(&ranking);
        }
        self.value(ranking)
    }

    fn value(&self, ranking: &Ranking) -> f64 {
        let (rel, cutoff) = (self.rel, self.cutoff);
        let depth = cutoff.unwrap_or(usize::MAX);
        match self.family {
            Family::TrecEval(ref measure) => measure.compute(ranking, rel),
            Family::Ndcg(gain) => ndcg(ranking, gain, cutoff),
            Family::ReciprocalRank => reciprocal_rank(ranking, rel, cutoff),
            Family::AveragePrecision => average_precision(ranking, rel, cutoff),
            Family::Precision => precision(ranking, rel, depth),
            Family::Recall => recall(ranking, rel, cutoff),
            Family::Success => success(ranking, rel, depth),
            Family::RPrecision => r_precision(ranking, rel),
            Family::Bpref => bpref(ranking, rel),
            Family::InferredAp => inferred_average_precision(ranking, rel),
            Family::InterpolatedPrecision { recall } => {
                interpolated_precisions(ranking, rel, &[recall])[0]
            }
            Family::RankBiasedPrecision { p, graded } => {
                cascade::rbp(ranking, p, (!graded).then_some(rel), cutoff)
            }
            Family::ExpectedReciprocalRank { max_rel } => cascade::err(ranking, max_rel, cutoff),
            Family::NearlyErr { continuation, min_rel, max_rel } => {
                cascade::nearly_err(ranking, continuation, min_rel, max_rel)
            }
            Family::Compatibility { p, normalize } => cascade::compatibility(ranking, p, normalize),
            Family::Judged => precision::judged(ranking, cutoff),
            Family::SetPrecision => set_precision(ranking, rel),
            Family::SetRelativePrecision => set_relative_precision(ranking, rel),
            Family::SetRecall => recall(ranking, rel, None),
            Family::SetF { beta } => set_f(ranking, rel, beta),
            Family::SetAp => set_average_precision(ranking, rel),
            Family::NumQueries => 1.0,
            Family::NumRetrieved { relevant_only: false } => ranking.n_retrieved() as f64,
            Family::NumRelevant => ranking.n_relevant(rel) as f64,
            Family::NumRetrieved { relevant_only: true } | Family::NumRelevantRetrieved => {
                ranking.n_relevant_retrieved(rel, None) as f64
            }
            Family::MsMarcoRr => {
                let first = ranking.top(cutoff).iter().position(Option::is_some);
                first.map_or(0.0, |index| 1.0 / (index + 1) as f64)
            }
        }
    }

    /// How the values of single queries are summarised.
    #[must_use]
    pub fn summary(&self) -> Summary {
        match &self.family {
            Family::TrecEval(measure) => measure.summary(),
            Family::NumQueries
            | Family::NumRetrieved { .. }
            | Family::NumRelevant
            | Family::NumRelevantRetrieved => Summary::Sum,
            _ => Summary::Mean,
        }
    }

    /// Whether values are counts, which are printed without decimals.
    #[must_use]
    pub fn is_count(&self) -> bool {
        self.summary() == Summary::Sum
    }

    /// The measures shown when none are asked for.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let names = ["nDCG@10", "RR@10", "AP", "P@10", "R@100", "Judged@10"];
        names.iter().map(|name| name.parse().expect("the name is known")).collect()
    }
}
