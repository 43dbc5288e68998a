//! The losses against PyTorch's values, slopes and the laws they must keep.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod laws;
mod vectors;

use burn::tensor::{Bool, Device, Tensor, TensorData};
use tamis_loss::{Bce, KlDivergence, Lce, Loss, LossInput, MarginMse, Mse, Space};

/// One batch as plain rows.
#[derive(Clone, Debug)]
struct Batch {
    scores: Vec<Vec<f32>>,
    labels: Vec<Vec<f32>>,
    mask: Vec<Vec<bool>>,
    teacher: Vec<Vec<f32>>,
}

impl Batch {
    fn new(scores: Vec<Vec<f32>>, labels: Vec<Vec<f32>>) -> Self {
        let mask = scores.iter().map(|row| vec![true; row.len()]).collect();
        let teacher = scores.iter().map(|row| vec![0.0; row.len()]).collect();
        Self { scores, labels, mask, teacher }
    }

    fn dims(&self) -> [usize; 2] {
        [self.scores.len(), self.scores[0].len()]
    }
}

/// The loss and its gradient with respect to the scores, row after row.
fn value_and_gradient(loss: &Loss, batch: &Batch) -> (f32, Vec<f32>) {
    let device = Device::flex().autodiff();
    let dims = batch.dims();
    let floats =
        |rows: &[Vec<f32>]| Tensor::<2>::from_data(TensorData::new(rows.concat(), dims), &device);
    let scores = floats(&batch.scores).require_grad();
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(batch.mask.concat(), dims), &device);
    let input = LossInput::new(scores.clone(), floats(&batch.labels), mask)
        .and_then(|input| input.with_teacher_scores(floats(&batch.teacher)))
        .unwrap();
    let value = loss.forward(&input);
    let grads = value.backward();
    let grad = scores.grad(&grads).unwrap().into_data().try_into_vec::<f32>().unwrap();
    (value.into_scalar(), grad)
}

fn every_loss() -> Vec<Loss> {
    vec![
        Loss::Lce(Lce::default()),
        Loss::Lce(Lce { temperature: 0.5 }),
        Loss::Bce(Bce::default()),
        Loss::Bce(Bce { pos_weight: 3.0 }),
        Loss::Mse(Mse { space: Space::Logit }),
        Loss::Mse(Mse { space: Space::Sigmoid }),
        Loss::MarginMse(MarginMse {}),
        Loss::KlDivergence(KlDivergence { temperature: 2.0, teacher_temperature: 1.5 }),
    ]
}
