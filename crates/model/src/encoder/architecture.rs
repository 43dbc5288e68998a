//! What the file of an architecture says about it, and the checks that configurations share.

use std::fmt::Debug;

use burn::tensor::Device;

use super::Encoder;
use crate::head::{Head, HeadShape};
use crate::layer::Activation;

/// An architecture with the numbers of one checkpoint.
pub(crate) trait Architecture: Debug {
    /// The class of transformers that has the classification head.
    fn class(&self) -> &'static str;

    /// The name of the encoder inside that class, before the names of its tensors.
    fn prefix(&self) -> &'static str;

    /// Why the numbers make no model, if they make none: the key, the value, what was expected.
    fn check(&self) -> Result<(), String>;

    /// The encoder with all weights zero. Only for a configuration that passed its check.
    fn encoder(&self, device: &Device) -> Encoder;

    /// The classification head of an encoder; a decoder says its [`head`](Self::head) itself. Only for a
    /// configuration that passed its check.
    fn head_shape(&self) -> Option<HeadShape> {
        None
    }

    /// The head with all weights zero. Only for a configuration that passed its check.
    fn head(&self, n_labels: usize, device: &Device) -> Head {
        self.head_shape().expect("an encoder has a head of a shape").zeros(n_labels, device)
    }

    /// Width of a hidden state.
    fn hidden(&self) -> usize {
        self.head_shape().expect("an encoder has a head of a shape").hidden
    }

    /// The names under which a checkpoint holds a parameter of the encoder, without the prefix, to be
    /// joined along the outputs. The path is that of the module's fields.
    fn encoder_tensors(&self, path: &[&str]) -> Vec<String>;

    /// The name under which a checkpoint holds a parameter of the head.
    fn head_tensor(&self, path: &[&str]) -> String;

    /// How many outputs each of these tensors has, unless they share the outputs equally.
    fn shares(&self, _path: &[&str]) -> Option<Vec<usize>> {
        None
    }

    /// The rows that the head takes of its tensor, unless it takes all.
    fn head_rows(&self) -> Option<Vec<usize>> {
        None
    }

    /// Whether transformers leaves out this tensor too when it loads the class.
    fn leaves_out(&self, _name: &str) -> bool {
        false
    }

    /// Entries of the word table.
    fn n_words(&self) -> usize;

    /// The longest row that there are positions for.
    fn max_positions(&self) -> usize;

    /// Layers that a forward pass goes through, where the encoder can be split between them.
    fn n_layers(&self) -> Option<usize> {
        None
    }

    /// How a new weight is drawn. The path is that of the cross-encoder's fields.
    fn draw(&self, path: &[&str]) -> Draw;
}

/// A normal distribution around 0, possibly cut off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Draw {
    /// Its standard deviation.
    pub(crate) deviation: f64,
    /// Values further from 0 than this are drawn again.
    pub(crate) cutoff: Option<f64>,
}

impl Draw {
    pub(crate) fn normal(deviation: f64) -> Self {
        Self { deviation, cutoff: None }
    }
}

pub(super) fn check_heads(hidden: (&str, usize), heads: (&str, usize)) -> Result<(), String> {
    if heads.1 == 0 || !hidden.1.is_multiple_of(heads.1) {
        return Err(format!(
            "{} `{}` is not a multiple of {} `{}`",
            hidden.0, hidden.1, heads.0, heads.1
        ));
    }
    Ok(())
}

pub(crate) fn check_dropouts(dropouts: &[f32]) -> Result<(), String> {
    match dropouts.iter().find(|p| !(0.0..1.0).contains(*p)) {
        Some(bad) => Err(format!("dropout: expected a number from 0 to below 1, found `{bad}`")),
        None => Ok(()),
    }
}

pub(crate) fn activation(key: &str, name: &str) -> Result<Activation, String> {
    Activation::named(name)
        .ok_or_else(|| format!("{key}: expected {}, found `{name}`", Activation::NAMES))
}

/// An activation of a configuration that passed its check.
pub(super) fn checked_activation(name: &str) -> Activation {
    Activation::named(name).expect("the configuration was checked")
}
