//! trec_eval's names of measures (`ndcg_cut_10`, `P.5,10`, `all_trec`) into measures of one value.

use super::options::Compat;
use super::table::{self, Instance, Kind, Print};
use super::value::{self, Setting};
use crate::measure::Summary;
use crate::ranking::Ranking;

/// A measure of trec_eval under its own name, defined as version 10 has it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrecMeasure(Instance);

impl TrecMeasure {
    /// The measures that a name stands for: a nickname's members, one for each cutoff. `None` when
    /// trec_eval does not have the name; otherwise what was expected instead, on a mistake.
    pub(crate) fn parse(text: &str) -> Option<Result<Vec<Self>, String>> {
        if let Some(members) = table::members(text) {
            let mut all = Vec::new();
            for member in members {
                let Some(Ok(instance)) = table::find(member, None) else { continue };
                if is_number(&instance) {
                    all.extend(instance.singles().into_iter().map(Self));
                }
            }
            return Some(Ok(all));
        }
        let (name, parameters) = table::split_name(text)?;
        let instance = match table::find(name, parameters)? {
            Ok(instance) => instance,
            Err(_) => return Some(Err(format!("parameters that trec_eval's `{name}` takes"))),
        };
        if let Some(problem) = problem(&instance, parameters) {
            return Some(Err(problem));
        }
        Some(Ok(instance.singles().into_iter().map(Self).collect()))
    }

    /// The name with its parameters, as trec_eval prints it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.names[0]
    }

    /// Whether the level of relevance plays a part.
    pub(crate) fn uses_rel(&self) -> bool {
        !matches!(
            self.0.kind,
            Kind::NumQ
                | Kind::NumRet
                | Kind::Ndcg
                | Kind::NdcgCut
                | Kind::NdcgRel
                | Kind::G
                | Kind::Rbp
                | Kind::RbpResid
                | Kind::Unjudged
        )
    }

    /// The value of one query; 0 where there is nothing to divide by. Those of geometric means are
    /// not yet logarithms.
    pub(crate) fn compute(&self, ranking: &Ranking, level: i32) -> f64 {
        let kind = match self.0.kind {
            Kind::NumQ => return 1.0,
            Kind::GmMap => Kind::Map,
            Kind::GmBpref => Kind::Bpref,
            kind => kind,
        };
        let instance = Instance { kind, ..self.0.clone() };
        let setting = Setting { level, n_documents: 0, compat: Compat::V10 };
        let values = value::of_ranking(setting, &instance, ranking);
        let value = values.expect("only measures of single topics are parsed")[0];
        if value.is_nan() { 0.0 } else { value }
    }

    pub(crate) fn summary(&self) -> Summary {
        match self.0.print {
            Print::Count | Print::Queries => Summary::Sum,
            Print::Geometric => Summary::GeometricMean,
            Print::Float | Print::String | Print::RunId => Summary::Mean,
        }
    }
}

/// Whether the value is a number that qrels alone give.
fn is_number(instance: &Instance) -> bool {
    let other = matches!(
        instance.kind,
        Kind::RunId
            | Kind::Relstring
            | Kind::PrefsPossible
            | Kind::PrefsFulfilled
            | Kind::PrefsFulfilledRet
            | Kind::Prefs(..)
            | Kind::PrefsRnonrel(_)
            | Kind::MapAvgJg
            | Kind::PAvgJg
            | Kind::RprecMultAvgJg
    );
    !other
}

/// What is wrong with a measure, as the thing expected. trec_eval reads what is no number as 0.
fn problem(instance: &Instance, parameters: Option<&str>) -> Option<String> {
    if !is_number(instance) {
        let name = instance.name;
        return Some(format!(
            "a measure that is a number made of qrels (`--trec -m {name}` is not)"
        ));
    }
    let whole = !instance.cutoffs.is_empty();
    let mut parts = parameters?.split(',').map(|part| part.rsplit('=').next().unwrap_or(part));
    let is_right = |part: &str| match whole {
        true => part.parse::<usize>().is_ok_and(|cutoff| cutoff > 0),
        false => part.parse::<f64>().is_ok_and(f64::is_finite),
    };
    let takes_none = !whole && instance.numbers.is_empty() && instance.pairs.is_empty();
    if takes_none {
        return Some(format!("no parameters after `{}`", instance.name));
    }
    if instance.kind == Kind::Utility && instance.numbers.len() != 4 {
        return Some("4 numbers after `utility`".to_owned());
    }
    (!parts.all(is_right)).then(|| format!("numbers after `{}`", instance.name))
}
