//! `cargo xtask bench decoder`: decoders beside transformers, and beside what their cost model says.

mod memory;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tamis_data::output;
use tamis_model::{Effort, IdGroup, OpenOptions, Precision, Reranker, RowTokens};

use super::peer::Peer;
use super::shape::Shape;
use crate::progress::say;
use tamis_model::device;

/// Tokens of a query of the bench.
const QUERY: usize = 16;

/// Documents of a group when a prefix is shared.
const GROUP: usize = 16;

/// Time a decoder with exits beside transformers, its exits, ratios and shared prefixes beside the cost model,
/// and measure the memory of opening and scoring it.
///
///   python benches/decoder/model.py tokenizer.json decoder
///   cargo xtask bench decoder --model decoder --python venv/bin/python
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct DecoderArgs {
    /// A checkpoint of benches/decoder/model.py
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,

    /// A Python with torch and transformers; without it Tamis runs alone
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,

    /// The script that runs a peer
    #[arg(long, value_name = "FILE", default_value = "benches/decoder/peer.py")]
    script: PathBuf,

    /// Rows x tokens beside the peer
    #[arg(long, value_delimiter = ',', default_value = "16x256")]
    shapes: Vec<Shape>,

    /// How often everybody is asked, after one warm-up
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Threads of every engine
    #[arg(long, default_value_t = 2)]
    threads: usize,

    /// What is measured: peers, costs, memory
    #[arg(long, value_delimiter = ',', default_value = "peers,costs,memory")]
    parts: Vec<String>,

    /// Measure the memory of opening and scoring in these numbers, in this process, and print it
    #[arg(long, value_name = "NAME", hide = true)]
    memory_of: Option<Precision>,

    /// Also write the tables to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn decoder(args: &DecoderArgs) -> Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    if let Some(precision) = args.memory_of {
        println!("{}", memory::measure(&args.model, precision)?);
        return Ok(());
    }
    let mut tables =
        format!("threads: {}; kernels: {}\n", args.threads, tamis_model::instructions());
    for part in &args.parts {
        let table = match part.as_str() {
            "peers" => peers(args)?,
            "costs" => costs(args)?,
            "memory" => memory::table(args)?,
            other => bail!("--parts: expected peers, costs or memory, found `{other}`"),
        };
        writeln!(tables, "\n{table}")?;
    }
    say(&tables);
    if let Some(path) = &args.out {
        output::write_file(path, |out| out.write_all(tables.as_bytes()))?;
    }
    Ok(())
}

fn open(args: &DecoderArgs, precision: Precision) -> Result<Reranker> {
    let options = OpenOptions { precision, ..OpenOptions::default() };
    Ok(Reranker::open_with(&args.model, &device("cpu")?, options)?)
}

