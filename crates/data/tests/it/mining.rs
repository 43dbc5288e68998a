//! Mined negatives keep every rule, and everything that is dropped is counted.

use proptest::prelude::*;
use tamis_data::mine::{MineOptions, MineQuery, MineReport, Pick, Rule, select};
use tamis_data::{DocId, ScoredDocument};

fn options() -> MineOptions {
    MineOptions {
        ranks: (1, usize::MAX),
        min_score: None,
        max_score: None,
        margin: None,
        relative_margin: None,
        n_negatives: 100,
        pick: Pick::Top,
        seed: 1,
        n_examples: 2,
    }
}

/// Ten documents with scores from 10 down to 1.
fn candidates() -> Vec<ScoredDocument> {
    (0..10)
        .map(|i| ScoredDocument {
            document: DocId::new(&format!("d{i}")).unwrap(),
            score: f64::from(10 - i),
        })
        .collect()
}

fn mine(
    options: &MineOptions,
    positives: &[&str],
    positive_scores: &[f64],
) -> (Vec<usize>, MineReport) {
    let candidates = candidates();
    let mut report = MineReport::default();
    let query = MineQuery { id: "q", candidates: &candidates, scores: None, positive_scores };
    let found = select(query, |id| positives.contains(&id), options, &mut report).unwrap();
    (found, report)
}

#[test]
fn every_rule_drops_its_own() {
    let all = MineOptions {
        ranks: (2, 9),
        min_score: Some(3.0),
        max_score: Some(8.5),
        margin: Some(2.0),
        ..options()
    };
    // Ranks 2 to 9 have scores 9 to 2; d3 (score 7) is the positive.
    let (found, report) = mine(&all, &["d3"], &[7.0]);
    assert_eq!(found, [5, 6, 7], "scores 5, 4 and 3");
    let dropped = |rule| report.dropped(rule);
    assert_eq!(dropped(Rule::Rank), 2);
    assert_eq!(dropped(Rule::Positive), 1);
    assert_eq!(dropped(Rule::MinScore), 1, "score 2");
    assert_eq!(dropped(Rule::MaxScore), 1, "score 9");
    assert_eq!(dropped(Rule::Margin), 2, "scores 8 and 6");
    assert_eq!(report.examples.len(), 2);
    assert_eq!(
        (report.examples[0].document.as_str(), report.examples[0].rule),
        ("d1", Rule::MaxScore)
    );
    assert_eq!(report.examples[1].reference, Some(7.0));
    let shown = report.to_string();
    assert!(shown.contains("dropped: within the margin of the positive"), "{shown}");
}

#[test]
fn relative_margins_are_parts_of_the_least_positive() {
    let relative = MineOptions { relative_margin: Some(0.25), ..options() };
    let (found, _) = mine(&relative, &["d0", "d2"], &[10.0, 8.0]);
    assert_eq!(found, [4, 5, 6, 7, 8, 9], "at most 6 = 8 * 0.75");
    let (found, report) = mine(&relative, &[], &[]);
    assert_eq!((found.len(), report.without_reference), (10, 1));
    let (found, _) = mine(&relative, &[], &[-1.0]);
    assert!(found.is_empty(), "every score is above one that is below 0");
}

#[test]
fn other_scores_stand_in_for_the_runs() {
    let candidates = candidates();
    let scores: Vec<f64> = (0..10).map(|i| if i == 4 { 0.9 } else { 0.1 }).collect();
    let query = MineQuery {
        id: "q",
        candidates: &candidates,
        scores: Some(&scores),
        positive_scores: &[0.95],
    };
    let margin = MineOptions { margin: Some(0.5), n_negatives: 5, ..options() };
    let mut report = MineReport::default();
    let found = select(query, |_| false, &margin, &mut report).unwrap();
    assert_eq!(found, [0, 1, 2, 3, 5], "in the order of the run");
    let short = MineQuery { scores: Some(&scores[1..]), ..query };
    let error = select(short, |_| false, &margin, &mut report).unwrap_err().to_string();
    assert_eq!(error, "query `q` has 10 candidates and 9 scores");
}

#[test]
fn options_that_cannot_be_are_refused() {
    let candidates = candidates();
    let query = MineQuery { id: "q", candidates: &candidates, scores: None, positive_scores: &[] };
    for (options, expected) in [
        (MineOptions { ranks: (0, 5), ..options() }, "found `0:5`"),
        (MineOptions { ranks: (6, 5), ..options() }, "found `6:5`"),
        (MineOptions { relative_margin: Some(1.5), ..options() }, "found `1.5`"),
        (
            MineOptions { min_score: Some(2.0), max_score: Some(1.0), ..options() },
            "the least score 2 is above the greatest 1",
        ),
    ] {
        let error = select(query, |_| false, &options, &mut MineReport::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn draws_are_of_what_passes_and_depend_on_the_query_alone(
        seed in any::<u64>(), n_negatives in 0_usize..12, first in 1_usize..5, last in 5_usize..12,
    ) {
        let random = MineOptions {
            ranks: (first, last), n_negatives, pick: Pick::Random, seed, ..options()
        };
        let (found, report) = mine(&random, &["d5"], &[]);
        let (all, _) = mine(&MineOptions { pick: Pick::Top, n_negatives: 100, ..random }, &["d5"], &[]);
        prop_assert!(found.iter().all(|place| all.contains(place)));
        prop_assert!(found.is_sorted());
        prop_assert_eq!(found.len(), n_negatives.min(all.len()));
        prop_assert_eq!(&mine(&random, &["d5"], &[]).0, &found);
        prop_assert_eq!(report.passed, all.len() as u64);
        let dropped = report.dropped(Rule::Rank) + report.dropped(Rule::Positive);
        prop_assert_eq!(dropped + report.passed, 10);
    }
}

#[test]
fn random_picks_reach_everything() {
    let random = |seed| MineOptions { n_negatives: 3, pick: Pick::Random, seed, ..options() };
    let mut counts = [0_u32; 10];
    for seed in 0..3000 {
        mine(&random(seed), &[], &[]).0.into_iter().for_each(|place| counts[place] += 1);
    }
    // 900 each; the deviation is about 25.
    assert!(counts.iter().all(|&count| (780..1020).contains(&count)), "{counts:?}");
}
