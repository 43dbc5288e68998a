//! Rotary positions: queries and keys turned by an angle that grows with their place in the row.

use burn::tensor::{Device, Tensor, TensorData};

use crate::input::Input;

/// The cosines and sines of every token: `[tokens, 1, 1, head]` each.
///
/// # Source
/// Su et al. 2021, "RoFormer", section 3.4, with the halves of a head paired (GPT-NeoX's order), as
/// in transformers.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rotary {
    pub(super) fn new(theta: f64, head: usize, input: &Input, device: &Device) -> Self {
        let longest = input.rows.longest();
        // Rounded where transformers rounds, so that angles agree to the last bit.
        let frequencies: Vec<f32> = (0..head)
            .step_by(2)
            .map(|i| 1.0 / theta.powf(f64::from(i as f32 / head as f32)) as f32)
            .collect();
        let table = |function: fn(f32) -> f32| {
            let values: Vec<f32> = (0..longest)
                .flat_map(|place| {
                    let half = frequencies.iter().map(move |f| function(place as f32 * f));
                    half.clone().chain(half)
                })
                .collect();
            Tensor::<2>::from_data(TensorData::new(values, [longest, head]), device)
                .select(0, input.positions.clone())
                .unsqueeze_dims::<4>(&[1, 1])
        };
        Self { cos: table(f32::cos), sin: table(f32::sin) }
    }

    /// Turns the queries and keys of `[tokens, 3 * hidden]`; values stay.
    pub(super) fn turn(&self, qkv: Tensor<2>, n_heads: usize) -> Tensor<2> {
        let [n_tokens, width] = qkv.dims();
        let dtype = qkv.dtype();
        let (cos, sin) = (self.cos.clone().cast(dtype), self.sin.clone().cast(dtype));
        let head = width / 3 / n_heads;
        let parts = qkv.reshape([n_tokens, 3, n_heads, head]);
        let turned = parts.clone().narrow(1, 0, 2);
        let (first, second) =
            (turned.clone().narrow(3, 0, head / 2), turned.clone().narrow(3, head / 2, head / 2));
        let across = Tensor::cat(vec![-second, first], 3);
        let turned = turned * cos + across * sin;
        Tensor::cat(vec![turned, parts.narrow(1, 2, 1)], 1).reshape([n_tokens, width])
    }
}
