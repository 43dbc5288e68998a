//! `cargo xtask plan`: the quality and latency of every exit and ratio into the best one within a budget.

mod front;
mod grid;
mod measure;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tamis_data::output;
use tamis_eval::Measure;
use tamis_model::adapter::AdapterUse;
use tamis_model::{OpenOptions, Precision, Reranker};

use crate::model;
use crate::progress::say;
use crate::score::parts::sha256;
use grid::Grid;
use measure::{Collection, Timing};
use tamis_model::device;

/// Pick the depth and width of a decoder that a latency budget allows.
///
/// Measures every exit and ratio once: how well the candidates of a dev set are ranked, and how long one query
/// takes. The grid is kept in the output folder; another budget reads it from there.
///
///   cargo xtask plan --model matroyshka --queries queries.jsonl --corpus corpus.jsonl \
///       --qrels qrels/dev.tsv --run bm25/dev.run --depth 50 --compress-layers 8,16 \
///       --budget-ms 50 --out plan
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct PlanArgs {
    /// A checkpoint with exits: a Hugging Face folder, or its name on the hub
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,

    /// Queries: .jsonl (BEIR), .tsv (MS MARCO) or .parquet
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,

    /// Documents, in the same formats; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    corpus: Vec<PathBuf>,

    /// Judgements of a dev set
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,

    /// The first stage's run
    #[arg(long, value_name = "FILE")]
    run: PathBuf,

    /// Candidates per query: those of the quality, and of the query whose latency is measured
    #[arg(long, default_value_t = 100)]
    depth: usize,

    /// The first queries of the run only [default: all]
    #[arg(long, value_name = "N")]
    max_queries: Option<usize>,

    /// What tells how well documents are ranked
    #[arg(long, default_value = "nDCG@10")]
    measure: Measure,

    /// An adapter on the weights, for all requests or for some: PATH, PATH@ratio=2, PATH@exit=4; may be
    /// repeated
    #[arg(long = "adapter", value_name = "PATH")]
    adapters: Vec<AdapterUse>,

    /// The exits to measure [default: all]
    #[arg(long, value_name = "DEPTHS", value_delimiter = ',')]
    exits: Vec<usize>,

    /// The ratios to measure
    #[arg(long, value_name = "RATIOS", value_delimiter = ',', default_value = "1,2,4")]
    ratios: Vec<usize>,

    /// Depths at which documents are shortened [default: the checkpoint's]
    #[arg(long, value_name = "DEPTHS", value_delimiter = ',')]
    compress_layers: Vec<usize>,

    /// Queries whose latency is measured, in turns over all exits and ratios
    #[arg(long, value_name = "N", default_value_t = 20)]
    timed_queries: usize,

    /// The most that one query may take, in milliseconds; may be repeated
    #[arg(long, value_name = "MS", required = true)]
    budget_ms: Vec<f64>,

    /// The numbers that linear maps multiply: f32, bf16 or int8
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,

    /// Also write the run of every exit and ratio, as runs/exit-E-ratio-R.run in the output folder
    #[arg(long)]
    runs: bool,

    /// A folder for grid.json and front.svg
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,

    /// Where to compute: cpu, cuda, cuda:1, wgpu or wgpu:1
    #[arg(long, default_value = "cpu")]
    device: String,
}

pub fn plan(args: &PlanArgs) -> Result<()> {
    for &budget in &args.budget_ms {
        ensure!(budget > 0.0, "--budget-ms: expected above 0, found `{budget}`");
    }
    ensure!(args.depth > 0, "--depth: expected above 0, found `0`");
    ensure!(args.timed_queries > 0, "--timed-queries: expected above 0, found `0`");
    ensure!(!args.ratios.contains(&0), "--ratios: expected 1 or more, found `0`");
    // Before anything is measured.
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let directory = model::locate(&args.model)?;
    let key = key(args, &directory)?;
    let path = args.out.join("grid.json");
    let grid = match Grid::read(&path, &key)? {
        Some(grid) => {
            say(&format!("{} was measured already", path.display()));
            grid
        }
        None => {
            let grid = measure(args, &directory, key)?;
            output::write_file(&path, |out| {
                serde_json::to_writer_pretty(out, &grid).map_err(std::io::Error::other)
            })?;
            grid
        }
    };
    let picks: Vec<_> = args.budget_ms.iter().map(|&budget| (budget, grid.pick(budget))).collect();
    let svg = front::draw(&grid, &picks);
    let drawing = args.out.join("front.svg");
    output::write_file(&drawing, |out| out.write_all(svg.as_bytes()))?;
    println!("{}", grid.table());
    for (budget, pick) in picks {
        match pick {
            Some(cell) => println!(
                "{budget} ms: {} ({:.1} ms, {} {:.4})",
                cell.options(&grid.compress_layers),
                cell.ms,
                grid.measure,
                cell.quality
            ),
            None => println!("{budget} ms: no exit is that fast with {} candidates", grid.depth),
        }
    }
    say(&format!("wrote {} and {}", path.display(), drawing.display()));
    Ok(())
}

fn measure(args: &PlanArgs, directory: &Path, key: String) -> Result<Grid> {
    let (precision, adapters) = (args.precision, args.adapters.clone());
    let options = OpenOptions { precision, adapters, ..OpenOptions::default() };
    let reranker = Reranker::open_with(directory, &device(&args.device)?, options)?;
    let known = reranker.depths();
    ensure!(!known.is_empty(), "{}: only decoders have exits", directory.display());
    let exits = if args.exits.is_empty() { known } else { args.exits.clone() };
    let compress_layers = match args.compress_layers.as_slice() {
        [] => reranker.settings().effort.compress_layers.clone(),
        layers => layers.to_vec(),
    };
    ensure!(
        !compress_layers.is_empty() || args.ratios == [1],
        "--ratios: say where documents are shortened with --compress-layers"
    );
    let collection = Collection::read(args)?;
    let mut grid = Grid::new(key, args, &exits, compress_layers);
    collection.qualities(&reranker, &mut grid, args.runs.then_some(args.out.as_path()))?;
    Timing::of(&collection, args.timed_queries).run(&reranker, &mut grid)?;
    Ok(grid)
}

/// All that a grid depends on.
fn key(args: &PlanArgs, directory: &Path) -> Result<String> {
    let mut key = String::new();
    let adapters = args.adapters.iter().map(|adapter| adapter.path.as_path());
    for folder in [directory].into_iter().chain(adapters) {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
            .with_context(|| folder.display().to_string())?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()?;
        paths.retain(|path| {
            path.extension().is_some_and(|kind| kind == "json" || kind == "safetensors")
        });
        paths.sort();
        for path in paths {
            key.push_str(&sha256(&path)?);
            key.push('\n');
        }
    }
    for path in [&args.queries, &args.qrels, &args.run].into_iter().chain(&args.corpus) {
        key.push_str(&sha256(path)?);
        key.push('\n');
    }
    for adapter in &args.adapters {
        key.push_str(&format!("{adapter}\n"));
    }
    let PlanArgs { depth, max_queries, measure, exits, ratios, compress_layers, .. } = args;
    key.push_str(&format!(
        "{depth} {max_queries:?} {measure} {exits:?} {ratios:?} {compress_layers:?} {} {}",
        args.precision, args.device
    ));
    Ok(tamis_model::checkpoint::hash(key.as_bytes()))
}
