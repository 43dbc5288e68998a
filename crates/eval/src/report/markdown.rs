//! Evaluations into a Markdown table: one row per system, one column per measure.

use crate::compare::Comparison;
use crate::evaluate::Evaluation;

use super::terminal::{mean, stars};

/// The means of several systems, the baseline first. `comparisons[i]` belongs to
/// `evaluations[i + 1]`: `*` and `**` mark differences with p below .05 and .01.
#[must_use]
pub fn table(evaluations: &[&Evaluation], comparisons: &[Comparison]) -> String {
    let Some(first) = evaluations.first() else { return String::new() };
    let names: Vec<String> = first.measures().iter().map(|m| escape(&m.to_string())).collect();
    let mut out = format!("| system | {} |\n", names.join(" | "));
    out.push_str(&format!("|---|{}\n", "---:|".repeat(names.len())));
    for (index, evaluation) in evaluations.iter().enumerate() {
        let comparison = index.checked_sub(1).and_then(|index| comparisons.get(index));
        let cell = |measure: usize| {
            let marks = comparison.map_or("", |c| stars(c.measures[measure].adjusted_p));
            format!("{}{}", mean(evaluation, measure), escape(marks))
        };
        let cells: Vec<String> = (0..names.len()).map(cell).collect();
        out.push_str(&format!("| {} | {} |\n", escape(evaluation.tag()), cells.join(" | ")));
    }
    out
}

/// Keeps Markdown from reading a text's own signs.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(c, '|' | '*' | '_' | '`' | '\\' | '<' | '[') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_markdown_are_escaped() {
        assert_eq!(escape("a_b|c*"), "a\\_b\\|c\\*");
    }
}
