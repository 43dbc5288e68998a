//! Scores of rows laid out as groups: `[groups, candidates]` with a mask.

use burn::tensor::{Bool, Int, Tensor, TensorData};

/// One logit per row, and which rows make a group.
#[derive(Debug, Clone)]
pub struct Scores {
    rows: Tensor<1>,
    group_offsets: Vec<u32>,
}

impl Scores {
    /// Takes `[rows]` logits and the offsets of the groups among them.
    ///
    /// # Panics
    /// When the last offset is not the number of rows.
    #[must_use]
    pub fn new(rows: Tensor<1>, group_offsets: &[u32]) -> Self {
        let [n_rows] = rows.dims();
        assert_eq!(
            group_offsets.last().map(|&end| end as usize),
            Some(n_rows),
            "groups cover rows"
        );
        Self { rows, group_offsets: group_offsets.to_vec() }
    }

    /// The logits as they came: `[rows]`.
    #[must_use]
    pub fn rows(&self) -> Tensor<1> {
        self.rows.clone()
    }

    /// The same in places: scores and mask, both `[groups, candidates]`, with as many candidates as
    /// the largest group has. Where the mask is `false` the score means nothing.
    #[must_use]
    pub fn grouped(&self) -> (Tensor<2>, Tensor<2, Bool>) {
        let device = self.rows.device();
        let groups = || self.group_offsets.windows(2).map(|pair| (pair[0], pair[1]));
        let n_groups = self.group_offsets.len() - 1;
        let n_candidates = groups().map(|(start, end)| end - start).max().unwrap_or(0);
        let n_places = n_groups * n_candidates as usize;
        let (mut sources, mut present) =
            (Vec::with_capacity(n_places), Vec::with_capacity(n_places));
        for (start, end) in groups() {
            for place in start..start + n_candidates {
                present.push(place < end);
                sources.push(if place < end { place.cast_signed() } else { 0 });
            }
        }
        let sources = Tensor::<1, Int>::from_data(TensorData::new(sources, [n_places]), &device);
        let dims = [n_groups, n_candidates as usize];
        let scores = self.rows.clone().select(0, sources).reshape(dims);
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(present, dims), &device);
        (scores, mask)
    }
}
