//! One topic's judgements and retrieved documents into the values of trec_eval's measures.

use super::gain::{self, Gains};
use super::input::Judgement;
use super::options::{Compat, Format, Options};
use super::preference::Preferences;
use super::table::{Instance, Kind};
use crate::measure;
use crate::ranking::Ranking;

/// What geometric means take for a value of 0.
pub(crate) const MIN_GEO_MEAN: f64 = 0.000_01;

pub(crate) enum Topic {
    Qrels(Ranking),
    Groups(Vec<Ranking>),
    Preferences(Box<Preferences>),
}

impl Topic {
    /// Brings judgements and retrieved documents together; without documents, version 10 makes
    /// one up that nobody judged.
    pub(crate) fn new(
        options: &Options,
        judged: &[Judgement],
        retrieved: Option<&Vec<(String, f64)>>,
    ) -> Result<Self, String> {
        let made_up = vec![("ceci_nest_pas_un_docno".to_owned(), 1.0)];
        let retrieved = retrieved.unwrap_or(&made_up);
        let top = &retrieved[..options.depth.min(retrieved.len())];
        let mut ids: Vec<&str> = top.iter().map(|(document, _)| document.as_str()).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("trec_eval.form_res_qrels: duplicate docs {}", pair[0]));
        }
        match options.format {
            Format::Qrels => {
                if let Some(pair) =
                    judged.windows(2).find(|pair| pair[0].document == pair[1].document)
                {
                    let document = &pair[0].document;
                    return Err(format!("trec_eval.form_res_rels: duplicate docs {document}\n"));
                }
                Ok(Self::Qrels(ranking(options, judged, top)))
            }
            Format::QrelsJg => {
                let groups = judged.chunk_by(|a, b| a.group == b.group);
                Ok(Self::Groups(groups.map(|group| ranking(options, group, top)).collect()))
            }
            Format::Prefs | Format::QrelsPrefs => {
                Ok(Self::Preferences(Box::new(Preferences::new(judged, top)?)))
            }
        }
    }

    /// The values of a measure; `None` when it needs judgements of another format.
    pub(crate) fn values(&self, options: &Options, instance: &Instance) -> Option<Vec<f64>> {
        match (self, instance.kind) {
            (_, Kind::RunId | Kind::NumQ) => Some(vec![1.0]),
            (Self::Preferences(preferences), kind) => preferences.value(kind).map(|v| vec![v]),
            (Self::Groups(groups), _) => averaged(options.level, instance, groups),
            (Self::Qrels(ranking), _) => {
                let setting = Setting {
                    level: options.level,
                    n_documents: options.n_documents,
                    compat: options.compat,
                };
                of_ranking(setting, instance, ranking)
            }
        }
    }

    /// The grades of the first documents, one character each.
    pub(crate) fn relstring(&self, instance: &Instance, missing: bool) -> String {
        let Self::Qrels(ranking) = self else { return String::new() };
        if missing {
            return String::new();
        }
        let length = instance.numbers.first().map_or(0, |&length| length.max(0.0) as usize);
        let grades = ranking.top(Some(length)).iter();
        let character = |grade: &Option<i32>| match grade {
            None => '-',
            Some(grade) if *grade < 0 => '.',
            Some(grade) => char::from_digit(grade.unsigned_abs(), 10).unwrap_or('>'),
        };
        grades.map(character).collect()
    }
}

fn ranking(options: &Options, judged: &[Judgement], top: &[(String, f64)]) -> Ranking {
    let grade =
        |line: &Judgement| line.value.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32;
    let find = |document: &str| {
        let at = judged.binary_search_by(|line| line.document.as_str().cmp(document)).ok()?;
        Some(grade(&judged[at]))
    };
    let grades = top.iter().map(|(document, _)| find(document));
    let grades = grades.filter(|g| !options.judged_only || g.is_some_and(|g| g >= 0)).collect();
    Ranking::new(grades, judged.iter().map(grade).collect())
}

fn averaged(level: i32, instance: &Instance, groups: &[Ranking]) -> Option<Vec<f64>> {
    let mut totals = vec![0.0; instance.names.len()];
    for ranking in groups {
        let values = match instance.kind {
            Kind::MapAvgJg => vec![measure::average_precision(ranking, level, None)],
            Kind::PAvgJg => {
                let cutoffs = instance.cutoffs.iter();
                cutoffs.map(|&k| measure::precision(ranking, level, k)).collect()
            }
            Kind::RprecMultAvgJg => multiples(ranking, level, &instance.numbers),
            _ => return None,
        };
        for (total, value) in totals.iter_mut().zip(values) {
            *total += value;
        }
    }
    Some(totals.into_iter().map(|total| total / groups.len() as f64).collect())
}

/// What a measure's value depends on besides its own parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) level: i32,
    pub(crate) n_documents: i64,
    pub(crate) compat: Compat,
}

