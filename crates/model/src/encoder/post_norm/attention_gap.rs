//! How far a compressor moves attention: the mean square between probabilities with it and without it.

use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData};
use tamis_ops::Rows;

use super::PostNorm;
use super::layer::PostNormLayer;
use crate::dropout_seeds::DropoutSeeds;
use crate::input::Input;

/// What is added to the score of a place that holds no token.
const NEVER: f32 = -1e9;

impl PostNorm {
    /// Whether there is a compressor and a layer above it.
    pub(crate) fn can_match_attention(&self) -> bool {
        self.split.compresses() && self.split.join_layer() < self.schedule.len()
    }

    /// The mean over the layers above the split, heads and pairs of tokens of `(A - A')²`, where `A` is the
    /// attention of the encoder without its compressor and `A'` with it: `[1]`. `None` where it
    /// [cannot](Self::can_match_attention) be told.
    pub(crate) fn attention_gap(&self, input: &Input) -> Option<Tensor<1>> {
        let n_steps = self.schedule.len();
        let join_layer = self.split.join_layer();
        if !self.can_match_attention() {
            return None;
        }
        let mut seeds = DropoutSeeds::inference();
        let layer = |step: usize| &self.layers[self.schedule[step]];
        let below = (0..join_layer).fold(self.embed(input, &mut seeds), |x, step| {
            layer(step).forward(x, self.split.rows(step, input), &mut seeds)
        });
        let mut plain = below.clone();
        let mut narrow = self.split.restore(self.split.compress(below));
        let grid = Grid::new(&input.rows, &plain);
        let mut sum: Option<Tensor<1>> = None;
        for step in join_layer..n_steps {
            let expected = layer(step).probabilities(plain.clone(), &grid);
            let found = layer(step).probabilities(narrow.clone(), &grid);
            let gap = ((expected - found).square() * grid.is_query.clone()).sum();
            sum = Some(match sum {
                Some(sum) => sum + gap,
                None => gap,
            });
            if step + 1 < n_steps {
                plain = layer(step).forward(plain, &input.rows, &mut seeds);
                narrow = layer(step).forward(narrow, &input.rows, &mut seeds);
            }
        }
        let n_pairs: usize = input.rows.lengths().map(|length| length * length).sum();
        let n = (n_steps - join_layer) * layer(join_layer).n_heads() * n_pairs;
        sum.map(|sum| sum / n as f64)
    }
}

/// Packed tokens laid out as rows of one length.
struct Grid {
    n_rows: usize,
    n_places: usize,
    /// Which token stands at every place: `[rows * places]`; 0 where none does.
    tokens: Tensor<1, Int>,
    /// What is added to scores of the tokens that are looked at: `[rows, 1, 1, places]`.
    mask: Tensor<4>,
    /// 1 where a token looks: `[rows, 1, places, 1]`.
    is_query: Tensor<4>,
}

impl Grid {
    fn new(rows: &Rows, like: &Tensor<2>) -> Self {
        let (n_rows, n_places) = (rows.len(), rows.longest());
        let mut tokens = vec![0_i32; n_rows * n_places];
        let mut is_token = vec![0.0_f32; n_rows * n_places];
        for (row, bounds) in rows.offsets().windows(2).enumerate() {
            for (place, token) in (bounds[0]..bounds[1]).enumerate() {
                tokens[row * n_places + place] = token.cast_signed();
                is_token[row * n_places + place] = 1.0;
            }
        }
        let device = like.device();
        let mask: Vec<f32> = is_token.iter().map(|real| (1.0 - real) * NEVER).collect();
        let floats = |values, dims: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(values, dims), &device)
        };
        Self {
            n_rows,
            n_places,
            tokens: Tensor::from_data(TensorData::new(tokens, [n_rows * n_places]), &device),
            mask: floats(mask, [n_rows, 1, 1, n_places]),
            is_query: floats(is_token, [n_rows, 1, n_places, 1]),
        }
    }
}

