//! Linear maps packed once for inference on the CPU, with what follows them fused.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use burn::tensor::Tensor;

use crate::Gate;
use crate::cpu::panels::Panels;
use crate::extension::{RerankOps, Routed, has_kernels};

/// In which numbers a packed linear map multiplies. Sums, biases and results are always `f32`.
///
/// What the coarser ones cost, for a MiniLM-L6 on 60,000 pairs whose scores have a deviation of 1.32: bfloat16
/// moves a score by 0.002 on average and 0.30 at most, bytes by 0.016 and 2.0; nDCG@10 over 600 queries goes from
/// .7858 to .7851 and .7865, both by chance (`benches/records/2026-11-22-forward.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// bfloat16 weights and inputs.
    Bf16,
    /// 8-bit integers: weights with one scale per output, inputs with one range per row.
    Int8,
}

impl Precision {
    /// All of them, the finest first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// How it is called on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|precision| precision.name() == text);
        known.ok_or_else(|| format!("expected f32, bf16 or int8, found `{text}`"))
    }
}

/// A function of every element of a linear map's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// `x Φ(x)`.
    Gelu,
    /// GELU's approximation with tanh.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x σ(x)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

/// A linear map whose weight lies in the order that the CPU's kernels read it.
///
/// Packing costs one pass over the weight and is done once; [`linear`](crate::linear) does it at
/// every call. There is no gradient: this is for inference.
///
/// A row's result does not depend on the rows beside it, nor on the number of threads.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use tamis_ops::{Activation, PackedLinear, Precision, gelu, linear};
///
/// let device = Device::flex();
/// let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device);
/// let (x, weight, bias) = (random([5, 32]), random([32, 48]), Tensor::<1>::zeros([48], &device));
/// let packed = PackedLinear::new(weight.clone(), bias.clone(), Precision::F32).expect("a CPU");
/// let difference = packed.forward(x.clone(), Activation::Gelu) - gelu(linear(x, weight, bias));
/// assert!(difference.abs().max().into_scalar::<f32>() < 1e-4);
/// ```
#[derive(Debug, Clone)]
pub struct PackedLinear {
    panels: Arc<Panels>,
}

impl PackedLinear {
    /// Packs a weight, or returns nothing where there are no kernels to read it: on devices other
    /// than the CPU, and in numbers other than `f32`.
    ///
    /// # Shapes
    /// - `weight`: `[in, out]`, burn's order (PyTorch's transposed)
    /// - `bias`: `[out]`
    ///
    /// # Panics
    /// When the bias is not as long as the weight is wide.
    #[must_use]
    pub fn new(weight: Tensor<2>, bias: Tensor<1>, precision: Precision) -> Option<Self> {
        if !has_kernels(&weight.device(), weight.dtype()) {
            return None;
        }
        let [_, n_out] = weight.dims();
        assert_eq!(bias.dims(), [n_out], "one bias per output");
        let values = |data: burn::tensor::TensorData| {
            data.try_into_vec::<f32>().expect("the type was checked to be f32")
        };
        let (weight, bias) = (values(weight.into_data()), values(bias.into_data()));
        Some(Self { panels: Arc::new(Panels::new(&weight, &bias, precision)) })
    }

    /// Packs a weight for the CPU without ever holding it whole in any other form: `read` appends the
    /// inputs of every output of a range, output after output, as PyTorch's files have them. Weights in
    /// 8-bit integers need their whole range, and are held once.
    ///
    /// # Panics
    /// When `read` appends fewer numbers than it is asked for.
    #[must_use]
    pub fn from_rows(
        n_in: usize,
        bias: Vec<f32>,
        precision: Precision,
        read: impl FnMut(Range<usize>, &mut Vec<f32>),
    ) -> Self {
        Self { panels: Arc::new(Panels::from_rows(n_in, bias, precision, read)) }
    }

