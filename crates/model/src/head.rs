//! Classification heads: the hidden states of a row into one logit per label.

mod answers;
mod exits;
mod last_token;
mod linear;
mod modular;
mod parts;
pub(crate) mod pooling;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::config::Modules;
use crate::dropout_seeds::DropoutSeeds;
use crate::layer::{Activation, LayerNorm, Linear};
pub(crate) use answers::Answers;
pub(crate) use exits::ExitShape;
pub use exits::{ExitHeads, ExitLayers};
pub use last_token::LastTokenHead;
pub use linear::LinearHead;
pub(crate) use linear::LinearShape;
pub use modular::ModularHead;
pub use parts::PartsHead;
pub use pooling::Pooling;

/// What tells one classification head from another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeadShape {
    /// Which hidden states are read.
    pub(crate) pooling: Pooling,
    /// Width of a hidden state.
    pub(crate) hidden: usize,
    /// Width between the two linear maps.
    pub(crate) inner: usize,
    /// Whether the first linear map has a bias.
    pub(crate) bias: bool,
    /// Dropout of what is read.
    pub(crate) dropout_before: Option<f32>,
    /// The function after the first linear map.
    pub(crate) activation: Activation,
    /// A norm after that.
    pub(crate) norm: Option<NormShape>,
    /// Dropout before the second linear map.
    pub(crate) dropout_after: f32,
}

/// A layer norm of a head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NormShape {
    pub(crate) epsilon: f64,
    /// Whether it shifts.
    pub(crate) bias: bool,
}

impl HeadShape {
    /// `activation(W h + b)` of the first token, dropout, and the classifier.
    pub(crate) fn first_token(hidden: usize, activation: Activation, dropout: f32) -> Self {
        Self {
            pooling: Pooling::First,
            hidden,
            inner: hidden,
            bias: true,
            dropout_before: None,
            activation,
            norm: None,
            dropout_after: dropout,
        }
    }

    /// The head with all weights zero, to be filled.
    pub(crate) fn zeros(&self, n_labels: usize, device: &Device) -> Head {
        let norm = |norm: NormShape| {
            LayerNorm::identity_with(self.inner, norm.epsilon as f32, norm.bias, device)
        };
        Head::Bert(BertHead {
            pooler: Linear::zeros_with(self.hidden, self.inner, self.bias, device),
            norm: self.norm.map(norm),
            classifier: Linear::zeros(self.inner, n_labels, device),
            pooling: self.pooling,
            activation: self.activation,
            dropout_before: self.dropout_before,
            dropout_after: self.dropout_after,
        })
    }
}

/// A head of any supported architecture.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has a few of them")]
pub enum Head {
    /// BERT's head and those built like it.
    Bert(BertHead),
    /// A chain of modules of sentence-transformers.
    Modules(ModularHead),
    /// One linear map.
    Linear(LinearHead),
    /// One linear map of the last token.
    Last(LastTokenHead),
    /// One linear map of the last token for every exit.
    Exits(ExitHeads),
    /// Products of the two parts' vectors.
    Parts(PartsHead),
}

/// A linear map, an activation, perhaps a norm, and a linear map to the labels.
#[derive(Module, Debug)]
pub struct BertHead {
    pooler: Linear,
    norm: Option<LayerNorm>,
    classifier: Linear,
    #[module(skip)]
    pooling: Pooling,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    dropout_before: Option<f32>,
    #[module(skip)]
    dropout_after: f32,
}

impl Head {
    /// A head made of modules.
    pub(crate) fn of_modules(modules: &Modules, device: &Device) -> Self {
        Self::Modules(ModularHead::zeros(modules, device))
    }

    /// The same for a head that is one linear map.
    pub(crate) fn linear(shape: LinearShape, n_labels: usize, device: &Device) -> Self {
        Self::Linear(LinearHead::zeros(shape, n_labels, device))
    }

    /// The product of the two parts' first vectors.
    pub(crate) fn dot() -> Self {
        Self::Parts(PartsHead::dot())
    }

    /// Every query token's product with the closest of the document's, of vectors of this width.
    pub(crate) fn max_sim(hidden: usize, width: usize, device: &Device) -> Self {
        Self::Parts(PartsHead::max_sim(hidden, width, device))
    }

    /// Which hidden states the head reads.
    #[must_use]
    pub fn pooling(&self) -> Pooling {
        match self {
            Self::Bert(head) => head.pooling,
            Self::Modules(head) => head.pooling(),
            Self::Linear(_) => Pooling::First,
            Self::Last(head) => head.pooling(),
            Self::Exits(_) => ExitHeads::pooling(),
            // All of them, if not their mean.
            Self::Parts(_) => Pooling::Mean,
        }
    }

    /// All linear maps, to be packed.
    pub(crate) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        match self {
            Self::Bert(head) => vec![&mut head.pooler, &mut head.classifier],
            Self::Modules(head) => head.linears_mut(),
            Self::Linear(head) => head.linears_mut(),
            Self::Last(head) => head.linears_mut(),
            Self::Exits(heads) => heads.linears_mut(),
            Self::Parts(head) => head.linears_mut(),
        }
    }

    /// # Shapes
    /// - `pooled`: `[rows, hidden]`
    /// - result: `[rows, labels]`
    ///
    /// # Panics
    /// For a head that reads the two parts' vectors, [`PartsHead`].
    #[must_use]
    pub fn forward(&self, pooled: Tensor<2>, seeds: &mut DropoutSeeds) -> Tensor<2> {
        match self {
            Self::Bert(head) => head.forward(pooled, seeds),
            Self::Modules(head) => head.forward(pooled),
            Self::Linear(head) => head.forward(pooled, seeds),
            Self::Last(head) => head.forward(pooled),
            Self::Exits(heads) => heads.forward(pooled),
            Self::Parts(_) => panic!("a head of parts reads all tokens"),
        }
    }
}

impl BertHead {
    fn forward(&self, mut x: Tensor<2>, seeds: &mut DropoutSeeds) -> Tensor<2> {
        if let Some(dropout) = self.dropout_before {
            x = tamis_ops::dropout(x, seeds.next(dropout));
        }
        let mut x = self.pooler.forward_activated(x, self.activation);
        if let Some(norm) = &self.norm {
            x = norm.forward(x);
        }
        self.classifier.forward(tamis_ops::dropout(x, seeds.next(self.dropout_after)))
    }
}
