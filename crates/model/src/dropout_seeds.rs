//! One seed per forward pass into one seed per place where dropout acts.

use tamis_ops::Dropout;

/// Hands out dropouts in the order of the forward pass; equal seeds, equal masks.
#[derive(Debug, Clone)]
pub struct DropoutSeeds {
    state: Option<u64>,
}

impl DropoutSeeds {
    /// Dropout acts, with masks that follow from `seed`.
    #[must_use]
    pub fn training(seed: u64) -> Self {
        Self { state: Some(seed) }
    }

    /// Dropout does nothing.
    #[must_use]
    pub fn inference() -> Self {
        Self { state: None }
    }

    /// The sequence of one block of a forward pass.
    #[must_use]
    pub fn of_block(&self, index: usize) -> Self {
        let apart = (index as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self { state: self.state.map(|state| state.wrapping_add(apart)) }
    }

    /// Another sequence that follows from the same seed.
    pub(crate) fn branch(&self) -> Self {
        Self { state: self.state.map(|state| !state.rotate_left(32)) }
    }

    /// The dropout of the next place.
    pub(crate) fn next(&mut self, probability: f32) -> Dropout {
        match &mut self.state {
            None => Dropout::NONE,
            Some(state) => {
                // Weyl sequence; the kernel mixes it.
                *state = state.wrapping_add(0xa076_1d64_78bd_642f);
                Dropout { probability, seed: *state }
            }
        }
    }
}
