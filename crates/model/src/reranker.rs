//! The one path from texts to scores: evaluation, offline reranking and serving all go through it.

mod rows;
mod term_cache;
mod terms;

use std::ops::Range;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use tamis_data::{Batch, PairEncoder, TextGroup, TruncationReport, plan};
use tamis_ops::Precision;

use crate::checkpoint::{self, NewHead};
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;
use crate::decoder::Prefix;
use crate::dropout_seeds::DropoutSeeds;
use crate::effort::{Effort, TokenWeights};
use crate::error::{Error, Result};
use crate::input::Input;
use crate::long_document::LongDocuments;
use crate::settings::Settings;
use crate::split::SplitConfig;
use crate::workers::Workers;
pub use rows::{RowOptions, Rows};
use terms::Terms;
pub use terms::{TermCandidate, TermGroup};

/// Tokens of one forward pass on the CPU: their activations fit the caches of one core.
const CORE_TOKENS: usize = 512;

/// The fewest tokens that are worth computing apart for the rows of a group.
const LEAST_SHARED: usize = 4;

/// The scores of the rows of one batch, a list for every exit.
type BatchScores = Vec<Vec<f32>>;

/// Tokens of one forward pass on any other device.
const DEVICE_TOKENS: usize = 16_384;

/// A query with its candidates as token ids, without special tokens.
#[derive(Debug, Clone)]
pub struct IdGroup<'a> {
    /// The query's tokens.
    pub query: &'a [u32],
    /// The tokens of each candidate.
    pub documents: Vec<&'a [u32]>,
}

/// The scores of one exit: for every group those of its documents, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitScores {
    /// How many layers are below the exit; 0 where a model has but one end.
    pub depth: usize,
    /// Raw logits.
    pub scores: Vec<Vec<f32>>,
}

/// How a checkpoint is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// In which numbers linear maps multiply.
    pub precision: Precision,
    /// Draws a head where the checkpoint has none, or one with another number of labels; without
    /// this such a checkpoint is refused.
    pub new_head: Option<NewHead>,
}

/// A cross-encoder with its tokenizer, ready to score.
#[derive(Debug)]
pub struct Reranker {
    model: CrossEncoder,
    encoder: PairEncoder,
    settings: Settings,
    device: Device,
    max_positions: usize,
    long_documents: LongDocuments,
    workers: Workers,
    /// How the encoder is split, and the width of its hidden states.
    split: Option<SplitConfig>,
    hidden: usize,
    /// Those of the weights below the split and of the tokenizer.
    hashes: Option<(String, String)>,
    terms: Option<Terms>,
    shares_prefixes: bool,
}

impl Reranker {
    /// Opens a checkpoint directory, to compute in single precision.
    ///
    /// # Errors
    /// When a file is missing or wrong, the checkpoint has another number of labels than one, or the
    /// tokenizer has tokens that the model has no vector for.
    pub fn open(directory: &Path, device: &Device) -> Result<Self> {
        Self::open_with(directory, device, OpenOptions::default())
    }

