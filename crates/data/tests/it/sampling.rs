//! Sampled groups: pure draws, nothing invented, every negative equally likely.

use proptest::prelude::*;
use tamis_data::{Candidate, Group, GroupSampler, Positives, Shortage};

fn candidate(document: u32, label: Option<f32>, first_stage: Option<f32>) -> Candidate {
    Candidate { document, label, teacher_score: Some(document as f32 / 2.0), first_stage }
}

fn group() -> impl Strategy<Value = Group> {
    let label = prop::option::of(prop::sample::select(vec![-1.0f32, 0.0, 0.5, 1.0, 3.0]));
    let first_stage = prop::option::of(0u8..9).prop_map(|score| score.map(f32::from));
    prop::collection::vec((0u32..20, label, first_stage), 0..24).prop_map(|rows| Group {
        query: 3,
        candidates: rows.into_iter().map(|(d, l, f)| candidate(d, l, f)).collect(),
    })
}

fn sampler() -> impl Strategy<Value = GroupSampler> {
    let shortage = prop::sample::select(vec![Shortage::Repeat, Shortage::Keep, Shortage::Skip]);
    let positives = prop::sample::select(vec![Positives::One, Positives::All]);
    (any::<u64>(), 1usize..9, prop::option::of(0usize..9), positives, shortage).prop_map(
        |(seed, group_size, negatives_depth, positives, shortage)| GroupSampler {
            seed,
            group_size,
            negatives_depth,
            positives,
            shortage,
        },
    )
}

/// The positive documents, and the negative ones that may be drawn, by brute force.
fn pools(group: &Group, depth: Option<usize>) -> (Vec<u32>, Vec<u32>) {
    let positive = |c: &&Candidate| c.label.is_some_and(|label| label > 0.0);
    let mut positives: Vec<u32> =
        group.candidates.iter().filter(positive).map(|c| c.document).collect();
    positives.sort_unstable();
    positives.dedup();
    let mut negatives: Vec<&Candidate> = Vec::new();
    for c in &group.candidates {
        let known = negatives.iter().any(|n| n.document == c.document);
        if !known && !positives.contains(&c.document) {
            negatives.push(c);
        }
    }
    negatives.sort_by(|a, b| {
        b.first_stage.partial_cmp(&a.first_stage).expect("no NaN; `None` is below every score")
    });
    negatives.truncate(depth.unwrap_or(usize::MAX));
    (positives, negatives.iter().map(|n| n.document).collect())
}

