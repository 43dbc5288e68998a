//! Laws that hold for every loss, whatever the scores.

use proptest::prelude::*;
use tamis_loss::{Bce, Loss};

use crate::{Batch, every_loss, value_and_gradient};

/// Groups of four candidates, the last of which may be absent; the first is the positive.
fn batches() -> impl Strategy<Value = Batch> {
    let group = (
        prop::collection::vec(-6.0_f32..6.0, 4),
        prop::collection::vec(-6.0_f32..6.0, 4),
        any::<bool>(),
    );
    prop::collection::vec(group, 1..4).prop_map(|groups| {
        let mut batch = Batch::new(vec![], vec![]);
        for (scores, teacher, full) in groups {
            batch.scores.push(scores);
            batch.teacher.push(teacher);
            batch.labels.push(vec![1.0, 0.0, 0.0, 0.0]);
            batch.mask.push(vec![true, true, true, full]);
        }
        batch
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_stands_in_a_masked_place_does_not_matter(batch in batches()) {
        let mut other = batch.clone();
        for row in 0..batch.dims()[0] {
            if !batch.mask[row][3] {
                (other.scores[row][3], other.labels[row][3]) = (1e4, 1.0);
                other.teacher[row][3] = -1e4;
            }
        }
        for loss in every_loss() {
            let (a, b) = (value_and_gradient(&loss, &batch), value_and_gradient(&loss, &other));
            prop_assert_eq!(a, b, "{:?}", loss);
        }
    }

    #[test]
    fn gradient_is_the_slope(batch in batches()) {
        for loss in every_loss() {
            let (_, grad) = value_and_gradient(&loss, &batch);
            for (place, &grad) in grad.iter().enumerate() {
                let (row, column) = (place / 4, place % 4);
                let at = |step: f32| {
                    let mut moved = batch.clone();
                    moved.scores[row][column] += step;
                    f64::from(value_and_gradient(&loss, &moved).0)
                };
                let slope = (at(0.02) - at(-0.02)) / 0.04;
                let error = (slope - f64::from(grad)).abs();
                prop_assert!(error < 3e-3 + 1e-2 * slope.abs(), "{loss:?}: {slope} {grad}");
            }
        }
    }
}

#[test]
fn huge_scores_stay_finite() {
    let mut batch = Batch::new(
        vec![vec![1e4, -1e4, 0.0], vec![-1e4, 1e4, 1e4]],
        vec![vec![1.0, 0.0, 0.0], vec![1.0, 0.0, 0.0]],
    );
    batch.teacher = vec![vec![-1e4, 1e4, 0.0], vec![1e4, 0.0, -1e4]];
    for loss in every_loss() {
        let (value, grad) = value_and_gradient(&loss, &batch);
        assert!(value.is_finite(), "{loss:?} gives {value}");
        assert!(grad.iter().all(|g| g.is_finite()), "{loss:?} has gradient {grad:?}");
    }
}

#[test]
fn nothing_to_compare_is_zero_with_a_zero_gradient() {
    let mut batch = Batch::new(vec![vec![1.0, 2.0]], vec![vec![0.0, 0.0]]);
    batch.mask = vec![vec![false, false]];
    for loss in every_loss() {
        assert_eq!(value_and_gradient(&loss, &batch), (0.0, vec![0.0, 0.0]), "{loss:?}");
    }
}

#[test]
fn cross_entropy_has_its_slope_at_score_zero() {
    let batch = Batch::new(vec![vec![0.0, 0.0]], vec![vec![1.0, 0.0]]);
    let (value, grad) = value_and_gradient(&Loss::Bce(Bce::default()), &batch);
    assert!((value - std::f32::consts::LN_2).abs() < 1e-6);
    assert!((grad[0] + 0.25).abs() < 1e-6 && (grad[1] - 0.25).abs() < 1e-6, "{grad:?}");
}
