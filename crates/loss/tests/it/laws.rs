//! Laws that hold for every loss, whatever the scores, and the oracle beside them.

use proptest::prelude::*;
use tamis_loss::{Bce, LambdaLoss, Loss, RankNet};

use crate::{Batch, every_loss, oracle, value_and_gradient};

/// Ragged groups of up to six candidates with graded labels, where some have no positive.
fn batches() -> impl Strategy<Value = Batch> {
    batches_scored(prop::collection::vec(-6.0_f32..6.0, 6).boxed())
}

/// [`batches`] whose scores differ by multiples of a quarter and at least 0.04 beside: a
/// step of 1e-3 swaps no ranks and crosses no margin of [`every_loss`], so that every loss is
/// smooth in it.
fn batches_with_scores_apart() -> impl Strategy<Value = Batch> {
    let scores = prop::collection::vec(-24_i8..=24, 6).prop_map(|quarters| {
        let score = |(place, quarters)| f32::from(quarters) / 4.0 + 0.042 * place as f32;
        quarters.into_iter().enumerate().map(score).collect()
    });
    batches_scored(scores.boxed())
}

fn batches_scored(scores: BoxedStrategy<Vec<f32>>) -> impl Strategy<Value = Batch> {
    let group = (
        scores,
        prop::collection::vec(prop::sample::select(vec![0.0_f32, 0.0, 0.25, 0.5, 1.0]), 6),
        prop::collection::vec(-6.0_f32..6.0, 6),
        1_usize..=6,
    );
    prop::collection::vec(group, 1..4).prop_map(|groups| {
        let mut batch = Batch::new(vec![], vec![]);
        for (scores, labels, teacher, n) in groups {
            batch.scores.push(scores);
            batch.teacher.push(teacher);
            batch.labels.push(labels);
            batch.mask.push((0..6).map(|place| place < n).collect());
        }
        batch
    })
}

/// The batch with the candidates of each group in another order.
fn permuted(batch: &Batch, order: &[usize]) -> Batch {
    let rows = |rows: &[Vec<f32>]| {
        rows.iter().map(|row| order.iter().map(|&place| row[place]).collect()).collect()
    };
    Batch {
        scores: rows(&batch.scores),
        labels: rows(&batch.labels),
        teacher: rows(&batch.teacher),
        mask: batch
            .mask
            .iter()
            .map(|row| order.iter().map(|&place| row[place]).collect())
            .collect(),
    }
}

/// Labels that differ, so that no order hangs on places.
fn with_distinct_labels(mut batch: Batch) -> Batch {
    for row in &mut batch.labels {
        for (place, label) in row.iter_mut().enumerate() {
            *label = (place as f32 * 0.61).fract();
        }
    }
    batch
}

