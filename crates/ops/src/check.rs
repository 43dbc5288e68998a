//! What the tests of all operations share: two functions must have equal values and gradients.

use burn::tensor::{Device, Tensor, TensorData};

/// Values between -1 and 1 that only depend on the seed.
pub(crate) fn random(shape: [usize; 2], seed: u32) -> Tensor<2> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let values: Vec<f32> = (0..shape[0] * shape[1])
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Compares values, and the gradients of every input under one random upstream gradient.
pub(crate) fn assert_same<const N: usize>(
    inputs: [Tensor<2>; N],
    fused: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    composed: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    tolerance: f32,
) {
    let run = |function: &dyn Fn([Tensor<2>; N]) -> Tensor<2>| {
        let leaves = inputs.clone().map(|input| input.autodiff().require_grad());
        let output = function(leaves.clone());
        let upstream = random(output.dims(), 99).autodiff();
        let grads = (output.clone() * upstream).sum().backward();
        let mut all = vec![output.inner()];
        all.extend(
            leaves.iter().map(|leaf| leaf.grad(&grads).expect("every input has a gradient")),
        );
        all
    };
    for (index, (a, b)) in run(&fused).into_iter().zip(run(&composed)).enumerate() {
        assert_eq!(a.dims(), b.dims());
        let worst: f32 = (a - b).abs().max().into_scalar();
        assert!(worst <= tolerance, "tensor {index} (0 = value) differs by {worst:e}");
    }
}
