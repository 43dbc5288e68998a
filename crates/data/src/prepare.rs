//! Text files into a prepared dataset: streamed, checked, and renamed into place when whole.

mod grouped;
mod report;
mod texts;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::arrow_writer::WrittenFile;
use crate::corpus::Corpus;
use crate::error::{Error, ErrorKind, Result};
use crate::format;
use crate::groups::GroupWriter;
use crate::join::{FirstStage, JudgedRow, RunRow, join};
use crate::manifest::{Manifest, SourceFile};
use crate::output::OutputFolder;
use crate::queries::Queries;
use crate::teacher::{TeacherScores, TeacherSources};
use grouped::Own;
pub use report::{GroupScores, PrepareOptions, PrepareReport, Sources};
use texts::{Kind, Texts, digest};

/// Called with the bytes read so far and the bytes of all source files.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Makes a prepared dataset at `out`.
///
/// Memory holds a batch of rows, 19 bytes for every document and query, 16 for every candidate of
/// the run and 12 for every judgement; never the texts. The result is the same for any number of
/// threads.
///
/// # Errors
/// When a source is missing or broken, ids repeat or do not match, or `out` exists and is not to be
/// replaced. Nothing is left at `out` then.
pub fn prepare(
    sources: &Sources,
    out: &Path,
    options: &PrepareOptions,
    progress: Progress<'_>,
) -> Result<PrepareReport> {
    check(sources, options)?;
    let output = OutputFolder::create(out, options.replace)?;
    let mut job = Job {
        options,
        folder: output.path(),
        report: PrepareReport::default(),
        read: Vec::new(),
        files: IndexMap::new(),
        meter: Meter { done: 0, total: total_bytes(sources)?, progress },
    };
    if !sources.groups.is_empty() {
        job.grouped_text(sources)?;
    } else if !sources.top1000.is_empty() {
        job.top1000(sources)?;
    } else {
        job.collection(sources)?;
    }
    let Job { report, read, files, .. } = job;
    Manifest::new(read, options.clone(), report.clone(), files)
        .write(&output.path().join("manifest.json"))?;
    output.commit()?;
    Ok(report)
}

/// Refuses sources that do not go together.
fn check(sources: &Sources, options: &PrepareOptions) -> Result<()> {
    let Sources { corpus, queries, qrels, runs, groups, top1000, teachers } = sources;
    let texts = !corpus.is_empty() || !queries.is_empty();
    let invalid = |problem: &str| Err(ErrorKind::Invalid(problem.into()).into());
    if !groups.is_empty() && (texts || !qrels.is_empty() || !runs.is_empty() || !top1000.is_empty())
    {
        return invalid("grouped text brings its own queries, documents and labels: it goes alone");
    }
    if !groups.is_empty() && !teachers.scores.is_empty() {
        return invalid("grouped text has no ids that a teacher's scores could belong to");
    }
    if !top1000.is_empty() && (texts || !runs.is_empty()) {
        return invalid("a top-1000 file brings its own queries, documents and candidates");
    }
    if groups.is_empty() && top1000.is_empty() && (corpus.is_empty() || queries.is_empty()) {
        return invalid("a corpus and queries are needed, or grouped text, or a top-1000 file");
    }
    match options.group_scores {
        GroupScores::Label { min, max } if !(min.is_finite() && max.is_finite() && min < max) => {
            invalid("the least label must be below the greatest")
        }
        _ => Ok(()),
    }
}

fn total_bytes(sources: &Sources) -> Result<u64> {
    let Sources { corpus, queries, qrels, runs, groups, top1000, teachers } = sources;
    let texts = [corpus, queries, qrels, runs, groups, top1000];
    let all = texts.into_iter().flatten().chain(&teachers.scores).chain(&teachers.triples);
    all.map(|path| path.metadata().map(|data| data.len()).map_err(|error| Error::file(path, error)))
        .sum()
}

/// Adds up what was read.
struct Meter<'a> {
    done: u64,
    total: u64,
    progress: Progress<'a>,
}

impl Meter<'_> {
    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done, self.total);
    }
}

/// A dataset in the making.
struct Job<'a> {
    options: &'a PrepareOptions,
    folder: &'a Path,
    report: PrepareReport,
    read: Vec<SourceFile>,
    files: IndexMap<String, WrittenFile>,
    meter: Meter<'a>,
}

