//! `cargo xtask bench prettr`: one query's candidates read whole, split, and from a store.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use serde_json::json;
use tamis_data::term_store::{BuildPlan, Element, TermStore, TermStoreBuilder};
use tamis_data::{DocumentPosition, PairParts, TextGroup, Truncation, format, output};
use tamis_model::checkpoint::{self, Contents};
use tamis_model::{
    Config, CrossEncoder, Precision, Reranker, Settings, TermCandidate, TermGroup, instructions,
};

use crate::progress::say;

/// Tokens of a query with its special ones: those of the published PreTTR.
const QUERY: usize = 30;

/// Tokens of a document with `[SEP]`.
const DOCUMENT: usize = 199;

/// Time one query's candidates: the cross-encoder, a PreTTR that reads texts, and a PreTTR that reads a
/// store, for every layer at which it may join.
///
/// The models have the size of a DistilBERT and weights from a seed: values do not change the time.
///
///   cargo xtask bench prettr --tokenizer models/minilm-l6 --corpus corpus.jsonl --queries queries.jsonl
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct PrettrArgs {
    /// A checkpoint whose tokenizer is used
    #[arg(long, value_name = "FOLDER")]
    tokenizer: PathBuf,

    /// Documents; the first ones are the candidates
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,

    /// Queries; the first one is asked
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,

    /// Candidates of the query
    #[arg(long, default_value_t = 1000)]
    candidates: usize,

    /// How often each is timed, after the warm-up of those that read a store
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Layers at which the PreTTR joins query and document
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4,5")]
    join_layers: Vec<usize>,

    /// Values of a token behind a compressor, beside all of them; where it joins is the middle layer
    #[arg(long, value_delimiter = ',', default_value = "64,128,256")]
    compress: Vec<usize>,

    /// The type in which values are kept
    #[arg(long = "type", value_name = "TYPE", default_value_t)]
    element: Element,

    /// The numbers that linear maps multiply
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,

    /// Also write the table to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn prettr(args: &PrettrArgs) -> Result<()> {
    let device = Device::flex();
    let documents = documents(args)?;
    let queries = format::read_queries(&args.queries)?;
    let (_, query) = queries.first().context("there is no query")?;
    let texts: Vec<&str> = documents.iter().map(|(_, text)| text.as_str()).collect();
    let folder = tempfile::tempdir()?;
    let open = |join_layer: usize, width: Option<usize>| -> Result<Reranker> {
        let path = folder.path().join("model");
        write_model(&path, &args.tokenizer, (join_layer, width), &device)?;
        let reranker = Reranker::open_at(&path, &device, args.precision)?;
        std::fs::remove_dir_all(&path)?;
        Ok(reranker)
    };
    let mut table = format!(
        "{} candidates, {} on {} threads ({}), stored as {}\n\n\
         | join layer | values | from | seconds | times the cross-encoder | index: documents/s | of the forward pass | bytes a document |\n\
         |---|---|---|---|---|---|---|---|\n",
        documents.len(),
        args.precision,
        std::thread::available_parallelism()?,
        instructions(),
        args.element,
    );
    let cross_encoder = open(0, None)?;
    let whole = median(args.rounds, || from_text(&cross_encoder, query, &texts))?;
    let mut row = |(layer, width): (usize, Option<usize>), from: &str, seconds: f64, rest: &str| {
        let width = width.map_or_else(|| "all".to_owned(), |width| width.to_string());
        let times = whole / seconds;
        let line = format!("| {layer} | {width} | {from} | {seconds:.3} | {times:.2} | {rest} |");
        say(&line);
        // Writing to a string succeeds.
        let _ = writeln!(table, "{line}");
    };
    row((0, None), "text", whole, "- | - | -");
    let all = args.join_layers.iter().map(|&layer| (layer, None));
    for shape in all.chain(args.compress.iter().map(|&width| (3, Some(width)))) {
        let reranker = open(shape.0, shape.1)?;
        if shape.1.is_none() {
            let seconds = median(1, || from_text(&reranker, query, &texts))?;
            row(shape, "text", seconds, "- | - | -");
        }
        let start = Instant::now();
        reranker.compute_terms(&texts)?;
        let forward = start.elapsed().as_secs_f64();
        let path = folder.path().join("store");
        let start = Instant::now();
        let store = index(&reranker, &documents, args.element, &path)?;
        let indexed = start.elapsed().as_secs_f64();
        let stat = store.stat();
        let reranker = reranker.with_terms(Arc::new(store), 0)?;
        let ids = documents.iter().map(|(id, _)| TermCandidate::Id(id)).collect::<Vec<_>>();
        let ask = || {
            let group = TermGroup { query, documents: ids.clone() };
            let start = Instant::now();
            reranker.score_terms(&[group])?;
            Ok(start.elapsed().as_secs_f64())
        };
        ask()?;
        let seconds = median(args.rounds, ask)?;
        let rest = format!(
            "{:.1} | {:.0} % | {:.0}",
            documents.len() as f64 / indexed,
            100.0 * forward / indexed,
            stat.bytes_per_document(),
        );
        row(shape, "store", seconds, &rest);
        std::fs::remove_dir_all(&path)?;
    }
    print!("{table}");
    if let Some(path) = &args.out {
        output::write_file(path, |out| out.write_all(table.as_bytes()))?;
    }
    Ok(())
}

