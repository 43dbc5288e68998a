//! `cargo xtask index`: the documents of a corpus, half computed, into a store that queries read.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::{Tensor, TensorData};
use sha2::{Digest, Sha256};
use tamis_data::term_store::{
    self, BuildPlan, Element, ShardWriter, TermStat, TermStore, TermStoreBuilder,
};
use tamis_data::{ErrorKind, TruncationReport, format};
use tamis_model::checkpoint::{self, Contents};
use tamis_model::{CompressorConfig, Precision, Reranker, Settings};

use crate::model;
use crate::progress::{Progress, say};
use tamis_model::device;

/// Documents that are computed in one call, between two signs of life.
const DOCUMENTS_PER_CALL: usize = 256;

/// Compute the documents of a corpus up to the layer where a PreTTR joins them with queries, and keep
/// them in a store. A build that was stopped goes on; documents of a store are added and replaced.
///
///   cargo xtask index --model runs/prettr/checkpoint --corpus corpus.jsonl --out store
///   cargo xtask index stat store
///   cargo xtask rerank --model runs/prettr/checkpoint --terms store ...
#[derive(clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
pub struct IndexArgs {
    #[command(subcommand)]
    command: Option<IndexCommand>,

    /// A PreTTR's checkpoint whose documents start at a fixed position
    #[arg(long, value_name = "MODEL", required = true)]
    model: Option<PathBuf>,

    /// Documents: .jsonl (BEIR), .tsv (MS MARCO) or .parquet; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    corpus: Vec<PathBuf>,

    /// The store, a folder
    #[arg(long, value_name = "FOLDER", required = true)]
    out: Option<PathBuf>,

    /// The type in which values are kept: f32, f16, bf16 or int8
    #[arg(long = "type", value_name = "TYPE", default_value_t)]
    element: Element,

    /// Documents of a file of the store: what is lost at most when the build is killed
    #[arg(long, value_name = "DOCUMENTS", default_value_t = 4096)]
    shard: u64,

    /// The numbers that linear maps multiply: f32, bf16 or int8
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,

    /// Where to compute: cpu, cuda, cuda:1, wgpu or wgpu:1
    #[arg(long, default_value = "cpu")]
    device: String,
}

