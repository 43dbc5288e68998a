//! Hard negatives out of ranked candidates: near enough to teach, far enough not to be positives.

use std::fmt;

use crate::error::{ErrorKind, Result};
use crate::run::ScoredDocument;
use crate::sample::draw::Draw;

/// Which candidates become negatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MineOptions {
    /// The first and the last rank that is taken from, from 1, both included. Positives count.
    pub ranks: (usize, usize),
    /// Candidates with a lower score are too easy.
    pub min_score: Option<f64>,
    /// Candidates with a higher score may be unjudged positives.
    pub max_score: Option<f64>,
    /// How far a negative stays below the positive: its score is at most the positive's minus this.
    pub margin: Option<f64>,
    /// The same as a part of the positive's score: at most `(1 - relative_margin)` of it. Only for
    /// scores above 0.
    pub relative_margin: Option<f64>,
    /// Negatives of a query, at most.
    pub n_negatives: usize,
    /// Which of those that pass.
    pub pick: Pick,
    /// Where all randomness comes from.
    pub seed: u64,
    /// Dropped candidates that the report shows.
    pub n_examples: usize,
}

/// Which of the candidates that pass are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pick {
    /// Those that are ranked highest.
    #[default]
    Top,
    /// A uniform draw without replacement, which depends on seed and query alone.
    Random,
}

/// Why a candidate is no negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Its rank is out of range.
    Rank,
    /// It is judged a positive.
    Positive,
    /// Its score is below the least.
    MinScore,
    /// Its score is above the greatest.
    MaxScore,
    /// Its score is too near to the positive's.
    Margin,
    /// Its score is too near to the positive's, relatively.
    RelativeMargin,
}

impl Rule {
    const ALL: [(Self, &str); 6] = [
        (Self::Rank, "out of the range of ranks"),
        (Self::Positive, "positives"),
        (Self::MinScore, "below the least score"),
        (Self::MaxScore, "above the greatest score"),
        (Self::Margin, "within the margin of the positive"),
        (Self::RelativeMargin, "within the relative margin of the positive"),
    ];
}

/// A candidate that a score kept from being a negative: probably a positive that nobody judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The query.
    pub query: String,
    /// The document.
    pub document: String,
    /// Its score.
    pub score: f64,
    /// That of the positive that it was compared with.
    pub reference: Option<f64>,
    /// Which rule.
    pub rule: Rule,
}

/// What mining took and left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MineReport {
    /// Queries that were mined for.
    pub queries: u64,
    /// Those that got fewer negatives than were asked for.
    pub short: u64,
    /// Those that got none.
    pub without_negatives: u64,
    /// Those whose positives have no score, so that no margin applies.
    pub without_reference: u64,
    /// Negatives in all.
    pub negatives: u64,
    /// Candidates that passed every rule, taken or not.
    pub passed: u64,
    dropped: [u64; 6],
    /// The first candidates that were dropped for being too near to a positive, or above the
    /// greatest score.
    pub examples: Vec<Example>,
}

impl MineReport {
    /// How many candidates a rule kept from being negatives.
    #[must_use]
    pub fn dropped(&self, rule: Rule) -> u64 {
        self.dropped[rule as usize]
    }
}

impl fmt::Display for MineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let always = [
            ("queries", self.queries),
            ("negatives", self.negatives),
            ("candidates that passed", self.passed),
        ];
        let where_any = [
            ("queries with fewer negatives than asked for", self.short),
            ("queries without a negative", self.without_negatives),
            ("queries whose positives have no score", self.without_reference),
        ];
        for (name, count) in always.into_iter().chain(where_any.into_iter().filter(|r| r.1 > 0)) {
            writeln!(f, "{name:<52} {count:>10}")?;
        }
        for (rule, name) in Rule::ALL {
            if self.dropped(rule) > 0 {
                writeln!(f, "{:<52} {:>10}", format!("dropped: {name}"), self.dropped(rule))?;
            }
        }
        Ok(())
    }
}

