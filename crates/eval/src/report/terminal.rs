//! Evaluations into a table for the terminal: one row per system, one column per measure.

use std::fmt::Write;

use crate::compare::Comparison;
use crate::evaluate::Evaluation;

/// Lines up the means of several systems, the baseline first.
///
/// A comparison, where there is one for a row, adds the difference to the baseline and its p-value
/// (randomisation test), with `*` below .05 and `**` below .01. `comparisons[i]` belongs to
/// `evaluations[i + 1]`. The head says how many queries there are, and what was done about those that
/// a run lacks.
#[must_use]
pub fn table(evaluations: &[&Evaluation], comparisons: &[Comparison]) -> String {
    let Some(first) = evaluations.first() else { return String::new() };
    let mut rows = vec![vec![cohort(evaluations)]];
    rows[0].extend(first.measures().iter().map(ToString::to_string));
    for (index, evaluation) in evaluations.iter().enumerate() {
        let mut row = vec![evaluation.tag().to_owned()];
        row.extend((0..evaluation.measures().len()).map(|measure| mean(evaluation, measure)));
        rows.push(row);
        let Some(comparison) = index.checked_sub(1).and_then(|index| comparisons.get(index)) else {
            continue;
        };
        let entries = || comparison.measures.iter();
        let mut row = vec!["  difference".to_owned()];
        row.extend(entries().map(|entry| {
            format!("{:+.4}{}", entry.system - entry.baseline, stars(entry.adjusted_p))
        }));
        rows.push(row);
        let mut row = vec!["  p (randomisation)".to_owned()];
        row.extend(entries().map(|entry| p_value(entry.adjusted_p)));
        rows.push(row);
        let mut row = vec!["  won / tied / lost".to_owned()];
        row.extend(entries().map(|e| format!("{}/{}/{}", e.wins, e.ties, e.losses)));
        rows.push(row);
    }
    align(&rows)
}

/// Queries and what was done about missing ones, which may leave each system its own number.
fn cohort(evaluations: &[&Evaluation]) -> String {
    let first = evaluations[0];
    let missing = format!("missing: {}", first.absence().missing.as_str());
    let n = first.queries().len();
    match evaluations.iter().all(|evaluation| evaluation.queries().len() == n) {
        true => format!("{n} {}, {missing}", if n == 1 { "query" } else { "queries" }),
        false => missing,
    }
}

/// `**` below .01, `*` below .05.
#[must_use]
pub fn stars(p: f64) -> &'static str {
    if p < 0.01 {
        "**"
    } else if p < 0.05 {
        "*"
    } else {
        ""
    }
}

/// A p-value with three decimals, or what it lies below.
#[must_use]
pub fn p_value(p: f64) -> String {
    if p < 0.001 { "< .001".to_owned() } else { format!("{p:.3}") }
}

/// A summary with four decimals, counts without.
#[must_use]
pub fn mean(evaluation: &Evaluation, measure: usize) -> String {
    let value = evaluation.summary(measure);
    if evaluation.measures()[measure].is_count() {
        format!("{value:.0}")
    } else {
        format!("{value:.4}")
    }
}

/// Pads cells so that columns line up: the first to the left, the others to the right.
#[must_use]
pub fn align(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..n_columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = widths[column] - cell.chars().count();
            let spaces = " ".repeat(pad);
            let gap = if column == 0 { "" } else { "  " };
            let text =
                if column == 0 { format!("{cell}{spaces}") } else { format!("{spaces}{cell}") };
            let _ = write!(line, "{gap}{text}");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["", "AP"], ["bm25", "0.1"], ["a", "0.25"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(align(&rows), "        AP\nbm25   0.1\na     0.25\n");
    }

    #[test]
    fn the_head_tells_what_was_done_about_missing_queries() {
        use crate::evaluate::{Absence, MissingQueries};
        let evaluation = |missing, queries: &[&str]| {
            let queries: Vec<_> = queries.iter().map(|query| query.parse().unwrap()).collect();
            let rows = vec![vec![0.5]; queries.len()];
            let absence = Absence { missing, absent: Vec::new(), unjudged: Vec::new() };
            Evaluation::new("a", &["AP".parse().unwrap()], queries, &rows, absence)
        };
        let (one, two) = (
            evaluation(MissingQueries::Zero, &["q1", "q2"]),
            evaluation(MissingQueries::Skip, &["q1"]),
        );
        let expected = "2 queries, missing: zero      AP\na                         0.5000\n";
        assert_eq!(table(&[&one], &[]), expected);
        assert_eq!(cohort(&[&two, &one]), "missing: skip");
    }

    #[test]
    fn small_p_values_are_not_zero() {
        assert_eq!(p_value(0.000_01), "< .001");
        assert_eq!(p_value(0.0416), "0.042");
    }
}
