//! An evaluation into trec_eval's three columns: measure, query, value.

use crate::evaluate::Evaluation;

/// One line per measure and query (where `by_query`), then one per measure for `all`.
///
/// Names are this crate's; [`crate::trec`] prints trec_eval's own.
#[must_use]
pub fn lines(evaluation: &Evaluation, by_query: bool) -> String {
    let mut out = String::new();
    let print = |measure: usize, query: &str, value: f64| {
        let name = &evaluation.measures()[measure];
        if name.is_count() {
            format!("{:<22}\t{query}\t{value:.0}\n", name.to_string())
        } else {
            format!("{:<22}\t{query}\t{value:6.4}\n", name.to_string())
        }
    };
    let measures = 0..evaluation.measures().len();
    if by_query {
        for (at, query) in evaluation.queries().iter().enumerate() {
            for measure in measures.clone() {
                let value = evaluation.values(measure)[at];
                out.push_str(&print(measure, query.as_str(), value));
            }
        }
    }
    for measure in measures {
        out.push_str(&print(measure, "all", evaluation.summary(measure)));
    }
    out
}
