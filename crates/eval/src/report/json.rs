//! Evaluations and comparisons into JSON, for programs.

use serde_json::{Map, Value, json};

use crate::compare::Comparison;
use crate::evaluate::Evaluation;

/// Everything: summaries, values per query, missing queries, and what the comparisons found.
#[must_use]
pub fn document(evaluations: &[&Evaluation], comparisons: &[Comparison]) -> Value {
    json!({
        "systems": evaluations.iter().map(|evaluation| system(evaluation)).collect::<Vec<_>>(),
        "comparisons": comparisons.iter().map(comparison).collect::<Vec<_>>(),
    })
}

fn system(evaluation: &Evaluation) -> Value {
    let absence = evaluation.absence();
    let names = || evaluation.measures().iter().enumerate();
    let summary: Map<String, Value> =
        names().map(|(index, m)| (m.to_string(), json!(evaluation.summary(index)))).collect();
    let per_query: Map<String, Value> = evaluation
        .queries()
        .iter()
        .enumerate()
        .map(|(at, query)| {
            let values: Map<String, Value> = names()
                .map(|(index, m)| (m.to_string(), json!(evaluation.values(index)[at])))
                .collect();
            (query.to_string(), Value::Object(values))
        })
        .collect();
    json!({
        "name": evaluation.tag(),
        "n_queries": evaluation.queries().len(),
        "missing": absence.missing.as_str(),
        "missing_queries": absence.absent.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "unjudged_queries": absence.unjudged.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "summary": summary,
        "per_query": per_query,
    })
}

fn comparison(comparison: &Comparison) -> Value {
    let measures: Map<String, Value> = comparison
        .measures
        .iter()
        .map(|entry| {
            let value = json!({
                "baseline": entry.baseline,
                "system": entry.system,
                "difference": entry.system - entry.baseline,
                "wins": entry.wins,
                "ties": entry.ties,
                "losses": entry.losses,
                "p_randomisation": entry.randomisation.p,
                "n_permutations": entry.randomisation.n_permutations,
                "exact": entry.randomisation.exact,
                "p_adjusted": entry.adjusted_p,
                "t": if entry.student.t.is_finite() { json!(entry.student.t) } else { Value::Null },
                "p_t": entry.student.p,
                "p_wilcoxon": entry.wilcoxon_p,
                "p_sign": entry.sign_p,
                "interval": [entry.interval.low, entry.interval.high],
                "confidence": entry.interval.confidence,
                "effect_size": entry.effect_size,
            });
            (entry.measure.to_string(), value)
        })
        .collect();
    json!({ "baseline": comparison.baseline, "system": comparison.system, "measures": measures })
}
