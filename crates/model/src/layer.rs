//! The layers that architectures share: parameters with a forward pass.

mod activation;
mod embedding;
mod layer_norm;
mod linear;
mod low_rank;
mod rms_norm;
mod switches;
mod zeros;

pub use activation::Activation;
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub(crate) use low_rank::{LowRank, with_seeds};
pub use rms_norm::RmsNorm;
pub(crate) use switches::{Switches, is_active, with_active};
pub(crate) use zeros::zeros;
