//! Replicas of a model that take every step together, one thread each.

use burn::tensor::Device;
use tamis_model::CrossEncoder;

use crate::batches::MicroBatch;
use crate::collective::{Alarm, Threads};
use crate::learner::{Learner, StepError, Taken};
use crate::workers::{Split, Worker};

/// One learner, or several with the same weights.
pub(crate) struct Team {
    learners: Vec<Learner>,
    /// `None` for one learner alone.
    alarm: Option<Alarm>,
}

impl Team {
    /// Takes learners in the same state, at least one.
    pub(crate) fn new(learners: Vec<Learner>, split: Split) -> Self {
        if learners.len() == 1 {
            return Self { learners, alarm: None };
        }
        let workers = Threads::group(learners.len());
        let alarm = workers.first().map(Threads::alarm);
        let with = |(learner, threads): (Learner, Threads)| {
            learner.with_worker(Worker { collective: Box::new(threads), split })
        };
        Self { learners: learners.into_iter().zip(workers).map(with).collect(), alarm }
    }

    /// The first of them, which stands for all.
    pub(crate) fn lead(&self) -> &Learner {
        &self.learners[0]
    }

    /// Takes one step on all replicas.
    ///
    /// # Errors
    /// As [`Learner::step`].
    ///
    /// # Panics
    /// When a replica does; the others do not wait for it.
    pub(crate) fn step(&mut self, step: u64, batches: &[MicroBatch]) -> Result<Taken, StepError> {
        if let [learner] = self.learners.as_mut_slice() {
            return learner.step(step, batches);
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .learners
                .iter_mut()
                .map(|learner| {
                    let alarm = self.alarm.clone();
                    scope.spawn(move || {
                        let _armed = alarm;
                        learner.step(step, batches)
                    })
                })
                .collect();
            let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            let results: Vec<_> = results
                .into_iter()
                .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect();
            // The reduction gives all of them the same gradient, so one answer stands for all.
            results.into_iter().next().expect("there is at least one learner")
        })
    }
}

/// A replica with tensors of its own on a device.
pub(crate) fn replica(model: &CrossEncoder, device: &Device) -> CrossEncoder {
    use burn::module::Module;
    model.clone().fork(device)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;
    use std::time::Duration;

    use tamis_data::Batch;
    use tamis_loss::{Lce, Loss, Objective};
    use tamis_model::encoder::bert::BertConfig;
    use tamis_model::{Config, checkpoint};

    use super::*;
    use crate::optimizer::OptimizerRecipe;
    use crate::schedule::Schedule;

    #[test]
    fn a_replica_that_panics_does_not_leave_the_others_waiting() {
        let config: BertConfig = serde_json::from_value(serde_json::json!({
            "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "max_position_embeddings": 8,
        }))
        .unwrap();
        let config = Config::bert(&config);
        let device = Device::flex();
        let model = checkpoint::initialise(CrossEncoder::zeros(&config, &device), &config, 1);
        let learner = |objective: Objective| {
            let (schedule, model) = (Schedule::default(), replica(&model, &device));
            let optimizer = OptimizerRecipe::default();
            Learner::new(model, &optimizer, objective, schedule, None, 0, &device)
        };
        let lce = Objective::single(Loss::Lce(Lce::default()));
        // An objective without terms is a bug of the caller, and panics after the scores are shared.
        let broken = Objective { terms: Vec::new() };
        let mut team = Team::new(vec![learner(lce), learner(broken)], Split::Rows);
        let mut batch = Batch::new();
        (0..4).for_each(|row| batch.push_row(&[2, row, 3], &[0, 0, 0]));
        batch.end_group();
        let labels = vec![1.0, 0.0, 0.0, 0.0];
        let batches = [MicroBatch { batch, labels, teacher_scores: None }];
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let step = catch_unwind(AssertUnwindSafe(|| team.step(0, &batches)));
            tell.send(step.is_err()).unwrap();
        });
        let panicked = told.recv_timeout(Duration::from_secs(60));
        assert_eq!(panicked, Ok(true), "the panic comes through, and nobody waits for ever");
    }
}
