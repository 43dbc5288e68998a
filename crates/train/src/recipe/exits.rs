//! `[train.exits]`: how a model with several exits learns, and with how many tokens.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tamis_loss::Cascade;
use tamis_model::Effort;

/// What every exit learns, and the widths that are drawn for every micro-batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExitRecipe {
    /// Who teaches whom.
    pub loss: Cascade,
    /// So many tokens of a document may become one; each is as likely.
    pub ratios: Vec<usize>,
    /// Depths at which documents may be shortened.
    pub compress_layers: Vec<usize>,
    /// How likely each of them is kept.
    pub keep: f64,
}

impl Default for ExitRecipe {
    fn default() -> Self {
        let loss = Cascade::default();
        Self { loss, ratios: vec![1], compress_layers: Vec::new(), keep: 0.5 }
    }
}

impl ExitRecipe {
    /// The widths of one micro-batch: one ratio, and each layer kept or not, as the seed has it.
    pub(crate) fn effort(&self, exits: Vec<usize>, seed: u64) -> Effort {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x65_7869_7473);
        let mut layers = self.compress_layers.clone();
        layers.retain(|_| rng.random_bool(self.keep));
        let ratio = self.ratios[rng.random_range(0..self.ratios.len())];
        Effort { exits, ratio, compress_layers: layers }
    }

    pub(super) fn check(&self) -> std::result::Result<(), String> {
        if self.ratios.is_empty() || self.ratios.contains(&0) {
            return Err("train.exits.ratios: expected numbers from 1 on".to_owned());
        }
        if !(0.0..=1.0).contains(&self.keep) {
            return Err(format!("train.exits.keep: expected 0 to 1, found `{}`", self.keep));
        }
        if self.loss.every == 0 {
            return Err("train.exits.loss.every: expected 1 or more, found `0`".to_owned());
        }
        if self.compress_layers.is_empty() && self.ratios != [1] {
            return Err("train.exits.ratios: without compress_layers nothing is shortened".into());
        }
        Ok(())
    }

    /// What the model cannot do of it.
    pub(crate) fn problem(&self, depths: &[usize], n_layers: usize) -> Option<String> {
        if depths.len() < 2 {
            return Some("train.exits: the model has one exit; model.exits makes several".into());
        }
        let bad = self.compress_layers.iter().find(|&&layer| layer == 0 || layer >= n_layers)?;
        Some(format!(
            "train.exits.compress_layers: expected depths from 1 to {}, found `{bad}`",
            n_layers - 1
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_drawn_as_often_as_they_should_be() {
        let recipe = ExitRecipe {
            ratios: vec![1, 2, 4, 8],
            compress_layers: vec![4, 8, 12],
            ..ExitRecipe::default()
        };
        let n = 4000;
        let (mut kept, mut whole) = (0, 0);
        for seed in 0..n {
            let effort = recipe.effort(vec![4], seed);
            kept += effort.compress_layers.len();
            whole += usize::from(!effort.compresses());
            assert_eq!(effort, recipe.effort(vec![4], seed));
        }
        assert!((kept as f64 / (3.0 * n as f64) - 0.5).abs() < 0.03, "{kept}");
        // One in four by the ratio, and of the others one in eight by the layers.
        assert!((whole as f64 / n as f64 - (0.25 + 0.75 / 8.0)).abs() < 0.03, "{whole}");
    }
}
