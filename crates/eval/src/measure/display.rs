//! A [`Measure`] into the name that parses to it.

use std::fmt;

use super::name::uses_rel;
use super::{Continuation, Family, Gain, Measure};

impl fmt::Display for Measure {
    /// Writes the shortest name that parses to the same measure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = self.cutoff.map(|cutoff| cutoff.to_string());
        let mut parameters: Vec<String> = Vec::new();
        let mut differing = |key: &str, value: f64, default: f64| {
            if value != default {
                parameters.push(format!("{key}={value}"));
            }
        };
        let name = match self.family {
            Family::TrecEval(ref measure) => measure.name(),
            Family::Ndcg(Gain::Linear) => "nDCG",
            Family::Ndcg(Gain::Exponential) => {
                parameters.push("dcg='exp-log2'".to_owned());
                "nDCG"
            }
            Family::ReciprocalRank => "RR",
            Family::AveragePrecision => "AP",
            Family::Precision => "P",
            Family::Recall => "R",
            Family::Success => "Success",
            Family::RPrecision => "Rprec",
            Family::Bpref => "Bpref",
            Family::InferredAp => "infAP",
            Family::InterpolatedPrecision { recall } => {
                at = Some(recall.to_string());
                "IPrec"
            }
            Family::RankBiasedPrecision { p, graded } => {
                differing("p", p, 0.8);
                if !graded && self.rel == 1 {
                    parameters.push("rel=1".to_owned());
                }
                "RBP"
            }
            Family::ExpectedReciprocalRank { max_rel } => {
                differing("max_rel", f64::from(max_rel), 4.0);
                "ERR"
            }
            Family::NearlyErr { continuation, min_rel, max_rel } => {
                let name = match continuation {
                    Continuation::Truncated(k) | Continuation::Discounted(k) => {
                        at = Some(k.to_string());
                        if continuation == Continuation::Truncated(k) { "NERR8" } else { "NERR9" }
                    }
                    Continuation::Patience(p) => {
                        differing("p", p, 0.9);
                        "NERR10"
                    }
                    Continuation::Goal(t) => {
                        differing("T", t, 1.0);
                        "NERR11"
                    }
                };
                differing("min_rel", f64::from(min_rel), 0.0);
                parameters.push(format!("max_rel={max_rel}"));
                name
            }
            Family::Compatibility { p, normalize } => {
                differing("p", p, 0.95);
                if !normalize {
                    parameters.push("normalize=False".to_owned());
                }
                "Compat"
            }
            Family::Judged => "Judged",
            Family::SetPrecision => "SetP",
            Family::SetRelativePrecision => "SetRelP",
            Family::SetRecall => "SetR",
            Family::SetF { beta } => {
                differing("beta", beta, 1.0);
                "SetF"
            }
            Family::SetAp => "SetAP",
            Family::NumQueries => "NumQ",
            Family::NumRetrieved { relevant_only } => {
                if relevant_only && self.rel == 1 {
                    parameters.push("rel=1".to_owned());
                }
                "NumRet"
            }
            Family::NumRelevant => "NumRel",
            Family::NumRelevantRetrieved => "NumRelRet",
            Family::MsMarcoRr => "MSMARCO_RR",
        };
        if self.rel != 1 && uses_rel(&self.family) {
            parameters.push(format!("rel={}", self.rel));
        }
        if self.judged_only {
            parameters.push("judged_only=True".to_owned());
        }
        f.write_str(name)?;
        if !parameters.is_empty() {
            write!(f, "({})", parameters.join(", "))?;
        }
        at.map_or(Ok(()), |at| write!(f, "@{at}"))
    }
}