#[derive(clap::Subcommand)]
enum IndexCommand {
    /// Compare every checksum of a store
    Verify {
        /// The store
        store: PathBuf,
    },
    /// Say how large a store is, and how large it would be with more documents
    Stat {
        /// The store
        store: PathBuf,
    },
    /// Take documents out of a store
    Delete {
        /// The store
        store: PathBuf,
        /// Ids of documents, one a line
        #[arg(long, value_name = "FILE")]
        ids: PathBuf,
    },
    /// Put a compressor on a model that keeps few values of a token: it begins with the directions in which what a
    /// store without one has varies most
    Compressor {
        /// A store of the model's documents, without a compressor
        store: PathBuf,
        /// The PreTTR that the store was made with
        #[arg(long, value_name = "MODEL")]
        model: PathBuf,
        /// Values of a token that are kept
        #[arg(long, value_name = "VALUES")]
        width: usize,
        /// Round them to f16 while the model is trained, as a store of f16 does
        #[arg(long)]
        half: bool,
        /// Tokens of the store that are looked at, evenly spread
        #[arg(long, value_name = "TOKENS", default_value_t = 30_000)]
        tokens: usize,
        /// The checkpoint with the compressor, to be trained for a short while
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Give back the space of documents that were replaced or deleted; one that was killed goes on
    Compact {
        /// The store
        store: PathBuf,
        /// Documents of a new file of the store: what is lost at most when this is killed
        #[arg(long, value_name = "DOCUMENTS", default_value_t = 4096)]
        shard: u64,
    },
}

pub fn index(args: &IndexArgs) -> Result<()> {
    match &args.command {
        None => build(args),
        Some(IndexCommand::Verify { store }) => verify(store),
        Some(IndexCommand::Stat { store }) => {
            print!("{}", table(&TermStore::open(store)?));
            Ok(())
        }
        Some(IndexCommand::Delete { store, ids }) => {
            let text = std::fs::read_to_string(ids).with_context(|| ids.display().to_string())?;
            let ids: BTreeSet<String> = text
                .lines()
                .map(str::trim)
                .filter(|id| !id.is_empty())
                .map(str::to_owned)
                .collect();
            term_store::delete(store, &ids)?;
            say(&format!("deleted {} documents", ids.len()));
            Ok(())
        }
        Some(IndexCommand::Compact { store, shard }) => compact(store, *shard),
        Some(IndexCommand::Compressor { store, model, width, half, tokens, out }) => {
            let shape = CompressorConfig { width: *width, is_half: *half };
            compressor((store, *tokens), &model::locate(model)?, shape, out)
        }
    }
}

fn compressor(
    (path, n_tokens): (&Path, usize),
    directory: &Path,
    shape: CompressorConfig,
    out: &Path,
) -> Result<()> {
    let device = device("cpu")?;
    let identity = Reranker::open(directory, &device)?.term_identity()?;
    let store = TermStore::open_for(path, &identity)?;
    let width = identity.width;
    // Documents evenly spread, until there are tokens enough.
    let step = (store.stat().tokens as usize / n_tokens.max(1)).max(1);
    let mut values = Vec::new();
    for id in store.ids().step_by(step) {
        let place = store.find(id?)?;
        store.read(place, &mut values)?;
    }
    let n = values.len() / width.max(1);
    let states = Tensor::<2>::from_data(TensorData::new(values, [n, width]), &device);
    let loaded = checkpoint::load(directory, None, &device)?;
    let settings = Settings::read(directory, &loaded.config)?;
    let made = loaded.model.with_principal_compressor(&loaded.config, states, shape);
    let (model, config) = made.map_err(anyhow::Error::msg)?;
    let contents =
        Contents { model: &model, config: &config, settings: &settings, tokenizer: directory };
    checkpoint::save(contents, out)?;
    say(&format!(
        "wrote {}: {} of {width} values a token, from {n} tokens of {}",
        out.display(),
        shape.width,
        path.display()
    ));
    Ok(())
}

fn compact(path: &Path, shard: u64) -> Result<()> {
    check_shard(shard)?;
    let mut progress: Option<Progress> = None;
    let done = term_store::compact(path, shard, &mut |now, all| {
        let progress =
            progress.get_or_insert_with(|| Progress::new("compacting", "documents", 0, all));
        progress.set(now, "");
    })?;
    if let Some(progress) = progress {
        progress.finish();
    }
    say(&format!(
        "left out {} documents, copied {}: {} bytes before, {} now",
        done.dropped, done.copied, done.bytes_before, done.bytes_after,
    ));
    Ok(())
}

fn check_shard(shard: u64) -> Result<()> {
    if shard == 0 {
        bail!("--shard: expected a number above 0, found `0`");
    }
    Ok(())
}

fn build(args: &IndexArgs) -> Result<()> {
    let (Some(model), Some(out)) = (&args.model, &args.out) else {
        bail!("expected --model, --corpus and --out");
    };
    check_shard(args.shard)?;
    let device = device(&args.device)?;
    let reranker = Reranker::open_at(&model::locate(model)?, &device, args.precision)?;
    let identity = reranker.term_identity()?;
    let (n_documents, source) = read_through(&args.corpus)?;
    let plan = BuildPlan {
        identity,
        element: args.element,
        // Scores of other numbers are others, if only a little.
        source: format!("{source} {}", args.precision),
        n_documents,
        shard_documents: args.shard,
    };
    let builder = TermStoreBuilder::open(out, plan)?;
    let pending = builder.pending()?;
    let n_pending: u64 = pending.iter().map(|(_, documents)| documents.end - documents.start).sum();
    let first = n_documents - n_pending;
    if first > 0 && n_pending > 0 {
        say(&format!("going on: {first} of {n_documents} documents are there"));
    }
    let start = Instant::now();
    let mut work = Build {
        reranker: &reranker,
        builder: &builder,
        pending,
        next: 0,
        shard: None,
        waiting: Vec::new(),
        report: TruncationReport::default(),
        done: first,
        bytes: 0,
        progress: Progress::new("indexing", "documents", first, n_documents),
        start,
    };
    each(&args.corpus, &mut |number, id, text| work.take(number, id, text))?;
    let Build { progress, report, bytes, .. } = work;
    progress.finish();
    let store = builder.publish()?;
    let seconds = start.elapsed().as_secs_f64();
    say(&format!(
        "indexed {n_pending} documents in {seconds:.1} s ({:.1} documents/s, {:.1} MB/s); \
         {} were cut to {} tokens",
        n_pending as f64 / seconds,
        bytes as f64 / 1e6 / seconds,
        report.truncated_rows,
        store.identity().max_document_tokens,
    ));
    print!("{}", table(&store));
    Ok(())
}

/// Counts documents and makes a hash of all of them; refuses an id that comes twice.
fn read_through(corpus: &[PathBuf]) -> Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut ids = HashSet::new();
    let mut n_documents = 0_u64;
    each(corpus, &mut |_, id, text| {
        let key: [u8; 16] = Sha256::digest(id)[..16].try_into().expect("a hash has 32 bytes");
        if !ids.insert(key) {
            bail!("{}", ErrorKind::Duplicate { what: "document", id: id.to_owned() });
        }
        for part in [id, text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        n_documents += 1;
        Ok(())
    })?;
    let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((n_documents, hash))
}

/// Calls `take` with the number, id and text of every document.
fn each(corpus: &[PathBuf], take: &mut dyn FnMut(u64, &str, &str) -> Result<()>) -> Result<()> {
    let mut number = 0;
    for path in corpus {
        let mut failed = None;
        let read = format::read_documents(path, |id, text| {
            let taken = take(number, id, text);
            number += 1;
            taken.map_err(|error| {
                let message = error.to_string();
                failed = Some(error);
                ErrorKind::Invalid(message)
            })
        });
        match (read, failed) {
            (Err(place), Some(error)) => return Err(error.context(place)),
            (read, _) => read?,
        }
    }
    Ok(())
}

/// A build under way.
struct Build<'a> {
    reranker: &'a Reranker,
    builder: &'a TermStoreBuilder,
    /// Shards that are not there yet, and which of them is next.
    pending: Vec<(u64, Range<u64>)>,
    next: usize,
    shard: Option<ShardWriter>,
    /// Documents that are computed next.
    waiting: Vec<(String, String)>,
    report: TruncationReport,
    done: u64,
    bytes: u64,
    progress: Progress,
    start: Instant,
}

