//! How far training is into how deep negatives are drawn from: hard ones first, easier ones later.

use serde::{Deserialize, Serialize};

/// A depth of negatives that changes while training goes on.
///
/// The first stage's best negatives are the hardest. Starting shallow and going deep is hard to
/// easy; the other way round is easy to hard.
///
/// ```
/// use tamis_data::Curriculum;
///
/// let widening = Curriculum { from: 10, to: 100 };
/// assert_eq!([0.0, 0.5, 1.0].map(|part| widening.depth(part)), [10, 55, 100]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curriculum {
    /// The depth of the first step.
    pub from: usize,
    /// The depth of the last one.
    pub to: usize,
}

impl Curriculum {
    /// The depth when a part of all steps is done, from 0 to 1: linear between the two, at least 1.
    #[must_use]
    pub fn depth(&self, part: f64) -> usize {
        let (from, to) = (self.from as f64, self.to as f64);
        let part = if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) };
        ((from + (to - from) * part).round() as usize).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_either_way_and_stays_inside() {
        let hard_to_easy = Curriculum { from: 5, to: 50 };
        let depths: Vec<usize> =
            (0..=20).map(|i| hard_to_easy.depth(f64::from(i) / 20.0)).collect();
        assert!(depths.is_sorted());
        assert_eq!((depths[0], depths[20]), (5, 50));
        let easy_to_hard = Curriculum { from: 50, to: 0 };
        assert_eq!(easy_to_hard.depth(1.0), 1, "there is always something to draw from");
        assert_eq!([-1.0, 2.0, f64::NAN].map(|part| hard_to_easy.depth(part)), [5, 50, 5]);
    }
}
