//! A memory-mapped Arrow IPC file, decoded batch by batch when a row is first asked for.
//!
//! Opening reads the footer only, so it costs the same for a thousand rows and for a hundred
//! million. Every batch but the last has the same number of rows: a row's place is a division.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, root_as_footer};
use arrow_schema::{ArrowError, Schema};
use bytes::Bytes;
use memmap2::Mmap;

use crate::error::{Error, ErrorKind, Result};

/// Rows in every batch but the last. Small, so that a writer holds little; large, so that a
/// hundred million rows make a footer of 300 kB.
pub(crate) const BATCH_ROWS: usize = 8192;

/// The footer's key that holds the number of rows.
pub(crate) const ROWS_KEY: &str = "tamis.rows";

/// Bytes at the end of every Arrow file: the footer's length and the magic.
const TRAILER: usize = 10;

/// The columns of one batch, as their accessors want them.
pub(crate) trait Columns: Sized {
    /// The schema as it stands in the file.
    fn schema() -> Schema;

    /// The schema to decode with; the same memory layout as [`Columns::schema`].
    fn view() -> Schema {
        Self::schema()
    }

    /// Takes the columns out of a batch decoded with [`Columns::view`].
    fn from_batch(batch: &RecordBatch) -> Self;
}

/// An open file of `C` columns.
#[derive(Debug)]
pub(crate) struct ArrowFile<C> {
    path: PathBuf,
    rows: usize,
    map: Buffer,
    decoder: FileDecoder,
    batches: Vec<(Block, OnceLock<C>)>,
}

impl<C: Columns> ArrowFile<C> {
    /// Maps a file and reads its footer.
    ///
    /// # Errors
    /// When the file is missing, cut short, not Arrow, or holds other columns.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fail = |problem: String| Error::file(path, ErrorKind::Arrow { problem });
        let file = File::open(path).map_err(|error| Error::file(path, error))?;
        let length = file.metadata().map_err(|error| Error::file(path, error))?.len();
        if length < 2 * TRAILER as u64 {
            return Err(fail(format!("{length} bytes are too few")));
        }
        // SAFETY: files of a prepared dataset are never changed in place: they are written under
        // another name and renamed, so the mapped inode keeps its content and its length.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::file(path, error))?;
        let map = Buffer::from(Bytes::from_owner(map));
        let end = map.len() - TRAILER;
        let trailer = map[end..].try_into().expect("the slice has the trailer's length");
        let footer = read_footer_length(trailer)
            .ok()
            .and_then(|length| map.get(end.checked_sub(length)?..end))
            .ok_or_else(|| fail("the end of the file is missing".into()))?;
        let footer = root_as_footer(footer).map_err(|error| fail(format!("footer: {error}")))?;

        let schema = footer.schema().ok_or_else(|| fail("no schema".into()))?;
        let schema = try_fb_to_schema(schema).map_err(|error| fail(error.to_string()))?;
        if schema.fields() != C::schema().fields() {
            let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(fail(format!("unexpected columns ({})", names.join(", "))));
        }
        let rows = footer
            .custom_metadata()
            .and_then(|pairs| pairs.iter().find(|pair| pair.key() == Some(ROWS_KEY)))
            .and_then(|pair| pair.value()?.parse::<usize>().ok())
            .ok_or_else(|| fail(format!("no `{ROWS_KEY}` in the footer")))?;
        let blocks: Vec<Block> = footer.recordBatches().into_iter().flatten().copied().collect();
        if blocks.len() != rows.div_ceil(BATCH_ROWS) {
            return Err(fail(format!("{rows} rows in {} batches", blocks.len())));
        }
        if !blocks.iter().all(|block| range(block).is_some_and(|(_, stop)| stop <= end)) {
            return Err(fail("a batch lies outside the file".into()));
        }
        let decoder =
            FileDecoder::new(Arc::new(C::view()), footer.version()).with_require_alignment(true);
        let batches = blocks.into_iter().map(|block| (block, OnceLock::new())).collect();
        Ok(Self { path: path.to_owned(), rows, map, decoder, batches })
    }

    /// How many rows the file has.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The batch that holds a row, and the row's place in it.
    ///
    /// # Panics
    /// When there is no such row, or the file was damaged since it was written.
    pub(crate) fn locate(&self, row: usize) -> (&C, usize) {
        assert!(row < self.rows, "row {row} of {} in {}", self.rows, self.path.display());
        let (block, cell) = &self.batches[row / BATCH_ROWS];
        let columns = cell.get_or_init(|| match self.decode(block, row / BATCH_ROWS) {
            Ok(columns) => columns,
            Err(error) => panic!("{} is damaged: {error}", self.path.display()),
        });
        (columns, row % BATCH_ROWS)
    }

    /// Decodes every batch, which checks offsets and lengths.
    ///
    /// # Errors
    /// When a batch does not hold what it should.
    pub(crate) fn check(&self) -> Result<()> {
        for (number, (block, _)) in self.batches.iter().enumerate() {
            self.decode(block, number).map_err(|error| {
                let problem = format!("batch {number}: {error}");
                Error::file(&self.path, ErrorKind::Arrow { problem })
            })?;
        }
        Ok(())
    }

    fn decode(&self, block: &Block, number: usize) -> std::result::Result<C, ArrowError> {
        let (start, stop) = range(block).expect("checked when the file was opened");
        let bytes = self.map.slice_with_length(start, stop - start);
        let batch = self.decoder.read_record_batch(block, &bytes)?;
        let expected = (self.rows - number * BATCH_ROWS).min(BATCH_ROWS);
        match batch {
            Some(batch) if batch.num_rows() == expected => Ok(C::from_batch(&batch)),
            _ => Err(ArrowError::IpcError(format!("batch {number} does not have {expected} rows"))),
        }
    }
}

/// Where a block starts and ends in the file.
fn range(block: &Block) -> Option<(usize, usize)> {
    let start = usize::try_from(block.offset()).ok()?;
    let metadata = usize::try_from(block.metaDataLength()).ok()?;
    let body = usize::try_from(block.bodyLength()).ok()?;
    Some((start, start.checked_add(metadata)?.checked_add(body)?))
}
