//! Post-norm transformers: embeddings of words, positions and segments, then layers that normalise
//! the sum at the end of each block.

mod attention_gap;
mod first_token;
mod layer;

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use tamis_ops::Rows;

use crate::dropout_seeds::DropoutSeeds;
use crate::input::Input;
use crate::layer::{Activation, Embedding, LayerNorm, Linear};
use crate::split::Split;
pub(super) use layer::{PostNormLayer, layer_field};

/// What tells one post-norm transformer from another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PostNormShape {
    /// Entries of the word table.
    pub(super) n_words: usize,
    /// Where positions come from, if they are embedded at all.
    pub(super) positions: Option<Positions>,
    /// Entries of the segment table; 0 for an architecture without segments.
    pub(super) n_segments: usize,
    /// Width of the embeddings.
    pub(super) embedding: usize,
    /// Whether embeddings are mapped to the width of the layers.
    pub(super) projection: Projection,
    /// Width of a hidden state.
    pub(super) hidden: usize,
    /// Layers with weights of their own.
    pub(super) n_layers: usize,
    /// Which of them each step of the forward pass goes through; empty for each one once.
    pub(super) schedule: Vec<usize>,
    /// What a layer is made of.
    pub(super) layer: LayerShape,
    /// Dropout of the embeddings.
    pub(super) embedding_dropout: f32,
}

/// What a post-norm layer is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LayerShape {
    pub(super) n_heads: usize,
    /// Width between the two linear maps.
    pub(super) inner: usize,
    pub(super) activation: Activation,
    /// The constant under the root of layer norms.
    pub(super) epsilon: f64,
    /// Dropout of attention probabilities.
    pub(super) attention_dropout: f32,
    /// Dropout of what attention adds.
    pub(super) attended_dropout: Option<f32>,
    /// Dropout of what the feed-forward block adds.
    pub(super) output_dropout: Option<f32>,
}

/// The table of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Positions {
    /// Entries of the table.
    pub(super) table: usize,
    /// RoBERTa's rule: tokens with this id stand at this position and are not counted, and the first
    /// other token stands one further.
    pub(super) pad_id: Option<u32>,
}

/// The map from the width of the embeddings to that of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Projection {
    /// There is none: the widths are equal.
    Absent,
    /// An affine map after the norm (ELECTRA, ALBERT).
    AfterNorm,
}

/// A post-norm transformer.
///
/// # Source
/// Vaswani et al. 2017, "Attention Is All You Need", in the form of Devlin et al. 2019, "BERT".
/// Differs: rows are packed instead of padded, and the three projections of attention are one
/// matrix; a checkpoint on disk has them apart.
#[derive(Module, Debug)]
pub struct PostNorm {
    word_embeddings: Embedding,
    position_embeddings: Option<Embedding>,
    token_type_embeddings: Option<Embedding>,
    embedding_norm: LayerNorm,
    projection: Option<Linear>,
    layers: Vec<PostNormLayer>,
    split: Split,
    #[module(skip)]
    schedule: Vec<usize>,
    #[module(skip)]
    n_segments: usize,
    #[module(skip)]
    pad_id: Option<u32>,
    #[module(skip)]
    dropout: f32,
    /// Whether the last layer is computed for all tokens although first tokens are asked for.
    #[module(skip)]
    is_last_whole: bool,
}

impl PostNorm {
    /// The architecture with all weights zero, to be filled.
    pub(super) fn zeros(shape: &PostNormShape, device: &Device) -> Self {
        let table = |n_ids| Embedding::zeros(n_ids, shape.embedding, device);
        let schedule = match shape.schedule.as_slice() {
            [] => (0..shape.n_layers).collect(),
            steps => steps.to_vec(),
        };
        Self {
            word_embeddings: table(shape.n_words),
            position_embeddings: shape.positions.map(|positions| table(positions.table)),
            token_type_embeddings: (shape.n_segments > 0).then(|| table(shape.n_segments)),
            embedding_norm: LayerNorm::identity(
                shape.embedding,
                shape.layer.epsilon as f32,
                device,
            ),
            projection: (shape.projection == Projection::AfterNorm)
                .then(|| Linear::zeros(shape.embedding, shape.hidden, device)),
            layers: (0..shape.n_layers)
                .map(|_| PostNormLayer::zeros(shape.hidden, &shape.layer, device))
                .collect(),
            split: Split::default(),
            schedule,
            n_segments: shape.n_segments,
            pad_id: shape.positions.and_then(|positions| positions.pad_id),
            dropout: shape.embedding_dropout,
            is_last_whole: false,
        }
    }

    pub(super) fn hidden_states(&self, input: &Input, seeds: &mut DropoutSeeds) -> Vec<Tensor<2>> {
        let mut states = vec![self.embed(input, seeds)];
        for step in 0..self.schedule.len() {
            let last = states[states.len() - 1].clone();
            states.push(self.layer(step, last, input, seeds));
        }
        states
    }

