//! Losses as recipes write them, and sums of them.

use serde_json::{from_str, to_string};
use tamis_loss::{Loss, LossInput, Objective, Target};

use burn::tensor::{Bool, Device, Tensor, TensorData};

#[test]
fn every_loss_comes_back_from_its_text() {
    for loss in crate::every_loss() {
        let text = to_string(&loss).unwrap();
        assert_eq!(from_str::<Loss>(&text).unwrap(), loss, "{text}");
        assert_eq!(loss.problem(), None);
    }
}

#[test]
fn unknown_keys_and_senseless_values_are_refused() {
    for (text, expected) in [
        (r#"[{"name": "lambda", "sgima": 2.0}]"#, "unknown field `sgima`"),
        (r#"[{"name": "lamda"}]"#, "unknown variant `lamda`"),
        (r#"[{"name": "ranknet", "weight": "much"}]"#, "expected f64"),
    ] {
        let error = from_str::<Objective>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for (text, expected) in [
        (r#"{"name": "lambda", "k": 0}"#, "k must be above 0, found `0`"),
        (r#"{"name": "hinge", "margin": -1.0}"#, "margin must be 0 or above, found `-1`"),
        (
            r#"{"name": "cross-entropy", "label_smoothing": 1.0}"#,
            "label_smoothing must be 0 to below 1, found `1`",
        ),
        (
            r#"{"name": "kl", "target": "teacher-score"}"#,
            "target: this loss reads teacher scores beside the labels",
        ),
    ] {
        let objective: Objective = from_str(&format!("[{text}]")).unwrap();
        assert_eq!(objective.terms[0].problem().as_deref(), Some(expected));
    }
}

/// One group of three with labels 0, 0, 1 and a teacher that says 3, 2, 1.
fn value(objective: &str) -> f32 {
    let device = Device::flex();
    let row = |values: [f32; 3]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, 3]), &device)
    };
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(vec![true; 3], [1, 3]), &device);
    let input = LossInput::new(row([0.3, -0.2, 1.1]), row([0.0, 0.0, 1.0]), mask)
        .and_then(|input| input.with_teacher_scores(row([3.0, 2.0, 1.0])))
        .unwrap();
    from_str::<Objective>(objective).unwrap().forward(&input).into_scalar()
}

#[test]
fn terms_are_weighted_and_summed() {
    let sum = value(r#"[{"name": "lce"}, {"name": "kl", "weight": 0.5, "temperature": 2.0}]"#);
    let lce = value(r#"[{"name": "lce"}]"#);
    let kl = value(r#"[{"name": "kl", "temperature": 2.0}]"#);
    assert!((sum - (lce + 0.5 * kl)).abs() < 1e-6);
    assert!(kl > 0.1 && lce > 0.1);
}

#[test]
fn any_loss_learns_from_a_teacher() {
    let objective: Objective =
        from_str(r#"[{"name": "ranknet", "target": "teacher-score"}]"#).unwrap();
    assert_eq!(objective.terms[0].target, Target::TeacherScore);
    assert!(objective.needs_teacher());
    let found = value(r#"[{"name": "ranknet", "target": "teacher-score"}]"#);
    // Pairs (0, 1), (0, 2) and (1, 2): the teacher prefers the lower place.
    let softplus = |x: f32| x.exp().ln_1p();
    let expected = (softplus(-0.5) + softplus(0.8) + softplus(1.3)) / 3.0;
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}