impl Build<'_> {
    /// Takes the documents in their order, and passes over those whose shard is there.
    fn take(&mut self, number: u64, id: &str, text: &str) -> Result<()> {
        let Some((shard, documents)) = self.pending.get(self.next).cloned() else { return Ok(()) };
        if !documents.contains(&number) {
            return Ok(());
        }
        if self.shard.is_none() {
            self.shard = Some(self.builder.shard(shard)?);
        }
        self.waiting.push((id.to_owned(), text.to_owned()));
        let last = number + 1 == documents.end;
        if last || self.waiting.len() == DOCUMENTS_PER_CALL {
            self.compute()?;
        }
        if last {
            self.shard.take().expect("a shard is under way").finish()?;
            self.next += 1;
        }
        Ok(())
    }

    fn compute(&mut self) -> Result<()> {
        let texts: Vec<&str> = self.waiting.iter().map(|(_, text)| text.as_str()).collect();
        let (kept, cut) = self.reranker.compute_terms(&texts)?;
        self.report.merge(&cut);
        let shard = self.shard.as_mut().expect("a shard is under way");
        for ((id, text), values) in self.waiting.iter().zip(&kept) {
            shard.push(id, values)?;
            self.bytes += text.len() as u64;
        }
        self.done += self.waiting.len() as u64;
        self.waiting.clear();
        let rate = self.bytes as f64 / 1e6 / self.start.elapsed().as_secs_f64();
        self.progress.set(self.done, &format!("{rate:.2} MB/s of text"));
        Ok(())
    }
}

fn verify(path: &Path) -> Result<()> {
    let store = TermStore::open(path)?;
    let start = Instant::now();
    store.verify(&|_, _| {})?;
    let (stat, seconds) = (store.stat(), start.elapsed().as_secs_f64());
    say(&format!(
        "{}: {} documents in {} shards are whole ({:.0} MB/s)",
        path.display(),
        stat.documents,
        stat.shards,
        stat.bytes as f64 / 1e6 / seconds,
    ));
    Ok(())
}

fn table(store: &TermStore) -> String {
    let stat: TermStat = store.stat();
    let identity = store.identity();
    let documents = stat.documents.max(1) as f64;
    let compressed = if identity.is_compressed { ", compressed" } else { "" };
    format!(
        "documents            {}\n\
         tokens a document    {:.1}\n\
         values a token       {} {}{compressed}\n\
         bytes a token        {}\n\
         bytes a document     {:.0}\n\
         bytes                {} in {} files, {} of documents replaced or deleted\n\
         join layer           {}\n\
         position             {}\n\
         10^7 documents       {:.1} GB\n\
         10^9 documents       {:.1} TB\n",
        stat.documents,
        stat.tokens as f64 / documents,
        stat.width,
        store.element(),
        stat.token_bytes,
        stat.bytes_per_document(),
        stat.bytes,
        stat.shards,
        stat.dead_bytes,
        identity.join_layer,
        identity.position,
        stat.projected(10_000_000) / 1e9,
        stat.projected(1_000_000_000) / 1e12,
    )
}
