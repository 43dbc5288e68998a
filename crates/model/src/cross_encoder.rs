//! A cross-encoder: query and document read together, one row each, into raw scores.

mod compressor;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use tamis_data::Batch;
use tamis_ops::Precision;

use crate::config::Config;
use crate::cost::CostModel;
use crate::decoder::config::Published;
use crate::decoder::{Prefix, Route, Stand, Weights};
use crate::dropout_seeds::DropoutSeeds;
use crate::effort::{Compatibility, Effort, HeadOrder, TokenWeights};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::head::{ExitLayers, Head, Pooling, pooling};
use crate::input::Input;
use crate::layer::{Linear, Switches, with_active, with_seeds};
use crate::scores::Scores;
use crate::split::{Split, SplitScore};

/// An encoder with its classification head.
#[derive(Module, Debug)]
pub struct CrossEncoder {
    encoder: Encoder,
    head: Head,
    /// When adapters that are not always used are.
    #[module(skip)]
    switches: Switches,
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
        Self { encoder, head, switches: Switches::default() }
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
        Ok((Self { head, ..self }, new))
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
        if config.head_rows().is_none() {
            return Err("a word that is one among all makes no head of its own; train with answers of one or \
                        two words"
                .to_owned());
        }
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
        Ok(Some((Self { head: Head::Last(empty.filled(row)), ..self.clone() }, config)))
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
                    self.encoder.tokens_at(input, input.last_places(padding), &mut seeds)
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
        let active = self.switches.of_effort(effort, &exits)?;
        let Encoder::Decoder(decoder) = &self.encoder else {
            return Ok(vec![(0, self.logits(input, seeds))]);
        };
        let by_depth = compatibility.heads == HeadOrder::ByDepth;
        let is_plain = !effort.compresses() && exits == [decoder.n_layers()];
        if prefix.is_none() && is_plain && by_depth {
            let logits = with_active(active, || self.logits(input, seeds));
            return Ok(vec![(decoder.n_layers(), logits)]);
        }
        let weights = weights(decoder.published(), compatibility, input);
        let asked = Effort { exits: exits.clone(), ..effort.clone() };
        let route = Route { prefix, ..route(&asked, weights, self.padding()) };
        let of_adapters = seeds.branch();
        let forward = || {
            let states = decoder.exits(input, route, &mut seeds);
            let states = exits.iter().zip(states).enumerate();
            let read = |(order, (&depth, state)): (usize, (&usize, Tensor<2>))| {
                let place = match compatibility.heads {
                    HeadOrder::ByOrder if decoder.published().heads_as_asked => {
                        self.place_of(effort.exits.get(order).copied().unwrap_or(depth))
                    }
                    HeadOrder::ByOrder => order,
                    HeadOrder::ByDepth => self.place_of(depth),
                };
                (depth, self.exit_head(place, state, &mut seeds))
            };
            states.map(read).collect()
        };
        Ok(with_active(active, || with_seeds(of_adapters, forward)))
    }

    /// Begins a pass with exits that is taken layer by layer with [`exit_step`](Self::exit_step), to hold the
    /// activations of one layer only; without adapters that are switched.
    ///
    /// # Errors
    /// As [`exit_logits`](Self::exit_logits), and for encoders.
    pub fn exit_pass(&self, input: &Input, effort: &Effort) -> Result<ExitPass> {
        let exits = self.exits_of(effort)?;
        let Encoder::Decoder(decoder) = &self.encoder else {
            let problem = "only decoders are gone through exit by exit".to_owned();
            return Err(Error::Effort { problem });
        };
        let effort = Effort { exits, ..effort.clone() };
        let weights = weights(decoder.published(), Compatibility::default(), input);
        let stand = decoder.stand(input, route(&effort, weights, self.padding()));
        Ok(ExitPass { effort, weights, stand })
    }

    /// One layer of a pass, on what the last one returned, or on block 0 of [`block`](Self::block): what the next
    /// one reads, but of the deepest, and the logits of the exit after it, `[rows, 1]`, if there is one.
    ///
    /// # Panics
    /// For a pass of another model.
    pub fn exit_step(
        &self,
        pass: &mut ExitPass,
        depth: usize,
        x: Tensor<2>,
        input: &Input,
        mut seeds: DropoutSeeds,
    ) -> (Option<Tensor<2>>, Option<Tensor<2>>) {
        let Encoder::Decoder(decoder) = &self.encoder else {
            panic!("a pass with exits is of a decoder");
        };
        let ExitPass { effort, weights, stand } = pass;
        let route = route(effort, *weights, self.padding());
        with_seeds(seeds.branch(), || {
            let (next, state) = decoder.step(x, depth, stand, input, route, &mut seeds);
            let place = self.place_of(depth + 1);
            (next, state.map(|state| self.exit_head(place, state, &mut seeds)))
        })
    }

    /// The place of the head of a depth.
    fn place_of(&self, depth: usize) -> usize {
        match &self.head {
            Head::Exits(heads) => heads.shape().place(depth).unwrap_or(0),
            _ => 0,
        }
    }

    /// The logits of a state: those of one exit's head where there are several.
    fn exit_head(&self, place: usize, state: Tensor<2>, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let state = state.cast(DType::F32);
        match &self.head {
            Head::Exits(heads) => heads.forward_at(place, state),
            head => head.forward(state, seeds),
        }
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
        let exits = self.exits_of(effort)?;
        let active = self.switches.of_effort(effort, &exits)?;
        let deepest = exits.last().copied().unwrap_or(0);
        let ids: Vec<i32> = ids.iter().map(|&id| id.cast_signed()).collect();
        let n = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), device);
        Ok(Some(with_active(active, || decoder.prefix(ids, deepest))))
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

    /// The same with conditions for those of its adapters that are switched.
    pub(crate) fn with_switches(self, switches: Switches) -> Self {
        Self { switches, ..self }
    }

    /// What an effort costs; only of decoders.
    #[must_use]
    pub fn cost_model(&self) -> Option<CostModel> {
        match &self.encoder {
            Encoder::Decoder(decoder) => Some(decoder.cost_model()),
            _ => None,
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

    /// The same, to be changed.
    pub(crate) fn encoder_mut(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// Packs every linear map of the encoder for inference on the CPU; on other devices maps stay as
    /// they are. Afterwards the model can only score: its weights are gone, or must not change.
    ///
    /// The head keeps `f32`: scores of a coarser type would tie.
    #[must_use]
    pub fn packed(mut self, precision: Precision) -> Self {
        if self.head.pooling() == Pooling::First {
            self.encoder.pack_first_token();
        }
        self.encoder.linears_mut().into_iter().for_each(|linear| linear.pack(precision));
        self.head.linears_mut().into_iter().for_each(|linear| linear.pack(Precision::F32));
        self.encoder.settle();
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

/// A pass with exits between two of its layers.
#[derive(Debug, Clone)]
pub struct ExitPass {
    effort: Effort,
    weights: Weights,
    stand: Stand,
}

/// What tokens count by when they are merged.
fn weights(published: Published, compatibility: Compatibility, input: &Input) -> Weights {
    match compatibility.weights {
        TokenWeights::OfModel if published.merges_alike => Weights::Mean,
        TokenWeights::OfModel | TokenWeights::LastToken => Weights::LastToken,
        TokenWeights::LastColumn => Weights::LastColumn {
            n_places: input.rows.longest().next_multiple_of(8),
            padding: published.padding,
        },
        TokenWeights::Mean => Weights::Mean,
    }
}

/// The way of an effort whose exits are sorted.
fn route(effort: &Effort, weights: Weights, padding: Option<u32>) -> Route<'_> {
    Route {
        exits: &effort.exits,
        ratio: if effort.compresses() { effort.ratio } else { 1 },
        compress_layers: &effort.compress_layers,
        weights,
        padding,
        prefix: None,
    }
}

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}