/// The candidates of one query, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct MineQuery<'a> {
    /// The query's id.
    pub id: &'a str,
    /// In canonical order.
    pub candidates: &'a [ScoredDocument],
    /// A score per candidate that stands in for the run's, such as a cross-encoder's.
    pub scores: Option<&'a [f64]>,
    /// The scores of positives, as far as they have any. The least of them is compared with.
    pub positive_scores: &'a [f64],
}

/// Tells which candidates of a query become negatives: their places in `candidates`, in order.
///
/// # Errors
/// When options contradict each other, or there are other than one score per candidate.
pub fn select(
    query: MineQuery<'_>,
    is_positive: impl Fn(&str) -> bool,
    options: &MineOptions,
    report: &mut MineReport,
) -> Result<Vec<usize>> {
    check(&query, options)?;
    let reference = query.positive_scores.iter().copied().reduce(f64::min);
    let has_margin = options.margin.is_some() || options.relative_margin.is_some();
    report.queries += 1;
    report.without_reference += u64::from(has_margin && reference.is_none());
    let mut passed = Vec::new();
    for (place, candidate) in query.candidates.iter().enumerate() {
        let score = query.scores.map_or(candidate.score, |scores| scores[place]);
        let document = candidate.document.as_str();
        let rule = if !(options.ranks.0..=options.ranks.1).contains(&(place + 1)) {
            Some(Rule::Rank)
        } else if is_positive(document) {
            Some(Rule::Positive)
        } else {
            by_score(score, reference, options)
        };
        let Some(rule) = rule else {
            passed.push(place);
            continue;
        };
        report.dropped[rule as usize] += 1;
        let is_near = matches!(rule, Rule::MaxScore | Rule::Margin | Rule::RelativeMargin);
        if is_near && report.examples.len() < options.n_examples {
            let (query, document) = (query.id.to_owned(), document.to_owned());
            report.examples.push(Example { query, document, score, reference, rule });
        }
    }
    report.passed += passed.len() as u64;
    if options.pick == Pick::Random {
        let purpose = format!("negatives of {}", query.id);
        Draw::new(&purpose, options.seed, 0, 0).shuffle(&mut passed, options.n_negatives);
    }
    passed.truncate(options.n_negatives);
    passed.sort_unstable();
    report.negatives += passed.len() as u64;
    report.short += u64::from(passed.len() < options.n_negatives);
    report.without_negatives += u64::from(passed.is_empty());
    Ok(passed)
}

/// The first rule about scores that a candidate breaks.
fn by_score(score: f64, reference: Option<f64>, options: &MineOptions) -> Option<Rule> {
    if options.min_score.is_some_and(|least| score < least) {
        return Some(Rule::MinScore);
    }
    if options.max_score.is_some_and(|greatest| score > greatest) {
        return Some(Rule::MaxScore);
    }
    let reference = reference?;
    if options.margin.is_some_and(|margin| score > reference - margin) {
        return Some(Rule::Margin);
    }
    // A part of a score that is not above 0 says nothing: then only what is below it passes.
    let most = |part: f64| if reference > 0.0 { reference * (1.0 - part) } else { reference };
    options.relative_margin.is_some_and(|part| score > most(part)).then_some(Rule::RelativeMargin)
}

fn check(query: &MineQuery<'_>, options: &MineOptions) -> Result<()> {
    let invalid = |problem: String| Err(ErrorKind::Invalid(problem).into());
    let (first, last) = options.ranks;
    if first == 0 || last < first {
        return invalid(format!("ranks: expected FIRST:LAST from 1, found `{first}:{last}`"));
    }
    if let (Some(least), Some(greatest)) = (options.min_score, options.max_score)
        && least > greatest
    {
        return invalid(format!("the least score {least} is above the greatest {greatest}"));
    }
    if let Some(part) = options.relative_margin.filter(|part| !(0.0..=1.0).contains(part)) {
        return invalid(format!("relative margin: expected a number from 0 to 1, found `{part}`"));
    }
    match query.scores {
        Some(scores) if scores.len() != query.candidates.len() => invalid(format!(
            "query `{}` has {} candidates and {} scores",
            query.id,
            query.candidates.len(),
            scores.len()
        )),
        _ => Ok(()),
    }
}
