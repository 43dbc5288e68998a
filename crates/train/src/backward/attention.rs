//! One micro-batch into what its compressor lacks to keep attention, and the gradient of that.

use burn::optim::GradientsAccumulator;
use tamis_model::CrossEncoder;

use super::{Backward, number};
use crate::batches::MicroBatch;

impl Backward<'_> {
    /// One pass with the compressor beside one without it.
    pub(super) fn matched(
        &self,
        micro: &MicroBatch,
        share: f64,
        grads: &mut GradientsAccumulator<CrossEncoder>,
    ) -> f64 {
        let model = self.in_precision(self.model);
        let gap = model.attention_gap(&micro.batch, self.device);
        let loss = gap.expect("training starts with a compressor and a layer above it") * share;
        let value = number(&loss);
        self.add(loss, grads);
        value
    }
}
