//! Files of triples: ids into texts and back: `cargo xtask triples`.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tamis_data::format::lines::Lines;
use tamis_data::output::write_file;
use tamis_data::{Corpus, Dataset, Queries};

use crate::progress::say;

/// Turn the ids of a file of triples into texts, or its texts into ids.
///
/// Lines have three columns (query, positive, negative) or five (score of the positive, of the
/// negative, query, positive, negative), apart by tabs. A text is one line: white space within it
/// becomes one space. Lines with something that the dataset lacks are left out and counted.
///
///   cargo xtask triples --in T2.tsv --dataset prepared/msmarco --to texts --out T2.texts.tsv
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct TriplesArgs {
    /// The triples, `.gz` and `.zst` are decompressed
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,

    /// A prepared dataset with the queries and documents
    #[arg(long, value_name = "FOLDER")]
    dataset: PathBuf,

    /// What to write in place of the other
    #[arg(long)]
    to: Form,

    /// Where to, compressed when it ends in `.gz` or `.zst`
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Texts,
    Ids,
}

/// Writes the file and tells how many lines were left out.
///
/// # Errors
/// When a file cannot be read or written, or a line has another number of columns.
pub fn triples(args: &TriplesArgs) -> Result<ExitCode> {
    let dataset = Dataset::open(&args.dataset)?;
    let turn = Turn::new(&dataset, args.to);
    let mut lines = Lines::open(&args.input)?;
    let (mut written, mut missing, mut n_columns) = (0_u64, 0_u64, None);
    let mut first_missing = None;
    let mut problem = None;
    let result = write_file(&args.out, |out| {
        while let Some(line) = lines.next().map_err(io::Error::other)? {
            let columns: Vec<&str> = line.split('\t').collect();
            let n = *n_columns.get_or_insert(columns.len());
            if columns.len() != n || !matches!(n, 3 | 5) {
                let found = columns.len();
                problem = Some(format!(
                    "{}, line {}: expected 3 or 5 columns apart by tabs, all lines alike, found \
                     `{found}`",
                    lines.path().display(),
                    lines.number(),
                ));
                return Err(io::Error::other("a line cannot be read"));
            }
            let (scores, names) = columns.split_at(n - 3);
            let turned = [turn.query(names[0]), turn.document(names[1]), turn.document(names[2])];
            let [Some(query), Some(positive), Some(negative)] = turned else {
                missing += 1;
                first_missing.get_or_insert_with(|| lines.number());
                continue;
            };
            for score in scores {
                write!(out, "{score}\t")?;
            }
            writeln!(out, "{query}\t{positive}\t{negative}")?;
            written += 1;
        }
        Ok(())
    });
    if let Some(problem) = problem {
        bail!(problem);
    }
    result.context("the triples")?;
    say(&format!("{}: {written} triples", args.out.display()));
    if let Some(line) = first_missing {
        say(&format!("{missing} lines left out for want of a text or an id, the first is {line}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks up one form by the other.
struct Turn<'a> {
    queries: &'a Queries,
    corpus: &'a Corpus,
    /// Rows by the hash of their text, for texts into ids.
    of_texts: Option<[HashMap<u64, Vec<u32>>; 2]>,
}

impl<'a> Turn<'a> {
    fn new(dataset: &'a Dataset, to: Form) -> Self {
        let (queries, corpus) = (dataset.queries(), dataset.corpus());
        let of_texts = (to == Form::Ids).then(|| {
            [
                by_text((0..queries.len() as u32).map(|row| queries.text(row))),
                by_text((0..corpus.len() as u32).map(|row| corpus.text(row))),
            ]
        });
        Self { queries, corpus, of_texts }
    }

    fn query(&self, name: &str) -> Option<String> {
        match &self.of_texts {
            None => self.queries.row_of(name.trim()).map(|row| one_line(self.queries.text(row))),
            Some([rows, _]) => row_of(rows, name, |row| self.queries.text(row))
                .map(|row| self.queries.id(row).to_owned()),
        }
    }

    fn document(&self, name: &str) -> Option<String> {
        match &self.of_texts {
            None => self.corpus.row_of(name.trim()).map(|row| one_line(self.corpus.text(row))),
            Some([_, rows]) => row_of(rows, name, |row| self.corpus.text(row))
                .map(|row| self.corpus.id(row).to_owned()),
        }
    }
}

fn by_text<'t>(texts: impl Iterator<Item = &'t str>) -> HashMap<u64, Vec<u32>> {
    let mut rows: HashMap<u64, Vec<u32>> = HashMap::new();
    for (row, text) in (0..).zip(texts) {
        rows.entry(hash(text)).or_default().push(row);
    }
    rows
}

/// The last row with this text.
fn row_of<'t>(
    rows: &HashMap<u64, Vec<u32>>,
    text: &str,
    of: impl Fn(u32) -> &'t str,
) -> Option<u32> {
    let same = |row: &&u32| of(**row).split_whitespace().eq(text.split_whitespace());
    rows.get(&hash(text))?.iter().rev().find(same).copied()
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.split_whitespace().for_each(|word| word.hash(&mut hasher));
    hasher.finish()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
