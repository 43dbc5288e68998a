//! Where each row of a packed batch starts and ends.

use std::sync::Arc;

/// Offsets of the rows in a packed `[tokens, ..]` matrix: row `i` is `offsets[i]..offsets[i + 1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    offsets: Arc<[u32]>,
}

impl Rows {
    /// Takes offsets as they are.
    ///
    /// # Panics
    /// When they do not start at 0 or ever decrease.
    #[must_use]
    pub fn from_offsets(offsets: &[u32]) -> Self {
        assert_eq!(offsets.first(), Some(&0), "offsets start at 0");
        assert!(offsets.is_sorted(), "offsets never decrease");
        Self { offsets: offsets.into() }
    }

    /// Rows of the given lengths, one after the other.
    #[must_use]
    pub fn from_lengths(lengths: &[u32]) -> Self {
        let mut end = 0;
        let ends = lengths.iter().map(|length| {
            end += length;
            end
        });
        Self { offsets: std::iter::once(0).chain(ends).collect() }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of all rows together.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.offsets[self.len()] as usize
    }

    /// Where each row starts, and at the end where the last one stops.
    #[must_use]
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// The length of each row.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize)
    }

    /// The length of the longest row, 0 when there is none.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.lengths().max().unwrap_or(0)
    }

    /// Cuts a flat buffer with `width` values per token into one mutable slice per row.
    pub(crate) fn split_mut<'a, T>(&self, mut flat: &'a mut [T], width: usize) -> Vec<&'a mut [T]> {
        let mut parts = Vec::with_capacity(self.len());
        for length in self.lengths() {
            let (row, rest) = flat.split_at_mut(length * width);
            parts.push(row);
            flat = rest;
        }
        parts
    }

    /// The slice of a flat buffer with `width` values per token that belongs to row `row_idx`.
    pub(crate) fn row<'a>(&self, flat: &'a [f32], width: usize, row_idx: usize) -> &'a [f32] {
        let (start, end) = (self.offsets[row_idx] as usize, self.offsets[row_idx + 1] as usize);
        &flat[start * width..end * width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_offsets_agree() {
        let rows = Rows::from_lengths(&[2, 0, 3]);
        assert_eq!(rows, Rows::from_offsets(&[0, 2, 2, 5]));
        assert_eq!((rows.len(), rows.n_tokens(), rows.longest()), (3, 5, 3));
        assert_eq!(rows.lengths().collect::<Vec<_>>(), [2, 0, 3]);
    }

    #[test]
    fn parts_are_those_of_the_rows() {
        let rows = Rows::from_lengths(&[1, 2]);
        let mut flat = [0., 1., 2., 3., 4., 5.];
        assert_eq!(rows.row(&flat, 2, 1), [2., 3., 4., 5.]);
        assert_eq!(rows.split_mut(&mut flat, 2), [&mut [0., 1.][..], &mut [2., 3., 4., 5.]]);
    }
}
