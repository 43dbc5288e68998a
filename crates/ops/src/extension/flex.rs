//! The operations on the CPU: tensors into slices, kernels, and back.

use burn::backend::Flex;
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use super::RerankOps;
use crate::attention::Part;
use crate::cpu::panels::Finish;
use crate::cpu::rotary::Turn;
use crate::cpu::{self, layer_norm::Sizes};
use crate::disentangled::Met;
use crate::{Activation, AttentionConfig, Dropout, Gate, PackedLinear, Rotary, Rows};

fn float(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape.into()), DType::F32)
}

/// A contiguous tensor whose storage is exactly its elements.
struct Contiguous(FlexTensor);

impl Contiguous {
    fn new(tensor: FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    fn values(&self) -> &[f32] {
        self.0.as_slice().expect("a contiguous f32 tensor")
    }

    /// The same to change them; where others hold the tensor too, they keep a copy.
    fn values_mut(&mut self) -> &mut [f32] {
        self.0.storage_mut()
    }

    fn shape(&self) -> Shape {
        self.0.layout().shape().clone()
    }

    /// Rows and columns when all dimensions but the last are taken together.
    fn matrix(&self) -> (usize, usize) {
        let shape = self.shape();
        let width = shape[shape.num_dims() - 1];
        (shape.num_elements() / width.max(1), width)
    }
}

impl RerankOps for Flex {
    fn tamis_gelu(x: FlexTensor) -> FlexTensor {
        let x = Contiguous::new(x);
        float(cpu::gelu::forward(x.values()), x.shape())
    }

    fn tamis_gelu_backward(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let (x, grad) = (Contiguous::new(x), Contiguous::new(grad));
        float(cpu::gelu::backward(x.values(), grad.values()), x.shape())
    }

    fn tamis_dropout(x: FlexTensor, dropout: Dropout) -> FlexTensor {
        let x = Contiguous::new(x);
        float(cpu::dropout::apply(x.values(), dropout), x.shape())
    }

    fn tamis_linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let (x, weight, bias) =
            (Contiguous::new(x), Contiguous::new(weight), Contiguous::new(bias));
        let ((n_rows, n_in), (_, n_out)) = (x.matrix(), weight.matrix());
        let y = cpu::linear::forward(x.values(), weight.values(), bias.values(), n_in);
        float(y, [n_rows, n_out])
    }

    fn tamis_linear_input_backward(weight: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let (weight, grad) = (Contiguous::new(weight), Contiguous::new(grad));
        let ((n_in, n_out), (n_rows, _)) = (weight.matrix(), grad.matrix());
        float(cpu::linear::input_backward(weight.values(), grad.values(), n_out), [n_rows, n_in])
    }

    fn tamis_linear_weight_backward(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let (x, grad) = (Contiguous::new(x), Contiguous::new(grad));
        let ((n_rows, n_in), (_, n_out)) = (x.matrix(), grad.matrix());
        float(cpu::linear::weight_backward(x.values(), grad.values(), n_rows), [n_in, n_out])
    }

    fn tamis_column_sum(grad: FlexTensor) -> FlexTensor {
        let grad = Contiguous::new(grad);
        let (_, width) = grad.matrix();
        float(cpu::linear::column_sum(grad.values(), width), [width])
    }

    fn tamis_packed_linear(
        x: FlexTensor,
        linear: PackedLinear,
        activation: Activation,
    ) -> FlexTensor {
        let x = Contiguous::new(x);
        let panels = linear.panels();
        let y = panels.forward(x.values(), Finish::Activate(activation));
        float(y, [x.matrix().0, panels.n_out()])
    }

    fn tamis_packed_linear_add(
        x: FlexTensor,
        linear: PackedLinear,
        other: FlexTensor,
    ) -> FlexTensor {
        let (x, other) = (Contiguous::new(x), Contiguous::new(other));
        let y = linear.panels().forward(x.values(), Finish::Add(other.values()));
        float(y, other.shape())
    }

    fn tamis_packed_linear_gated(x: FlexTensor, linear: PackedLinear, gate: Gate) -> FlexTensor {
        let x = Contiguous::new(x);
        let panels = linear.panels();
        float(panels.forward(x.values(), Finish::Gate(gate)), [x.matrix().0, panels.n_out() / 2])
    }

    fn tamis_add_dropout(x: FlexTensor, residual: FlexTensor, dropout: Dropout) -> FlexTensor {
        let (x, residual) = (Contiguous::new(x), Contiguous::new(residual));
        float(cpu::dropout::add(x.values(), residual.values(), dropout), x.shape())
    }

