//! The work of a step into shares of workers, and their gradients into one sum.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::collective::{Collective, WorkerLost};

/// What workers divide among themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// The micro-batches of a step: data parallelism.
    #[default]
    Batches,
    /// The rows of every micro-batch, so that even one group is divided: the collaborative loss.
    Rows,
}

/// One worker of a group.
pub struct Worker {
    /// How it reaches the others.
    pub collective: Box<dyn Collective>,
    /// What is divided.
    pub split: Split,
}

impl Worker {
    /// The share of `n` things in a row that is this worker's, as even as it can be.
    pub(crate) fn share(&self, n: usize) -> std::ops::Range<usize> {
        let (rank, size) = (self.collective.rank(), self.collective.size());
        rank * n / size..(rank + 1) * n / size
    }

    /// Sums loss and gradients over all workers. A parameter that no worker has a gradient of keeps
    /// none.
    pub(crate) fn sum<M: Module>(
        &self,
        model: &M,
        loss: f64,
        grads: GradientsParams,
    ) -> Result<(f64, GradientsParams), WorkerLost> {
        let mut flat = Flatten { grads: &grads, values: vec![loss as f32] };
        model.visit(&mut flat);
        let mut values = flat.values;
        self.collective.all_reduce(&mut values)?;
        let loss = f64::from(values[0]);
        let mut unflatten =
            Unflatten { values: &values[1..], place: 0, grads: GradientsParams::new() };
        model.visit(&mut unflatten);
        Ok((loss, unflatten.grads))
    }
}

/// Every gradient behind a number that tells whether there is one.
struct Flatten<'a> {
    grads: &'a GradientsParams,
    values: Vec<f32>,
}

impl ModuleVisitor for Flatten<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match self.grads.get::<D>(param.id) {
            Some(grad) => {
                self.values.push(1.0);
                let data = grad.into_data().convert::<f32>();
                self.values.extend_from_slice(
                    data.as_slice::<f32>().expect("the numbers were just made f32"),
                );
            }
            None => {
                self.values.push(0.0);
                let n = param.val().shape().num_elements();
                self.values.resize(self.values.len() + n, 0.0);
            }
        }
    }
}

struct Unflatten<'a> {
    values: &'a [f32],
    place: usize,
    grads: GradientsParams,
}

impl ModuleVisitor for Unflatten<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let (shape, n) = (value.shape(), value.shape().num_elements());
        let there = self.values[self.place] > 0.0;
        let values = &self.values[self.place + 1..=self.place + n];
        self.place += n + 1;
        if there {
            let device = value.device().without_autodiff();
            let data = TensorData::new(values.to_vec(), shape);
            self.grads.register(param.id, Tensor::<D>::from_data(data, &device));
        }
    }
}
