//! A cross-encoder: query and document read together, one row each, into raw scores.

mod compressor;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use tamis_data::Batch;
use tamis_ops::Precision;

use crate::config::Config;
use crate::decoder::{Prefix, Route, Weights};
use crate::dropout_seeds::DropoutSeeds;
use crate::effort::{Compatibility, Effort, HeadOrder, TokenWeights};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::head::{ExitLayers, Head, Pooling, pooling};
use crate::input::Input;
use crate::layer::{Linear, with_seeds};
use crate::scores::Scores;
use crate::split::{Split, SplitScore};

/// An encoder with its classification head.
#[derive(Module, Debug)]
pub struct CrossEncoder {
    encoder: Encoder,
    head: Head,
}

impl CrossEncoder {
    /// The architecture with all weights zero, to be filled.
    #[must_use]
    pub fn zeros(config: &Config, device: &Device) -> Self {
        let architecture = config.architecture();
        let hidden = architecture.hidden();
        let head = match (config.modules(), config.linear_head()) {
            (Some(modules), _) => Head::of_modules(modules, device),
            (None, _) if config.score() == SplitScore::Dot => Head::dot(),
            (None, _) if config.score() == SplitScore::MaxSim => {
                Head::max_sim(hidden, config.vector_width(), device)
            }
            (None, Some(linear)) => Head::linear(linear, config.n_labels, device),
            (None, None) => architecture.head(config.n_labels, device),
        };
        let mut encoder = architecture.encoder(device);
        if let (Some(config), Some(split)) = (config.split(), encoder.split_mut()) {
            *split = Split::zeros(&config, hidden, device);
        }
        Self { encoder, head }
    }

    /// The same weights with another number of layers in which query and document are read apart.
    ///
    /// # Panics
    /// When the encoder cannot be split.
    #[must_use]
    pub fn with_join_layer(mut self, join_layer: usize) -> Self {
        let split = self.encoder.split_mut().expect("the encoder can be split");
        split.set_join_layer(join_layer);
        self
    }

    /// Gives a decoder that answers with a word an exit at several depths, each with the row of that word;
    /// returns the new configuration too.
    ///
    /// # Errors
    /// When the model is none, answers with two words, or has no such layers.
    pub fn with_exits(
        self,
        config: &Config,
        layers: ExitLayers,
    ) -> std::result::Result<(Self, Config), String> {
        let new = config.with_exits(layers)?;
        let Head::Last(old) = &self.head else {
            return Err("model.exits: expected a model that answers with a word".to_owned());
        };
        let row = old.weight();
        if row.dims()[1] != 1 {
            return Err("model.exits: expected one word that answers, found two".to_owned());
        }
        let head = match new.architecture().head(1, &row.device()) {
            Head::Exits(heads) => Head::Exits(heads.filled(&row)),
            _ => return Err("model.exits: expected layers from the first to the last".to_owned()),
        };
        Ok((Self { encoder: self.encoder, head }, new))
    }

    /// A model that answers with words as one that can be saved: its rows were taken out of a
    /// language-model head that is not kept, so that they become a head of their own with the same
    /// scores. `None` for all others, which are saved as they are.
    pub(crate) fn for_saving(
        &self,
        config: &Config,
    ) -> std::result::Result<Option<(Self, Config)>, String> {
        let (Head::Last(head), Some(logits)) = (&self.head, config.word_logits()) else {
            return Ok(None);
        };
        let rows = head.weight() / logits.divisor;
        let n_words = rows.dims()[1];
        if let Some(cap) = logits.cap {
            if n_words > 1 {
                return Err(format!(
                    "two words under a cap of `{cap}` make no head of their own; train with one"
                ));
            }
            let layers = ExitLayers { start: self.encoder.n_layers(), step: 1 };
            return self.clone().with_exits(config, layers).map(Some);
        }
        let row = match n_words {
            2 => rows.clone().narrow(1, 0, 1) - rows.narrow(1, 1, 1),
            _ => rows,
        };
        let config = config.clone().with_labels(1);
        let Head::Last(empty) = config.architecture().head(1, &row.device()) else {
            return Err("a decoder with a label reads its last token".to_owned());
        };
        Ok(Some((
            Self { encoder: self.encoder.clone(), head: Head::Last(empty.filled(row)) },
            config,
        )))
    }

