//! A head that is one linear map of the last token: labels, or the words that answer.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::Pooling;
use crate::layer::Linear;

/// A linear map of the last token without a bias.
#[derive(Module, Debug)]
pub struct LastTokenHead {
    classifier: Linear,
    #[module(skip)]
    pooling: Pooling,
    #[module(skip)]
    words: Option<Words>,
}

/// What becomes of the logits of words.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Words {
    cap: Option<f32>,
    divisor: f32,
    /// The word that is one among all.
    among_all: Option<usize>,
}

impl LastTokenHead {
    pub(crate) fn zeros(hidden: usize, n: usize, pooling: Pooling, device: &Device) -> Self {
        let classifier = Linear::zeros_with(hidden, n, false, device);
        Self { classifier, pooling, words: None }
    }

    /// The same for rows of a language-model head, whose logits may be scaled and capped.
    /// Where one word is one among all, all rows are there.
    pub(crate) fn of_words(self, cap: Option<f32>, divisor: f32, among_all: Option<usize>) -> Self {
        Self { words: Some(Words { cap, divisor, among_all }), ..self }
    }

    /// The same with this weight: `[hidden, labels]`.
    pub(crate) fn filled(mut self, weight: Tensor<2>) -> Self {
        self.classifier.fill(weight);
        self
    }

    /// The rows as they are in memory: `[hidden, rows]`.
    pub(crate) fn weight(&self) -> Tensor<2> {
        self.classifier.weight()
    }

    pub(super) fn pooling(&self) -> Pooling {
        self.pooling
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        vec![&mut self.classifier]
    }

    /// # Shapes
    /// - `pooled`: `[rows, hidden]`
    /// - result: `[rows, labels]`; of two words, their difference; of one among all, the logit of its
    ///   probability
    pub(super) fn forward(&self, pooled: Tensor<2>) -> Tensor<2> {
        let logits = self.classifier.forward(pooled);
        let Some(Words { cap, divisor, among_all }) = self.words else { return logits };
        let logits = if divisor == 1.0 { logits } else { logits / divisor };
        let logits = match cap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        };
        match (among_all, logits.dims()[1]) {
            (Some(word), n) => {
                let own = logits.clone().narrow(1, word, 1);
                let parts =
                    [(0, word), (word + 1, n - word - 1)].into_iter().filter(|part| part.1 > 0);
                let others = parts.map(|(start, n)| logits.clone().narrow(1, start, n)).collect();
                let others = Tensor::cat(others, 1);
                let largest = others.clone().max_dim(1);
                own - ((others - largest.clone()).exp().sum_dim(1).log() + largest)
            }
            (None, 2) => logits.clone().narrow(1, 0, 1) - logits.narrow(1, 1, 1),
            _ => logits,
        }
    }
}
