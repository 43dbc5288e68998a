//! Kernels on slices of `f32`: what the extension runs on the CPU.
//!
//! Work is cut into blocks whose size does not depend on the machine, and sums are taken in a fixed
//! order, so results are equal to the last bit for any number of threads.

pub(crate) mod attention;
pub(crate) mod dropout;
pub(crate) mod gated;
pub(crate) mod gelu;
pub(crate) mod layer_norm;
pub(crate) mod linear;
mod matrix;
pub(crate) mod panels;
pub(crate) mod rms_norm;
pub(crate) mod rotary;
mod scalar;
mod tile;
mod unfilled;

/// Elements that one task of an elementwise kernel takes.
const BLOCK: usize = 1 << 14;

/// The name of the kernels that this machine runs.
pub(crate) fn instructions() -> &'static str {
    tile::kernels().name
}