    /// Returns one logit per row and label: `[rows, labels]`.
    #[must_use]
    pub fn logits(&self, input: &Input, mut seeds: DropoutSeeds) -> Tensor<2> {
        with_seeds(seeds.branch(), || {
            if let Head::Parts(head) = &self.head {
                return head.forward(self.encoder.tokens(input, &mut seeds), &input.parts);
            }
            let pooled = match self.head.pooling() {
                Pooling::First => self.encoder.first_tokens(input, &mut seeds),
                Pooling::Last { padding } => {
                    let places = input.places(&input.last_places(padding));
                    self.encoder.tokens_at(input, places, &mut seeds)
                }
                Pooling::Mean => pooling::mean(self.encoder.tokens(input, &mut seeds), &input.rows),
            };
            // The head keeps f32 whatever the encoder computes in: scores of a coarser type would
            // tie.
            self.head.forward(pooled.cast(DType::F32), &mut seeds)
        })
    }

    /// Blocks of a forward pass: the embeddings, every layer, and the head.
    #[must_use]
    pub fn n_blocks(&self) -> usize {
        self.encoder.n_layers() + 2
    }

    /// One block of a forward pass: what the block before it returned into what the next one reads.
    /// The first takes nothing, the last returns logits `[rows, labels]`, all others `[tokens, hidden]`.
    ///
    /// All blocks in a row, each with seeds of its own, are a forward pass. Training works them out
    /// one by one to hold the activations of one block only.
    ///
    /// # Panics
    /// When a block but the first is given nothing, or there is no such block.
    #[must_use]
    pub fn block(
        &self,
        index: usize,
        x: Option<Tensor<2>>,
        input: &Input,
        mut seeds: DropoutSeeds,
    ) -> Tensor<2> {
        let before = || x.expect("a block reads what the one before it returned");
        let last = self.n_blocks() - 1;
        with_seeds(seeds.branch(), || {
            if index == 0 {
                return self.encoder.embed(input, &mut seeds);
            }
            if index < last {
                return self.encoder.layer(index - 1, before(), input, &mut seeds);
            }
            assert_eq!(index, last, "there are {} blocks", last + 1);
            let tokens = before();
            if let Head::Parts(head) = &self.head {
                return head.forward(self.encoder.end(tokens), &input.parts);
            }
            let pooled = match self.head.pooling() {
                Pooling::First => self.encoder.end(tokens.select(0, input.first_tokens.clone())),
                Pooling::Mean => pooling::mean(self.encoder.end(tokens), &input.rows),
                Pooling::Last { padding } => {
                    let places = input.places(&input.last_places(padding));
                    self.encoder.end(tokens.select(0, places))
                }
            };
            self.head.forward(pooled.cast(DType::F32), &mut seeds)
        })
    }

    /// Returns what is kept of every token of a batch below the split: `[tokens, kept]`.
    ///
    /// # Panics
    /// When the encoder cannot be split.
    #[must_use]
    pub fn lower(&self, batch: &Batch, device: &Device) -> Tensor<2> {
        let input = Input::new(batch, device);
        self.encoder.lower(&input, &mut DropoutSeeds::inference()).cast(DType::F32)
    }

