//! Names of measures, `Name(parameter=value, ...)@cutoff`, into a [`Measure`].

use std::str::FromStr;

use super::{Continuation, Family, Gain, Measure};
use crate::error::{Error, Result};
use crate::trec::TrecMeasure;

impl FromStr for Measure {
    type Err = Error;

    /// Parses ir_measures' syntax; its aliases (`MAP`, `MRR`, `NDCG`, ...) are understood.
    ///
    /// # Errors
    /// When the name or a parameter is not known, or a value lies outside its range.
    fn from_str(text: &str) -> Result<Self> {
        let mut parts = Parts::split(text)?;
        let measure = parts.measure()?;
        parts.finish()?;
        Ok(measure)
    }
}

/// Every name with the parameters it takes, for help texts and the generated page.
pub(crate) const NAMES: &[&str] = &[
    "nDCG",
    "RR",
    "AP",
    "P",
    "R",
    "Success",
    "Rprec",
    "Bpref",
    "infAP",
    "IPrec",
    "RBP",
    "ERR",
    "NERR8",
    "NERR9",
    "NERR10",
    "NERR11",
    "Compat",
    "Judged",
    "SetP",
    "SetRelP",
    "SetR",
    "SetF",
    "SetAP",
    "NumQ",
    "NumRet",
    "NumRel",
    "NumRelRet",
    "MSMARCO_RR",
];

