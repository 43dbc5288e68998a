//! Evaluations into CSV, one value per line: `system,measure,query,value`.

use crate::evaluate::Evaluation;

/// Every value of every system; the query `all` holds the summary. Values keep every digit.
#[must_use]
pub fn values(evaluations: &[&Evaluation]) -> String {
    let mut out = String::from("system,measure,query,value\n");
    for evaluation in evaluations {
        let system = quote(evaluation.tag());
        for (index, measure) in evaluation.measures().iter().enumerate() {
            let measure = quote(&measure.to_string());
            for (query, value) in evaluation.queries().iter().zip(evaluation.values(index)) {
                out.push_str(&format!("{system},{measure},{},{value}\n", quote(query.as_str())));
            }
            out.push_str(&format!("{system},{measure},all,{}\n", evaluation.summary(index)));
        }
    }
    out
}

/// RFC 4180: a field with a comma, a quote or a line end stands in quotes.
fn quote(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_quotes_are_kept() {
        assert_eq!(quote("RBP(p=0.9, rel=2)"), "\"RBP(p=0.9, rel=2)\"");
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote("AP"), "AP");
    }
}