    fn tamis_layer_norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f32,
    ) -> FlexTensor {
        let (x, gamma, beta) = (Contiguous::new(x), Contiguous::new(gamma), Contiguous::new(beta));
        let sizes = Sizes { width: x.matrix().1, epsilon };
        let y = cpu::layer_norm::forward(x.values(), gamma.values(), beta.values(), sizes);
        float(y, x.shape())
    }

    fn tamis_layer_norm_backward(
        x: FlexTensor,
        gamma: FlexTensor,
        grad: FlexTensor,
        epsilon: f32,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (x, gamma, grad) = (Contiguous::new(x), Contiguous::new(gamma), Contiguous::new(grad));
        let sizes = Sizes { width: x.matrix().1, epsilon };
        let grads = cpu::layer_norm::backward(x.values(), gamma.values(), grad.values(), sizes);
        (
            float(grads.x, x.shape()),
            float(grads.gamma, [sizes.width]),
            float(grads.beta, [sizes.width]),
        )
    }

    fn tamis_attention(
        qkv: FlexTensor,
        rows: Rows,
        config: AttentionConfig,
        dropout: Dropout,
    ) -> FlexTensor {
        let qkv = Contiguous::new(qkv);
        let (n_tokens, _) = qkv.matrix();
        let part = cpu::attention::Part::default();
        let context = cpu::attention::forward(qkv.values(), &rows, config, part, dropout);
        float(context, [n_tokens, config.n_heads * config.width])
    }

    fn tamis_attention_after(
        prefix: FlexTensor,
        qkv: FlexTensor,
        rows: Rows,
        config: AttentionConfig,
        part: Part,
    ) -> FlexTensor {
        let (prefix, qkv) = (Contiguous::new(prefix), Contiguous::new(qkv));
        let prefix = &prefix.values()[..part.n_before * config.qkv_width()];
        let queries = part.queries.as_deref();
        let part = cpu::attention::Part { prefix, queries, relative: None };
        let none = Dropout::NONE;
        let context = cpu::attention::forward(qkv.values(), &rows, config, part, none);
        let width = config.n_heads * config.width;
        let n_queries = context.len() / width;
        float(context, [n_queries, width])
    }

    fn tamis_disentangled_attention(
        qkv: FlexTensor,
        keys: FlexTensor,
        queries: FlexTensor,
        rows: Rows,
        config: AttentionConfig,
        met: Met,
    ) -> FlexTensor {
        let [qkv, keys, queries] = [qkv, keys, queries].map(Contiguous::new);
        let relative = cpu::attention::Relative {
            keys: met.keys.then(|| keys.values()),
            queries: met.queries.then(|| queries.values()),
            distances: &met.distances,
        };
        let part = cpu::attention::Part { relative: Some(relative), ..Default::default() };
        let none = Dropout::NONE;
        let context = cpu::attention::forward(qkv.values(), &rows, config, part, none);
        float(context, [rows.n_tokens(), config.n_heads * config.width])
    }

    fn tamis_attention_backward(
        qkv: FlexTensor,
        grad: FlexTensor,
        rows: Rows,
        config: AttentionConfig,
        dropout: Dropout,
    ) -> FlexTensor {
        let (qkv, grad) = (Contiguous::new(qkv), Contiguous::new(grad));
        let shape = qkv.shape();
        let (qkv, grad) = (qkv.values(), grad.values());
        float(cpu::attention::backward(qkv, grad, &rows, config, dropout), shape)
    }

    fn tamis_rms_norm(x: FlexTensor, gamma: FlexTensor, epsilon: f32) -> FlexTensor {
        let (x, gamma) = (Contiguous::new(x), Contiguous::new(gamma));
        let sizes = Sizes { width: x.matrix().1, epsilon };
        float(cpu::rms_norm::forward(x.values(), gamma.values(), sizes), x.shape())
    }

    fn tamis_rms_norm_backward(
        x: FlexTensor,
        gamma: FlexTensor,
        grad: FlexTensor,
        epsilon: f32,
    ) -> (FlexTensor, FlexTensor) {
        let (x, gamma, grad) = (Contiguous::new(x), Contiguous::new(gamma), Contiguous::new(grad));
        let sizes = Sizes { width: x.matrix().1, epsilon };
        let (dx, dgamma) =
            cpu::rms_norm::backward(x.values(), gamma.values(), grad.values(), sizes);
        (float(dx, x.shape()), float(dgamma, [sizes.width]))
    }

    fn tamis_gated(x: FlexTensor, gate: Gate) -> FlexTensor {
        let x = Contiguous::new(x);
        let (n_rows, width) = x.matrix();
        float(cpu::gated::forward(x.values(), width / 2, gate), [n_rows, width / 2])
    }

    fn tamis_gated_backward(x: FlexTensor, grad: FlexTensor, gate: Gate) -> FlexTensor {
        let (x, grad) = (Contiguous::new(x), Contiguous::new(grad));
        let (_, width) = x.matrix();
        float(cpu::gated::backward(x.values(), grad.values(), width / 2, gate), x.shape())
    }

    fn tamis_rotary(
        x: FlexTensor,
        rows: Rows,
        rotary: Rotary,
        n_heads: usize,
        turn: Turn,
    ) -> FlexTensor {
        let mut x = Contiguous::new(x);
        let (_, width) = x.matrix();
        cpu::rotary::turn_in_place(x.values_mut(), width, &rows, &rotary, n_heads, turn);
        x.0
    }
}
