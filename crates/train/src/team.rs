//! Replicas of a model that take every step together, one thread each.

use burn::tensor::Device;
use tamis_model::CrossEncoder;

use crate::batches::MicroBatch;
use crate::collective::Threads;
use crate::learner::{Learner, StepError, Taken};
use crate::workers::{Split, Worker};

/// One learner, or several with the same weights.
pub(crate) struct Team {
    learners: Vec<Learner>,
}

impl Team {
    /// Takes learners in the same state, at least one.
    pub(crate) fn new(learners: Vec<Learner>, split: Split) -> Self {
        if learners.len() == 1 {
            return Self { learners };
        }
        let workers = Threads::group(learners.len());
        let with = |(learner, threads): (Learner, Threads)| {
            learner.with_worker(Worker { collective: Box::new(threads), split })
        };
        Self { learners: learners.into_iter().zip(workers).map(with).collect() }
    }

    /// The first of them, which stands for all.
    pub(crate) fn lead(&self) -> &Learner {
        &self.learners[0]
    }

    /// Takes one step on all replicas.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub(crate) fn step(&mut self, step: u64, batches: &[MicroBatch]) -> Result<Taken, StepError> {
        if let [learner] = self.learners.as_mut_slice() {
            return learner.step(step, batches);
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .learners
                .iter_mut()
                .map(|learner| scope.spawn(move || learner.step(step, batches)))
                .collect();
            let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            // The reduction gives all of them the same gradient, so one answer stands for all.
            let first = results.into_iter().next().expect("there is at least one learner");
            first.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// A replica with tensors of its own on a device.
pub(crate) fn replica(model: &CrossEncoder, device: &Device) -> CrossEncoder {
    use burn::module::Module;
    model.clone().fork(device)
}