    /// Computes `activation(x · weight + bias)`.
    ///
    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - result: `[rows, out]`
    ///
    /// # Panics
    /// When `x` has another width, another device than the CPU, or is to be differentiated.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        self.check(&x);
        let x = x.into_dispatch();
        Tensor::from_dispatch(Routed::tamis_packed_linear(x, self.clone(), activation))
    }

    /// Computes `x · weight + bias + other`.
    ///
    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - `other` and the result: `[rows, out]`
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or when the shape of `other` is not the product's.
    #[must_use]
    pub fn forward_add(&self, x: Tensor<2>, other: Tensor<2>) -> Tensor<2> {
        self.check(&x);
        assert_eq!(other.dims(), [x.dims()[0], self.panels.n_out()], "the product's shape");
        let (x, other) = (x.into_dispatch(), other.into_dispatch());
        Tensor::from_dispatch(Routed::tamis_packed_linear_add(x, self.clone(), other))
    }

    /// Computes `gated(x · weight + bias)`, the second half of the outputs times a function of the first, or
    /// nothing where the halves are no multiple of 64 wide.
    ///
    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - result: `[rows, out / 2]`
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    #[must_use]
    pub fn forward_gated(&self, x: Tensor<2>, gate: Gate) -> Option<Tensor<2>> {
        self.check(&x);
        let x = x.into_dispatch();
        let gated = || Routed::tamis_packed_linear_gated(x, self.clone(), gate);
        self.panels.has_halves().then(|| Tensor::from_dispatch(gated()))
    }

    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }

    fn check(&self, x: &Tensor<2>) {
        let [_, width] = x.dims();
        assert_eq!(width, self.panels.n_in(), "rows are as wide as the map's inputs");
    }
}