impl Job<'_> {
    /// Corpus and queries, and groups of run and qrels.
    fn collection(&mut self, sources: &Sources) -> Result<()> {
        self.report.documents = self.texts(Kind::Document, &sources.corpus)?;
        self.report.queries = self.texts(Kind::Query, &sources.queries)?;
        let (corpus, queries) = (Corpus::open(self.folder)?, Queries::open(self.folder)?);
        let first_stage = if sources.runs.is_empty() {
            FirstStage::Judged
        } else {
            FirstStage::Scored(self.candidates(&sources.runs, &queries, &corpus)?)
        };
        self.join(first_stage, sources, &queries, &corpus)
    }

    fn texts(&mut self, kind: Kind, paths: &[PathBuf]) -> Result<u64> {
        let role = kind.table();
        let mut texts = Texts::create(self.folder, kind, self.options.allow_empty)?;
        for path in paths {
            let digested = texts.read(path, &mut |bytes| self.meter.add(bytes))?;
            self.read.push(source(role, path, digested));
        }
        let (rows, empty) = (texts.len() as u64, texts.empty());
        match kind {
            Kind::Document => self.report.empty_documents = empty,
            Kind::Query => self.report.empty_queries = empty,
        }
        self.files.extend(texts.finish(paths)?);
        Ok(rows)
    }

    fn candidates(
        &mut self,
        paths: &[PathBuf],
        queries: &Queries,
        corpus: &Corpus,
    ) -> Result<Vec<RunRow>> {
        let mut rows = Vec::new();
        for path in paths {
            let mut rows_of = Rows::new(queries, corpus, self.options, &mut self.report);
            format::read_candidates(path, |query, document, score| {
                if let Some((query, document)) = rows_of.find(query, document)? {
                    rows.push(RunRow { query, document, score });
                }
                Ok(())
            })?;
            self.digest("run", path)?;
        }
        Ok(rows)
    }

    fn judgements(
        &mut self,
        paths: &[PathBuf],
        queries: &Queries,
        corpus: &Corpus,
    ) -> Result<Vec<JudgedRow>> {
        let mut rows = Vec::new();
        let mut read = 0;
        for path in paths {
            let mut rows_of = Rows::new(queries, corpus, self.options, &mut self.report);
            format::read_judgements(path, |query, document, relevance| {
                read += 1;
                if let Some((query, document)) = rows_of.find(query, document)? {
                    rows.push(JudgedRow { query, document, relevance });
                }
                Ok(())
            })?;
            self.digest("qrels", path)?;
        }
        self.report.judgements = read;
        Ok(rows)
    }

    fn join(
        &mut self,
        first_stage: FirstStage,
        sources: &Sources,
        queries: &Queries,
        corpus: &Corpus,
    ) -> Result<()> {
        let judged = self.judgements(&sources.qrels, queries, corpus)?;
        let mut teacher = match sources.teachers.scores.as_slice() {
            [] => None,
            _ => Some(self.teacher(&sources.teachers, queries, corpus)?),
        };
        let mut out = GroupWriter::create(self.folder)?;
        let joined = join(
            first_stage,
            judged,
            (queries, corpus),
            self.options,
            &mut self.report,
            |group| teacher.iter_mut().for_each(|teacher| teacher.join(group)),
            |group| out.push(group),
        );
        let files = [&sources.runs, &sources.top1000, &sources.qrels];
        joined.map_err(|error| match files.into_iter().flatten().next() {
            Some(path) if error.path().is_none() => repeated(path, sources, error),
            _ => error,
        })?;
        if let Some(teacher) = teacher {
            teacher.check((queries, corpus))?;
            (self.report.with_teacher, self.report.without_teacher) =
                (teacher.joined, teacher.missing);
        }
        self.files.insert("groups.arrow".into(), out.finish()?);
        Ok(())
    }

    fn teacher(
        &mut self,
        sources: &TeacherSources,
        queries: &Queries,
        corpus: &Corpus,
    ) -> Result<TeacherScores> {
        let scores = TeacherScores::read(sources, self.options.teacher, (queries, corpus))?;
        for path in sources.scores.iter().chain(&sources.triples) {
            self.digest("teacher", path)?;
        }
        Ok(scores)
    }

    fn grouped_text(&mut self, sources: &Sources) -> Result<()> {
        let mut own = Own::create(self.folder, self.options)?;
        let mut out = GroupWriter::create(self.folder)?;
        for path in &sources.groups {
            own.read_groups(path, self.options, &mut self.report, &mut out)?;
            self.digest("groups", path)?;
        }
        self.own(own)?;
        self.files.insert("groups.arrow".into(), out.finish()?);
        Ok(())
    }

    fn top1000(&mut self, sources: &Sources) -> Result<()> {
        let mut own = Own::create(self.folder, self.options)?;
        let mut rows = Vec::new();
        for path in &sources.top1000 {
            own.read_top1000(path, self.options, &mut self.report, &mut rows)?;
            self.digest("top1000", path)?;
        }
        self.own(own)?;
        let (corpus, queries) = (Corpus::open(self.folder)?, Queries::open(self.folder)?);
        self.join(FirstStage::Ordered(rows), sources, &queries, &corpus)
    }

    /// Completes the tables of texts that came with groups.
    fn own(&mut self, own: Own) -> Result<()> {
        self.report.documents = own.documents.len() as u64;
        self.report.queries = own.queries.len() as u64;
        self.report.empty_documents = own.documents.empty();
        self.report.empty_queries = own.queries.empty();
        self.files.extend(own.finish()?);
        Ok(())
    }

    fn digest(&mut self, role: &str, path: &Path) -> Result<()> {
        let digested = digest(path, &mut |bytes| self.meter.add(bytes))?;
        self.read.push(source(role, path, digested));
        Ok(())
    }
}

