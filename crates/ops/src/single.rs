//! Functions whose sums need more digits than half precision has, computed in single precision.

use burn::tensor::{DType, Tensor};

/// Applies a function in `f32` and gives its result the type of `x`.
///
/// Softmax, norms and GELU of half-precision tensors lose half of their digits otherwise. On a GPU
/// the two casts are fused with what is between them.
#[must_use]
pub fn in_f32<const D: usize>(
    x: Tensor<D>,
    function: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    let dtype = x.dtype();
    if dtype == DType::F32 {
        return function(x);
    }
    function(x.cast(DType::F32)).cast(dtype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::random;

    #[test]
    fn halves_are_summed_in_single_precision() {
        // 1000 summands of 1: bfloat16 alone stops counting at 256.
        let ones = Tensor::<2>::ones([1, 1000], &burn::tensor::Device::flex()).cast(DType::BF16);
        let sum = in_f32(ones, |x| x.sum_dim(1));
        assert_eq!(sum.dtype(), DType::BF16);
        assert_eq!(sum.cast(DType::F32).into_scalar::<f32>(), 1000.0);
        let x = random([3, 4], 1);
        let same = in_f32(x.clone(), |x| x);
        same.into_data().assert_eq(&x.into_data(), true);
    }
}
