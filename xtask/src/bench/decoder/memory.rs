//! The memory of opening a decoder and of scoring with it, each in a process of its own.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tamis_model::{IdGroup, OpenOptions, Precision, Reranker};

use super::{DecoderArgs, pair};
use crate::bench::shape::Shape;
use tamis_model::device;

/// What is scored.
const SHAPE: Shape = Shape { rows: 128, tokens: 512 };

/// Tokens of one forward pass on a core.
const PASS: usize = 512;

/// Between two looks at the memory.
const INTERVAL: Duration = Duration::from_micros(500);

/// Memory of the process that is no file's, in bytes. Files that are mapped are not counted: the system takes
/// their pages back when it needs them.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The most memory while something runs, and what it returns.
fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let (is_done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                most.fetch_max(anonymous(), Ordering::Relaxed);
                std::thread::sleep(INTERVAL);
            }
        });
        let result = work();
        is_done.store(true, Ordering::Relaxed);
        (result, most.load(Ordering::Relaxed).max(anonymous()))
    })
}

/// Opens a checkpoint and scores 128 rows of 512 tokens: four numbers of bytes, those of the peak while it opened,
/// of the open model, of the peak while it scored beyond that, and of the cost model.
pub fn measure(model: &Path, precision: Precision) -> Result<String> {
    let before = anonymous();
    ensure!(before > 0, "the memory of a process is not known on this system");
    let options = OpenOptions { precision, ..OpenOptions::default() };
    let device = device("cpu")?;
    let (reranker, opening) = peak(|| Reranker::open_with(model, &device, options));
    let reranker = reranker?;
    // What was freed goes back to the system a moment later.
    std::thread::sleep(Duration::from_millis(300));
    let opened = anonymous();
    let ids: Vec<_> = (0..SHAPE.rows).map(|row| pair(SHAPE, row)).collect();
    let groups: Vec<IdGroup<'_>> =
        ids.iter().map(|(query, document)| IdGroup { query, documents: vec![document] }).collect();
    let ready = anonymous();
    let (scores, scoring) = peak(|| reranker.score_ids(&groups));
    scores?;
    let cost = reranker.cost_model().context("only decoders have a cost model")?;
    // Every core has a batch; the ids and kinds of all rows are there beside them.
    let batches = rayon::current_num_threads() * cost.bytes(PASS, 1, 0);
    let predicted = batches + 2 * 4 * SHAPE.rows * SHAPE.tokens;
    Ok(format!(
        "{} {} {} {predicted}",
        opening - before,
        opened - before,
        scoring.saturating_sub(ready)
    ))
}

/// The same for both precisions, each in a fresh process.
pub fn table(args: &DecoderArgs) -> Result<String> {
    let program = std::env::current_exe().context("the program has no path")?;
    let size: u64 = std::fs::read_dir(&args.model)?
        .filter_map(|entry| entry.ok()?.metadata().ok().map(|metadata| metadata.len()))
        .sum();
    let mut table = format!(
        "A checkpoint of {:.0} MB.\n\n| numbers | peak while opening, MB | open, MB | peak : open | \
         scoring 128 x 512, MB | cost model, MB |\n|---|---:|---:|---:|---:|---:|\n",
        size as f64 / 1e6
    );
    for precision in [Precision::F32, Precision::Bf16] {
        let output = Command::new(&program)
            .args(["bench", "decoder", "--model"])
            .arg(&args.model)
            .args(["--threads", &args.threads.to_string()])
            .args(["--memory-of", precision.name()])
            .output()
            .with_context(|| program.display().to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> =
            text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [opening, opened, scoring, predicted] = numbers[..] else {
            bail!("expected four numbers: {text}{}", String::from_utf8_lossy(&output.stderr))
        };
        let mb = |bytes: f64| bytes / 1e6;
        writeln!(
            table,
            "| {precision} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} |",
            mb(opening),
            mb(opened),
            opening / opened,
            mb(scoring),
            mb(predicted)
        )?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_seen_though_it_is_over() {
        let ((), most) = peak(|| {
            let block = vec![1_u8; 64 << 20];
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(block.iter().map(|&byte| u64::from(byte)).sum::<u64>(), 64 << 20);
        });
        assert!(most > 64 << 20, "{most}");
    }
}
