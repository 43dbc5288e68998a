//! The words whose logits make a score.

/// One word, or two whose logits are subtracted, by their rows in the language-model head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answers {
    /// The word that stands for relevance.
    pub(crate) yes: u32,
    /// The word that stands for its absence.
    pub(crate) no: Option<u32>,
    /// Whether all other words stand for its absence.
    pub(crate) among_all: bool,
}

impl Answers {
    /// Words that are not known before the tokenizer is.
    pub(crate) fn unknown() -> Self {
        Self { yes: 0, no: None, among_all: false }
    }

    /// How many rows are read of a head for so many words.
    pub(crate) fn n(self, n_words: usize) -> usize {
        if self.among_all { n_words } else { 1 + usize::from(self.no.is_some()) }
    }

    /// The rows in their order, unless all are read.
    pub(crate) fn rows(self) -> Option<Vec<usize>> {
        let rows = [Some(self.yes), self.no].into_iter().flatten().map(|id| id as usize);
        (!self.among_all).then(|| rows.collect())
    }
}
