//! `cargo xtask bench prettr`: one query's candidates read whole, split, and from a store.

mod plot;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tamis_data::term_store::{BuildPlan, Element, TermStore, TermStoreBuilder};
use tamis_data::{DocumentPosition, PairParts, TextGroup, Truncation, format, output};
use tamis_model::checkpoint::{self, Contents};
use tamis_model::{
    Config, CrossEncoder, Precision, Reranker, Settings, TermCandidate, TermGroup, instructions,
};

use crate::progress::say;
use report::Measured;

/// Tokens of a query with its special ones: those of the published PreTTR.
const QUERY: usize = 30;

/// Tokens of a document with `[SEP]`.
const DOCUMENT: usize = 199;

/// Time one query's candidates: the cross-encoder, a PreTTR that reads texts, and a PreTTR that reads a
/// store, for every layer at which it may join.
///
/// The models have the size of a DistilBERT and weights from a seed: values do not change the time. What is
/// measured is added to --results, piece by piece if need be, and the table is made of all of it:
///
///   cargo xtask bench prettr --tokenizer models/minilm-l6 --corpus corpus.jsonl --queries queries.jsonl \
///       --candidates 250 --skip 250 --time cross-encoder --results prettr.jsonl
///   cargo xtask bench prettr ... --stores stores --time build --join-layers 3
///   cargo xtask bench prettr ... --stores stores --time store,whole --join-layers 3 --results prettr.jsonl
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

    /// Documents of the corpus that come before the candidates
    #[arg(long, default_value_t = 0)]
    skip: usize,

    /// How often each is timed; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// What is timed: cross-encoder and whole-cross-encoder (its last layer for all tokens), text, store and
    /// whole (from the store, the last layer for all tokens), index. build makes stores and times nothing
    #[arg(long, value_delimiter = ',', default_value = "cross-encoder,text,store,index")]
    time: Vec<What>,

    /// Layers at which the PreTTR joins query and document
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4,5")]
    join_layers: Vec<usize>,

    /// Values of a token behind a compressor in place of all of them; 0 for all
    #[arg(long, value_delimiter = ',', default_value = "0")]
    compress: Vec<usize>,

    /// The type in which values are kept
    #[arg(long = "type", value_name = "TYPE", default_value_t)]
    element: Element,

    /// The numbers that linear maps multiply
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,

    /// Keep stores in this folder and use those that are there; they are of the first documents
    #[arg(long, value_name = "FOLDER")]
    stores: Option<PathBuf>,

    /// Add what is measured to this file, and make the table of all of it
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,

    /// Also write the table to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Also draw it into this file, an SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// What a measurement is of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
enum What {
    CrossEncoder,
    WholeCrossEncoder,
    Text,
    Store,
    Whole,
    Index,
    Build,
}

/// A model of the bench: where it joins, and the values that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Shape {
    join_layer: usize,
    /// Behind a compressor; 0 for all.
    compress: usize,
}

pub fn prettr(args: &PrettrArgs) -> Result<()> {
    let mut results = match &args.results {
        Some(path) => report::read(path)?,
        None => Vec::new(),
    };
    let folder = tempfile::tempdir()?;
    let bench = Bench {
        args,
        device: Device::flex(),
        documents: documents(args)?,
        query: first_query(&args.queries)?,
        folder: folder.path(),
    };
    let whole = [What::CrossEncoder, What::WholeCrossEncoder];
    let cross_encoder = Shape { join_layer: 0, compress: 0 };
    let mut work: Vec<(Shape, What)> = whole
        .into_iter()
        .filter(|what| args.time.contains(what))
        .map(|what| (cross_encoder, what))
        .collect();
    for &join_layer in &args.join_layers {
        for &compress in &args.compress {
            let split = args.time.iter().filter(|what| !whole.contains(what));
            work.extend(split.map(|&what| (Shape { join_layer, compress }, what)));
        }
    }
    for (shape, what) in work {
        let Some(measured) = bench.measure(shape, what)? else { continue };
        say(&measured.line());
        results.push(measured);
        if let Some(path) = &args.results {
            report::write(path, &results)?;
        }
    }
    let table = format!(
        "{} on {} threads ({}), stored as {}\n\n{}",
        args.precision,
        std::thread::available_parallelism()?,
        instructions(),
        args.element,
        report::table(&results),
    );
    print!("{table}");
    if let Some(path) = &args.out {
        output::write_file(path, |out| out.write_all(table.as_bytes()))?;
    }
    if let Some(path) = &args.plot {
        let svg = plot::draw(&results);
        output::write_file(path, |out| out.write_all(svg.as_bytes()))?;
    }
    Ok(())
}

/// What all measurements of a run share.
struct Bench<'a> {
    args: &'a PrettrArgs,
    device: Device,
    documents: Vec<(String, String)>,
    query: String,
    folder: &'a Path,
}

