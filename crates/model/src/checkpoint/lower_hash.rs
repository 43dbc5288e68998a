//! The weights below the split into one hash: what stored documents depend on.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use sha2::{Digest, Sha256};

use super::parameters::{Path, values};
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;

/// Keys of `config.json` that change what weights compute.
const KEYS: [&str; 16] = [
    "activation",
    "embedding_size",
    "global_attn_every_n_layers",
    "global_rope_theta",
    "hidden_act",
    "hidden_activation",
    "layer_norm_eps",
    "layer_types",
    "local_attention",
    "local_rope_theta",
    "model_type",
    "n_heads",
    "norm_eps",
    "num_attention_heads",
    "pad_token_id",
    "rope_parameters",
];

/// The SHA-256 of embeddings, of the layers below the split and of the first half of the compressor, in
/// hexadecimal; `None` where the encoder is not split. Layers above and the head may change.
#[must_use]
pub fn lower_hash(model: &CrossEncoder, config: &Config) -> Option<String> {
    let join_layer = config.split().map(|split| split.join_layer).filter(|&layer| layer > 0)?;
    let mut hash = Sha256::new();
    for key in KEYS {
        if let Some(value) = config.key(key) {
            hash.update(format!("{key}={value}\n"));
        }
    }
    let mut visitor = Visitor { path: Path::default(), join_layer, hash };
    model.visit(&mut visitor);
    Some(visitor.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct Visitor {
    path: Path,
    join_layer: usize,
    hash: Sha256,
}

impl Visitor {
    fn is_below(&self) -> bool {
        match self.path.fields().as_slice() {
            ["encoder", _, "layers", layer, ..] => {
                layer.parse::<usize>().is_ok_and(|layer| layer < self.join_layer)
            }
            ["encoder", _, "split", _, half, ..] => *half == "down",
            ["encoder", _, table, ..] => *table != "final_norm",
            _ => false,
        }
    }
}

impl ModuleVisitor for Visitor {
    fn enter_module(&mut self, name: &str, owner: &str) {
        self.path.enter(name, owner);
    }

    fn exit_module(&mut self, _name: &str, _owner: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.is_below() {
            return;
        }
        self.hash.update(self.path.dotted());
        for value in values(param.val()) {
            self.hash.update(value.to_le_bytes());
        }
    }
}
