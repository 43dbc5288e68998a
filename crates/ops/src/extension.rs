//! The operations as a burn backend extension: routed to the CPU kernels, with backward passes for
//! autodiff.

mod autodiff;
mod flex;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Device};

use crate::attention::Part;
use crate::cpu::rotary::Turn;
use crate::disentangled::Met;
use crate::{Activation, AttentionConfig, Dropout, Gate, PackedLinear, Rotary, Rows};

/// What the fused operations need of a backend. The `_backward` functions return the gradients of
/// the inputs in the order of the arguments of the forward function.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait RerankOps: Backend {
    fn tamis_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn tamis_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
    fn tamis_dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self>;
    fn tamis_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    fn tamis_linear_input_backward(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    fn tamis_linear_weight_backward(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    fn tamis_column_sum(grad: FloatTensor<Self>) -> FloatTensor<Self>;
    fn tamis_packed_linear(
        x: FloatTensor<Self>,
        linear: PackedLinear,
        activation: Activation,
    ) -> FloatTensor<Self>;
    fn tamis_packed_linear_add(
        x: FloatTensor<Self>,
        linear: PackedLinear,
        other: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    fn tamis_packed_linear_gated(
        x: FloatTensor<Self>,
        linear: PackedLinear,
        gate: Gate,
    ) -> FloatTensor<Self>;
    fn tamis_add_dropout(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        dropout: Dropout,
    ) -> FloatTensor<Self>;
    fn tamis_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    fn tamis_layer_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    fn tamis_attention(
        qkv: FloatTensor<Self>,
        rows: Rows,
        config: AttentionConfig,
        dropout: Dropout,
    ) -> FloatTensor<Self>;
    fn tamis_attention_after(
        prefix: FloatTensor<Self>,
        qkv: FloatTensor<Self>,
        rows: Rows,
        config: AttentionConfig,
        part: Part,
    ) -> FloatTensor<Self>;
    fn tamis_disentangled_attention(
        qkv: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        queries: FloatTensor<Self>,
        rows: Rows,
        config: AttentionConfig,
        met: Met,
    ) -> FloatTensor<Self>;
    fn tamis_attention_backward(
        qkv: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        rows: Rows,
        config: AttentionConfig,
        dropout: Dropout,
    ) -> FloatTensor<Self>;
    fn tamis_rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
    fn tamis_rms_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    fn tamis_gated(x: FloatTensor<Self>, gate: Gate) -> FloatTensor<Self>;
    fn tamis_gated_backward(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        gate: Gate,
    ) -> FloatTensor<Self>;
    fn tamis_rotary(
        x: FloatTensor<Self>,
        rows: Rows,
        rotary: Rotary,
        n_heads: usize,
        turn: Turn,
    ) -> FloatTensor<Self>;
}

/// Whether tensors of this device go through the CPU kernels.
pub(crate) fn has_kernels(device: &Device, dtype: DType) -> bool {
    dtype == DType::F32 && device.clone().inner() == Device::flex()
}

pub(crate) type Routed = Dispatch;
