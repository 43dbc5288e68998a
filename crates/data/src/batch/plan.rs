//! Row lengths into batches of similar lengths, so that little is padded.

use std::cmp::Reverse;

/// Gathers rows of similar length in batches of at most `max_tokens` tokens, padding included.
///
/// Returns the indices into `lengths`, longest rows first (equal lengths in their given order), so that
/// the batch that needs the most memory is the first to run. A batch costs its number of rows times its
/// longest row, which is what a model that pads computes; a row longer than the budget goes alone.
/// Every index occurs exactly once: write result `j` of batch `b` to `plan[b][j]` to restore the order.
///
/// ```
/// assert_eq!(tamis_data::batch::plan(&[2, 5, 3, 9], 6), [vec![3], vec![1], vec![2, 0]]);
/// ```
#[must_use]
pub fn plan(lengths: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| Reverse(lengths[row]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for row in order {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1).saturating_mul(lengths[batch[0]]) <= max_tokens => {
                batch.push(row);
            }
            _ => batches.push(vec![row]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_once_within_budget_in_order_of_length(
            lengths in prop::collection::vec(0usize..40, 0..60),
            max_tokens in 0usize..120,
        ) {
            let batches = plan(&lengths, max_tokens);
            let flat: Vec<usize> = batches.concat();
            let mut sorted = flat.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..lengths.len()).collect::<Vec<_>>());
            for pair in flat.windows(2) {
                let (a, b) = (pair[0], pair[1]);
                prop_assert!(lengths[a] > lengths[b] || (lengths[a] == lengths[b] && a < b));
            }
            for batch in &batches {
                let longest = batch.iter().map(|&row| lengths[row]).max().unwrap();
                prop_assert!(batch.len() == 1 || batch.len() * longest <= max_tokens);
            }
            // Greedy: the first row of a batch would not have fitted into the batch before.
            for pair in batches.windows(2) {
                prop_assert!((pair[0].len() + 1) * lengths[pair[0][0]] > max_tokens);
            }
        }
    }
}
