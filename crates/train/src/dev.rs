//! The dev set into a record: measures beside the first stage's, and the loss.

mod reranking;

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event::Event;
use crate::learner::Learner;
use crate::state::Progress;
use crate::validation::Validation;
pub use reranking::Reranking;

/// The name of the loss among the values of a [`DevRecord`].
pub const LOSS: &str = "loss";

/// The measures of one evaluation: a line of `train.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DevRecord {
    /// The step it follows, from 1; 0 before training.
    pub step: u64,
    /// Mean of each measure after reranking, and the `loss` where the recipe asks for it.
    pub dev: BTreeMap<String, f64>,
    /// Mean of each measure as the first stage ranked.
    pub first_stage: BTreeMap<String, f64>,
    /// Whether the value that selects is the best so far.
    pub best: bool,
    /// How long it took.
    pub seconds: f64,
}

/// What is measured of a dev set: at least one of the two.
pub(crate) struct Dev<'a> {
    pub(crate) reranking: Option<Reranking<'a>>,
    pub(crate) validation: Option<Validation<'a>>,
}

impl Dev<'_> {
    /// Measures the model as it is, and notes in `progress` whether it is the best so far: by the
    /// first measure, or without one by the loss.
    pub(crate) fn evaluate(
        &self,
        learner: &Learner,
        progress: &mut Progress,
        observe: &mut dyn FnMut(Event),
    ) -> Result<DevRecord> {
        let start = Instant::now();
        let mut tell = |done, total| observe(Event::Reranking { done, total });
        let (mut dev, mut first_stage, mut value) = (BTreeMap::new(), BTreeMap::new(), None);
        if let Some(reranking) = &self.reranking {
            let evaluation = reranking.rerank(learner.model(), &mut tell)?;
            value = Some(evaluation.summary(0));
            dev = reranking::means(&evaluation);
            first_stage = reranking::means(reranking.first_stage());
        }
        if let Some(validation) = &self.validation {
            let loss = validation.loss(learner.model(), &mut tell)?;
            dev.insert(LOSS.to_owned(), loss);
            value = value.or(Some(-loss));
        }
        let value = value.expect("a recipe asks for a measure or the loss");
        let best = progress.best.is_none_or(|(best, _)| value > best);
        if best {
            progress.best = Some((value, progress.step));
            progress.stale = 0;
        } else {
            progress.stale += 1;
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok(DevRecord { step: progress.step, dev, first_stage, best, seconds })
    }
}
