//! Evaluations into a LaTeX table for papers (package booktabs).

use crate::compare::Comparison;
use crate::evaluate::Evaluation;

use super::terminal::mean;

/// The means of several systems, the baseline first; the best of each measure is bold.
///
/// `comparisons[i]` belongs to `evaluations[i + 1]`: a dagger marks differences with an adjusted p
/// below .05.
#[must_use]
pub fn table(evaluations: &[&Evaluation], comparisons: &[Comparison]) -> String {
    let Some(first) = evaluations.first() else { return String::new() };
    let n_measures = first.measures().len();
    let best = |measure: usize| {
        let values = evaluations.iter().map(|evaluation| evaluation.summary(measure));
        values.fold(f64::NEG_INFINITY, f64::max)
    };
    let mut out = String::from("% needs \\usepackage{booktabs}\n");
    out.push_str(&format!("\\begin{{tabular}}{{l{}}}\n\\toprule\n", "r".repeat(n_measures)));
    let names: Vec<String> = first.measures().iter().map(|m| escape(&m.to_string())).collect();
    out.push_str(&format!("System & {} \\\\\n\\midrule\n", names.join(" & ")));
    for (index, evaluation) in evaluations.iter().enumerate() {
        let comparison = index.checked_sub(1).and_then(|index| comparisons.get(index));
        let cell = |measure: usize| {
            let mut text = mean(evaluation, measure);
            if evaluations.len() > 1 && evaluation.summary(measure) >= best(measure) {
                text = format!("\\textbf{{{text}}}");
            }
            let significant = comparison.is_some_and(|c| c.measures[measure].adjusted_p < 0.05);
            if significant { format!("{text}$^{{\\dagger}}$") } else { text }
        };
        let cells: Vec<String> = (0..n_measures).map(cell).collect();
        out.push_str(&format!("{} & {} \\\\\n", escape(evaluation.tag()), cells.join(" & ")));
    }
    out.push_str("\\bottomrule\n\\end{tabular}\n");
    out
}

/// Keeps LaTeX from reading a text's own signs.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_latex_are_escaped() {
        assert_eq!(escape("a_b & 50%\\"), "a\\_b \\& 50\\%\\textbackslash{}");
    }
}
