//! Encoded pairs into flat batches: rows of token ids without padding, gathered in groups.

mod plan;

pub use plan::plan;

/// Rows of token ids, one after the other, with the groups they belong to.
///
/// Nothing is padded here: a row has exactly its own tokens, and padding is the model's business.
///
/// ```
/// let mut batch = tamis_data::Batch::new();
/// batch.push_row(&[2, 7, 3], &[0, 0, 1]);
/// batch.push_row(&[2, 3], &[0, 1]);
/// batch.end_group();
/// assert_eq!((batch.n_groups(), batch.n_rows(), batch.n_tokens()), (1, 2, 5));
/// assert_eq!(batch.row(1), (&[2, 3][..], &[0, 1][..]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    row_offsets: Vec<u32>,
    group_offsets: Vec<u32>,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// A batch without rows.
    #[must_use]
    pub fn new() -> Self {
        Self { ids: Vec::new(), type_ids: Vec::new(), row_offsets: vec![0], group_offsets: vec![0] }
    }

    /// Adds one row to the group that is being filled.
    ///
    /// # Panics
    /// When there are not as many type ids as ids, or the batch would pass `u32::MAX` tokens.
    pub fn push_row(&mut self, ids: &[u32], type_ids: &[u32]) {
        assert_eq!(ids.len(), type_ids.len(), "one type id per token id");
        let (all_ids, all_type_ids) = self.open_row();
        all_ids.extend_from_slice(ids);
        all_type_ids.extend_from_slice(type_ids);
        self.close_row();
    }

    /// Closes the group that is being filled; the next row starts another.
    ///
    /// A group may be empty. Rows after the last closed group belong to none.
    pub fn end_group(&mut self) {
        self.group_offsets.push(self.n_rows() as u32);
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.type_ids.clear();
        self.row_offsets.truncate(1);
        self.group_offsets.truncate(1);
    }

    /// How many rows there are.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.row_offsets.len() - 1
    }

    /// How many groups have been closed.
    #[must_use]
    pub fn n_groups(&self) -> usize {
        self.group_offsets.len() - 1
    }

    /// How many tokens there are in all rows together.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.ids.len()
    }

    /// The token ids of all rows.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The type (segment) ids of all rows.
    #[must_use]
    pub fn type_ids(&self) -> &[u32] {
        &self.type_ids
    }

    /// The token ids and type ids of one row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row_idx: usize) -> (&[u32], &[u32]) {
        let range = self.row_offsets[row_idx] as usize..self.row_offsets[row_idx + 1] as usize;
        (&self.ids[range.clone()], &self.type_ids[range])
    }

    /// Where each row starts among the tokens, and the end: `n_rows + 1` numbers.
    #[must_use]
    pub fn row_offsets(&self) -> &[u32] {
        &self.row_offsets
    }

    /// Where each group starts among the rows, and the end: `n_groups + 1` numbers.
    #[must_use]
    pub fn group_offsets(&self) -> &[u32] {
        &self.group_offsets
    }

    /// The number of tokens of the longest row; 0 when there is none.
    #[must_use]
    pub fn longest_row(&self) -> usize {
        self.row_offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0)
    }

    /// The tail of the flat lists, to be filled and then closed by [`Self::close_row`].
    pub(crate) fn open_row(&mut self) -> (&mut Vec<u32>, &mut Vec<u32>) {
        (&mut self.ids, &mut self.type_ids)
    }

    /// Makes everything pushed since the last row the next row.
    pub(crate) fn close_row(&mut self) {
        debug_assert_eq!(self.ids.len(), self.type_ids.len(), "one type id per token id");
        let end = u32::try_from(self.ids.len()).expect("a batch holds at most u32::MAX tokens");
        self.row_offsets.push(end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_and_groups_come_back_as_pushed(
            groups in prop::collection::vec(
                prop::collection::vec(prop::collection::vec((0u32..9, 0u32..2), 0..6), 0..4),
                0..5,
            )
        ) {
            let mut batch = Batch::new();
            // A second filling must not see anything of the first.
            for _ in 0..2 {
                batch.clear();
                for group in &groups {
                    for row in group {
                        let (ids, types): (Vec<u32>, Vec<u32>) = row.iter().copied().unzip();
                        batch.push_row(&ids, &types);
                    }
                    batch.end_group();
                }
            }
            let rows: Vec<_> = groups.iter().flatten().collect();
            prop_assert_eq!(batch.n_rows(), rows.len());
            prop_assert_eq!(batch.n_groups(), groups.len());
            prop_assert_eq!(batch.longest_row(), rows.iter().map(|r| r.len()).max().unwrap_or(0));
            for (i, row) in rows.iter().enumerate() {
                let (ids, types) = batch.row(i);
                let back: Vec<_> = ids.iter().copied().zip(types.iter().copied()).collect();
                prop_assert_eq!(&back, *row);
            }
            for (i, group) in groups.iter().enumerate() {
                let size = batch.group_offsets()[i + 1] - batch.group_offsets()[i];
                prop_assert_eq!(size as usize, group.len());
            }
        }
    }
}
