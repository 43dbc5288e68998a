//! Ranks in several lists into one score per document.

use std::collections::BTreeMap;

use tamis_data::{DocId, ScoredDocument};

/// `sum 1 / (k + rank)`.
pub(super) fn reciprocal<'a>(lists: &[&'a [ScoredDocument]], k: f64) -> BTreeMap<&'a DocId, f64> {
    let mut fused = BTreeMap::new();
    for list in lists {
        for (index, candidate) in list.iter().enumerate() {
            *fused.entry(&candidate.document).or_insert(0.0) += 1.0 / (k + index as f64 + 1.0);
        }
    }
    fused
}

/// `factor(n) sum 1 / rank^2`, n being the number of lists that have the document.
pub(super) fn inverse_square<'a>(
    lists: &[&'a [ScoredDocument]],
    factor: fn(f64) -> f64,
) -> BTreeMap<&'a DocId, f64> {
    let mut fused: BTreeMap<&DocId, (f64, f64)> = BTreeMap::new();
    for list in lists {
        for (index, candidate) in list.iter().enumerate() {
            let (sum, n) = fused.entry(&candidate.document).or_default();
            *sum += (index as f64 + 1.0).powi(-2);
            *n += 1.0;
        }
    }
    fused.into_iter().map(|(document, (sum, n))| (document, sum * factor(n))).collect()
}

/// With c candidates in all, a list gives c points to its first, c - 1 to its second, and shares
/// what is left among those it lacks.
pub(super) fn borda<'a>(lists: &[&'a [ScoredDocument]]) -> BTreeMap<&'a DocId, f64> {
    let mut fused: BTreeMap<&DocId, f64> = BTreeMap::new();
    for candidate in lists.iter().copied().flatten() {
        fused.insert(&candidate.document, 0.0);
    }
    let n_candidates = fused.len() as f64;
    let rest = |list: &[ScoredDocument]| (n_candidates - list.len() as f64 + 1.0) / 2.0;
    let base: f64 = lists.iter().map(|list| rest(list)).sum();
    for points in fused.values_mut() {
        *points = base;
    }
    for list in lists {
        for (index, candidate) in list.iter().enumerate() {
            let points = fused.entry(&candidate.document).or_default();
            *points += n_candidates - index as f64 - rest(list);
        }
    }
    fused
}

/// Orders documents by majority votes. Votes can run in circles, so the outcome depends on where
/// the sort starts: from the order of [`borda`], and it is a merge sort.
pub(super) fn condorcet<'a>(lists: &[&'a [ScoredDocument]]) -> BTreeMap<&'a DocId, f64> {
    let mut start: Vec<(&DocId, f64)> = borda(lists).into_iter().collect();
    start.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| b.cmp(a)));
    let mut ranks: BTreeMap<&DocId, Vec<usize>> = BTreeMap::new();
    for (run, list) in lists.iter().enumerate() {
        for (index, candidate) in list.iter().enumerate() {
            let entry = ranks.entry(&candidate.document);
            entry.or_insert_with(|| vec![usize::MAX; lists.len()])[run] = index;
        }
    }
    let ballots: Vec<(&DocId, &[usize])> =
        start.iter().map(|(document, _)| (*document, ranks[document].as_slice())).collect();
    let order = merge_sort(&ballots);
    let n = order.len();
    order.into_iter().enumerate().map(|(index, (id, _))| (id, (n - index) as f64)).collect()
}

type Ballot<'a, 'b> = (&'a DocId, &'b [usize]);

fn merge_sort<'a, 'b>(ballots: &[Ballot<'a, 'b>]) -> Vec<Ballot<'a, 'b>> {
    if ballots.len() < 2 {
        return ballots.to_vec();
    }
    let (left, right) = ballots.split_at(ballots.len() / 2);
    let (left, right) = (merge_sort(left), merge_sort(right));
    let mut merged = Vec::with_capacity(ballots.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let pairs = || a.1.iter().zip(b.1);
        let (for_a, for_b) =
            (pairs().filter(|(a, b)| a < b).count(), pairs().filter(|(a, b)| b < a).count());
        merged.extend(if for_b > for_a { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    merged
}
