//! Runs and judgements into one HTML page with charts: no scripts, no other files, no network.

mod chart;
mod moved;
mod section;

use std::collections::{BTreeMap, BTreeSet};

use tamis_data::{DocId, Qrels, Run};

use crate::compare::{CompareConfig, Comparison, Correction, compare_all};
use crate::error::{Error, Result};
use crate::evaluate::{Evaluation, MissingQueries, evaluate};
use crate::measure::Measure;
use crate::statistics::{Interval, bootstrap_mean};

/// What a page is made of and how.
#[derive(Debug, Clone)]
pub struct PageConfig {
    /// The heading.
    pub title: String,
    /// The measures of the table and the bars; differences are shown for the first.
    pub measures: Vec<Measure>,
    /// What becomes of judged queries that a run lacks.
    pub missing: MissingQueries,
    /// How systems are compared with the baseline.
    pub compare: CompareConfig,
    /// How p-values are adjusted over systems.
    pub correction: Correction,
    /// How many of the queries that moved most are shown, for each system.
    pub n_moved: usize,
    /// How many documents of each run are shown beside each other.
    pub n_documents: usize,
}

/// A report on several systems, the first of which is the baseline.
pub struct Page<'a> {
    config: &'a PageConfig,
    qrels: &'a Qrels,
    systems: Vec<System<'a>>,
    comparisons: Vec<Comparison>,
}

struct System<'a> {
    name: &'a str,
    run: &'a Run,
    evaluation: Evaluation,
    intervals: Vec<Interval>,
    curves: Evaluation,
}

/// The cutoffs of the curve of nDCG.
const CUTOFFS: [usize; 8] = [1, 2, 3, 5, 10, 20, 50, 100];

impl<'a> Page<'a> {
    /// Evaluates and compares; `systems` are names with runs.
    ///
    /// # Errors
    /// When there are no systems or measures, or a run cannot be evaluated.
    pub fn new(
        qrels: &'a Qrels,
        systems: &[(&'a str, &'a Run)],
        config: &'a PageConfig,
    ) -> Result<Self> {
        if systems.is_empty() || config.measures.is_empty() {
            return Err(Error::Option {
                option: "report",
                expected: "at least one run and one measure".to_owned(),
                found: format!("{} and {}", systems.len(), config.measures.len()),
            });
        }
        let curves: Vec<Measure> = (0..=10)
            .map(|tenth| format!("IPrec@{}", f64::from(tenth) / 10.0))
            .chain(CUTOFFS.iter().map(|cutoff| format!("nDCG@{cutoff}")))
            .chain(["RR".to_owned()])
            .map(|name| name.parse().expect("the name is known"))
            .collect();
        let systems = systems
            .iter()
            .map(|&(name, run)| {
                let missing = config.missing;
                let evaluation = evaluate(qrels, run, &config.measures, missing)?.named(name);
                let interval = |measure: usize| {
                    let CompareConfig { confidence, n_resamples, seed, .. } = config.compare;
                    bootstrap_mean(evaluation.values(measure), confidence, n_resamples, seed)
                };
                let intervals = (0..config.measures.len()).map(interval).collect();
                let curves = evaluate(qrels, run, &curves, missing)?;
                Ok(System { name, run, evaluation, intervals, curves })
            })
            .collect::<Result<Vec<_>>>()?;
        let others: Vec<&Evaluation> = systems[1..].iter().map(|s| &s.evaluation).collect();
        let comparisons =
            compare_all(&systems[0].evaluation, &others, &config.compare, config.correction)?;
        Ok(Self { config, qrels, systems, comparisons })
    }

    /// The documents whose texts the page would show, so that a caller need not hold a corpus.
    #[must_use]
    pub fn documents(&self) -> BTreeSet<&DocId> {
        let mut documents = BTreeSet::new();
        for (index, comparison) in self.comparisons.iter().enumerate() {
            for (query, _) in comparison.most_moved(0, self.config.n_moved) {
                for run in [self.systems[0].run, self.systems[index + 1].run] {
                    let top = run.query(query.as_str()).unwrap_or(&[]);
                    documents.extend(top.iter().take(self.config.n_documents).map(|c| &c.document));
                }
            }
        }
        documents
    }

    /// The page. Texts of queries and documents are shown where the maps have them.
    #[must_use]
    pub fn render(
        &self,
        queries: &BTreeMap<String, String>,
        documents: &BTreeMap<String, String>,
    ) -> String {
        let mut body = section::header(self);
        body.push_str(&section::summary(self));
        if !self.comparisons.is_empty() {
            body.push_str(&section::tests(self));
            body.push_str(&section::differences(self));
        }
        body.push_str(&section::curves(self));
        body.push_str(&moved::cards(self, queries, documents));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
             <style>\n{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
            escape(&self.config.title),
            include_str!("html/style.css"),
        )
    }
}

/// Keeps HTML from reading a text's own signs.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Control characters have no place in HTML.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_html_are_escaped() {
        assert_eq!(escape("<b>&\"\u{1}"), "&lt;b&gt;&amp;&quot;\u{fffd}");
    }
}
