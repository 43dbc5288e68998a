//! How much of a decoder a request pays for: how deep it goes, and how many tokens it carries along.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which layers give scores, and where documents are shortened on the way.
///
/// ```
/// use tamis_model::Effort;
///
/// let cheap = Effort { exits: vec![16], ratio: 2, compress_layers: vec![8] };
/// assert!(cheap.compresses() && !Effort::default().compresses());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Effort {
    /// Depths that give scores: so many layers are below each. Empty for the model's deepest alone.
    pub exits: Vec<usize>,
    /// So many tokens of a document become one, at every compress layer. A document of fewer becomes
    /// one token.
    pub ratio: usize,
    /// Depths before whose layer documents are shortened. Those at or above the deepest exit have no
    /// effect.
    pub compress_layers: Vec<usize>,
}

impl Default for Effort {
    fn default() -> Self {
        Self { exits: Vec::new(), ratio: 1, compress_layers: Vec::new() }
    }
}

impl Effort {
    /// Whether any document is shortened.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.ratio > 1 && !self.compress_layers.is_empty()
    }

    /// The exits in order of depth, each once, against those that a model has.
    pub(crate) fn exits_of(&self, known: &[usize], n_layers: usize) -> Result<Vec<usize>> {
        let bad = |problem: String| Err(Error::Effort { problem });
        if self.ratio == 0 {
            return bad("ratio: expected 1 or more, found `0`".to_owned());
        }
        if let Some(layer) = self.compress_layers.iter().find(|&&l| l == 0 || l >= n_layers) {
            return bad(format!(
                "compress_layers: expected depths from 1 to {}, found `{layer}`",
                n_layers.saturating_sub(1)
            ));
        }
        if let Some(exit) = self.exits.iter().find(|exit| !known.contains(exit)) {
            let list: Vec<String> = known.iter().map(usize::to_string).collect();
            return bad(format!("exit {exit} was not trained; there are {}", list.join(", ")));
        }
        let mut exits = self.exits.clone();
        exits.sort_unstable();
        exits.dedup();
        if exits.is_empty() {
            exits.extend(known.last());
        }
        Ok(exits)
    }
}

/// Behaviour of the systems that a checkpoint was trained with, for those who need their numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compatibility {
    /// Which head an exit has.
    pub heads: HeadOrder,
    /// Whose attention weighs the tokens that are merged.
    pub weights: TokenWeights,
}

/// Which head an exit has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadOrder {
    /// The one that was trained at its depth.
    #[default]
    ByDepth,
    /// The first of the requested exits has the first head, and so on, as in the published code.
    ByOrder,
}

/// How much each token counts among those that it is merged with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenWeights {
    /// The attention of the row's last token in the layer below, or all alike, as the model's own
    /// code has it.
    #[default]
    OfModel,
    /// The attention of the last token of the row.
    LastToken,
    /// The attention of the last place of the padded batch, as in the published code: scores then
    /// depend on the rows of a batch.
    LastColumn,
    /// All alike.
    Mean,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_sorted_and_checked() {
        let effort = |exits: &[usize], ratio, layers: &[usize]| Effort {
            exits: exits.to_vec(),
            ratio,
            compress_layers: layers.to_vec(),
        };
        let known = [2, 4, 6];
        assert_eq!(effort(&[6, 2, 6], 1, &[]).exits_of(&known, 6).unwrap(), [2, 6]);
        assert_eq!(effort(&[], 1, &[]).exits_of(&known, 6).unwrap(), [6]);
        for (effort, problem) in [
            (effort(&[3], 1, &[]), "exit 3 was not trained; there are 2, 4, 6"),
            (effort(&[], 0, &[]), "ratio: expected 1 or more, found `0`"),
            (effort(&[], 2, &[0]), "compress_layers: expected depths from 1 to 5, found `0`"),
            (effort(&[], 2, &[6]), "compress_layers: expected depths from 1 to 5, found `6`"),
        ] {
            assert_eq!(effort.exits_of(&known, 6).unwrap_err().to_string(), problem);
        }
    }
}