impl Bench<'_> {
    fn measure(&self, shape: Shape, what: What) -> Result<Option<Measured>> {
        let path = self.folder.join("model");
        write_model(&path, &self.args.tokenizer, shape, &self.device)?;
        let mut reranker = Reranker::open_at(&path, &self.device, self.args.precision)?;
        std::fs::remove_dir_all(&path)?;
        if matches!(what, What::Whole | What::WholeCrossEncoder) {
            reranker = reranker.with_whole_last_layer();
        }
        let measured = Measured {
            what,
            shape,
            first: self.args.skip,
            candidates: self.documents.len(),
            seconds: 0.0,
            forward_seconds: None,
            bytes_per_document: None,
            text_bytes: None,
        };
        let rounds = self.args.rounds;
        Ok(Some(match what {
            What::Build => {
                self.store(&reranker, shape)?;
                return Ok(None);
            }
            What::CrossEncoder | What::WholeCrossEncoder | What::Text => {
                Measured { seconds: median(rounds, || self.from_text(&reranker))?, ..measured }
            }
            What::Store | What::Whole => {
                let (store, _) = self.store(&reranker, shape)?;
                let bytes_per_document = Some(store.stat().bytes_per_document());
                let reranker = reranker.with_terms(Arc::new(store), 0)?;
                // What the first request of all pays for: pages that are not in memory yet.
                self.from_store(&reranker, self.documents.len().min(32))?;
                let ask = || self.from_store(&reranker, self.documents.len());
                Measured { seconds: median(rounds, ask)?, bytes_per_document, ..measured }
            }
            What::Index => {
                let texts: Vec<&str> = self.documents.iter().map(|(_, text)| &**text).collect();
                let forward = || -> Result<f64> {
                    let start = Instant::now();
                    reranker.compute_terms(&texts)?;
                    Ok(start.elapsed().as_secs_f64())
                };
                // One before and one after, so that a machine that slows down is noticed.
                let before = forward()?;
                let start = Instant::now();
                let store =
                    build(&reranker, &self.documents, self.args.element, &self.folder.join("new"))?;
                let seconds = start.elapsed().as_secs_f64();
                let after = forward()?;
                let bytes_per_document = Some(store.stat().bytes_per_document());
                drop(store);
                std::fs::remove_dir_all(self.folder.join("new"))?;
                Measured {
                    seconds,
                    forward_seconds: Some(f64::midpoint(before, after)),
                    bytes_per_document,
                    text_bytes: Some(texts.iter().map(|text| text.len()).sum()),
                    ..measured
                }
            }
        }))
    }

    fn from_text(&self, reranker: &Reranker) -> Result<f64> {
        let documents = self.documents.iter().map(|(_, text)| text.as_str()).collect();
        let group = TextGroup { query: &self.query, documents };
        let start = Instant::now();
        reranker.score(&[group])?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn from_store(&self, reranker: &Reranker, n: usize) -> Result<f64> {
        let documents = self.documents[..n].iter().map(|(id, _)| TermCandidate::Id(id)).collect();
        let group = TermGroup { query: &self.query, documents };
        let start = Instant::now();
        reranker.score_terms(&[group])?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// The store of a model, made if it is not there.
    fn store(&self, reranker: &Reranker, shape: Shape) -> Result<(TermStore, PathBuf)> {
        let args = self.args;
        let name = format!("{}-{}-{}", shape.join_layer, shape.compress, args.element);
        let path = args.stores.as_deref().unwrap_or(self.folder).join(name);
        let has_all = |store: &TermStore| {
            self.documents.iter().all(|(id, _)| matches!(store.get(id), Ok(Some(_))))
        };
        if path.join("store.json").exists() {
            let store = TermStore::open_for(&path, &reranker.term_identity()?)?;
            if has_all(&store) {
                return Ok((store, path));
            }
        }
        Ok((build(reranker, &self.documents, args.element, &path)?, path))
    }
}

fn first_query(path: &Path) -> Result<String> {
    let queries = format::read_queries(path)?;
    let (_, query) = queries.first().context("there is no query")?;
    Ok(query.clone())
}

/// The first documents of the corpus.
fn documents(args: &PrettrArgs) -> Result<Vec<(String, String)>> {
    let mut documents = Vec::with_capacity(args.candidates);
    let mut passed = 0;
    format::read_documents(&args.corpus, |id, text| {
        if passed >= args.skip && documents.len() < args.candidates {
            documents.push((id.to_owned(), text.to_owned()));
        }
        passed += 1;
        Ok(())
    })?;
    let n = documents.len();
    ensure!(n == args.candidates, "--candidates: the corpus has {n} documents from --skip on");
    Ok(documents)
}

/// A DistilBERT PreTTR with weights from a seed.
fn write_model(
    path: &Path,
    tokenizer: &Path,
    Shape { join_layer, compress }: Shape,
    device: &Device,
) -> Result<()> {
    let config = json!({
        "model_type": "distilbert", "architectures": ["PreTTR"], "join_layer_idx": join_layer,
        "compress_size": compress,
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

fn build(
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
            source: format!("bench {} {}", documents[0].0, documents.len()),
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
