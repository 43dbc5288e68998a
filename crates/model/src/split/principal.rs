//! A compressor that begins with the directions in which hidden states vary most.

use burn::tensor::{Tensor, TensorData};

use super::{Compressor, CompressorConfig, EPSILON};
use crate::layer::{LayerNorm, Linear};

/// What is added to values before GELU and taken away after it: so far above zero GELU changes nothing.
const OFFSET: f32 = 8.0;

/// How often directions are improved. They settle long before, but for those that vary alike.
const ROUNDS: usize = 30;

impl Compressor {
    /// Projects on the principal components of `states` and back, each with a variance of one in between;
    /// the norm at the end is fitted to give back the states.
    ///
    /// # Shapes
    /// - `states`: `[tokens, hidden]`, more tokens than `config.width`
    pub(super) fn principal(states: Tensor<2>, config: CompressorConfig) -> Self {
        let ([n, hidden], device) = (states.dims(), states.device());
        let mean = states.clone().mean_dim(0);
        let centred = states.clone() - mean.clone();
        let covariance = centred.clone().transpose().matmul(centred) / n as f32;
        // Orthogonal iteration, from the covariance of the first dimensions with all.
        let mut directions = orthonormal(covariance.clone().narrow(1, 0, config.width));
        for _ in 0..ROUNDS {
            directions = orthonormal(covariance.clone().matmul(directions));
        }
        let variances = (covariance.matmul(directions.clone()) * directions.clone()).sum_dim(0);
        let deviations = variances.clamp_min(1e-12).sqrt();
        let down = directions.clone() / deviations.clone();
        let down_bias = mean.clone().matmul(down.clone()).neg() + OFFSET;
        let up = (directions * deviations).transpose();
        let up_bias = mean - Tensor::ones([1, config.width], &device).matmul(up.clone()) * OFFSET;
        let mut compressor = Self {
            down: Linear::of(down, down_bias.squeeze_dim(0)),
            up: Linear::of(up, up_bias.squeeze_dim(0)),
            norm: LayerNorm::identity(hidden, EPSILON, &device),
            is_half: config.is_half,
        };
        // Dimension by dimension, the line through what the norm makes of a state and the state.
        let normal = compressor.restore(compressor.compress(states.clone()));
        let (x_mean, n_mean) = (states.clone().mean_dim(0), normal.clone().mean_dim(0));
        let normal = normal - n_mean.clone();
        let together = (normal.clone() * (states - x_mean.clone())).sum_dim(0);
        let slope = together / (normal.clone() * normal).sum_dim(0).clamp_min(1e-12);
        let shift = x_mean - slope.clone() * n_mean;
        compressor.norm = LayerNorm::of(slope.squeeze_dim(0), shift.squeeze_dim(0), EPSILON);
        compressor
    }
}

/// Columns of length one that are at right angles, and span what the columns of `x` do.
fn orthonormal(x: Tensor<2>) -> Tensor<2> {
    let ([hidden, width], device) = (x.dims(), x.device());
    let values: Vec<f32> = x
        .transpose()
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .expect("the data was just made f32");
    let mut columns: Vec<Vec<f64>> =
        values.chunks_exact(hidden).map(|c| c.iter().copied().map(f64::from).collect()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for place in 0..width {
        let (done, rest) = columns.split_at_mut(place);
        let column = &mut rest[0];
        // Twice: what rounding leaves of the first time is taken away by the second.
        for other in done.iter().chain(done.iter()) {
            let along = dot(column, other);
            column.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
        let length = dot(column, column).sqrt();
        if length > 1e-12 {
            column.iter_mut().for_each(|value| *value /= length);
        } else {
            // States vary in fewer directions than are wanted: this one stays empty.
            column.fill(0.0);
        }
    }
    let flat: Vec<f32> = columns.iter().flatten().map(|&value| value as f32).collect();
    Tensor::<2>::from_data(TensorData::new(flat, [width, hidden]), &device).transpose()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// States that vary in `rank` directions and hardly in others, with a norm at their end.
    fn states(rank: usize) -> Tensor<2> {
        let device = Device::flex();
        device.seed(3);
        let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let x = random([600, rank]).matmul(random([rank, 24])) + random([600, 24]) * 0.02;
        let ones = Tensor::ones([24], &device);
        let norm = LayerNorm::of(ones.clone() * 0.7, ones * 0.1, EPSILON);
        norm.forward(x)
    }

    #[test]
    fn states_that_vary_in_few_directions_come_back() {
        let config = CompressorConfig { width: 8, is_half: true };
        let x = states(6);
        let compressor = Compressor::principal(x.clone(), config);
        let narrow = compressor.compress(x.clone());
        assert_eq!(narrow.dims(), [600, 8]);
        let back = compressor.restore(narrow);
        let error: f32 = (back - x.clone()).powf_scalar(2.0).mean().into_scalar();
        let size: f32 = x.powf_scalar(2.0).mean().into_scalar();
        assert!(error / size < 2e-3, "{error} of {size}");
    }

    #[test]
    fn fewer_directions_keep_less() {
        let x = states(12);
        let lost = |width| {
            let config = CompressorConfig { width, is_half: false };
            let compressor = Compressor::principal(x.clone(), config);
            let back = compressor.restore(compressor.compress(x.clone()));
            (back - x.clone()).powf_scalar(2.0).mean().into_scalar::<f32>()
        };
        let lost = [2, 6, 12].map(lost);
        assert!(lost[0] > 1.5 * lost[1] && lost[1] > 5.0 * lost[2], "{lost:?}");
    }
}
