#![doc = include_str!("../README.md")]

mod attention;
#[cfg(test)]
mod check;
mod cpu;
mod disentangled;
mod dropout;
mod extension;
mod gated;
mod gelu;
mod layer_norm;
mod linear;
mod packed;
mod rms_norm;
mod rotary;
mod rows;
mod single;

pub use attention::{AttentionConfig, after_prefix, attention, attention_after};
pub use disentangled::{Distances, RelativePositions, disentangled_attention};
pub use dropout::{Dropout, dropout};
pub use gated::{Gate, gated};
pub use gelu::gelu;
pub use layer_norm::{LayerNormParams, add_layer_norm, layer_norm};
pub use linear::linear;
pub use packed::{Activation, PackedLinear, Precision, instructions};
pub use rms_norm::rms_norm;
pub use rotary::{Rotary, rotary};
pub use rows::Rows;
pub use single::in_f32;
