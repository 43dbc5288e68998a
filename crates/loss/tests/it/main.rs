//! The losses against PyTorch's values, slopes and the laws they must keep.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod cascade;
mod laws;
mod oracle;
mod recipes;
mod vectors;

use burn::tensor::{Bool, Device, Tensor, TensorData};
use tamis_loss::{
    AdrMse, ApproxMrr, ApproxNdcg, Bce, CrossEntropy, Gain, Hinge, KlDivergence, LambdaLoss, Lce,
    ListNet, Loss, LossInput, Mse, MultipleNegatives, PListMle, RankNet, Space, Weighting,
};

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

/// Every loss with its default parameters and with others.
fn every_loss() -> Vec<Loss> {
    let mut losses = Loss::all();
    losses.extend([
        Loss::Lce(Lce { temperature: 0.5 }),
        Loss::Bce(Bce { pos_weight: 3.0 }),
        Loss::Mse(Mse { space: Space::Sigmoid }),
        Loss::CrossEntropy(CrossEntropy { label_smoothing: 0.1 }),
        Loss::KlDivergence(KlDivergence { temperature: 2.0, teacher_temperature: 1.5 }),
        Loss::RankNet(RankNet { sigma: 2.0, k: Some(2), weigh_by_gap: true }),
        Loss::Hinge(Hinge { margin: 0.3 }),
        Loss::ListNet(ListNet { temperature: 2.0, label_temperature: 0.5, positives_only: true }),
        Loss::PListMle(PListMle { space: Space::Sigmoid }),
        Loss::ApproxNdcg(ApproxNdcg { temperature: 0.5, gain: Gain::Linear }),
        Loss::ApproxMrr(ApproxMrr { temperature: 2.0 }),
        Loss::AdrMse(AdrMse { alpha: 3.0 }),
        Loss::MultipleNegatives(MultipleNegatives { scale: 2.0, space: Space::Logit }),
    ]);
    let weightings = [
        Weighting::None,
        Weighting::NdcgLoss1,
        Weighting::NdcgLoss2,
        Weighting::LambdaRank,
        Weighting::NdcgLoss2pp,
    ];
    for weighting in weightings {
        losses.push(Loss::LambdaLoss(LambdaLoss { weighting, ..LambdaLoss::default() }));
        let cut = LambdaLoss { weighting, mu: 3.0, k: Some(2), sigma: 2.0 };
        losses.push(Loss::LambdaLoss(cut));
    }
    losses
}
