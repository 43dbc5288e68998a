//! Where the document of every row is, before and after its tokens are merged.

use std::ops::Range;

use tamis_ops::Rows;

/// The document's tokens in every row, by their places in the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spans {
    documents: Vec<Range<usize>>,
}

/// The tokens that every new token is made of, by their places among all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merge {
    /// Where the document's groups are: first token and number of tokens.
    pub(super) groups: Vec<(usize, usize)>,
    /// For every new token the old one that it is, or the group.
    pub(super) tokens: Vec<Source>,
    pub(super) rows: Rows,
    pub(super) spans: Spans,
}

/// Where a new token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Token(usize),
    Group(usize),
}

impl Spans {
    /// Documents are what has type 1; a row without has an empty one at its end.
    pub(super) fn of_types(rows: &Rows, type_ids: &[u32]) -> Self {
        let span = |pair: &[u32]| {
            let types = &type_ids[pair[0] as usize..pair[1] as usize];
            let first = types.iter().position(|&kind| kind == 1).unwrap_or(types.len());
            let n = types[first..].iter().take_while(|&&kind| kind == 1).count();
            first..first + n
        };
        Self { documents: rows.offsets().windows(2).map(span).collect() }
    }

    /// Merges every `ratio` tokens of each document, from its start on; the last group may be short.
    pub(super) fn merge(&self, rows: &Rows, ratio: usize) -> Merge {
        let (mut groups, mut tokens) = (Vec::new(), Vec::new());
        let (mut lengths, mut documents) = (Vec::new(), Vec::new());
        for (pair, document) in rows.offsets().windows(2).zip(&self.documents) {
            let (start, n) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            let before = tokens.len();
            tokens.extend((0..document.start).map(|place| Source::Token(start + place)));
            for first in document.clone().step_by(ratio) {
                groups.push((start + first, ratio.min(document.end - first)));
                tokens.push(Source::Group(groups.len() - 1));
            }
            documents.push(document.start..tokens.len() - before);
            tokens.extend((document.end..n).map(|place| Source::Token(start + place)));
            lengths.push((tokens.len() - before) as u32);
        }
        Merge { groups, tokens, rows: Rows::from_lengths(&lengths), spans: Self { documents } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documents_are_merged_and_short_ends_are_groups_too() {
        // A query of two tokens, a document of five, an ending of one; then a row without document.
        let rows = Rows::from_lengths(&[8, 2]);
        let spans = Spans::of_types(&rows, &[0, 0, 1, 1, 1, 1, 1, 0, 0, 0]);
        let merge = spans.merge(&rows, 2);
        assert_eq!(merge.groups, [(2, 2), (4, 2), (6, 1)]);
        use Source::{Group, Token};
        let expected =
            [Token(0), Token(1), Group(0), Group(1), Group(2), Token(7), Token(8), Token(9)];
        assert_eq!(merge.tokens, expected);
        assert_eq!(merge.rows, Rows::from_lengths(&[6, 2]));
        // Merged again, three become two, and then one for good.
        let again = merge.spans.merge(&merge.rows, 2);
        assert_eq!(again.rows, Rows::from_lengths(&[5, 2]));
        let last = again.spans.merge(&again.rows, 8);
        assert_eq!(last.rows, Rows::from_lengths(&[4, 2]));
        assert_eq!(last.spans.merge(&last.rows, 8).rows, last.rows);
    }
}
