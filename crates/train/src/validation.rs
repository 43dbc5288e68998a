//! The loss of a recipe on groups that it does not learn from.

use burn::tensor::Device;
use tamis_loss::Objective;
use tamis_model::{CrossEncoder, DropoutSeeds, Precision};

use crate::backward::{loss, number};
use crate::batches::{Batches, Drawing, MicroBatch};
use crate::error::Result;
use crate::learner::shares;
use crate::source::Source;
use tamis_data::PairEncoder;

/// Groups with an objective: every group once, drawn once from the seed.
pub(crate) struct Validation<'a> {
    batches: Batches<'a>,
    objective: Objective,
    device: Device,
}

impl<'a> Validation<'a> {
    /// # Errors
    /// When there is no group that can be sampled.
    pub(crate) fn new(
        source: Source<'a>,
        encoder: &'a PairEncoder,
        drawing: &Drawing,
        objective: Objective,
        device: Device,
    ) -> Result<Self> {
        let groups_per_batch = drawing.groups_per_batch.min(source.n_groups()).max(1);
        let drawing = Drawing {
            groups_per_batch,
            accumulation: 1,
            in_batch_negatives: 0,
            shuffle: 0.0,
            ..drawing.clone()
        };
        let batches = Batches::new(vec![source], encoder, drawing)?;
        Ok(Self { batches, objective, device })
    }

    /// The loss of a model without dropout, the mean over all groups; `progress` is told groups done,
    /// of how many.
    ///
    /// # Errors
    /// When a group cannot be sampled.
    pub(crate) fn loss(
        &self,
        model: CrossEncoder,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<f64> {
        let model = model.packed(Precision::F32);
        let micro_batches = self.batches.in_order().collect::<Result<Vec<MicroBatch>>>()?;
        let counts: Vec<Vec<f64>> =
            micro_batches.iter().map(|micro| micro.counts(&self.objective)).collect();
        let (mut sum, mut done) = (0.0, 0);
        for (index, micro) in micro_batches.iter().enumerate() {
            progress(done, self.batches.n_groups());
            done += micro.batch.n_groups();
            let scores = model.scores(&micro.batch, &self.device, DropoutSeeds::inference());
            let shares = shares(&counts, index);
            sum += number(&loss(&self.objective, micro, &scores, &shares, &self.device));
        }
        Ok(sum)
    }
}
