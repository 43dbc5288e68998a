//! Files of queries or documents into a text table: parsed on all threads, written in order.

use std::path::{Path, PathBuf};

use crate::arrow_file::ArrowFile;
use crate::arrow_writer::WrittenFile;
use crate::error::{Error, ErrorKind, Result};
use crate::format::blocks::{Blocks, Digested};
use crate::format::text_row::TextRow;
use crate::format::{self, Layout, ParseRow, beir, msmarco};
use crate::id_table::{IdTableBuilder, MAX_ROWS, hash};
use crate::text_table::{TextColumns, TextRows, TextWriter, id_of};

/// Queries or documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Document,
    Query,
}

impl Kind {
    /// The name of the table's files.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Document => "corpus",
            Self::Query => "queries",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Query => "query",
        }
    }

    fn parsers(self) -> (ParseRow, ParseRow) {
        match self {
            Self::Document => (beir::document, msmarco::document),
            Self::Query => (beir::query, msmarco::query),
        }
    }
}

/// A table on its way to disk. In memory: one batch, and 8 bytes for every row.
pub(crate) struct Texts {
    kind: Kind,
    allow_empty: bool,
    folder: PathBuf,
    writer: TextWriter,
    hashes: Vec<u64>,
    empty: u64,
}

/// What one thread parsed.
#[derive(Default)]
struct Part {
    rows: TextRows,
    hashes: Vec<u64>,
    empty: u64,
}

impl Part {
    fn push(
        &mut self,
        row: &TextRow<'_>,
        kind: Kind,
        allow_empty: bool,
    ) -> std::result::Result<(), ErrorKind> {
        row.check_id()?;
        if row.is_blank() {
            if !allow_empty {
                return Err(ErrorKind::EmptyText { what: kind.noun(), id: row.id.to_string() });
            }
            self.empty += 1;
        }
        self.hashes.push(hash(row.id.as_bytes()));
        self.rows.ids.push(&row.id);
        self.rows.texts.push_joined(row.parts());
        Ok(())
    }
}

impl Texts {
    pub(crate) fn create(folder: &Path, kind: Kind, allow_empty: bool) -> Result<Self> {
        Ok(Self {
            kind,
            allow_empty,
            folder: folder.to_owned(),
            writer: TextWriter::create(folder, kind.table())?,
            hashes: Vec::new(),
            empty: 0,
        })
    }

    /// Rows so far.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Rows without text so far.
    pub(crate) fn empty(&self) -> u64 {
        self.empty
    }

    /// Adds one row whose id is new.
    pub(crate) fn push(&mut self, id: &str, text: &str) -> Result<u32> {
        let row = self.hashes.len();
        self.check_room(1)?;
        self.hashes.push(hash(id.as_bytes()));
        self.empty += u64::from(text.trim().is_empty());
        self.writer.push(id, text)?;
        Ok(row as u32)
    }

    /// Adds all rows of a file and tells the file's hash.
    pub(crate) fn read(&mut self, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Digested> {
        let (json, tsv) = self.kind.parsers();
        let before = self.len();
        let digested = match Layout::of(path)? {
            Layout::JsonLines => self.read_lines(path, json, progress)?,
            Layout::Tsv => self.read_lines(path, tsv, progress)?,
            Layout::Parquet => {
                self.read_parquet(path)?;
                digest(path, progress)?
            }
        };
        if self.len() == before { Err(Error::file(path, ErrorKind::Empty)) } else { Ok(digested) }
    }

    fn read_lines(
        &mut self,
        path: &Path,
        parse: ParseRow,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Digested> {
        let (kind, allow_empty) = (self.kind, self.allow_empty);
        let row = |line: &str, part: &mut Part| match parse(line)? {
            Some(row) => part.push(&row, kind, allow_empty),
            None => Ok(()),
        };
        let mut blocks = Blocks::open(path)?;
        let mut parsed: Vec<Part> = Vec::new();
        let mut told = 0;
        while let Some(block) = blocks.next()? {
            let done = std::mem::take(&mut parsed);
            // One block is parsed while the one before it is written.
            let (written, next) = rayon::join(|| self.append(&done), || blocks.parse(&block, row));
            written?;
            parsed = next?;
            let read = blocks.bytes_read();
            progress(read - told);
            told = read;
        }
        self.append(&parsed)?;
        let digested = blocks.finish()?;
        progress(digested.bytes - told);
        Ok(digested)
    }

    fn append(&mut self, parts: &[Part]) -> Result<()> {
        for part in parts {
            self.check_room(part.hashes.len())?;
            self.hashes.extend_from_slice(&part.hashes);
            self.empty += part.empty;
            self.writer.append(&part.rows)?;
        }
        Ok(())
    }

    fn read_parquet(&mut self, path: &Path) -> Result<()> {
        let mut part = Part::default();
        let (kind, allow_empty) = (self.kind, self.allow_empty);
        format::parquet::read_texts(path, |id, title, text| {
            // A query has no title; a column of that name belongs to something else.
            let title = if kind == Kind::Query { "" } else { title };
            let row = TextRow { id: id.into(), title: title.into(), text: text.into() };
            part.push(&row, kind, allow_empty)?;
            if part.hashes.len() == 1024 {
                self.append(&[std::mem::take(&mut part)]).map_err(Error::into_kind)?;
            }
            Ok(())
        })?;
        self.append(&[part])
    }

    fn check_room(&self, more: usize) -> Result<()> {
        if self.hashes.len() + more > MAX_ROWS {
            let problem = format!("more than {MAX_ROWS} rows");
            return Err(Error::file(&self.folder, ErrorKind::Invalid(problem)));
        }
        Ok(())
    }

    /// Completes the table and its index. `sources` are looked at again only to tell the place of a
    /// repeated id.
    pub(crate) fn finish(self, sources: &[PathBuf]) -> Result<[(String, WrittenFile); 2]> {
        let Self { kind, folder, writer, hashes, .. } = self;
        let (texts, ids) =
            (format!("{}.arrow", kind.table()), format!("{}.ids.arrow", kind.table()));
        let written = writer.finish()?;
        let table = ArrowFile::<TextColumns>::open(&folder.join(&texts))?;
        let same = |a, b| id_of(&table, a) == id_of(&table, b);
        let index = IdTableBuilder::build(&hashes, same)
            .map_err(|(row, _)| repeated(kind, id_of(&table, row), sources))?;
        drop(hashes);
        let index = index.write(&folder.join(&ids))?;
        Ok([(texts, written), (ids, index)])
    }
}

/// The error for an id that comes twice, at its second line.
fn repeated(kind: Kind, id: &str, sources: &[PathBuf]) -> Error {
    let (json, tsv) = kind.parsers();
    let duplicate = || ErrorKind::Duplicate { what: kind.noun(), id: id.to_owned() };
    let mut seen = false;
    let mut look = |found: &str| {
        if found == id && std::mem::replace(&mut seen, true) { Err(duplicate()) } else { Ok(()) }
    };
    let found = sources
        .iter()
        .try_for_each(|path| format::read_rows(path, json, tsv, |found, _| look(found)));
    found.err().unwrap_or_else(|| duplicate().into())
}

/// Reads a file to its end for its hash.
pub(crate) fn digest(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Digested> {
    use sha2::{Digest, Sha256};
    use std::io::Read;
    let failed = |error| Error::file(path, error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
    loop {
        let n = file.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            let sha256 = crate::arrow_writer::hexadecimal(&hasher.finalize());
            return Ok(Digested { bytes, sha256 });
        }
        hasher.update(&buffer[..n]);
        bytes += n as u64;
        progress(n as u64);
    }
}
