//! An affine map with its parameters.

use std::ops::Range;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Tensor};
use tamis_ops::{PackedLinear, Precision};

use super::{Activation, LowRank, is_active, zeros};

/// An affine map. On disk its weight is `[out, in]`, in memory `[in, out]`.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
    /// What adapters add, one after the other.
    adapters: Vec<LowRank>,
    /// The same map in the order of the CPU's kernels; then `weight` is empty.
    #[module(skip)]
    packed: Option<PackedLinear>,
    /// Whether it multiplies in single precision where others do in bfloat16.
    #[module(skip)]
    is_sensitive: bool,
}

impl Linear {
    /// All zeros, to be filled by a checkpoint or an initialisation.
    #[must_use]
    pub fn zeros(n_in: usize, n_out: usize, device: &Device) -> Self {
        Self {
            weight: zeros([n_in, n_out], device),
            bias: Some(zeros([n_out], device)),
            adapters: Vec::new(),
            packed: None,
            is_sensitive: false,
        }
    }

    /// The map of a weight, `[in, out]`, and a bias.
    pub(crate) fn of(weight: Tensor<2>, bias: Tensor<1>) -> Self {
        Self {
            weight: Param::from_tensor(weight),
            bias: Some(Param::from_tensor(bias)),
            adapters: Vec::new(),
            packed: None,
            is_sensitive: false,
        }
    }

    /// The same, to multiply in single precision where others do in bfloat16.
    #[must_use]
    pub(crate) fn sensitive(self) -> Self {
        Self { is_sensitive: true, ..self }
    }

    /// The same without a bias, or with one.
    #[must_use]
    pub(crate) fn zeros_with(n_in: usize, n_out: usize, bias: bool, device: &Device) -> Self {
        let linear = Self::zeros(n_in, n_out, device);
        if bias { linear } else { Self { bias: None, ..linear } }
    }

    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - result: `[rows, out]`
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = match &self.packed {
            Some(packed) => packed.forward(x.clone(), tamis_ops::Activation::Identity),
            None => tamis_ops::linear(x.clone(), self.weight.val(), self.bias()),
        };
        self.adapted(&x, y)
    }

    /// What adapters that are in use add.
    fn adapted(&self, x: &Tensor<2>, y: Tensor<2>) -> Tensor<2> {
        let n_out = y.dims()[1];
        let add = |y, adapter: &LowRank| y + adapter.forward(x.clone(), n_out);
        self.active().fold(y, add)
    }

    fn active(&self) -> impl Iterator<Item = &LowRank> {
        self.adapters.iter().filter(|adapter| is_active(adapter.switch))
    }

    /// The map and a function of every element after it.
    ///
    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - result: `[rows, out]`
    #[must_use]
    pub fn forward_activated(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        match &self.packed {
            Some(packed) if self.active().next().is_none() => packed.forward(x, activation.fused()),
            _ => activation.forward(self.forward(x)),
        }
    }

    /// The second half of the map's outputs times a function of the first.
    ///
    /// # Shapes
    /// - `x`: `[rows, in]`
    /// - result: `[rows, out / 2]`
    #[must_use]
    pub(crate) fn forward_gated(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        let fused = match (&self.packed, activation.gate()) {
            (Some(packed), Some(gate)) if self.active().next().is_none() => {
                packed.forward_gated(x.clone(), gate)
            }
            _ => None,
        };
        fused.unwrap_or_else(|| activation.gated(self.forward(x)))
    }

    /// The map and the sum with another tensor, where that is one step; otherwise nothing.
    pub(crate) fn forward_add(&self, x: &Tensor<2>, other: &Tensor<2>) -> Option<Tensor<2>> {
        let y = self.packed.as_ref()?.forward_add(x.clone(), other.clone());
        Some(self.adapted(x, y))
    }

    /// Packs the map for inference where the device has kernels for it, and lets the weight go.
    pub fn pack(&mut self, precision: Precision) {
        if self.packed.is_some() {
            return;
        }
        self.merge();
        let precision = self.precision(precision);
        let (weight, bias) = (self.weight.val(), self.bias());
        let device = weight.device();
        self.packed = PackedLinear::new(weight, bias, precision);
        if self.packed.is_some() {
            self.weight = zeros([0, 0], &device);
        }
    }

    /// Packs a weight that is read a few outputs at a time, for the CPU; the bias is the one that is there.
    pub(crate) fn pack_rows(
        &mut self,
        precision: Precision,
        read: impl FnMut(Range<usize>, &mut Vec<f32>),
    ) {
        let ((_, [n_in, _]), device) = (self.weight_shape(), self.device());
        let bias = self.bias().into_data().convert::<f32>();
        let bias = bias.try_into_vec().expect("the data was just made f32");
        let precision = self.precision(precision);
        self.packed = Some(PackedLinear::from_rows(n_in, bias, precision, read));
        self.weight = zeros([0, 0], &device);
    }

    /// In which numbers this map multiplies where others do in these.
    fn precision(&self, precision: Precision) -> Precision {
        match precision {
            Precision::Bf16 if self.is_sensitive => Precision::F32,
            other => other,
        }
    }

    /// The weight: `[in, out]`.
    pub(crate) fn weight(&self) -> Tensor<2> {
        self.weight.val()
    }

    /// Takes another weight of the same shape.
    pub(crate) fn fill(&mut self, weight: Tensor<2>) {
        self.weight = self.weight.clone().map(|_| weight);
    }

    /// Puts another adapter on the map.
    pub(crate) fn adapt(&mut self, adapter: LowRank) {
        self.adapters.push(adapter);
    }

    /// What adapters add.
    pub(crate) fn adapters(&self) -> &[LowRank] {
        &self.adapters
    }

    /// Adds the adapters that are always used to the weight and lets them go.
    pub(crate) fn merge(&mut self) {
        for adapter in std::mem::take(&mut self.adapters) {
            if adapter.switch.is_some() {
                self.adapters.push(adapter);
                continue;
            }
            let weight = self.weight.val();
            let (n_out, device) = (weight.dims()[1], weight.device());
            self.weight = self.weight.clone().map(|w| w + adapter.weight(n_out, &device));
        }
    }

    /// Where the parameters are.
    pub(crate) fn device(&self) -> Device {
        self.weight.lazy_device()
    }

    /// The identity of the weight, and its inputs and outputs.
    pub(crate) fn weight_shape(&self) -> (ParamId, [usize; 2]) {
        (self.weight.id, self.weight.lazy_shape().dims())
    }

    /// The weight, `[in, out]`, and the bias, or zeros. Only before the map is packed.
    pub(crate) fn parameters(&self) -> (Tensor<2>, Tensor<1>) {
        (self.weight.val(), self.bias())
    }

    /// The bias, or zeros.
    fn bias(&self) -> Tensor<1> {
        match &self.bias {
            Some(bias) => bias.val(),
            None => {
                let (_, [_, n_out]) = self.weight_shape();
                let dtype = match self.weight.is_initialized() {
                    true => self.weight.val().dtype(),
                    false => DType::F32,
                };
                Tensor::zeros([n_out], (&self.device(), dtype))
            }
        }
    }
}
