//! Document ids and texts by row, memory-mapped.

use std::path::Path;

use crate::error::Result;
use crate::text_table::TextTable;

/// The documents of a prepared dataset. Nothing is held in memory but what the system caches.
#[derive(Debug)]
pub struct Corpus(TextTable);

impl Corpus {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        TextTable::open(folder, "corpus").map(Self)
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The id of the document at a row.
    ///
    /// # Panics
    /// When there is no such row, or the file was damaged after it was written.
    #[must_use]
    pub fn id(&self, row: u32) -> &str {
        self.0.id(row)
    }

    /// The text of the document at a row.
    ///
    /// # Panics
    /// When there is no such row, or the file was damaged after it was written.
    #[must_use]
    pub fn text(&self, row: u32) -> &str {
        self.0.text(row)
    }

    /// The row of a document, `None` when the corpus lacks it.
    #[must_use]
    pub fn row_of(&self, id: &str) -> Option<u32> {
        self.0.row_of(id)
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.0.check()
    }
}