    /// Returns one logit per row and label, `[rows, labels]`, of what was kept of the tokens of queries
    /// and documents; `lengths` has those of the two parts of every row.
    ///
    /// # Panics
    /// When the encoder cannot be split.
    #[must_use]
    pub fn upper(&self, kept: Tensor<2>, lengths: &[(u32, u32)]) -> Tensor<2> {
        let input = Input::of_lengths(lengths, &kept.device());
        let mut seeds = DropoutSeeds::inference();
        if let Head::Parts(head) = &self.head {
            return head.forward(self.encoder.end(kept), &input.parts);
        }
        let first = self.encoder.upper(kept, &input, &mut seeds);
        self.head.forward(first.cast(DType::F32), &mut seeds)
    }

    /// Returns the logits of every exit that is asked for, with its depth, the shallowest first:
    /// `[rows, labels]` each.
    ///
    /// # Errors
    /// When the model has no such exit, or is not a decoder and should stop early or shorten documents.
    pub fn exit_logits(
        &self,
        input: &Input,
        effort: &Effort,
        compatibility: Compatibility,
        seeds: DropoutSeeds,
    ) -> Result<Vec<(usize, Tensor<2>)>> {
        self.exit_logits_after(None, input, effort, compatibility, seeds)
    }

    /// The same for rows that all come after a prefix, without dropout.
    pub(crate) fn exit_logits_after(
        &self,
        prefix: Option<&Prefix>,
        input: &Input,
        effort: &Effort,
        compatibility: Compatibility,
        mut seeds: DropoutSeeds,
    ) -> Result<Vec<(usize, Tensor<2>)>> {
        let exits = self.exits_of(effort)?;
        let Encoder::Decoder(decoder) = &self.encoder else {
            return Ok(vec![(0, self.logits(input, seeds))]);
        };
        let by_depth = compatibility.heads == HeadOrder::ByDepth;
        let is_plain = !effort.compresses() && exits == [decoder.n_layers()];
        if prefix.is_none() && is_plain && by_depth {
            return Ok(vec![(decoder.n_layers(), self.logits(input, seeds))]);
        }
        let published = decoder.published();
        let weights = match compatibility.weights {
            TokenWeights::OfModel if published.merges_alike => Weights::Mean,
            TokenWeights::OfModel | TokenWeights::LastToken => Weights::LastToken,
            TokenWeights::LastColumn => Weights::LastColumn {
                n_places: input.rows.longest().next_multiple_of(8),
                padding: published.padding,
            },
            TokenWeights::Mean => Weights::Mean,
        };
        let route = Route {
            exits: &exits,
            ratio: if effort.compresses() { effort.ratio } else { 1 },
            compress_layers: &effort.compress_layers,
            weights,
            padding: self.padding(),
            prefix,
        };
        Ok(with_seeds(seeds.branch(), || {
            let states = decoder.exits(input, route, &mut seeds);
            let read = |(order, (&depth, state)): (usize, (&usize, Tensor<2>))| {
                let state = state.cast(DType::F32);
                let logits = match &self.head {
                    Head::Exits(heads) => {
                        let of_depth = |depth| heads.shape().place(depth).unwrap_or(0);
                        let place = match compatibility.heads {
                            HeadOrder::ByOrder if published.heads_as_asked => {
                                of_depth(effort.exits.get(order).copied().unwrap_or(depth))
                            }
                            HeadOrder::ByOrder => order,
                            HeadOrder::ByDepth => of_depth(depth),
                        };
                        heads.forward_at(place, state)
                    }
                    head => head.forward(state, &mut seeds),
                };
                (depth, logits)
            };
            exits.iter().zip(states).enumerate().map(read).collect()
        }))
    }

    /// The depths that an effort asks for, each once and the shallowest first; of an encoder, 0.
    ///
    /// # Errors
    /// When the model has no such exit or cannot shorten documents.
    pub(crate) fn exits_of(&self, effort: &Effort) -> Result<Vec<usize>> {
        let bad = |problem: &str| Err(Error::Effort { problem: problem.to_owned() });
        let Encoder::Decoder(decoder) = &self.encoder else {
            if *effort == Effort::default() {
                return Ok(vec![0]);
            }
            return bad("only decoders have exits and shorten documents");
        };
        let reads_last = matches!(self.head.pooling(), Pooling::Last { padding: None });
        if effort.compresses() && !reads_last {
            return bad("documents are shortened only where the row's last token is read");
        }
        effort.exits_of(&self.depths(), decoder.n_layers())
    }

