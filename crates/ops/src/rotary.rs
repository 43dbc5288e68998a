//! Rotary positions: heads turned by an angle that grows with their place in the row.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};

use crate::cpu::rotary::Turn;
use crate::extension::{RerankOps, Routed, has_kernels};
use crate::rows::Rows;

/// The cosines and sines of every place: `[places, width / 2]` each.
///
/// # Source
/// Su et al. 2021, "RoFormer", section 3.4, with the halves of a head paired (GPT-NeoX's order), as
/// in transformers.
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Arc<[f32]>,
    sin: Arc<[f32]>,
    half: usize,
}

impl Rotary {
    /// Angles `place * frequency` for places from 0, cosines and sines times `factor` (1 but for
    /// YaRN).
    ///
    /// # Shapes
    /// - `frequencies`: half as many as a head is wide
    #[must_use]
    pub fn new(frequencies: &[f32], n_places: usize, factor: f32) -> Self {
        Self::starting_at(0, frequencies, n_places, factor)
    }

    /// The same for rows whose first token stands at a later place than 0.
    ///
    /// # Shapes
    /// - `frequencies`: half as many as a head is wide
    #[must_use]
    pub fn starting_at(first: usize, frequencies: &[f32], n_places: usize, factor: f32) -> Self {
        let table = |function: fn(f32) -> f32| {
            let places = (first..first + n_places).map(|place| place as f32);
            places
                .flat_map(|place| frequencies.iter().map(move |f| function(place * f) * factor))
                .collect()
        };
        Self { cos: table(f32::cos), sin: table(f32::sin), half: frequencies.len() }
    }

    /// Width of a head.
    #[must_use]
    pub fn width(&self) -> usize {
        2 * self.half
    }

    /// The cosines and sines of a place.
    pub(crate) fn angles(&self, place: usize) -> (&[f32], &[f32]) {
        let range = place * self.half..(place + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }

    fn n_places(&self) -> usize {
        self.cos.len() / self.half.max(1)
    }
}

/// Turns the first `n_heads` heads of every token; the columns after them stay.
///
/// # Shapes
/// - `x` and the result: `[tokens, n_heads * width + anything]`
///
/// # Panics
/// When a token is not as wide as its heads, `rows` does not cover the tokens, or a row has more
/// places than there are angles for.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use tamis_ops::{Rotary, Rows, rotary};
///
/// let x = Tensor::<2>::from_floats([[1.0, 0.0], [1.0, 0.0]], &Device::flex());
/// let quarter = Rotary::new(&[std::f32::consts::FRAC_PI_2], 2, 1.0);
/// let y = rotary(x, &Rows::from_lengths(&[2]), &quarter, 1);
/// let expected = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &Device::flex());
/// assert!((y - expected).abs().max().into_scalar::<f32>() < 1e-6);
/// ```
#[must_use]
pub fn rotary(x: Tensor<2>, rows: &Rows, angles: &Rotary, n_heads: usize) -> Tensor<2> {
    let [n_tokens, width] = x.dims();
    assert!(n_heads * angles.width() <= width, "a token is as wide as its heads");
    assert_eq!(n_tokens, rows.n_tokens(), "rows cover the tokens");
    assert!(rows.longest() <= angles.n_places(), "there are angles for every place");
    if has_kernels(&x.device(), x.dtype()) {
        return Tensor::from_dispatch(Routed::tamis_rotary(
            x.into_dispatch(),
            rows.clone(),
            angles.clone(),
            n_heads,
            Turn::Forth,
        ));
    }
    composed(x, rows, angles, n_heads)
}

fn composed(x: Tensor<2>, rows: &Rows, angles: &Rotary, n_heads: usize) -> Tensor<2> {
    let [n_tokens, width] = x.dims();
    let (device, dtype, half) = (x.device(), x.dtype(), angles.half);
    let places: Vec<i64> = rows.lengths().flat_map(|n| 0..n as i64).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [n_tokens]), &device);
    let of_tokens = |table: &[f32]| -> Tensor<3> {
        let table = TensorData::new(table.to_vec(), [angles.n_places(), half]);
        let table = Tensor::<2>::from_data(table, &device).cast(dtype);
        table.select(0, places.clone()).unsqueeze_dim(1)
    };
    let (cos, sin) = (of_tokens(&angles.cos), of_tokens(&angles.sin));
    let turned_width = n_heads * angles.width();
    let heads = x.clone().narrow(1, 0, turned_width).reshape([n_tokens, n_heads, 2 * half]);
    let (a, b) = (heads.clone().narrow(2, 0, half), heads.narrow(2, half, half));
    let first = a.clone() * cos.clone() - b.clone() * sin.clone();
    let second = b * cos + a * sin;
    let turned = Tensor::cat(vec![first, second], 2).reshape([n_tokens, turned_width]);
    if turned_width == width {
        return turned;
    }
    Tensor::cat(vec![turned, x.narrow(1, turned_width, width - turned_width)], 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_same, random};

    #[test]
    fn kernel_and_its_gradient_equal_the_composition() {
        let rows = Rows::from_lengths(&[5, 0, 40, 1]);
        let angles = Rotary::new(&[1.0, 0.3, 0.01], 40, 1.3);
        for (n_heads, width) in [(2, 12), (2, 30), (1, 6)] {
            assert_same(
                [random([46, width], 1)],
                |[x]| rotary(x, &rows, &angles, n_heads),
                |[x]| composed(x, &rows, &angles, n_heads),
                1e-5,
            );
        }
    }

    #[test]
    fn a_later_start_is_the_same_place() {
        let frequencies = [1.0, 0.3];
        let x = random([5, 4], 1);
        let whole =
            rotary(x.clone(), &Rows::from_lengths(&[5]), &Rotary::new(&frequencies, 5, 1.0), 1);
        let late = Rotary::starting_at(2, &frequencies, 3, 1.0);
        let end = rotary(x.narrow(0, 2, 3), &Rows::from_lengths(&[3]), &late, 1);
        whole.narrow(0, 2, 3).into_data().assert_eq(&end.into_data(), true);
    }
}
