//! Heads of models that never read query and document together: the two parts' vectors into a score.

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use tamis_ops::Rows;

use crate::layer::Linear;

/// What is larger than no product: padded tokens of a document are never the closest.
const FAR: f32 = -1e4;

/// The product of the two parts' first vectors, or of every query token's vector with the closest of the
/// document's, summed.
///
/// # Source
/// BERT_Dot: Hofstätter et al. 2020, "Improving Efficient Neural Ranking Models with Cross-Architecture
/// Knowledge Distillation", section 2.2. Max-sim: Khattab and Zaharia 2020, "ColBERT", section 3.3, as
/// the same authors have it: vectors are not normalised, and all tokens count.
#[derive(Module, Debug)]
pub struct PartsHead {
    /// The map to the vectors that are compared; without one they are the hidden states.
    projection: Option<Linear>,
    #[module(skip)]
    is_max_sim: bool,
}

impl PartsHead {
    /// The product of first vectors.
    pub(super) fn dot() -> Self {
        Self { projection: None, is_max_sim: false }
    }

    /// The sum of products with the closest, of vectors of this width.
    pub(super) fn max_sim(hidden: usize, width: usize, device: &Device) -> Self {
        Self { projection: Some(Linear::zeros(hidden, width, device)), is_max_sim: true }
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.projection.iter_mut().collect()
    }

    /// # Shapes
    /// - `tokens`: `[tokens, hidden]`
    /// - `parts`: two for every row
    /// - result: `[rows, 1]`
    pub(crate) fn forward(&self, tokens: Tensor<2>, parts: &Rows) -> Tensor<2> {
        let tokens = tokens.cast(DType::F32);
        if self.is_max_sim {
            let vectors = match &self.projection {
                Some(projection) => projection.forward(tokens),
                None => tokens,
            };
            return max_sim(vectors, parts);
        }
        let device = tokens.device();
        let starts = |part: usize| {
            let starts: Vec<i32> =
                parts.offsets()[part..].iter().step_by(2).map(|v| v.cast_signed()).collect();
            let n = parts.len() / 2;
            Tensor::<1, Int>::from_data(TensorData::new(starts[..n].to_vec(), [n]), &device)
        };
        (tokens.clone().select(0, starts(0)) * tokens.select(0, starts(1))).sum_dim(1)
    }
}

/// For every row, the products of each vector of its first part with the closest of its second, summed:
/// `[rows, 1]`.
pub(crate) fn max_sim(vectors: Tensor<2>, parts: &Rows) -> Tensor<2> {
    let device = vectors.device();
    let [_, width] = vectors.dims();
    let n_rows = parts.len() / 2;
    // The tokens of one part of every row in places, and which places have one.
    let places = |part: usize| {
        let spans = || parts.offsets().windows(2).skip(part).step_by(2);
        let longest = spans().map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let (mut sources, mut present) = (Vec::new(), Vec::new());
        for pair in spans() {
            for place in pair[0]..pair[0] + longest {
                let is_there = place < pair[1];
                sources.push(if is_there { place.cast_signed() } else { 0 });
                present.push(if is_there { 1.0_f32 } else { 0.0 });
            }
        }
        let (n, longest) = (sources.len(), longest as usize);
        let sources = Tensor::<1, Int>::from_data(TensorData::new(sources, [n]), &device);
        let own = vectors.clone().select(0, sources).reshape([n_rows, longest, width]);
        (own, Tensor::<2>::from_data(TensorData::new(present, [n_rows, longest]), &device))
    };
    let ((queries, asked), (documents, present)) = (places(0), places(1));
    let products = queries.matmul(documents.swap_dims(1, 2));
    // Where there is no token the product counts for nothing.
    let present = present.unsqueeze_dim::<3>(1);
    let far = (present.clone() * -1.0 + 1.0) * FAR;
    let closest: Tensor<2> = (products * present + far).max_dim(2).squeeze_dim(2);
    (closest * asked).sum_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 10.4b of the specification.
    #[test]
    fn the_closest_are_summed_as_in_colbert() {
        let value = |number: f64, place: usize| {
            (0.3 * (0.37 * place as f64 + 0.9 * (number + 1.0)).sin()) as f32
        };
        // Three and two of three query tokens, five and three of five document tokens.
        let mut vectors = Vec::new();
        for (row, (n_query, n_document)) in [(3, 5), (2, 3)].into_iter().enumerate() {
            vectors.extend((row * 12..row * 12 + n_query * 4).map(|place| value(0.0, place)));
            vectors.extend((row * 20..row * 20 + n_document * 4).map(|place| value(1.0, place)));
        }
        let parts = Rows::from_lengths(&[3, 5, 2, 3]);
        let n = vectors.len() / 4;
        let device = Device::flex();
        let vectors = Tensor::<2>::from_data(TensorData::new(vectors, [n, 4]), &device);
        let scores = max_sim(vectors, &parts).into_data().try_into_vec::<f32>().unwrap();
        for (score, expected) in scores.iter().zip([0.585_868_5, 0.189_564_7]) {
            assert!((score - expected).abs() < 1e-6, "{score}, expected {expected}");
        }
    }

    #[test]
    fn first_vectors_are_multiplied() {
        let device = Device::flex();
        let tokens = [[1., 2.], [9., 9.], [3., -1.], [2., 0.], [5., 7.], [8., 8.]];
        let tokens = Tensor::<2>::from_floats(tokens, &device);
        let scores = PartsHead::dot().forward(tokens, &Rows::from_lengths(&[2, 1, 1, 2]));
        assert_eq!(scores.into_data().try_into_vec::<f32>().unwrap(), [1., 10.]);
    }
}