impl PostNormLayer {
    /// How much every token looks at every other of its row: `[rows, heads, places, places]`.
    fn probabilities(&self, x: Tensor<2>, grid: &Grid) -> Tensor<4> {
        let hidden = x.dims()[1];
        let size = hidden / self.n_heads();
        let all = self.queries_keys_values(x).select(0, grid.tokens.clone());
        let part = |index: usize| {
            let dims = [grid.n_rows, grid.n_places, self.n_heads(), size];
            all.clone().narrow(1, index * hidden, hidden).reshape(dims).swap_dims(1, 2)
        };
        let scores = part(0).matmul(part(1).swap_dims(2, 3)) / (size as f64).sqrt();
        softmax(scores + grid.mask.clone(), 3)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;
    use tamis_data::Batch;

    use crate::checkpoint;
    use crate::config::Config;
    use crate::cross_encoder::CrossEncoder;
    use crate::dropout_seeds::DropoutSeeds;
    use crate::input::Input;

    fn model(width: usize, join_layer: usize) -> CrossEncoder {
        let config = json!({
            "model_type": "distilbert", "architectures": ["PreTTR"], "join_layer_idx": join_layer,
            "compress_size": width, "vocab_size": 20, "dim": 8, "n_layers": 3, "n_heads": 2,
            "hidden_dim": 16, "max_position_embeddings": 32,
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let config = Config::read(&path).unwrap();
        checkpoint::initialise(CrossEncoder::zeros(&config, &Device::flex()), &config, 7)
    }

    fn batch(rows: &[(&[u32], usize)]) -> Batch {
        let mut batch = Batch::new();
        for (ids, n_query) in rows {
            batch.push_pair(ids, &vec![0; ids.len()], *n_query, 9);
        }
        batch.end_group();
        batch
    }

    fn gap(model: &CrossEncoder, batch: &Batch) -> f64 {
        let gap = model.attention_gap(batch, &Device::flex()).unwrap();
        f64::from(gap.into_scalar::<f32>())
    }

    /// The attention of one head over one row, the slow way.
    fn attention(q: &[Vec<f64>], k: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let row = |q: &Vec<f64>| {
            let dot = |k: &Vec<f64>| q.iter().zip(k).map(|(a, b)| a * b).sum::<f64>();
            let all: Vec<f64> =
                k.iter().map(|k| (dot(k) / (q.len() as f64).sqrt()).exp()).collect();
            let sum: f64 = all.iter().sum();
            all.into_iter().map(|value| value / sum).collect()
        };
        q.iter().map(row).collect()
    }

    #[test]
    fn it_is_the_mean_square_between_probabilities() {
        let model = model(3, 1);
        let batch = batch(&[(&[2, 5, 6, 3, 10, 11, 3], 4)]);
        let input = Input::new(&batch, &Device::flex());
        let crate::encoder::Encoder::Bert(encoder) = model.encoder() else { unreachable!() };
        let seeds = || DropoutSeeds::inference();
        let with = encoder.hidden_states(&input, &mut seeds());
        // The same weights without the compressor.
        let mut plain = encoder.clone();
        plain.split_mut().remove_compressor();
        let without = plain.hidden_states(&input, &mut seeds());
        let (mut sum, mut n) = (0.0, 0);
        for step in 1..3 {
            let heads = |states: &[burn::tensor::Tensor<2>]| {
                let qkv = encoder.layers[step].queries_keys_values(states[step].clone());
                let flat: Vec<f32> = qkv.into_data().try_into_vec().unwrap();
                let part = |token: usize, from: usize| -> Vec<f64> {
                    flat[token * 24 + from..token * 24 + from + 4]
                        .iter()
                        .copied()
                        .map(f64::from)
                        .collect()
                };
                let head = |head: usize| {
                    let of = |from: usize| (0..7).map(|t| part(t, from)).collect::<Vec<_>>();
                    attention(&of(4 * head), &of(8 + 4 * head))
                };
                [head(0), head(1)]
            };
            for (a, b) in
                heads(&with).concat().concat().iter().zip(heads(&without).concat().concat())
            {
                sum += (a - b).powi(2);
                n += 1;
            }
        }
        assert_eq!(n, 2 * 2 * 49);
        let expected = sum / f64::from(n);
        assert!(expected > 1e-6, "{expected}");
        let found = gap(&model, &batch);
        assert!((found - expected).abs() < 1e-4 * expected, "{found}, expected {expected}");
    }

    #[test]
    fn rows_do_not_see_each_other() {
        let model = model(2, 2);
        let rows: [(&[u32], usize); 2] =
            [(&[2, 5, 3, 10, 3], 3), (&[2, 7, 8, 9, 3, 4, 4, 12, 3], 5)];
        let (a, b) = (gap(&model, &batch(&rows[..1])), gap(&model, &batch(&rows[1..])));
        let expected = (25.0 * a + 81.0 * b) / 106.0;
        let found = gap(&model, &batch(&rows));
        assert!((found - expected).abs() < 1e-4 * expected, "{found}, expected {expected}");
    }

    #[test]
    fn without_a_compressor_or_a_layer_above_it_there_is_none() {
        let rows = batch(&[(&[2, 5, 3, 10, 3], 3)]);
        assert!(model(0, 1).attention_gap(&rows, &Device::flex()).is_none());
        assert!(model(3, 3).attention_gap(&rows, &Device::flex()).is_none());
    }
}