    /// Opens a checkpoint directory, to multiply in the given numbers.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open_at(directory: &Path, device: &Device, precision: Precision) -> Result<Self> {
        Self::open_with(directory, device, OpenOptions { precision, ..OpenOptions::default() })
    }

    /// Opens a checkpoint directory.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when the device does not compute in the precision: the CPU has
    /// all of them, others may have bfloat16.
    pub fn open_with(directory: &Path, device: &Device, options: OpenOptions) -> Result<Self> {
        let OpenOptions { precision, new_head } = options;
        check_precision(precision, device)?;
        let loaded = checkpoint::load(directory, new_head, device)?;
        let settings = Settings::read(directory, &loaded.config)?;
        let encoder = settings.encoder(directory)?;
        if loaded.config.n_labels != 1 {
            let problem = format!(
                "a reranker has one label, found {}; {}",
                loaded.config.n_labels,
                crate::error::NEW_HEAD,
            );
            return Err(Error::config(&directory.join("config.json"), problem));
        }
        let hashes = match checkpoint::lower_hash(&loaded.model, &loaded.config) {
            Some(hash) => Some((hash, checkpoint::tokenizer_hash(directory)?)),
            None => None,
        };
        let (model, config) = (loaded.model, loaded.config);
        let opened = Self::with_precision(model, &config, encoder, settings, device, precision)?;
        Ok(Self { hashes, ..opened })
    }

    /// Puts a model and its tokenizer together, to compute in single precision.
    ///
    /// # Errors
    /// When the tokenizer has tokens that the model has no vector for, or rows may be longer than
    /// the model's positions.
    pub fn new(
        model: CrossEncoder,
        config: &Config,
        encoder: PairEncoder,
        settings: Settings,
        device: &Device,
    ) -> Result<Self> {
        Self::with_precision(model, config, encoder, settings, device, Precision::F32)
    }

    fn with_precision(
        model: CrossEncoder,
        config: &Config,
        encoder: PairEncoder,
        settings: Settings,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        encoder.check_vocabulary(config.vocab_size())?;
        let limit = config.max_positions();
        check_positions(&encoder, limit)?;
        Ok(Self {
            model: for_inference(model, precision, device),
            encoder,
            settings,
            device: device.clone(),
            max_positions: limit,
            long_documents: LongDocuments::default(),
            workers: Workers::new(),
            split: config.split(),
            hidden: config.hidden(),
            hashes: None,
            terms: None,
            shares_prefixes: true,
        })
    }

    /// The depths that give scores, the shallowest first; of an encoder, none.
    #[must_use]
    pub fn depths(&self) -> Vec<usize> {
        self.model.depths()
    }

    /// How pairs are encoded and scores served.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes other limits than the checkpoint's own.
    ///
    /// # Errors
    /// When rows may be longer than the model's positions, or queries leave no room for documents.
    pub fn with_settings(self, settings: Settings) -> Result<Self> {
        let encoder = settings.encoder_like(&self.encoder)?;
        check_positions(&encoder, self.max_positions)?;
        self.model.exits_of(&settings.effort)?;
        // A store is of one setting.
        Ok(Self { encoder, settings, terms: None, ..self })
    }

    /// Whether what all rows of a group begin with, such as the query, is computed once; it is unless this
    /// says no. Scores are the same. Only decoders can.
    #[must_use]
    pub fn with_shared_prefixes(self, shares_prefixes: bool) -> Self {
        Self { shares_prefixes, ..self }
    }

    /// Takes another treatment of documents that do not fit beside their query.
    ///
    /// # Errors
    /// When windows would overlap by as much as they are long.
    pub fn with_long_documents(self, long_documents: LongDocuments) -> Result<Self> {
        self.check_windows(long_documents)?;
        Ok(Self { long_documents, ..self })
    }

    /// Whether the model can make an effort.
    ///
    /// # Errors
    /// When it cannot: an exit that was not trained, a layer that there is not.
    pub fn check_effort(&self, effort: &Effort) -> Result<()> {
        self.model.exits_of(effort).map(|_| ())
    }

    /// Scores every document of every group: raw logits in the order of the input, and what was cut.
    ///
    /// # Errors
    /// When a text cannot be tokenised or a score is not a number.
    pub fn score(&self, groups: &[TextGroup<'_>]) -> Result<(Vec<Vec<f32>>, TruncationReport)> {
        let (exits, report) = self.score_at(groups, &self.settings.effort)?;
        Ok((deepest(exits), report))
    }

    /// The same with the effort that a request asks for: the scores of every exit, the shallowest first.
    ///
    /// # Errors
    /// As [`score`](Self::score), and when the model cannot make the effort.
    pub fn score_at(
        &self,
        groups: &[TextGroup<'_>],
        effort: &Effort,
    ) -> Result<(Vec<ExitScores>, TruncationReport)> {
        self.score_all(&self.encode(groups, &RowOptions::default())?, effort)
    }

    /// The same for texts that are tokenised already.
    ///
    /// Rows of like length share a batch. On the CPU every core takes batches of its own through the
    /// whole model; a batch alone is shared by all cores. A score does not depend on either.
    ///
    /// # Errors
    /// When a score is not a number.
    pub fn score_ids(&self, groups: &[IdGroup<'_>]) -> Result<(Vec<Vec<f32>>, TruncationReport)> {
        let (exits, report) = self.score_ids_at(groups, &self.settings.effort)?;
        Ok((deepest(exits), report))
    }

    /// The same with the effort that a request asks for: the scores of every exit, the shallowest first.
    ///
    /// # Errors
    /// When a score is not a number, a row is empty, or the model cannot make the effort.
    pub fn score_ids_at(
        &self,
        groups: &[IdGroup<'_>],
        effort: &Effort,
    ) -> Result<(Vec<ExitScores>, TruncationReport)> {
        self.score_all(&self.encode_ids(groups, &RowOptions::default())?, effort)
    }

    fn score_all(
        &self,
        rows: &Rows,
        effort: &Effort,
    ) -> Result<(Vec<ExitScores>, TruncationReport)> {
        let exits = self.score_rows(rows.pairs(), effort)?;
        let pool = |(depth, scores): (usize, Vec<f32>)| {
            Ok(ExitScores { depth, scores: rows.pool(&scores)? })
        };
        Ok((exits.into_iter().map(pool).collect::<Result<_>>()?, rows.truncation()))
    }

    /// The scores of all rows of a batch, in their order: for every exit its depth and a list. Some may be
    /// NaN; [`Rows::pool`] refuses those.
    ///
    /// Rows of any requests can share a batch: a score does not depend on the rows beside it.
    ///
    /// # Errors
    /// When the model cannot make the effort.
    pub fn score_rows(&self, pairs: &Batch, effort: &Effort) -> Result<Vec<(usize, Vec<f32>)>> {
        let depths = self.model.exits_of(effort)?;
        let (rows, by_row) = self.score_pairs(pairs, effort)?;
        let exit = |(place, depth): (usize, usize)| {
            let mut scores = vec![0.0; pairs.n_rows()];
            let found = by_row.iter().flat_map(|exits| &exits[place]);
            for (&row_idx, &score) in rows.iter().zip(found) {
                scores[row_idx] = score;
            }
            (depth, scores)
        };
        Ok(depths.into_iter().enumerate().map(exit).collect())
    }

    /// Every row once, in the order in which they were scored, and the scores of each batch of them: a
    /// list for every exit.
    fn score_pairs(
        &self,
        pairs: &Batch,
        effort: &Effort,
    ) -> Result<(Vec<usize>, Vec<BatchScores>)> {
        let on_cpu = is_cpu(&self.device);
        let most = if on_cpu { CORE_TOKENS } else { DEVICE_TOKENS };
        let shared = self.prefixes(pairs, most);
        let taken = |row: usize| shared.get(row).map_or(0, |&(_, n)| n);
        let lengths: Vec<usize> =
            (0..pairs.n_rows()).map(|row| pairs.row(row).0.len() - taken(row)).collect();
        let mut work: Vec<(Option<usize>, Vec<usize>)> = Vec::new();
        if shared.is_empty() {
            work.extend(plan(&lengths, most).into_iter().map(|rows| (None, rows)));
        } else {
            for (group, bounds) in pairs.group_offsets().windows(2).enumerate() {
                let (start, end) = (bounds[0] as usize, bounds[1] as usize);
                let prefix = (taken_by(&shared, start..end) > 0).then_some(group);
                for rows in plan(&lengths[start..end], most) {
                    work.push((prefix, rows.into_iter().map(|row| start + row).collect()));
                }
            }
        }
        // What is shared is computed before the rows that share it.
        let prefixes = self.each(on_cpu, pairs.n_groups(), |group| {
            let start = pairs.group_offsets()[group] as usize;
            let has_rows = start < pairs.group_offsets()[group + 1] as usize;
            match if has_rows { taken(start) } else { 0 } {
                0 => Ok(None),
                n => self.model.prefix(&pairs.row(start).0[..n], effort, &self.device),
            }
        })?;
        let by_batch = self.each(on_cpu, work.len(), |index| {
            let (group, rows) = &work[index];
            let prefix = group.and_then(|group| prefixes[group].as_ref());
            self.forward(pairs, rows, prefix, effort)
        })?;
        Ok((work.into_iter().flat_map(|(_, rows)| rows).collect(), by_batch))
    }

    /// Some pieces of work, on every core at once where the device is the CPU.
    fn each<T: Send>(
        &self,
        on_cpu: bool,
        n: usize,
        work: impl Fn(usize) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let results = if on_cpu { self.workers.map(n, work) } else { (0..n).map(work).collect() };
        results.into_iter().collect()
    }

    /// For every row its group and how many of its first tokens it shares with all rows of the group;
    /// nothing where no row shares any.
    fn prefixes(&self, pairs: &Batch, most: usize) -> Vec<(usize, usize)> {
        let compatibility = self.settings.compatibility;
        if !self.shares_prefixes
            || !self.model.shares_prefixes()
            || compatibility.weights == TokenWeights::LastColumn
        {
            return Vec::new();
        }
        let padding = self.model.padding();
        let mut shared = Vec::with_capacity(pairs.n_rows());
        for (group, bounds) in pairs.group_offsets().windows(2).enumerate() {
            let rows = bounds[0] as usize..bounds[1] as usize;
            let n = match rows.len() {
                0 | 1 => 0,
                _ => common_prefix(pairs, rows.clone(), padding),
            };
            // A few tokens are not worth the trouble; and a prefix has to fit beside a row.
            let n = if n < LEAST_SHARED { 0 } else { n.min(most / 2) };
            shared.extend(rows.map(|_| (group, n)));
        }
        if shared.iter().all(|&(_, n)| n == 0) { Vec::new() } else { shared }
    }

    /// The scores of some rows, in their order, by one forward pass: a list for every exit.
    fn forward(
        &self,
        pairs: &Batch,
        rows: &[usize],
        prefix: Option<&Prefix>,
        effort: &Effort,
    ) -> Result<Vec<Vec<f32>>> {
        let n_shared = prefix.map_or(0, Prefix::n_tokens);
        let mut batch = Batch::new();
        for &row_idx in rows {
            if n_shared == 0 {
                batch.push_copy(pairs, row_idx);
                continue;
            }
            let (ids, type_ids) = pairs.row(row_idx);
            batch.push_row(&ids[n_shared..], &type_ids[n_shared..]);
        }
        batch.end_group();
        let input = Input::new(&batch, &self.device);
        let (seeds, compatibility) = (DropoutSeeds::inference(), self.settings.compatibility);
        let exits = self.model.exit_logits_after(prefix, &input, effort, compatibility, seeds)?;
        let numbers = |(_, logits): (usize, Tensor<2>)| {
            let data = logits.into_data().convert::<f32>();
            data.try_into_vec().expect("the data was just made f32")
        };
        Ok(exits.into_iter().map(numbers).collect())
    }
}

/// Refuses rows that the model has no positions for.
fn check_positions(encoder: &PairEncoder, limit: usize) -> Result<()> {
    let found = encoder.n_positions();
    if found > limit { Err(Error::TooLong { found, limit }) } else { Ok(()) }
}

/// How many first tokens the rows of a range share, as it was found.
fn taken_by(shared: &[(usize, usize)], rows: Range<usize>) -> usize {
    shared.get(rows.start).filter(|_| !rows.is_empty()).map_or(0, |&(_, n)| n)
}

/// How many tokens all rows begin with: of the document none, and not what is read of any.
fn common_prefix(pairs: &Batch, rows: Range<usize>, padding: Option<u32>) -> usize {
    let first = pairs.row(rows.start).0;
    rows.map(|row| {
        let (ids, types) = pairs.row(row);
        let same = ids.iter().zip(first).take_while(|(a, b)| a == b).count();
        let document = types.iter().position(|&kind| kind == 1).unwrap_or(ids.len());
        let read = match padding {
            None => ids.len() - 1,
            Some(padding) => ids.iter().rposition(|&id| id != padding).unwrap_or(0),
        };
        same.min(document).min(read)
    })
    .min()
    .unwrap_or(0)
}

/// The scores of the deepest exit.
fn deepest(mut exits: Vec<ExitScores>) -> Vec<Vec<f32>> {
    exits.pop().map(|exit| exit.scores).unwrap_or_default()
}

fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Refuses a precision that a device does not compute in.
pub(crate) fn check_precision(precision: Precision, device: &Device) -> Result<()> {
    let known = match precision {
        Precision::F32 => true,
        Precision::Bf16 => is_cpu(device) || device.supports_dtype(DType::BF16),
        Precision::Int8 => is_cpu(device),
    };
    if known { Ok(()) } else { Err(Error::Precision { precision }) }
}

/// A model as it scores on a device.
pub(crate) fn for_inference(
    model: CrossEncoder,
    precision: Precision,
    device: &Device,
) -> CrossEncoder {
    if precision == Precision::Bf16 && !is_cpu(device) {
        return model.computing_in(DType::BF16);
    }
    model.packed(precision)
}
