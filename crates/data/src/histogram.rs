//! Labels into counts by range, to be seen before a training begins.

use std::fmt;

/// How many labels lie in each of several equal ranges.
///
/// ```
/// use tamis_data::LabelHistogram;
///
/// let histogram = LabelHistogram::of([0.0, 0.1, 0.5, 1.0, 1.0]);
/// assert_eq!(histogram.counts(), [2, 0, 1, 0, 2]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LabelHistogram {
    least: f32,
    greatest: f32,
    counts: [u64; 5],
}

impl LabelHistogram {
    /// Counts labels in fifths of 0 to 1; where labels go beyond, from the least to the greatest.
    #[must_use]
    pub fn of(labels: impl IntoIterator<Item = f32>) -> Self {
        let labels: Vec<f32> = labels.into_iter().filter(|label| label.is_finite()).collect();
        let least = labels.iter().copied().fold(0.0, f32::min);
        let greatest = labels.iter().copied().fold(1.0, f32::max);
        let mut counts = [0; 5];
        for label in labels {
            let place = (label - least) / (greatest - least) * counts.len() as f32;
            counts[(place as usize).min(counts.len() - 1)] += 1;
        }
        Self { least, greatest, counts }
    }

    /// How many labels each range has, the lowest first. A border belongs to the range above it.
    #[must_use]
    pub fn counts(&self) -> [u64; 5] {
        self.counts
    }
}

impl fmt::Display for LabelHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1);
        let spark: String =
            self.counts.iter().map(|&count| BARS[(count * 8).div_ceil(most) as usize]).collect();
        let step = (self.greatest - self.least) / self.counts.len() as f32;
        write!(f, "labels {spark}")?;
        for (index, count) in self.counts.iter().enumerate() {
            let start = self.least + step * index as f32;
            write!(f, "  {start:.1}..{:.1}: {count}", start + step)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_what_it_counts() {
        let labels = [0.0; 8].into_iter().chain([0.3, 0.9, 1.0, f32::NAN]);
        let shown = LabelHistogram::of(labels).to_string();
        assert_eq!(
            shown,
            "labels █▁  ▂  0.0..0.2: 8  0.2..0.4: 1  0.4..0.6: 0  0.6..0.8: 0  0.8..1.0: 2"
        );
        assert_eq!(LabelHistogram::of([]).counts(), [0; 5]);
    }

    #[test]
    fn levels_beyond_one_widen_the_ranges() {
        let levels = LabelHistogram::of([0.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(levels.counts(), [1, 1, 0, 1, 2]);
        assert_eq!(LabelHistogram::of([-1.0, 1.0]).counts(), [1, 0, 0, 0, 1]);
    }
}