proptest! {
    #[test]
    fn nothing_is_invented_and_sizes_are_kept(
        group in group(), sampler in sampler(), epoch in 0u64..5, position in 0u64..100,
    ) {
        let (positives, negatives) = pools(&group, sampler.negatives_depth);
        let n_positives = match sampler.positives {
            Positives::One => 1,
            Positives::All => positives.len().min(sampler.group_size.max(2) - 1),
            Positives::Any => unreachable!("it has a test of its own"),
        };
        let wanted = sampler.group_size - n_positives.min(sampler.group_size);
        let result = sampler.sample(&group, epoch, position);
        if positives.is_empty() {
            let message = result.unwrap_err().to_string();
            prop_assert_eq!(message, "the group of query row `3` has no positive");
            return Ok(());
        }
        let short = negatives.len() < wanted;
        if short && sampler.shortage == Shortage::Repeat && negatives.is_empty() {
            prop_assert!(result.unwrap_err().to_string().contains("has no negative"));
            return Ok(());
        }
        let Some(sampled) = result.unwrap() else {
            prop_assert!(short && sampler.shortage == Shortage::Skip);
            return Ok(());
        };
        prop_assert!(!(short && sampler.shortage == Shortage::Skip));
        let n_negatives =
            if short && sampler.shortage == Shortage::Keep { negatives.len() } else { wanted };
        prop_assert_eq!(sampled.documents.len(), n_positives + n_negatives);
        prop_assert_eq!(sampled.labels.len(), sampled.documents.len());
        prop_assert_eq!(sampled.teacher_scores.len(), sampled.documents.len());
        let (drawn_positives, drawn_negatives) = sampled.documents.split_at(n_positives);
        prop_assert!(drawn_positives.iter().all(|d| positives.contains(d)));
        prop_assert!(drawn_negatives.iter().all(|d| negatives.contains(d)));
        prop_assert!(sampled.labels[..n_positives].iter().all(|label| *label > 0.0));
        prop_assert!(sampled.labels[n_positives..].iter().all(|label| *label <= 0.0));
        for (document, teacher) in sampled.documents.iter().zip(&sampled.teacher_scores) {
            prop_assert_eq!(*teacher, Some(*document as f32 / 2.0));
        }
        let mut distinct = sampled.documents.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if !(short && sampler.shortage == Shortage::Repeat) {
            prop_assert_eq!(distinct.len(), sampled.documents.len(), "drawn without replacement");
        }
    }

    #[test]
    fn any_candidate_may_be_drawn_once(
        group in group(), group_size in 1usize..30, position in 0u64..100,
    ) {
        let sampler = GroupSampler {
            group_size,
            positives: Positives::Any,
            shortage: Shortage::Keep,
            ..GroupSampler::new(5)
        };
        let mut documents: Vec<u32> = group.candidates.iter().map(|c| c.document).collect();
        documents.sort_unstable();
        documents.dedup();
        let result = sampler.sample(&group, 0, position);
        if documents.is_empty() {
            let message = result.unwrap_err().to_string();
            prop_assert_eq!(message, "the group of query row `3` has no candidate");
            return Ok(());
        }
        let sampled = result.unwrap().expect("no group is left out");
        let mut drawn = sampled.documents.clone();
        drawn.sort_unstable();
        drawn.dedup();
        prop_assert_eq!(drawn.len(), sampled.documents.len());
        prop_assert_eq!(drawn.len(), group_size.min(documents.len()));
        prop_assert!(drawn.iter().all(|document| documents.contains(document)));
    }

    #[test]
    fn draws_do_not_depend_on_the_order_of_calls(group in group(), sampler in sampler()) {
        let draw = |position| sampler.sample(&group, 1, position).ok();
        let forwards: Vec<_> = (0..16).map(draw).collect();
        let mut backwards: Vec<_> = (0..16).rev().map(draw).collect();
        backwards.reverse();
        prop_assert_eq!(forwards, backwards);
    }

    #[test]
    fn an_epoch_visits_every_group_once(seed in any::<u64>(), epoch in 0u64..9, n in 0usize..200) {
        let sampler = GroupSampler::new(seed);
        let order = sampler.epoch_order(n, epoch);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..n as u32).collect::<Vec<_>>());
        prop_assert_eq!(&sampler.epoch_order(n, epoch), &order);
        if n > 50 {
            prop_assert_ne!(sampler.epoch_order(n, epoch + 1), order);
        }
    }
}

/// Pearson's statistic of equally likely outcomes.
fn chi_square(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
}

#[test]
fn every_negative_and_every_positive_is_equally_likely() {
    let label = |document| if document < 4 { Some(1.0) } else { None };
    let candidates = (0..24).map(|document| candidate(document, label(document), None)).collect();
    let group = Group { query: 0, candidates };
    let sampler = GroupSampler { group_size: 6, ..GroupSampler::new(7) };
    let mut first = [0u32; 4];
    // Which negative, and at which of the five places.
    let mut negatives = [[0u32; 20]; 5];
    for position in 0..20_000 {
        let sampled = sampler.sample(&group, 0, position).unwrap().unwrap();
        first[sampled.documents[0] as usize] += 1;
        for (place, document) in sampled.documents[1..].iter().enumerate() {
            negatives[place][*document as usize - 4] += 1;
        }
    }
    // The 99.9 % points for 3 and 19 degrees of freedom.
    assert!(chi_square(&first) < 16.27, "{first:?}");
    for place in &negatives {
        assert!(chi_square(place) < 43.82, "{place:?}");
    }
}

#[test]
fn seeds_epochs_and_positions_give_different_draws() {
    let candidates = (0..100)
        .map(|document| candidate(document, (document == 0).then_some(1.0), None))
        .collect();
    let group = Group { query: 0, candidates };
    let draw = |seed, epoch, position| {
        GroupSampler::new(seed).sample(&group, epoch, position).unwrap().unwrap().documents
    };
    let reference = draw(1, 2, 3);
    assert_ne!(reference, draw(3, 2, 1));
    assert_ne!(reference, draw(1, 3, 2));
    assert_ne!(reference, draw(2, 2, 3));
    assert_eq!(reference, draw(1, 2, 3));
    // The stream is part of the format of a reproducible run: it must not change between versions.
    expect_test::expect![[r#"[0, 45, 71, 83, 3, 68, 9, 84]"#]].assert_eq(&format!("{reference:?}"));
}