struct Parts<'a> {
    text: &'a str,
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    at: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self> {
        let (head, at) = match text.rsplit_once('@') {
            Some((head, at)) if !at.contains(')') => (head, Some(at.trim())),
            _ => (text, None),
        };
        let head = head.trim();
        let (name, inside) = match head.split_once('(') {
            None => (head, None),
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(inside) => (name.trim(), Some(inside)),
                None => return Err(error(text, "`)` after the parameters", rest)),
            },
        };
        let mut parameters = Vec::new();
        for part in inside.unwrap_or("").split(',').map(str::trim).filter(|p| !p.is_empty()) {
            match part.split_once('=') {
                Some((key, value)) => {
                    let value = value.trim();
                    let bare = value.trim_matches(|c| c == '\'' || c == '"');
                    parameters.push((key.trim(), bare));
                }
                None => return Err(error(text, "`parameter=value`", part)),
            }
        }
        Ok(Self { text, name, parameters, at })
    }

    fn measure(&mut self) -> Result<Measure> {
        let family = match self.name {
            "nDCG" | "NDCG" => match self.take("dcg") {
                None | Some("log2") => Family::Ndcg(Gain::Linear),
                Some("exp-log2") => Family::Ndcg(Gain::Exponential),
                Some(other) => return Err(error(self.text, "dcg='log2' or 'exp-log2'", other)),
            },
            "RR" | "MRR" => Family::ReciprocalRank,
            "AP" | "MAP" => Family::AveragePrecision,
            "P" | "Precision" => Family::Precision,
            "R" | "Recall" => Family::Recall,
            "Success" => Family::Success,
            "Rprec" | "RPrec" => Family::RPrecision,
            "Bpref" | "BPref" => Family::Bpref,
            "infAP" => Family::InferredAp,
            "IPrec" => {
                let recall = self.at.take().or_else(|| self.take("recall"));
                let Some(recall) = recall else {
                    return Err(error(self.text, "a recall point, such as `IPrec@0.1`", ""));
                };
                Family::InterpolatedPrecision { recall: self.number("recall", recall, 0.0..=1.0)? }
            }
            "RBP" => {
                let graded = !self.parameters.iter().any(|&(key, _)| key == "rel");
                Family::RankBiasedPrecision { p: self.float("p", 0.8, 0.0..=1.0)?, graded }
            }
            "ERR" => Family::ExpectedReciprocalRank { max_rel: self.grade("max_rel", Some(4))? },
            "NERR8" | "NERR9" | "NERR10" | "NERR11" => self.nearly_err()?,
            "Compat" => Family::Compatibility {
                p: self.float("p", 0.95, 0.0..=1.0)?,
                normalize: self.boolean("normalize", true)?,
            },
            "Judged" => Family::Judged,
            "SetP" => match self.boolean("relative", false)? {
                true => Family::SetRelativePrecision,
                false => Family::SetPrecision,
            },
            "SetRelP" => Family::SetRelativePrecision,
            "SetR" => Family::SetRecall,
            "SetF" => Family::SetF { beta: self.float("beta", 1.0, 0.0..=f64::MAX)? },
            "SetAP" => Family::SetAp,
            "NumQ" => Family::NumQueries,
            "NumRet" => {
                let relevant_only = self.parameters.iter().any(|&(key, _)| key == "rel");
                Family::NumRetrieved { relevant_only }
            }
            "NumRel" => Family::NumRelevant,
            "NumRelRet" => Family::NumRelevantRetrieved,
            "MSMARCO_RR" => Family::MsMarcoRr,
            other => Family::TrecEval(self.of_trec_eval(other)?),
        };
        let mut measure = Measure::new(family);
        if uses_rel(&measure.family) {
            measure.rel = self.grade("rel", Some(1))?;
        }
        if !matches!(measure.family, Family::NumQueries | Family::NumRelevant) {
            measure.judged_only = self.boolean("judged_only", false)?;
        }
        if cutoff_use(&measure.family) != Cutoff::None {
            measure.cutoff = self.cutoff()?;
        }
        if cutoff_use(&measure.family) == Cutoff::Required && measure.cutoff.is_none() {
            let example = format!("a cutoff, such as `{}@10`", self.name);
            return Err(error(self.text, &example, ""));
        }
        Ok(measure)
    }

    fn nearly_err(&mut self) -> Result<Family> {
        let continuation = match self.name {
            "NERR10" => Continuation::Patience(self.float("p", 0.9, 0.0..=1.0)?),
            "NERR11" => Continuation::Goal(self.float("T", 1.0, 0.0..=f64::MAX)?),
            name => {
                let Some(cutoff) = self.cutoff()? else {
                    let example = format!("a cutoff, such as `{name}(max_rel=3)@10`");
                    return Err(error(self.text, &example, ""));
                };
                match name {
                    "NERR8" => Continuation::Truncated(cutoff),
                    _ => Continuation::Discounted(cutoff),
                }
            }
        };
        let (min_rel, max_rel) = (self.grade("min_rel", Some(0))?, self.grade("max_rel", None)?);
        if min_rel >= max_rel {
            return Err(error(
                self.text,
                "min_rel below max_rel",
                &format!("{min_rel}, {max_rel}"),
            ));
        }
        Ok(Family::NearlyErr { continuation, min_rel, max_rel })
    }

    /// A name that only trec_eval has.
    fn of_trec_eval(&self, name: &str) -> Result<TrecMeasure> {
        let mut measures = match TrecMeasure::parse(name) {
            Some(Ok(measures)) => measures,
            Some(Err(expected)) => return Err(error(self.text, &expected, name)),
            None => {
                let known = format!("a name among {} or of trec_eval", NAMES.join(" "));
                return Err(error(self.text, &known, name));
            }
        };
        match (measures.pop(), measures.len()) {
            (Some(measure), 0) => Ok(measure),
            (last, n) => {
                let example = last.map_or_else(String::new, |m| format!(" such as `{}`", m.name()));
                let found = format!("{name}, which is {}", n + 1);
                Err(error(self.text, &format!("one measure{example}"), &found))
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let index = self.parameters.iter().position(|&(k, _)| k == key)?;
        Some(self.parameters.remove(index).1)
    }

    fn cutoff(&mut self) -> Result<Option<usize>> {
        let Some(found) = self.at.take().or_else(|| self.take("cutoff")) else { return Ok(None) };
        match found.parse() {
            Ok(cutoff) if cutoff > 0 => Ok(Some(cutoff)),
            _ => Err(error(self.text, "a cutoff of at least 1", found)),
        }
    }

    fn grade(&mut self, key: &str, default: Option<i32>) -> Result<i32> {
        match (self.take(key), default) {
            (Some(found), _) => found
                .parse()
                .map_err(|_| error(self.text, &format!("an integer for `{key}`"), found)),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(error(self.text, &format!("the parameter `{key}`"), "")),
        }
    }

    fn float(
        &mut self,
        key: &str,
        default: f64,
        range: std::ops::RangeInclusive<f64>,
    ) -> Result<f64> {
        self.take(key).map_or(Ok(default), |found| self.number(key, found, range))
    }

    fn number(&self, key: &str, found: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64> {
        match found.parse() {
            Ok(value) if range.contains(&value) => Ok(value),
            _ => {
                let high = if *range.end() == f64::MAX {
                    "or more".to_owned()
                } else {
                    format!("to {}", range.end())
                };
                let expected = format!("a number from {} {high} for `{key}`", range.start());
                Err(error(self.text, &expected, found))
            }
        }
    }

    fn boolean(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.take(key) {
            None => Ok(default),
            Some("True" | "true") => Ok(true),
            Some("False" | "false") => Ok(false),
            Some(other) => Err(error(self.text, &format!("True or False for `{key}`"), other)),
        }
    }

    fn finish(&self) -> Result<()> {
        if let Some((key, _)) = self.parameters.first() {
            let expected = format!("only parameters that `{}` has", self.name);
            return Err(error(self.text, &expected, key));
        }
        match self.at {
            Some(at) => Err(error(self.text, "no cutoff", &format!("@{at}"))),
            None => Ok(()),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Cutoff {
    None,
    Optional,
    Required,
}

fn cutoff_use(family: &Family) -> Cutoff {
    match family {
        Family::Precision | Family::Recall | Family::Success => Cutoff::Required,
        Family::Ndcg(_)
        | Family::ReciprocalRank
        | Family::AveragePrecision
        | Family::RankBiasedPrecision { .. }
        | Family::ExpectedReciprocalRank { .. }
        | Family::Judged
        | Family::MsMarcoRr => Cutoff::Optional,
        _ => Cutoff::None,
    }
}

pub(super) fn uses_rel(family: &Family) -> bool {
    if let Family::TrecEval(measure) = family {
        return measure.uses_rel();
    }
    !matches!(
        family,
        Family::Ndcg(_)
            | Family::RankBiasedPrecision { graded: true, .. }
            | Family::ExpectedReciprocalRank { .. }
            | Family::NearlyErr { .. }
            | Family::Compatibility { .. }
            | Family::Judged
            | Family::NumQueries
            | Family::NumRetrieved { relevant_only: false }
            | Family::MsMarcoRr
    )
}

fn error(text: &str, expected: &str, found: &str) -> Error {
    let found = if found.is_empty() { "none".to_owned() } else { format!("`{found}`") };
    Error::Measure { text: text.to_owned(), expected: expected.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_were() {
        for name in [
            "nDCG@10",
            "nDCG",
            "nDCG(dcg='exp-log2')@10",
            "RR@10",
            "RR(rel=2)@5",
            "AP",
            "AP(rel=2)@100",
            "P@5",
            "R@100",
            "Success@5",
            "Rprec",
            "Bpref",
            "RBP",
            "RBP(p=0.5)",
            "RBP(rel=1)",
            "RBP(p=0.9, rel=2)@10",
            "ERR@20",
            "ERR(max_rel=3)@10",
            "Judged@10",
            "SetP",
            "SetR",
            "SetF",
            "SetF(beta=2)",
            "SetAP",
            "SetRelP",
            "infAP",
            "IPrec@0.1",
            "NumQ",
            "NumRet",
            "NumRet(rel=1)",
            "NumRet(rel=2)",
            "NumRel",
            "NumRelRet",
            "NERR8(max_rel=3)@10",
            "NERR9(min_rel=1, max_rel=3)@10",
            "NERR10(max_rel=3)",
            "NERR11(T=2, max_rel=3)",
            "Compat",
            "Compat(p=0.9, normalize=False)",
            "P(judged_only=True)@5",
            "MSMARCO_RR@10",
            "map",
            "map(rel=2)",
            "ndcg_cut_10",
            "recip_rank",
            "gm_map",
            "11pt_avg",
            "iprec_at_recall_0.10",
            "set_F_0.5",
            "utility_1,-1,0,0",
            "rbp_p=0.8",
            "Rprec_mult_0.20",
            "num_nonrel_judged_ret(judged_only=True)",
        ] {
            assert_eq!(name.parse::<Measure>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn aliases_and_spaces_are_understood() {
        for (alias, name) in [
            ("MRR@10", "RR@10"),
            ("MAP", "AP"),
            ("NDCG(cutoff=5)", "nDCG@5"),
            (" AP ( rel = 2 ) @ 100", "AP(rel=2)@100"),
            ("SetP(relative=True)", "SetRelP"),
            ("nDCG(dcg=\"log2\")@10", "nDCG@10"),
            ("P.5", "P_5"),
            ("set_F.0.5", "set_F_0.5"),
        ] {
            assert_eq!(alias.parse::<Measure>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let check = |name: &str, message: &str| {
            assert_eq!(name.parse::<Measure>().unwrap_err().to_string(), message);
        };
        check("P", "measure `P`: expected a cutoff, such as `P@10`, found none");
        check("P@0", "measure `P@0`: expected a cutoff of at least 1, found `0`");
        check("Rprec@5", "measure `Rprec@5`: expected no cutoff, found `@5`");
        check(
            "AP(level=2)",
            "measure `AP(level=2)`: expected only parameters that `AP` has, found `level`",
        );
        check("AP(rel=x)", "measure `AP(rel=x)`: expected an integer for `rel`, found `x`");
        check("RBP(p=2)", "measure `RBP(p=2)`: expected a number from 0 to 1 for `p`, found `2`");
        check("AP(rel=2", "measure `AP(rel=2`: expected `)` after the parameters, found `rel=2`");
        let unknown = "ndgc".parse::<Measure>().unwrap_err().to_string();
        check(
            "recall",
            "measure `recall`: expected one measure such as `recall_1000`, found `recall, which is 9`",
        );
        check("map_5", "measure `map_5`: expected no parameters after `map`, found `map_5`");
        check(
            "recall_x",
            "measure `recall_x`: expected parameters that trec_eval's `recall` takes, found `recall_x`",
        );
        check(
            "relstring",
            "measure `relstring`: expected a measure that is a number made of qrels \
             (`--trec -m relstring` is not), found `relstring`",
        );
        check(
            "ndcg_cut_10(rel=2)",
            "measure `ndcg_cut_10(rel=2)`: expected only parameters that `ndcg_cut_10` has, found `rel`",
        );
        assert!(unknown.starts_with("measure `ndgc`: expected a name among nDCG RR"), "{unknown}");
        assert!(unknown.ends_with("found `ndgc`"), "{unknown}");
    }
}