/// The first documents of the corpus.
fn documents(args: &PrettrArgs) -> Result<Vec<(String, String)>> {
    let mut documents = Vec::with_capacity(args.candidates);
    format::read_documents(&args.corpus, |id, text| {
        if documents.len() < args.candidates {
            documents.push((id.to_owned(), text.to_owned()));
        }
        Ok(())
    })?;
    let n = documents.len();
    ensure!(n == args.candidates, "--candidates: the corpus has {n} documents");
    Ok(documents)
}

/// A DistilBERT PreTTR with weights from a seed.
fn write_model(
    path: &Path,
    tokenizer: &Path,
    (join_layer, width): (usize, Option<usize>),
    device: &Device,
) -> Result<()> {
    let config = json!({
        "model_type": "distilbert", "architectures": ["PreTTR"], "join_layer_idx": join_layer,
        "compress_size": width.unwrap_or(0),
    });
    std::fs::create_dir_all(path)?;
    std::fs::write(path.join("config.json"), config.to_string())?;
    let config = Config::read(&path.join("config.json"))?;
    let model = checkpoint::initialise(CrossEncoder::zeros(&config, device), &config, 42);
    let settings = Settings {
        max_length: QUERY + DOCUMENT,
        query_max_length: QUERY - 2,
        truncation: Truncation::SecondOnly,
        parts: Some(PairParts { position: DocumentPosition::Fixed(QUERY), ..PairParts::default() }),
        ..Settings::of_model(&config)
    };
    let contents = Contents { model: &model, config: &config, settings: &settings, tokenizer };
    Ok(checkpoint::save(contents, path)?)
}

fn from_text(reranker: &Reranker, query: &str, texts: &[&str]) -> Result<f64> {
    let group = TextGroup { query, documents: texts.to_vec() };
    let start = Instant::now();
    reranker.score(&[group])?;
    Ok(start.elapsed().as_secs_f64())
}

fn index(
    reranker: &Reranker,
    documents: &[(String, String)],
    element: Element,
    path: &Path,
) -> Result<TermStore> {
    let builder = TermStoreBuilder::open(
        path,
        BuildPlan {
            identity: reranker.term_identity()?,
            element,
            source: "bench".to_owned(),
            n_documents: documents.len() as u64,
            shard_documents: 4096,
        },
    )?;
    for (number, range) in builder.pending()? {
        let mut shard = builder.shard(number)?;
        for documents in documents[range.start as usize..range.end as usize].chunks(256) {
            let texts: Vec<&str> = documents.iter().map(|(_, text)| text.as_str()).collect();
            for ((id, _), values) in documents.iter().zip(reranker.compute_terms(&texts)?.0) {
                shard.push(id, &values)?;
            }
        }
        shard.finish()?;
    }
    Ok(builder.publish()?)
}

fn median(rounds: usize, mut time: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut all = (0..rounds.max(1)).map(|_| time()).collect::<Result<Vec<f64>>>()?;
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}
