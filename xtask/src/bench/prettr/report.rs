//! Measurements of `bench prettr`, from and to lines of JSON, and into a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tamis_data::output;

use super::{Shape, What};

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) what: What,
    pub(super) shape: Shape,
    /// The first candidate's place in the corpus.
    pub(super) first: usize,
    pub(super) candidates: usize,
    pub(super) seconds: f64,
    /// Of an index: the time of its forward passes alone.
    #[serde(default)]
    pub(super) forward_seconds: Option<f64>,
    #[serde(default)]
    pub(super) bytes_per_document: Option<f64>,
    #[serde(default)]
    pub(super) text_bytes: Option<usize>,
}

/// Measurements of one kind over several pieces of the candidates.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum {
    pub(super) candidates: usize,
    pub(super) seconds: f64,
    pieces: Vec<Range<usize>>,
    forward_seconds: f64,
    text_bytes: usize,
    bytes_per_document: Option<f64>,
}

impl Measured {
    /// What a person sees while the bench runs.
    pub(super) fn line(&self) -> String {
        let Self { what, shape, candidates, seconds, .. } = self;
        let Shape { join_layer, compress } = shape;
        format!("{what:?} layer {join_layer} compress {compress}: {candidates} in {seconds:.3} s")
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<Measured>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = |(number, line)| {
        let place = || format!("{}:{}", path.display(), number + 1);
        serde_json::from_str(line).with_context(place)
    };
    text.lines().enumerate().map(line).collect()
}

pub(super) fn write(path: &Path, all: &[Measured]) -> Result<()> {
    let line = |measured| serde_json::to_string(measured).map(|line| line + "\n");
    let text = all.iter().map(line).collect::<Result<String, _>>()?;
    Ok(output::write_file(path, |out| out.write_all(text.as_bytes()))?)
}

/// Pieces of one kind together. A piece that was measured again counts once, as it was last.
pub(super) fn sums(all: &[Measured]) -> BTreeMap<(What, Shape), Sum> {
    let mut pieces: BTreeMap<(What, Shape), BTreeMap<(usize, usize), Measured>> = BTreeMap::new();
    for one in all {
        let own = pieces.entry((one.what, one.shape)).or_default();
        own.insert((one.first, one.candidates), *one);
    }
    let sum = |pieces: BTreeMap<(usize, usize), Measured>| {
        let mut sum = Sum::default();
        for one in pieces.into_values() {
            sum.candidates += one.candidates;
            sum.seconds += one.seconds;
            sum.pieces.push(one.first..one.first + one.candidates);
            sum.forward_seconds += one.forward_seconds.unwrap_or(0.0);
            sum.text_bytes += one.text_bytes.unwrap_or(0);
            sum.bytes_per_document = one.bytes_per_document.or(sum.bytes_per_document);
        }
        sum
    };
    pieces.into_iter().map(|(key, pieces)| (key, sum(pieces))).collect()
}

/// How many times as fast something is as the cross-encoder on the same candidates, if that was measured.
pub(super) fn speedup(all: &[Measured], sum: &Sum) -> Option<f64> {
    let inside = |one: &&Measured| {
        let own = one.first..one.first + one.candidates;
        sum.pieces.iter().any(|piece| piece.start <= own.start && own.end <= piece.end)
    };
    let mut cross: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    let same = all.iter().filter(|one| one.what == What::CrossEncoder).filter(inside);
    for one in same {
        cross.insert((one.first, one.candidates), one.seconds);
    }
    let covered: usize = cross.keys().map(|(_, candidates)| candidates).sum();
    (covered == sum.candidates).then(|| cross.values().sum::<f64>() / sum.seconds)
}

pub(super) fn table(all: &[Measured]) -> String {
    let mut table = "| join layer | values | from | last layer | candidates | seconds | ms a candidate | times the cross-encoder | bytes a document |\n\
                     |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let sums = sums(all);
    let mut rows: Vec<_> = sums.iter().filter(|((what, _), _)| *what != What::Index).collect();
    rows.sort_by_key(|((what, shape), _)| (shape.compress, shape.join_layer, *what));
    for ((what, shape), sum) in rows {
        let from = if matches!(what, What::Store | What::Whole) { "store" } else { "text" };
        let whole = matches!(what, What::Whole | What::WholeCrossEncoder);
        let last = if whole { "all tokens" } else { "first tokens" };
        let times = speedup(all, sum).map_or_else(|| "-".to_owned(), |times| format!("{times:.2}"));
        let bytes = sum.bytes_per_document.map_or_else(|| "-".to_owned(), |b| format!("{b:.0}"));
        // Writing to a string succeeds.
        let _ = writeln!(
            table,
            "| {} | {} | {from} | {last} | {} | {:.3} | {:.2} | {times} | {bytes} |",
            shape.join_layer,
            values(shape),
            sum.candidates,
            sum.seconds,
            1e3 * sum.seconds / sum.candidates as f64,
        );
    }
    let indexed: Vec<_> = sums.iter().filter(|((what, _), _)| *what == What::Index).collect();
    if indexed.is_empty() {
        return table;
    }
    table.push_str("\n| join layer | values | documents | documents/s | MB/s of text | forward pass alone, documents/s | of its speed |\n|---|---|---|---|---|---|---|\n");
    for ((_, shape), sum) in indexed {
        let rate = |seconds: f64| sum.candidates as f64 / seconds;
        let _ = writeln!(
            table,
            "| {} | {} | {} | {:.1} | {:.3} | {:.1} | {:.0} % |",
            shape.join_layer,
            values(shape),
            sum.candidates,
            rate(sum.seconds),
            sum.text_bytes as f64 / 1e6 / sum.seconds,
            rate(sum.forward_seconds),
            100.0 * sum.forward_seconds / sum.seconds,
        );
    }
    table
}

fn values(shape: &Shape) -> String {
    if shape.compress == 0 { "all".to_owned() } else { shape.compress.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(what: What, join_layer: usize, first: usize, seconds: f64) -> Measured {
        Measured {
            what,
            shape: Shape { join_layer, compress: 0 },
            first,
            candidates: 100,
            seconds,
            forward_seconds: (what == What::Index).then_some(9.0),
            bytes_per_document: Some(1234.4),
            text_bytes: Some(1_000_000),
        }
    }

    #[test]
    fn pieces_are_compared_on_the_same_candidates() {
        let all = [
            measured(What::CrossEncoder, 0, 0, 8.0),
            measured(What::CrossEncoder, 0, 100, 12.0),
            measured(What::Store, 3, 0, 9.0),
            // Measured again: the last one counts.
            measured(What::Store, 3, 0, 4.0),
            measured(What::Store, 5, 0, 1.0),
            measured(What::Store, 5, 100, 1.0),
            measured(What::Store, 4, 200, 1.0),
            measured(What::Index, 3, 0, 10.0),
        ];
        let table = table(&all);
        let has = |row: &str| assert!(table.contains(row), "{row} in {table}");
        has("| 0 | all | text | first tokens | 200 | 20.000 | 100.00 | 1.00 | 1234 |");
        has("| 3 | all | store | first tokens | 100 | 4.000 | 40.00 | 2.00 | 1234 |");
        has("| 5 | all | store | first tokens | 200 | 2.000 | 10.00 | 10.00 | 1234 |");
        has("| 4 | all | store | first tokens | 100 | 1.000 | 10.00 | - | 1234 |");
        has("| 3 | all | 100 | 10.0 | 0.100 | 11.1 | 90 % |");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        assert!(read(&path).unwrap().is_empty());
        write(&path, &all).unwrap();
        assert_eq!(self::table(&read(&path).unwrap()), table);
    }
}
