//! A query or a document as it stands in a line of a file.

use std::borrow::Cow;

use crate::id::{self, IdError};

/// An id with a title, which may be empty, and a text.
pub(crate) struct TextRow<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) title: Cow<'a, str>,
    pub(crate) text: Cow<'a, str>,
}

impl TextRow<'_> {
    /// Title and text with a space between, in parts to be laid end to end.
    pub(crate) fn parts(&self) -> [&str; 3] {
        let space = if self.title.is_empty() || self.text.is_empty() { "" } else { " " };
        [&self.title, space, &self.text]
    }

    /// Whether there is nothing to read in it.
    #[cfg(feature = "dataset")]
    pub(crate) fn is_blank(&self) -> bool {
        self.title.trim().is_empty() && self.text.trim().is_empty()
    }

    /// Refuses ids that would break the columns of other files.
    pub(crate) fn check_id(&self) -> Result<(), IdError> {
        id::check(&self.id)
    }
}