    pub(super) fn tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let embedded = self.embed(input, seeds);
        self.pass(0..self.schedule.len(), embedded, input, seeds)
    }

    pub(super) fn first_tokens(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let embedded = self.embed(input, seeds);
        self.first_tokens_from(0, embedded, input, seeds)
    }

    /// What is kept of every token below the split: `[tokens, kept]`.
    pub(super) fn lower(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let embedded = self.embed(input, seeds);
        let mut x = embedded;
        for step in 0..self.split.join_layer() {
            let rows = self.split.rows(step, input);
            x = self.layers[self.schedule[step]].forward(x, rows, seeds);
        }
        self.split.compress(x)
    }

    /// The first token of every row above the split, of what was kept: `[rows, hidden]`.
    pub(super) fn upper(
        &self,
        kept: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        self.first_tokens_from(self.split.join_layer(), self.split.restore(kept), input, seeds)
    }

    pub(super) fn n_layers(&self) -> usize {
        self.schedule.len()
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let layers = self.layers.iter_mut().flat_map(PostNormLayer::linears_mut);
        self.projection.iter_mut().chain(layers).chain(self.split.linears_mut()).collect()
    }

    /// Gets ready to compute the last layer for first tokens alone.
    pub(super) fn pack_first_token(&mut self) {
        if let Some(&last) = self.schedule.last() {
            self.layers[last].pack_first_token();
        }
    }

    pub(crate) fn compute_last_layer_whole(&mut self) {
        self.is_last_whole = true;
    }

    pub(crate) fn split_mut(&mut self) -> &mut Split {
        &mut self.split
    }

    /// The last layer is only computed where it is read: after its attention, for first tokens alone.
    fn first_tokens_from(
        &self,
        step: usize,
        x: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let first = |x: Tensor<2>| x.select(0, input.first_tokens.clone());
        if step == self.schedule.len() {
            return first(x);
        }
        if self.is_last_whole {
            return first(self.pass(step..self.schedule.len(), x, input, seeds));
        }
        let last = self.schedule.len() - 1;
        let x = self.pass(step..last, x, input, seeds);
        let layer = &self.layers[self.schedule[last]];
        let rows = self.split.rows(last, input);
        let (context, x) = layer.first_context(x, &input.first_tokens, rows, seeds);
        self.split.after(last, layer.finish(context, x, seeds))
    }

    fn pass(
        &self,
        steps: Range<usize>,
        x: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        steps.fold(x, |x, step| self.layer(step, x, input, seeds))
    }

    pub(super) fn layer(
        &self,
        step: usize,
        x: Tensor<2>,
        input: &Input,
        seeds: &mut DropoutSeeds,
    ) -> Tensor<2> {
        let rows = self.split.rows(step, input);
        let x = self.layers[self.schedule[step]].forward(x, rows, seeds);
        self.split.after(step, x)
    }

    pub(super) fn embed(&self, input: &Input, seeds: &mut DropoutSeeds) -> Tensor<2> {
        let mut sum = self.word_embeddings.forward(input.ids.clone());
        if let Some(table) = &self.token_type_embeddings {
            // A model with one segment takes tokenizers that tell the two texts apart.
            let ids = input.type_ids.clone();
            sum = sum + table.forward(if self.n_segments == 1 { ids.zeros_like() } else { ids });
        }
        if let Some(table) = &self.position_embeddings {
            let positions = match self.pad_id {
                None => input.positions.clone(),
                // Apart, a padding token that the query spells out does not move the document.
                Some(pad_id) if self.split.join_layer() > 0 => {
                    positions_beside_padding(input, &input.parts, pad_id)
                }
                Some(pad_id) => positions_beside_padding(input, &input.rows, pad_id),
            };
            sum = sum + table.forward(positions);
        }
        let normal = self.embedding_norm.forward(sum);
        let embedded = tamis_ops::dropout(normal, seeds.next(self.dropout));
        match &self.projection {
            None => embedded,
            Some(projection) => projection.forward(embedded),
        }
    }
}

/// RoBERTa's positions: `[tokens]`. Texts may spell out the padding token, so it is not only filling;
/// it is not counted within the rows that are given.
fn positions_beside_padding(input: &Input, rows: &Rows, pad_id: u32) -> Tensor<1, Int> {
    let device = input.ids.device();
    let [n_tokens] = input.ids.dims();
    let starts: Vec<i32> = rows
        .offsets()
        .windows(2)
        .flat_map(|pair| (pair[0]..pair[1]).map(move |_| pair[0].cast_signed()))
        .collect();
    let starts = Tensor::<1, Int>::from_data(TensorData::new(starts, [n_tokens]), &device);
    let counted = input.ids.clone().not_equal_elem(pad_id).int();
    let up_to = counted.clone().cumsum(0);
    let before = up_to.clone() - counted.clone();
    let before_row = before.select(0, starts.clone());
    // Where the row's positions start, and after a gap in them by how much it moves them.
    let places = Tensor::<1, Int>::arange(0..n_tokens as i64, &device);
    let moved = input.positions.clone() - (places - starts);
    (up_to - before_row + moved) * counted + i64::from(pad_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tamis_data::Batch;

    #[test]
    fn padding_tokens_in_a_text_are_not_counted() {
        let mut batch = Batch::new();
        batch.push_row(&[0, 5, 1, 6, 2], &[0; 5]);
        batch.push_row(&[1, 7], &[0; 2]);
        batch.end_group();
        let input = Input::new(&batch, &Device::flex());
        let positions =
            positions_beside_padding(&input, &input.rows, 1).into_data().convert::<i64>();
        assert_eq!(positions.try_into_vec::<i64>().unwrap(), [2, 3, 1, 4, 5, 1, 2]);
    }

    #[test]
    fn the_positions_of_a_document_start_where_the_batch_says() {
        let mut batch = Batch::new();
        batch.push_pair(&[0, 1, 5, 2, 2, 6, 1, 7], &[0; 8], 4, 9);
        batch.end_group();
        let input = Input::new(&batch, &Device::flex());
        let positions = |rows| positions_beside_padding(&input, rows, 1).into_data();
        let vec = |data: TensorData| data.convert::<i64>().try_into_vec::<i64>().unwrap();
        assert_eq!(vec(positions(&input.rows)), [2, 1, 3, 4, 10, 11, 1, 12]);
        assert_eq!(vec(positions(&input.parts)), [2, 1, 3, 4, 11, 12, 1, 13]);
    }
}