    /// What several rows begin with, computed as far as an effort goes; only decoders can.
    pub(crate) fn prefix(
        &self,
        ids: &[u32],
        effort: &Effort,
        device: &Device,
    ) -> Result<Option<Prefix>> {
        let Encoder::Decoder(decoder) = &self.encoder else { return Ok(None) };
        let deepest = self.exits_of(effort)?.last().copied().unwrap_or(0);
        let ids: Vec<i32> = ids.iter().map(|&id| id.cast_signed()).collect();
        let n = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), device);
        Ok(Some(decoder.prefix(ids, deepest)))
    }

    /// Whether rows may share what they begin with: tokens see what is before them, and what is read
    /// comes last.
    pub(crate) fn shares_prefixes(&self) -> bool {
        matches!(self.encoder, Encoder::Decoder(_))
            && matches!(self.head.pooling(), Pooling::Last { .. })
    }

    /// What a row ends in where it was padded, if the head passes over it.
    pub(crate) fn padding(&self) -> Option<u32> {
        match self.head.pooling() {
            Pooling::Last { padding } => padding,
            Pooling::First | Pooling::Mean => None,
        }
    }

    /// Whether the published code of a decoder weighs all tokens alike when it merges them.
    pub(crate) fn merges_alike(&self) -> bool {
        match &self.encoder {
            Encoder::Decoder(decoder) => decoder.published().merges_alike,
            _ => false,
        }
    }

    /// The depths that have a head, the shallowest first; of an encoder, none.
    #[must_use]
    pub fn depths(&self) -> Vec<usize> {
        match (&self.head, &self.encoder) {
            (Head::Exits(heads), _) => heads.shape().depths().collect(),
            (_, Encoder::Decoder(decoder)) => vec![decoder.n_layers()],
            _ => Vec::new(),
        }
    }

    /// All linear maps, those of the head last.
    pub(crate) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.encoder.linears_mut().into_iter().chain(self.head.linears_mut()).collect()
    }

    /// Returns the score of every row of a batch, raw, by group.
    ///
    /// # Panics
    /// When the head has more than one label.
    #[must_use]
    pub fn scores(&self, batch: &Batch, device: &Device, seeds: DropoutSeeds) -> Scores {
        let logits = self.logits(&Input::new(batch, device), seeds);
        let [n_rows, n_labels] = logits.dims();
        assert_eq!(n_labels, 1, "a reranker has one label");
        Scores::new(logits.reshape([n_rows]), batch.group_offsets())
    }

    /// The encoder below the head.
    #[must_use]
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Packs every linear map of the encoder for inference on the CPU; on other devices nothing
    /// changes. Afterwards the model can only score: its weights are gone.
    ///
    /// The head keeps `f32`: scores of a coarser type would tie.
    #[must_use]
    pub fn packed(mut self, precision: Precision) -> Self {
        if self.head.pooling() == Pooling::First {
            self.encoder.pack_first_token();
        }
        self.encoder.linears_mut().into_iter().for_each(|linear| linear.pack(precision));
        self.head.linears_mut().into_iter().for_each(|linear| linear.pack(Precision::F32));
        self
    }

    /// Turns every weight of the encoder into another type of float, for devices that compute in it;
    /// its activations are of that type too, but softmax, norms and GELU are computed in `f32`. The
    /// head keeps `f32`.
    ///
    /// Under autodiff the gradients are those of the weights as they were: `f32` stays `f32`.
    #[must_use]
    pub fn computing_in(mut self, dtype: DType) -> Self {
        self.encoder = self.encoder.map(&mut Cast(dtype));
        self
    }
}

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}
