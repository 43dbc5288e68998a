#![doc = include_str!("../README.md")]

mod bce;
mod input;
mod kl;
mod lce;
mod margin_mse;
mod masked;
mod mse;
mod objective;

pub use bce::Bce;
pub use input::{LossInput, ShapeError};
pub use kl::KlDivergence;
pub use lce::Lce;
pub use margin_mse::MarginMse;
pub use mse::{Mse, Space};
pub use objective::{Loss, Objective, Term};
