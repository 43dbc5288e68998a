//! Encoded pairs into flat batches: rows of token ids without padding, gathered in groups.

mod plan;

pub use plan::plan;

/// Rows of token ids, one after the other, with the groups they belong to.
///
/// Nothing is padded here: a row has exactly its own tokens, and padding is the model's business.
/// A row of a pair has two parts, that of the query and that of the document; a row that was pushed
/// whole is one part, that of the query.
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
    parts: Vec<Parts>,
}

/// The two parts of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    /// Tokens of the query's part.
    query: u32,
    /// The position of the first token after it.
    position: u32,
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
        Self {
            ids: Vec::new(),
            type_ids: Vec::new(),
            row_offsets: vec![0],
            group_offsets: vec![0],
            parts: Vec::new(),
        }
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
        self.close_row(None, None);
    }

    /// Adds one row whose first `n_query` tokens are the query's part; the first token of the document
    /// stands at `position`.
    ///
    /// # Panics
    /// As [`Self::push_row`], and when the row is shorter than its first part.
    pub fn push_pair(&mut self, ids: &[u32], type_ids: &[u32], n_query: usize, position: usize) {
        assert_eq!(ids.len(), type_ids.len(), "one type id per token id");
        assert!(n_query <= ids.len(), "a row is no shorter than its first part");
        let (all_ids, all_type_ids) = self.open_row();
        all_ids.extend_from_slice(ids);
        all_type_ids.extend_from_slice(type_ids);
        self.close_row(Some(n_query), Some(position));
    }

    /// Adds a row of another batch, with its parts.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn push_copy(&mut self, other: &Self, row_idx: usize) {
        let (ids, type_ids) = other.row(row_idx);
        let (n_query, position) = other.parts(row_idx);
        self.push_pair(ids, type_ids, n_query, position);
    }

    /// Lets every document begin where the longest query of the batch ends, as where queries are padded
    /// to the longest.
    pub fn align_documents(&mut self) {
        let longest = self.parts.iter().map(|parts| parts.query).max().unwrap_or(0);
        self.parts.iter_mut().for_each(|parts| parts.position = longest);
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
        self.parts.clear();
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

    /// Tokens of a row's first part, and the position of the first token after it.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn parts(&self, row_idx: usize) -> (usize, usize) {
        let Parts { query, position } = self.parts[row_idx];
        (query as usize, position as usize)
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

    /// Makes everything pushed since the last row the next row. Without a number of tokens its first
    /// part is the whole row; without a position the second part follows the first.
    pub(crate) fn close_row(&mut self, n_query: Option<usize>, position: Option<usize>) {
        debug_assert_eq!(self.ids.len(), self.type_ids.len(), "one type id per token id");
        let end = u32::try_from(self.ids.len()).expect("a batch holds at most u32::MAX tokens");
        let length = end - self.row_offsets[self.n_rows()];
        let query = n_query.map_or(length, |n| n as u32);
        let position = position.map_or(query, |position| position as u32);
        self.row_offsets.push(end);
        self.parts.push(Parts { query, position });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn copies_keep_their_parts_and_documents_can_be_aligned() {
        let mut batch = Batch::new();
        batch.push_pair(&[2, 7, 3, 8, 3], &[0, 0, 0, 1, 1], 3, 9);
        batch.push_pair(&[2, 3, 8], &[0, 0, 1], 2, 2);
        batch.push_row(&[5], &[0]);
        let mut copy = Batch::new();
        (0..3).for_each(|row| copy.push_copy(&batch, row));
        assert_eq!(copy, batch);
        assert_eq!([0, 1, 2].map(|row| batch.parts(row)), [(3, 9), (2, 2), (1, 1)]);
        copy.align_documents();
        assert_eq!([0, 1, 2].map(|row| copy.parts(row)), [(3, 3), (2, 3), (1, 3)]);
    }

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
