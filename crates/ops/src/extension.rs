//! The operations as a burn backend extension: routed to the CPU kernels, with backward passes for autodiff.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Bytes, DType, Device, Shape};
use burn_flex::{FlexTensor, Layout};

use crate::cpu::panels::Finish;
use crate::cpu::{self, layer_norm::Sizes};
use crate::{Activation, AttentionConfig, Dropout, PackedLinear, Rows};

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
    fn tamis_attention_backward(
        qkv: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        rows: Rows,
        config: AttentionConfig,
        dropout: Dropout,
    ) -> FloatTensor<Self>;
}

/// Whether tensors of this device go through the CPU kernels.
pub(crate) fn has_kernels(device: &Device, dtype: DType) -> bool {
    dtype == DType::F32 && device.clone().inner() == Device::flex()
}

pub(crate) type Routed = Dispatch;

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
        let context = cpu::attention::forward(qkv.values(), &rows, config, dropout);
        float(context, [n_tokens, config.n_heads * config.width])
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
}

/// Names a backward step: its state, and how it turns the gradient of the output into gradients of
/// its inputs. An input that no parameter depends on has no node and costs nothing.
macro_rules! backward {
    ($name:ident, $parents:literal, $state:ty, |$nodes:pat_param, $state_name:pat_param, $grad:ident, $grads:ident| $body:block) => {
        #[derive(Debug)]
        struct $name;

        impl<B: Backend + RerankOps> Backward<B, $parents> for $name {
            type State = $state;

            fn backward(
                self,
                ops: Ops<Self::State, $parents>,
                $grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let $nodes = ops.parents;
                let $state_name = ops.state;
                let $grad = $grads.consume::<B>(&ops.node);
                $body
            }
        }
    };
}

backward!(GeluBackward, 1, FloatTensor<B>, |[node], x, grad, grads| {
    if let Some(node) = node {
        grads.register::<B>(node.id, B::tamis_gelu_backward(x, grad));
    }
});

backward!(DropoutBackward, 1, Dropout, |[node], dropout, grad, grads| {
    if let Some(node) = node {
        grads.register::<B>(node.id, B::tamis_dropout(grad, dropout));
    }
});

backward!(AddDropoutBackward, 2, Dropout, |[x, residual], dropout, grad, grads| {
    if let Some(node) = x {
        grads.register::<B>(node.id, B::tamis_dropout(grad.clone(), dropout));
    }
    if let Some(node) = residual {
        grads.register::<B>(node.id, grad);
    }
});

backward!(
    LinearBackward,
    3,
    (FloatTensor<B>, FloatTensor<B>),
    |[x_node, weight_node, bias_node], (x, weight), grad, grads| {
        if let Some(node) = weight_node {
            grads.register::<B>(node.id, B::tamis_linear_weight_backward(x, grad.clone()));
        }
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, B::tamis_column_sum(grad.clone()));
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::tamis_linear_input_backward(weight, grad));
        }
    }
);

backward!(
    LayerNormBackward,
    3,
    (FloatTensor<B>, FloatTensor<B>, f32),
    |[x_node, gamma_node, beta_node], (x, gamma, epsilon), grad, grads| {
        let (dx, dgamma, dbeta) = B::tamis_layer_norm_backward(x, gamma, grad, epsilon);
        for (node, grad) in [(x_node, dx), (gamma_node, dgamma), (beta_node, dbeta)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
);

backward!(
    AttentionBackward,
    1,
    (FloatTensor<B>, Rows, AttentionConfig, Dropout),
    |[node], (qkv, rows, config, dropout), grad, grads| {
        if let Some(node) = node {
            let grad = B::tamis_attention_backward(qkv, grad, rows, config, dropout);
            grads.register::<B>(node.id, grad);
        }
    }
);

/// Runs the forward function of the inner backend and, where something is to be learnt, notes the
/// backward step with its state.
macro_rules! tracked {
    ($step:ident, [$($parent:expr),*], $state:expr, $output:expr) => {
        match $step.prepare::<C>([$($parent.node()),*]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish($state, $output),
            OpsKind::UnTracked(prep) => prep.finish($output),
        }
    };
}

const INFERENCE: &str = "packed linear maps are for inference: they have no gradient";

const FIRST_ORDER: &str = "only first derivatives are defined for fused operations";

impl<B: Backend + RerankOps, C: CheckpointStrategy> RerankOps for Autodiff<B, C> {
    fn tamis_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let input = x.primitive().clone();
        let output = B::tamis_gelu(input.clone());
        tracked!(GeluBackward, [x], input, output)
    }

    fn tamis_dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let output = B::tamis_dropout(x.primitive().clone(), dropout);
        tracked!(DropoutBackward, [x], dropout, output)
    }

    fn tamis_add_dropout(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        let output =
            B::tamis_add_dropout(x.primitive().clone(), residual.primitive().clone(), dropout);
        tracked!(AddDropoutBackward, [x, residual], dropout, output)
    }

    fn tamis_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let state = (x.primitive().clone(), weight.primitive().clone());
        let output = B::tamis_linear(state.0.clone(), state.1.clone(), bias.primitive().clone());
        tracked!(LinearBackward, [x, weight, bias], state, output)
    }

    fn tamis_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let state = (x.primitive().clone(), gamma.primitive().clone(), epsilon);
        let beta_value = beta.primitive().clone();
        let output = B::tamis_layer_norm(state.0.clone(), state.1.clone(), beta_value, epsilon);
        tracked!(LayerNormBackward, [x, gamma, beta], state, output)
    }

    fn tamis_attention(
        qkv: FloatTensor<Self>,
        rows: Rows,
        config: AttentionConfig,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        let state = (qkv.primitive().clone(), rows.clone(), config, dropout);
        let output = B::tamis_attention(state.0.clone(), rows, config, dropout);
        tracked!(AttentionBackward, [qkv], state, output)
    }

    fn tamis_packed_linear(
        _: FloatTensor<Self>,
        _: PackedLinear,
        _: Activation,
    ) -> FloatTensor<Self> {
        panic!("{INFERENCE}")
    }

    fn tamis_packed_linear_add(
        _: FloatTensor<Self>,
        _: PackedLinear,
        _: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        panic!("{INFERENCE}")
    }

    fn tamis_gelu_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
    }

    fn tamis_linear_input_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
    }

    fn tamis_linear_weight_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
    }

    fn tamis_column_sum(_: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
    }

    fn tamis_layer_norm_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("{FIRST_ORDER}")
    }

    fn tamis_attention_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Rows,
        _: AttentionConfig,
        _: Dropout,
    ) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
    }
}