/// The values of a measure of single topics; `None` when it needs judgements of another format.
pub(crate) fn of_ranking(
    setting: Setting,
    instance: &Instance,
    ranking: &Ranking,
) -> Option<Vec<f64>> {
    let Setting { level, compat, .. } = setting;
    let at = |f: &dyn Fn(usize) -> f64| instance.cutoffs.iter().map(|&k| f(k)).collect();
    let gains = || Gains::new(ranking, &instance.gains());
    let found = ranking.n_relevant_retrieved(level, None);
    let one = match instance.kind {
        Kind::NumRet => ranking.n_retrieved() as f64,
        Kind::NumRel => ranking.n_relevant(level) as f64,
        Kind::NumRelRet => found as f64,
        Kind::NumNonrelJudgedRet => {
            let judged = ranking.grades().iter().filter(|g| g.is_some_and(|g| g >= 0)).count();
            judged as f64 - found as f64
        }
        Kind::Map => measure::average_precision(ranking, level, None),
        Kind::GmMap => geometric(measure::average_precision(ranking, level, None)),
        Kind::Rprec => measure::r_precision(ranking, level),
        Kind::Bpref => measure::bpref(ranking, level),
        Kind::GmBpref => geometric(measure::bpref(ranking, level)),
        Kind::RecipRank => measure::reciprocal_rank(ranking, level, None),
        Kind::InfAp => measure::inferred_average_precision(ranking, level),
        Kind::Utility => utility(setting, instance, ranking)?,
        Kind::ElevenPoint => {
            let points = interpolated(ranking, level, &instance.numbers, compat);
            points.iter().fold(0.0, |sum, p| sum + p) / points.len() as f64
        }
        Kind::BinG => gain::binary_g(ranking, level),
        Kind::G => gain::g(ranking, &gains()),
        Kind::Ndcg => gain::ndcg(ranking, &gains()),
        Kind::NdcgRel => gain::ndcg_rel(ranking, &gains()),
        Kind::Rndcg => gain::r_ndcg(ranking, &gains(), level),
        Kind::SetP => measure::set_precision(ranking, level),
        Kind::SetRelativeP => measure::set_relative_precision(ranking, level),
        Kind::SetRecall => measure::recall(ranking, level, None),
        Kind::SetMap => {
            let (n, r) = (ranking.n_retrieved() as f64, ranking.n_relevant(level) as f64);
            if n * r > 0.0 { found as f64 * found as f64 / (n * r) } else { 0.0 }
        }
        Kind::SetF => measure::set_f(ranking, level, instance.numbers[0]),
        Kind::Yaap => {
            let sum = measure::sum_of_precisions(ranking, level, None);
            ((1.0 + sum) / (1.0 + ranking.n_relevant(level) as f64 - sum)).ln()
        }
        Kind::Rbp => {
            let p = instance.pairs.iter().rev().find(|(key, _)| key == "p");
            gain::rbp(ranking, gains(), p.map_or(0.9, |(_, p)| *p))
        }
        Kind::RbpResid => gain::rbp_residual(ranking),
        Kind::Relstring => 0.0,
        Kind::Iprec => {
            return Some(interpolated(ranking, level, &instance.numbers, compat));
        }
        Kind::RprecMult => return Some(multiples(ranking, level, &instance.numbers)),
        Kind::P => return Some(at(&|k| measure::precision(ranking, level, k))),
        Kind::Recall => return Some(at(&|k| measure::recall(ranking, level, Some(k)))),
        Kind::MapCut => return Some(at(&|k| measure::average_precision(ranking, level, Some(k)))),
        Kind::NdcgCut => {
            return Some(at(&|k| measure::ndcg(ranking, measure::Gain::Linear, Some(k))));
        }
        Kind::RelativeP => return Some(at(&|k| measure::relative_precision(ranking, level, k))),
        Kind::Success => return Some(at(&|k| measure::success(ranking, level, k))),
        Kind::Unjudged => {
            let unjudged = |k: usize| {
                let top = ranking.top(Some(k)).iter();
                top.filter(|g| g.is_none_or(|g| g < 0)).count() as f64 / k as f64
            };
            return Some(at(&unjudged));
        }
        _ => return None,
    };
    Some(vec![one])
}

fn geometric(value: f64) -> f64 {
    value.max(MIN_GEO_MEAN).ln()
}

fn utility(setting: Setting, instance: &Instance, ranking: &Ranking) -> Option<f64> {
    let &[a, b, c, d] = &instance.numbers[..] else { return None };
    let found = ranking.n_relevant_retrieved(setting.level, None) as f64;
    let (retrieved, relevant) =
        (ranking.n_retrieved() as f64, ranking.n_relevant(setting.level) as f64);
    let rest = setting.n_documents as f64 + found - retrieved - relevant;
    Some(a * found + b * (retrieved - found) + c * (relevant - found) + d * rest)
}

/// Precision where a multiple of R documents has been seen, R times the share rounded as
/// `floor(x + 0.9)`.
fn multiples(ranking: &Ranking, level: i32, shares: &[f64]) -> Vec<f64> {
    let n_relevant = ranking.n_relevant(level) as f64;
    let cutoffs = shares.iter().map(|share| (share * n_relevant + 0.9) as usize);
    cutoffs.map(|k| if k == 0 { 0.0 } else { measure::precision(ranking, level, k) }).collect()
}

/// Interpolated precision, with the walk of the C code: shares out of order, and an empty list,
/// give what they give there.
fn interpolated(ranking: &Ranking, level: i32, shares: &[f64], compat: Compat) -> Vec<f64> {
    let n_relevant = ranking.n_relevant(level) as f64;
    let reach = |share: f64| match compat.rounds_up() {
        true => (share * n_relevant + 0.9).floor(),
        false => (share * n_relevant).round(),
    };
    let needed: Vec<usize> = shares.iter().map(|&share| reach(share) as usize).collect();
    let ranks: Vec<usize> = ranking.relevant_ranks(level, None).collect();
    let mut values = vec![0.0; shares.len()];
    let mut open = shares.len();
    while open > 0 && needed[open - 1] > ranks.len() {
        open -= 1;
    }
    // 0/0 when everything was taken out by `-J`: C prints it as a NaN.
    let mut best = ranks.len() as f64 / ranking.n_retrieved() as f64;
    for (index, &rank) in ranks.iter().enumerate().rev() {
        let so_far = index + 1;
        best = f64::max(best, so_far as f64 / rank as f64);
        while open > 0 && needed[open - 1] == so_far {
            values[open - 1] = best;
            open -= 1;
        }
    }
    values[..open].fill(best);
    values
}