/// The ids of a row, without the token that ends it: query and document.
fn pair(shape: Shape, row: usize) -> (Vec<u32>, Vec<u32>) {
    Shape { tokens: shape.tokens + 2, ..shape }.pair(row)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Tamis and transformers, asked in turns.
fn peers(args: &DecoderArgs) -> Result<String> {
    let precisions = [Precision::F32, Precision::Bf16];
    let own = precisions
        .iter()
        .map(|&precision| Ok((precision, open(args, precision)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut others = Vec::new();
    for precision in precisions.iter().filter(|_| args.python.is_some()) {
        let mut command = Command::new(args.python.as_deref().unwrap_or("python".as_ref()));
        command.arg(&args.script).arg(format!("torch-{precision}"));
        say(&format!("starting torch-{precision}"));
        others.push(Peer::start(command, &args.model, args.threads, "cpu")?);
    }
    let mut table = String::from(
        "| rows x tokens | engine | median ms | least | most | rows/s | times transformers | first logit |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for &shape in &args.shapes {
        let ids: Vec<_> = (0..shape.rows).map(|row| pair(shape, row)).collect();
        // Every pair is a group of its own: nothing is shared.
        let groups: Vec<IdGroup<'_>> = ids
            .iter()
            .map(|(query, document)| IdGroup { query, documents: vec![document] })
            .collect();
        let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); own.len() + others.len()];
        let mut logits = vec![0.0; seconds.len()];
        for round in 0..=args.rounds {
            for (index, (_, reranker)) in own.iter().enumerate() {
                let start = Instant::now();
                let (scores, _) = reranker.score_ids(&groups)?;
                let time = start.elapsed().as_secs_f64();
                logits[index] = f64::from(scores[0][0]);
                seconds[index].extend((round > 0).then_some(time));
            }
            for (index, peer) in others.iter_mut().enumerate() {
                let answer = peer.ask(shape).context("transformers failed")?;
                let [time, logit] = answer[..] else { bail!("expected seconds and a logit") };
                logits[own.len() + index] = logit;
                seconds[own.len() + index].extend((round > 0).then_some(time));
            }
        }
        for index in 0..seconds.len() {
            let middle = median(seconds[index].clone());
            let (name, ratio) = match own.get(index) {
                Some((precision, _)) => {
                    let peer = seconds.get(own.len() + index);
                    let ratio = peer.map(|peer| format!("{:.2}", median(peer.clone()) / middle));
                    (format!("tamis-{precision}"), ratio.unwrap_or_default())
                }
                None => (format!("transformers-{}", precisions[index - own.len()]), String::new()),
            };
            let (least, most) = seconds[index]
                .iter()
                .fold((f64::MAX, 0.0_f64), |(least, most), &s| (least.min(s), most.max(s)));
            writeln!(
                table,
                "| {} x {} | {name} | {:.1} | {:.1} | {:.1} | {:.2} | {ratio} | {:.4} |",
                shape.rows,
                shape.tokens,
                middle * 1e3,
                least * 1e3,
                most * 1e3,
                shape.rows as f64 / middle,
                logits[index],
            )?;
        }
    }
    Ok(table)
}

/// One case beside the cost model: an effort, whether a prefix is shared, and how long the query is.
struct Case {
    name: String,
    effort: Effort,
    shares: bool,
    query: usize,
}

/// Exits, ratios and shared prefixes, each beside the whole model without them.
fn costs(args: &DecoderArgs) -> Result<String> {
    let reranker = open(args, Precision::F32)?;
    let depths = reranker.depths();
    let deepest = *depths.last().context("the model has no exits")?;
    let model = reranker.cost_model().context("only decoders have a cost model")?;
    let tokens = args.shapes.first().map_or(256, |shape| shape.tokens);
    let long = tokens / 2;
    let mut cases = Vec::new();
    let mut add = |name: String, exit: usize, ratio: usize, shares: bool, query: usize| {
        let compress_layers = if ratio > 1 { vec![deepest / 4, deepest / 2] } else { Vec::new() };
        let effort = Effort { exits: vec![exit], ratio, compress_layers };
        cases.push(Case { name, effort, shares, query });
    };
    add("whole".to_owned(), deepest, 1, false, QUERY);
    for &exit in depths.iter().filter(|&&exit| exit < deepest) {
        add(format!("exit {exit}"), exit, 1, false, QUERY);
    }
    for ratio in [2, 4] {
        let layers = format!("ratio {ratio} at {} and {}", deepest / 4, deepest / 2);
        add(layers, deepest, ratio, false, QUERY);
    }
    add(format!("prefix of {QUERY} shared"), deepest, 1, true, QUERY);
    add(format!("whole, query of {long}"), deepest, 1, false, long);
    add(format!("prefix of {long} shared"), deepest, 1, true, long);
    let (apart, shared) = {
        let again = open(args, Precision::F32)?;
        (reranker.with_shared_prefixes(false), again)
    };
    let mut seconds = vec![Vec::new(); cases.len()];
    let ids: Vec<Vec<u32>> =
        (0..GROUP).map(|row| pair(Shape { rows: GROUP, tokens: 2 * tokens }, row).1).collect();
    let query = pair(Shape { rows: 1, tokens: 2 * tokens }, 0).1;
    for round in 0..=args.rounds {
        for (case, seconds) in cases.iter().zip(&mut seconds) {
            let documents = ids.iter().map(|ids| &ids[..tokens - case.query - 1]).collect();
            let group = IdGroup { query: &query[..case.query], documents };
            let reranker = if case.shares { &shared } else { &apart };
            let start = Instant::now();
            reranker.score_ids_at(&[group], &case.effort)?;
            seconds.extend((round > 0).then(|| start.elapsed().as_secs_f64()));
        }
    }
    let mut table = String::from(
        "| 16 rows | ms | speed-up | predicted | measured : predicted |\n|---|---:|---:|---:|---:|\n",
    );
    // A query of another length is beside a whole of its own.
    let (mut whole_ms, mut whole_cost) = (0.0, 0.0);
    for (case, seconds) in cases.iter().zip(seconds) {
        let rows =
            vec![
                RowTokens { before: case.query, document: tokens - case.query - 1, after: 1 };
                GROUP
            ];
        let shared = if case.shares { case.query } else { 0 };
        let (ms, cost) = (1e3 * median(seconds), model.operations(&rows, shared, &case.effort));
        if case.name.starts_with("whole") {
            (whole_ms, whole_cost) = (ms, cost);
        }
        let (found, predicted): (f64, f64) = (whole_ms / ms, whole_cost / cost);
        ensure!(found.is_finite(), "{}: it took {ms} ms", case.name);
        writeln!(
            table,
            "| {} | {ms:.1} | {found:.2} | {predicted:.2} | {:.2} |",
            case.name,
            found / predicted
        )?;
    }
    Ok(table)
}
