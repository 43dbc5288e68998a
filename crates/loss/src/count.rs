//! How many things a loss is the mean of, from labels alone: what makes parts of a batch add up.

use crate::lambda::Weighting;
use crate::objective::Loss;

impl Loss {
    /// How many things of one group the mean of this loss counts: the group itself, its candidates or
    /// its pairs.
    ///
    /// The loss of a batch is the mean of the losses of its parts, weighted by their counts, which is
    /// how a batch that is worked off in parts keeps its loss. With a cutoff `k`, which pairs count
    /// hangs on the scores too; then all pairs whose labels differ stand for them.
    #[must_use]
    pub fn count(&self, labels: &[f32]) -> f64 {
        let one_if = |holds: bool| f64::from(u8::from(holds));
        let n = labels.len();
        let n_positives = labels.iter().filter(|&&label| label > 0.0).count();
        match self {
            Self::Lce(_)
            | Self::MultipleNegatives(_)
            | Self::CrossEntropy(_)
            | Self::ApproxNdcg(_)
            | Self::ApproxMrr(_) => one_if(n_positives > 0),
            Self::KlDivergence(_) | Self::ListMle(_) | Self::PListMle(_) => one_if(n > 0),
            Self::ListNet(net) => {
                one_if(labels.iter().any(|&label| !net.positives_only || label != 0.0))
            }
            Self::Pearson(_) => {
                let values = labels.iter().map(|&label| f64::from(label));
                let mean = values.clone().sum::<f64>() / n.max(1) as f64;
                one_if(values.map(|value| (value - mean).powi(2)).sum::<f64>() > 1e-12)
            }
            Self::Bce(_) | Self::Mse(_) | Self::AdrMse(_) => n as f64,
            Self::MarginMse(_) => (n_positives * (n - n_positives)) as f64,
            Self::LambdaLoss(lambda) if lambda.weighting == Weighting::NdcgLoss1 => (n * n) as f64,
            Self::RankNet(_) | Self::LambdaLoss(_) | Self::Hinge(_) => preferred(labels),
        }
    }
}

/// Pairs whose labels differ.
fn preferred(labels: &[f32]) -> f64 {
    let mut sorted = labels.to_vec();
    sorted.sort_by(f32::total_cmp);
    let level = |run: &[f32]| (run.len() * (run.len() - 1) / 2) as f64;
    let n = labels.len() as f64;
    n * (n - 1.0) / 2.0 - sorted.chunk_by(|a, b| a == b).map(level).sum::<f64>()
}
