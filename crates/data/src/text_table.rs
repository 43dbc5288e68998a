//! Ids and texts in Arrow files: written row by row, read from a memory map, found by id.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{LargeBinaryArray, LargeStringArray, RecordBatch};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema};

use crate::arrow_file::{ArrowFile, BATCH_ROWS, Columns};
use crate::arrow_writer::{ArrowWriter, WrittenFile};
use crate::error::Result;
use crate::id_table::{IdTable, hash};

/// The file's columns. Decoded as bytes: UTF-8 is checked when a text is read, so that opening a
/// file does not read every text in it.
#[derive(Debug)]
pub(crate) struct TextColumns {
    ids: LargeBinaryArray,
    texts: LargeBinaryArray,
}

impl Columns for TextColumns {
    fn schema() -> Schema {
        let column = |name| Field::new(name, DataType::LargeUtf8, false);
        Schema::new(vec![column("id"), column("text")])
    }

    fn view() -> Schema {
        let column = |name| Field::new(name, DataType::LargeBinary, false);
        Schema::new(vec![column("id"), column("text")])
    }

    fn from_batch(batch: &RecordBatch) -> Self {
        let column = |i: usize| batch.column(i).as_binary::<i64>().clone();
        Self { ids: column(0), texts: column(1) }
    }
}

/// Ids and texts by row, and rows by id.
#[derive(Debug)]
pub(crate) struct TextTable {
    texts: ArrowFile<TextColumns>,
    ids: IdTable,
}

impl TextTable {
    /// Opens `NAME.arrow` and `NAME.ids.arrow` of a folder.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self> {
        let texts = ArrowFile::open(&folder.join(format!("{name}.arrow")))?;
        let ids = IdTable::open(&folder.join(format!("{name}.ids.arrow")))?;
        Ok(Self { texts, ids })
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.rows()
    }

    pub(crate) fn id(&self, row: u32) -> &str {
        id_of(&self.texts, row)
    }

    pub(crate) fn text(&self, row: u32) -> &str {
        let (columns, i) = self.texts.locate(row as usize);
        utf8(columns.texts.value(i))
    }

    pub(crate) fn row_of(&self, id: &str) -> Option<u32> {
        let rows = self.texts.rows();
        self.ids.find(hash(id.as_bytes()), |row| (row as usize) < rows && self.id(row) == id)
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.texts.check()?;
        self.ids.check()
    }
}

/// The id at a row of an open file.
pub(crate) fn id_of(texts: &ArrowFile<TextColumns>, row: u32) -> &str {
    let (columns, i) = texts.locate(row as usize);
    utf8(columns.ids.value(i))
}

/// Only text is ever written, so anything else means that the file was damaged afterwards.
fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the dataset's file was damaged: it held valid UTF-8")
}

/// Texts laid end to end.
#[derive(Debug, Default)]
pub(crate) struct TextColumn {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl TextColumn {
    pub(crate) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// Adds the concatenation of `parts`.
    pub(crate) fn push_joined(&mut self, parts: [&str; 3]) {
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.ends.push(self.bytes.len());
    }

    fn append(&mut self, other: &Self, rows: std::ops::Range<usize>) {
        let edge = |i: usize| if i == 0 { 0 } else { other.ends[i - 1] };
        let (start, stop, base) = (edge(rows.start), edge(rows.end), self.bytes.len());
        self.bytes.extend_from_slice(&other.bytes[start..stop]);
        self.ends.extend(other.ends[rows].iter().map(|end| end - start + base));
    }

    /// Empties the column into an Arrow array.
    fn take(&mut self) -> LargeStringArray {
        let ends = std::mem::take(&mut self.ends);
        let mut offsets = Vec::with_capacity(ends.len() + 1);
        offsets.push(0_i64);
        offsets.extend(ends.into_iter().map(|end| end as i64));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let bytes = std::mem::take(&mut self.bytes);
        // SAFETY: the bytes are whole `&str`s laid end to end, and every offset is an end of one.
        unsafe { LargeStringArray::new_unchecked(offsets, Buffer::from_vec(bytes), None) }
    }
}

/// Rows of ids and texts on their way into a file.
#[derive(Debug, Default)]
pub(crate) struct TextRows {
    pub(crate) ids: TextColumn,
    pub(crate) texts: TextColumn,
}

impl TextRows {
    pub(crate) fn len(&self) -> usize {
        self.ids.ends.len()
    }
}

/// Writes `NAME.arrow`, holding one batch at a time.
pub(crate) struct TextWriter {
    out: ArrowWriter,
    pending: TextRows,
}

impl TextWriter {
    pub(crate) fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.arrow"));
        let out = ArrowWriter::create(&path, TextColumns::schema())?;
        Ok(Self { out, pending: TextRows::default() })
    }

    pub(crate) fn push(&mut self, id: &str, text: &str) -> Result<()> {
        self.pending.ids.push(id);
        self.pending.texts.push(text);
        if self.pending.len() == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    pub(crate) fn append(&mut self, rows: &TextRows) -> Result<()> {
        let mut start = 0;
        while start < rows.len() {
            let stop = rows.len().min(start + BATCH_ROWS - self.pending.len());
            self.pending.ids.append(&rows.ids, start..stop);
            self.pending.texts.append(&rows.texts, start..stop);
            if self.pending.len() == BATCH_ROWS {
                self.flush()?;
            }
            start = stop;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<WrittenFile> {
        if self.pending.len() > 0 {
            self.flush()?;
        }
        self.out.finish()
    }

    fn flush(&mut self) -> Result<()> {
        let (ids, texts) = (self.pending.ids.take(), self.pending.texts.take());
        self.out.write(vec![Arc::new(ids), Arc::new(texts)])
    }
}
