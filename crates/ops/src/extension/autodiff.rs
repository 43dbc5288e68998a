//! The operations under autodiff: what each keeps for its backward step, and the step.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

use super::RerankOps;
use crate::attention::Part;
use crate::cpu::rotary::Turn;
use crate::disentangled::Met;
use crate::{Activation, AttentionConfig, Dropout, Gate, PackedLinear, Rotary, Rows};

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

backward!(
    RmsNormBackward,
    2,
    (FloatTensor<B>, FloatTensor<B>, f32),
    |[x_node, gamma_node], (x, gamma, epsilon), grad, grads| {
        let (dx, dgamma) = B::tamis_rms_norm_backward(x, gamma, grad, epsilon);
        for (node, grad) in [(x_node, dx), (gamma_node, dgamma)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
);

backward!(GatedBackward, 1, (FloatTensor<B>, Gate), |[node], (x, gate), grad, grads| {
    if let Some(node) = node {
        grads.register::<B>(node.id, B::tamis_gated_backward(x, grad, gate));
    }
});

backward!(
    RotaryBackward,
    1,
    (Rows, Rotary, usize, Turn),
    |[node], (rows, rotary, n_heads, turn), grad, grads| {
        if let Some(node) = node {
            let grad = B::tamis_rotary(grad, rows, rotary, n_heads, turn.back());
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

    fn tamis_rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let state = (x.primitive().clone(), gamma.primitive().clone(), epsilon);
        let output = B::tamis_rms_norm(state.0.clone(), state.1.clone(), epsilon);
        tracked!(RmsNormBackward, [x, gamma], state, output)
    }

    fn tamis_gated(x: FloatTensor<Self>, gate: Gate) -> FloatTensor<Self> {
        let state = (x.primitive().clone(), gate);
        let output = B::tamis_gated(state.0.clone(), gate);
        tracked!(GatedBackward, [x], state, output)
    }

    fn tamis_rotary(
        x: FloatTensor<Self>,
        rows: Rows,
        rotary: Rotary,
        n_heads: usize,
        turn: Turn,
    ) -> FloatTensor<Self> {
        let input = x.primitive().clone();
        let output = B::tamis_rotary(input, rows.clone(), rotary.clone(), n_heads, turn);
        tracked!(RotaryBackward, [x], (rows, rotary, n_heads, turn), output)
    }

    fn tamis_rms_norm_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("{FIRST_ORDER}")
    }

    fn tamis_gated_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Gate,
    ) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
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

    fn tamis_packed_linear_gated(
        _: FloatTensor<Self>,
        _: PackedLinear,
        _: Gate,
    ) -> FloatTensor<Self> {
        panic!("{INFERENCE}")
    }

    fn tamis_attention_after(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Rows,
        _: AttentionConfig,
        _: Part,
    ) -> FloatTensor<Self> {
        unreachable!("what is differentiated is composed")
    }

    fn tamis_disentangled_attention(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Rows,
        _: AttentionConfig,
        _: Met,
    ) -> FloatTensor<Self> {
        unreachable!("what is differentiated is composed")
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
