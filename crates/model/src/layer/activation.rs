//! The activations that configuration files name.

use burn::tensor::{Tensor, activation};
use serde::Deserialize;
use tamis_ops::Gate;

/// The function between the two linear maps of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Activation {
    /// `gelu`: exact.
    #[serde(rename = "gelu", alias = "gelu_python")]
    Gelu,
    /// `gelu_new`, `gelu_pytorch_tanh`: the tanh approximation.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluTanh,
    /// `relu`
    #[serde(rename = "relu")]
    Relu,
    /// `silu`
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    /// `tanh`
    #[serde(rename = "tanh")]
    Tanh,
}

impl Activation {
    /// The names that configuration files may use.
    pub(crate) const NAMES: &str = "`gelu`, `gelu_new`, `relu`, `silu` or `tanh`";

    /// The activation that a configuration file names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
    }

    /// Applies the function to every element.
    #[must_use]
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => tamis_ops::gelu(x),
            Self::GeluTanh => activation::gelu_approximate(x),
            Self::Relu => activation::relu(x),
            Self::Silu => activation::silu(x),
            Self::Tanh => x.tanh(),
        }
    }

    /// Multiplies the second half of every row by the function of the first: `[rows, 2 * inner]` into
    /// `[rows, inner]`.
    pub(super) fn gated(self, x: Tensor<2>) -> Tensor<2> {
        if let Some(gate) = self.gate() {
            return tamis_ops::gated(x, gate);
        }
        let inner = x.dims()[1] / 2;
        self.forward(x.clone().narrow(1, 0, inner)) * x.narrow(1, inner, inner)
    }

    /// The same function as a fused gate, if there is one.
    pub(super) fn gate(self) -> Option<Gate> {
        match self {
            Self::Gelu => Some(Gate::Gelu),
            Self::GeluTanh => Some(Gate::GeluTanh),
            Self::Silu => Some(Gate::Silu),
            Self::Relu | Self::Tanh => None,
        }
    }

    /// The same function as the end of a packed linear map.
    pub(super) fn fused(self) -> tamis_ops::Activation {
        match self {
            Self::Gelu => tamis_ops::Activation::Gelu,
            Self::GeluTanh => tamis_ops::Activation::GeluTanh,
            Self::Relu => tamis_ops::Activation::Relu,
            Self::Silu => tamis_ops::Activation::Silu,
            Self::Tanh => tamis_ops::Activation::Tanh,
        }
    }
}
