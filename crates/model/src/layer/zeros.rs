//! Parameters that take no memory until somebody reads them: most are replaced by those of a checkpoint before.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor};

/// A parameter of zeros.
pub(crate) fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    let make = move |device: &Device, requires_grad| {
        let zeros = Tensor::zeros(shape, device);
        // Only tensors that are differentiated can be asked for a gradient.
        if requires_grad && zeros.is_autodiff() { zeros.require_grad() } else { zeros }
    };
    Param::uninitialized(ParamId::new(), make, device.clone(), true, shape.into())
}