/// Names the instructions that packed linear maps use on this machine, for logs and records.
#[must_use]
pub fn instructions() -> &'static str {
    crate::cpu::instructions()
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation;

    use super::*;
    use crate::check::random;
    use crate::{gated, gelu, linear};

    fn worst(a: Tensor<2>, b: Tensor<2>) -> f32 {
        assert_eq!(a.dims(), b.dims());
        (a - b).abs().max().into_scalar()
    }

    /// A weight and a bias of widths that fill neither panels nor pairs nor quads.
    fn map(n_in: usize, n_out: usize) -> (Tensor<2>, Tensor<1>) {
        (random([n_in, n_out], 2), random([1, n_out], 3).squeeze_dim(0))
    }

    #[test]
    fn packed_maps_equal_plain_ones() {
        for (n_rows, n_in, n_out) in [(1, 1, 1), (7, 33, 17), (200, 48, 150), (13, 130, 64)] {
            let x = random([n_rows, n_in], 1);
            let (weight, bias) = map(n_in, n_out);
            let plain = linear(x.clone(), weight.clone(), bias.clone());
            for (precision, tolerance) in
                [(Precision::F32, 1e-4), (Precision::Bf16, 6e-2), (Precision::Int8, 1.5e-1)]
            {
                let packed = PackedLinear::new(weight.clone(), bias.clone(), precision).unwrap();
                let found = worst(packed.forward(x.clone(), Activation::Identity), plain.clone());
                assert!(found < tolerance, "{precision:?} {n_rows} x {n_in} x {n_out}: {found}");
                let other = random([n_rows, n_out], 4);
                let sum = packed.forward_add(x.clone(), other.clone());
                assert!(worst(sum, plain.clone() + other) < tolerance);
            }
        }
    }

    #[test]
    fn maps_that_are_read_row_by_row_are_the_same() {
        for (n_in, n_out) in [(1, 1), (33, 17), (48, 150), (130, 64)] {
            let x = random([9, n_in], 1);
            let (weight, bias) = map(n_in, n_out);
            let numbers = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().unwrap();
            let rows = numbers(weight.clone().transpose());
            let biases = numbers(bias.clone().unsqueeze());
            for precision in Precision::ALL {
                let read = |outputs: Range<usize>, out: &mut Vec<f32>| {
                    out.extend(&rows[outputs.start * n_in..outputs.end * n_in]);
                };
                let found = PackedLinear::from_rows(n_in, biases.clone(), precision, read);
                let found = found.forward(x.clone(), Activation::Silu);
                let whole = PackedLinear::new(weight.clone(), bias.clone(), precision).unwrap();
                let whole = whole.forward(x.clone(), Activation::Silu);
                found.into_data().assert_eq(&whole.into_data(), true);
            }
        }
    }

    #[test]
    fn activations_are_those_of_their_names() {
        let x = random([30, 20], 1) * 6.0;
        let (weight, bias) = map(20, 40);
        let packed = PackedLinear::new(weight.clone(), bias.clone(), Precision::F32).unwrap();
        let plain = || linear(x.clone(), weight.clone(), bias.clone());
        for (name, expected) in [
            (Activation::Gelu, gelu(plain())),
            (Activation::GeluTanh, activation::gelu_approximate(plain())),
            (Activation::Relu, activation::relu(plain())),
            (Activation::Silu, activation::silu(plain())),
            (Activation::Tanh, plain().tanh()),
        ] {
            let found = worst(packed.forward(x.clone(), name), expected);
            assert!(found < 1e-4, "{name:?}: {found}");
        }
    }

    #[test]
    fn gated_maps_equal_a_map_and_its_gate() {
        for gate in [Gate::Gelu, Gate::GeluTanh, Gate::Silu] {
            for precision in Precision::ALL {
                let x = random([101, 50], 1) * 3.0;
                let (weight, bias) = map(50, 2 * 192);
                let packed = PackedLinear::new(weight, bias, precision).unwrap();
                let found = packed.forward_gated(x.clone(), gate).unwrap();
                let apart = gated(packed.forward(x, Activation::Identity), gate);
                assert!(worst(found, apart) < 1e-4, "{gate:?}, {precision}");
            }
        }
        let (weight, bias) = map(50, 2 * 96);
        let packed = PackedLinear::new(weight, bias, Precision::F32).unwrap();
        assert!(packed.forward_gated(random([3, 50], 1), Gate::Silu).is_none());
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let x = random([101, 70], 1);
        let (weight, bias) = map(70, 90);
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let packed = PackedLinear::new(weight.clone(), bias.clone(), precision).unwrap();
            let all = packed.forward(x.clone(), Activation::Gelu);
            for row in [0, 5, 50, 100] {
                let alone = packed.forward(x.clone().narrow(0, row, 1), Activation::Gelu);
                all.clone().narrow(0, row, 1).into_data().assert_eq(&alone.into_data(), true);
            }
        }
    }

    #[test]
    fn constant_rows_and_zero_weights_survive_quantisation() {
        let device = burn::tensor::Device::flex();
        let weight = Tensor::<2>::zeros([8, 3], &device);
        let packed = PackedLinear::new(weight, Tensor::ones([3], &device), Precision::Int8);
        let y = packed.unwrap().forward(Tensor::ones([2, 8], &device) * 5.0, Activation::Identity);
        assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [1.0; 6]);
        let packed = PackedLinear::new(
            Tensor::ones([8, 3], &device),
            Tensor::zeros([3], &device),
            Precision::Int8,
        );
        let y = packed.unwrap().forward(Tensor::zeros([2, 8], &device), Activation::Identity);
        assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [0.0; 6]);
    }

    #[test]
    fn what_is_not_a_number_stays_so_in_every_precision() {
        let (weight, bias) = map(20, 5);
        let device = weight.device();
        let nan = |shape: [usize; 2]| Tensor::<2>::full(shape, f32::NAN, &device);
        let broken = Tensor::cat(vec![weight.clone(), nan([1, 5])], 0);
        let whole = Tensor::cat(vec![weight, Tensor::ones([1, 5], &device)], 0);
        let x = random([2, 21], 1);
        let bad_x = Tensor::cat(vec![x.clone().narrow(1, 0, 20), nan([2, 1])], 1);
        for precision in Precision::ALL {
            for (weight, x) in [(&broken, &x), (&whole, &bad_x)] {
                let packed = PackedLinear::new(weight.clone(), bias.clone(), precision).unwrap();
                let y = packed.forward(x.clone(), Activation::Identity).into_data();
                let y = y.try_into_vec::<f32>().unwrap();
                assert!(y.iter().all(|y| y.is_nan()), "{precision}: {y:?}");
            }
        }
    }
}