/// Ids into rows.
struct Rows<'a> {
    queries: &'a Queries,
    corpus: &'a Corpus,
    skip_unknown: bool,
    report: &'a mut PrepareReport,
    /// The query of the line before: runs and qrels mostly keep a query's lines together.
    last: Option<(String, u32)>,
}

impl<'a> Rows<'a> {
    fn new(
        queries: &'a Queries,
        corpus: &'a Corpus,
        options: &PrepareOptions,
        report: &'a mut PrepareReport,
    ) -> Self {
        Self { queries, corpus, skip_unknown: options.skip_unknown, report, last: None }
    }

    /// The rows of a pair; `None` when one is unknown and that is counted, not refused.
    fn find(
        &mut self,
        query: &str,
        document: &str,
    ) -> std::result::Result<Option<(u32, u32)>, ErrorKind> {
        let row = match &self.last {
            Some((id, row)) if id == query => Some(*row),
            _ => self.queries.row_of(query),
        };
        let Some(query_row) = row else {
            self.report.unknown_queries += 1;
            return self.unknown("query", query);
        };
        if self.last.as_ref().is_none_or(|(id, _)| id != query) {
            self.last = Some((query.to_owned(), query_row));
        }
        match self.corpus.row_of(document) {
            Some(document_row) => Ok(Some((query_row, document_row))),
            None => {
                self.report.unknown_documents += 1;
                self.unknown("document", document)
            }
        }
    }

    fn unknown(
        &self,
        what: &'static str,
        id: &str,
    ) -> std::result::Result<Option<(u32, u32)>, ErrorKind> {
        if self.skip_unknown {
            Ok(None)
        } else {
            Err(ErrorKind::Unknown { what, id: id.to_owned() })
        }
    }
}

fn source(role: &str, path: &Path, digested: format::blocks::Digested) -> SourceFile {
    SourceFile {
        role: role.to_owned(),
        path: path.display().to_string(),
        bytes: digested.bytes,
        sha256: digested.sha256,
    }
}

/// The error for a pair that comes twice. Rows do not keep their lines: the files are read again,
/// strictly, and tell the place.
fn repeated(path: &Path, sources: &Sources, error: Error) -> Error {
    let again = || -> Result<()> {
        for path in &sources.runs {
            format::read_run(path)?;
        }
        for path in &sources.qrels {
            format::read_qrels(path)?;
        }
        Ok(())
    };
    // Nothing wrong within a file: two of them have the same pair.
    again().err().unwrap_or_else(|| Error::file(path, error.into_kind()))
}