/// Whether adding a number to all scores of a group leaves the loss as it is.
fn ignores_shifts(loss: &Loss) -> bool {
    use tamis_loss::{MultipleNegatives, PListMle, Space};
    !matches!(
        loss,
        Loss::Bce(_)
            | Loss::Mse(_)
            | Loss::PListMle(PListMle { space: Space::Sigmoid })
            | Loss::MultipleNegatives(MultipleNegatives { space: Space::Sigmoid, .. })
    )
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-5 + 1e-5 * expected.abs()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn values_are_those_of_the_oracle(batch in batches()) {
        for loss in every_loss() {
            let (value, _) = value_and_gradient(&loss, &batch);
            let expected = oracle::value(&loss, &batch);
            prop_assert!(close(f64::from(value), expected), "{loss:?}: {value}, not {expected}");
        }
    }

    #[test]
    fn gradients_are_slopes_of_the_oracle(batch in batches_with_scores_apart()) {
        for loss in every_loss() {
            let (_, grad) = value_and_gradient(&loss, &batch);
            for (place, &grad) in grad.iter().enumerate() {
                let (row, column) = (place / 6, place % 6);
                let at = |step: f32| {
                    let mut moved = batch.clone();
                    moved.scores[row][column] += step;
                    // What the step was after rounding.
                    let step = f64::from(moved.scores[row][column])
                        - f64::from(batch.scores[row][column]);
                    (oracle::value(&loss, &moved), step)
                };
                let ((above, up), (below, down)) = (at(1e-3), at(-1e-3));
                let slope = (above - below) / (up - down);
                let error = (slope - f64::from(grad)).abs();
                prop_assert!(
                    error <= 2e-4 + 2e-3 * slope.abs(),
                    "{loss:?}: gradient {grad}, slope {slope}"
                );
            }
        }
    }

    #[test]
    fn what_stands_in_a_masked_place_does_not_matter(batch in batches()) {
        let mut other = batch.clone();
        for row in 0..batch.dims()[0] {
            for place in 0..6 {
                if !batch.mask[row][place] {
                    (other.scores[row][place], other.labels[row][place]) = (1e4, 1.0);
                    other.teacher[row][place] = -1e4;
                }
            }
        }
        for loss in every_loss() {
            let (a, b) = (value_and_gradient(&loss, &batch), value_and_gradient(&loss, &other));
            prop_assert_eq!(a, b, "{:?}", loss);
        }
    }

    #[test]
    fn masked_is_absent(batch in batches()) {
        // One group at a time: with places that are masked, and without them.
        for row in 0..batch.dims()[0] {
            let n = batch.mask[row].iter().filter(|&&present| present).count();
            let one = |width: usize| Batch {
                scores: vec![batch.scores[row][..width].to_vec()],
                labels: vec![batch.labels[row][..width].to_vec()],
                mask: vec![batch.mask[row][..width].to_vec()],
                teacher: vec![batch.teacher[row][..width].to_vec()],
            };
            for loss in every_loss() {
                let (a, b) = (value_and_gradient(&loss, &one(6)), value_and_gradient(&loss, &one(n)));
                prop_assert!(close(f64::from(a.0), f64::from(b.0)), "{:?}", loss);
                for (a, b) in a.1.iter().zip(&b.1) {
                    prop_assert!((a - b).abs() <= 1e-6 + 1e-5 * b.abs(), "{:?}", loss);
                }
            }
        }
    }

    #[test]
    fn a_batch_is_the_weighted_mean_of_its_groups(batch in batches()) {
        for loss in every_loss() {
            // With a cutoff the count hangs on scores.
            if let Loss::RankNet(RankNet { k: Some(_), .. })
            | Loss::LambdaLoss(LambdaLoss { k: Some(_), .. }) = loss
            {
                continue;
            }
            let (mut sum, mut total) = (0.0, 0.0);
            for row in 0..batch.dims()[0] {
                let one = Batch {
                    scores: vec![batch.scores[row].clone()],
                    labels: vec![batch.labels[row].clone()],
                    mask: vec![batch.mask[row].clone()],
                    teacher: vec![batch.teacher[row].clone()],
                };
                let n = batch.mask[row].iter().filter(|&&present| present).count();
                let count = loss.count(&batch.labels[row][..n]);
                sum += count * f64::from(value_and_gradient(&loss, &one).0);
                total += count;
            }
            let expected = if total > 0.0 { sum / total } else { 0.0 };
            let found = f64::from(value_and_gradient(&loss, &batch).0);
            prop_assert!((found - expected).abs() <= 1e-4 + 1e-4 * expected.abs(), "{loss:?}");
        }
    }

    #[test]
    fn the_order_of_candidates_does_not_matter(
        batch in batches().prop_map(with_distinct_labels),
        order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let other = permuted(&batch, &order);
        for loss in every_loss() {
            let (a, grad) = value_and_gradient(&loss, &batch);
            let (b, moved) = value_and_gradient(&loss, &other);
            prop_assert!(close(f64::from(a), f64::from(b)), "{loss:?}: {a} {b}");
            for (place, &moved) in moved.iter().enumerate() {
                let grad = grad[place / 6 * 6 + order[place % 6]];
                prop_assert!((moved - grad).abs() <= 1e-5 + 1e-4 * grad.abs(), "{loss:?}");
            }
        }
    }

    #[test]
    fn shifts_of_all_scores_do_not_matter_where_they_should_not(
        batch in batches(), shift in -3.0_f32..3.0,
    ) {
        let mut other = batch.clone();
        other.scores.iter_mut().flatten().for_each(|score| *score += shift);
        for loss in every_loss().into_iter().filter(ignores_shifts) {
            let (a, b) = (value_and_gradient(&loss, &batch).0, value_and_gradient(&loss, &other).0);
            prop_assert!((a - b).abs() <= 1e-4 + 1e-4 * a.abs(), "{loss:?}: {a} {b}");
        }
    }
}

