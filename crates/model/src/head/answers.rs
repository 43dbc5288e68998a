//! The words whose logits make a score.

/// One word, or two whose logits are subtracted, by their rows in the language-model head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answers {
    /// The word that stands for relevance.
    pub(crate) yes: u32,
    /// The word that stands for its absence.
    pub(crate) no: Option<u32>,
}

impl Answers {
    /// Words that are not known before the tokenizer is.
    pub(crate) fn unknown() -> Self {
        Self { yes: 0, no: None }
    }

    /// How many rows are read.
    pub(crate) fn n(self) -> usize {
        1 + usize::from(self.no.is_some())
    }

    /// The rows in their order.
    pub(crate) fn rows(self) -> Vec<usize> {
        [Some(self.yes), self.no].into_iter().flatten().map(|id| id as usize).collect()
    }
}