#[test]
fn huge_scores_stay_finite() {
    let mut batch = Batch::new(
        vec![vec![1e4, -1e4, 0.0], vec![-1e4, 1e4, 1e4], vec![1e4, 1e4, 1e4]],
        vec![vec![1.0, 0.0, 0.0], vec![1.0, 0.0, 0.0], vec![1.0, 0.5, 0.0]],
    );
    batch.teacher = vec![vec![-1e4, 1e4, 0.0], vec![1e4, 0.0, -1e4], vec![1e4, 1e4, 1e4]];
    for loss in every_loss() {
        let (value, grad) = value_and_gradient(&loss, &batch);
        assert!(value.is_finite(), "{loss:?} gives {value}");
        assert!(grad.iter().all(|g| g.is_finite()), "{loss:?} has gradient {grad:?}");
        let expected = oracle::value(&loss, &batch);
        let error = (f64::from(value) - expected).abs();
        assert!(error <= 1e-4 * (1.0 + expected.abs()), "{loss:?}: {value}, not {expected}");
    }
}

#[test]
fn long_lists_stay_finite() {
    let scores: Vec<f32> = (0..300).map(|i| (i as f32 * 0.7).sin() * 5.0).collect();
    let labels = (0..300).map(|i| if i == 7 { 1.0 } else { 0.0 }).collect();
    let batch = Batch::new(vec![scores], vec![labels]);
    for loss in every_loss() {
        let (value, grad) = value_and_gradient(&loss, &batch);
        assert!(value.is_finite() && grad.iter().all(|g| g.is_finite()), "{loss:?}: {value}");
        let expected = oracle::value(&loss, &batch);
        let error = (f64::from(value) - expected).abs();
        assert!(error <= 1e-4 * (1.0 + expected.abs()), "{loss:?}: {value}, not {expected}");
    }
}

#[test]
fn equal_scores_are_finite() {
    let batch = Batch::new(vec![vec![0.0; 4]], vec![vec![1.0, 0.0, 0.0, 0.0]]);
    for loss in every_loss() {
        let (value, grad) = value_and_gradient(&loss, &batch);
        assert!(value.is_finite() && grad.iter().all(|g| g.is_finite()), "{loss:?}: {grad:?}");
    }
}

#[test]
fn nothing_to_compare_is_zero_with_a_zero_gradient() {
    let mut batch = Batch::new(vec![vec![1.0, 2.0]], vec![vec![0.0, 0.0]]);
    batch.mask = vec![vec![false, false]];
    for loss in every_loss() {
        assert_eq!(value_and_gradient(&loss, &batch), (0.0, vec![0.0, 0.0]), "{loss:?}");
    }
    // Candidates, but no pair whose labels differ and no positive.
    let batch = Batch::new(vec![vec![1.0, 2.0]], vec![vec![0.0, 0.0]]);
    for loss in every_loss() {
        let (value, grad) = value_and_gradient(&loss, &batch);
        let by_itself = matches!(
            loss,
            Loss::Bce(_)
                | Loss::Mse(_)
                | Loss::AdrMse(_)
                | Loss::ListNet(_)
                | Loss::ListMle(_)
                | Loss::PListMle(_)
                | Loss::KlDivergence(_)
        );
        assert!(
            by_itself || (value == 0.0 && grad == vec![0.0, 0.0]),
            "{loss:?}: {value} {grad:?}"
        );
    }
}

#[test]
fn cross_entropy_has_its_slope_at_score_zero() {
    let batch = Batch::new(vec![vec![0.0, 0.0]], vec![vec![1.0, 0.0]]);
    let (value, grad) = value_and_gradient(&Loss::Bce(Bce::default()), &batch);
    assert!((value - std::f32::consts::LN_2).abs() < 1e-6);
    assert!((grad[0] + 0.25).abs() < 1e-6 && (grad[1] - 0.25).abs() < 1e-6, "{grad:?}");
}
