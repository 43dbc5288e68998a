//! The families of decoders, one a file: how each differs from Llama.

mod gemma;
mod llama;
mod minicpm;
mod mistral;
mod qwen;

use super::keys::DecoderKeys;
use super::shape::DecoderShape;

/// A family, by `model_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `llama`
    Llama,
    /// `mistral`
    Mistral,
    /// `qwen2`
    Qwen2,
    /// `qwen3`
    Qwen3,
    /// `gemma`
    Gemma,
    /// `gemma2`
    Gemma2,
    /// `minicpm`
    MiniCpm,
    /// `cost_wise_mistral`: Matroyshka's.
    CostWiseMistral,
    /// `cost_wise_gemma`: BGE's lightweight reranker.
    CostWiseGemma,
}

impl Family {
    /// The class of transformers, or of the model's own code, with a head for labels or for words.
    pub(super) fn class(self, of_words: bool) -> &'static str {
        match (self, of_words) {
            (Self::Llama, true) => "LlamaForCausalLM",
            (Self::Llama, false) => "LlamaForSequenceClassification",
            (Self::Mistral, true) => "MistralForCausalLM",
            (Self::Mistral, false) => "MistralForSequenceClassification",
            (Self::Qwen2, true) => "Qwen2ForCausalLM",
            (Self::Qwen2, false) => "Qwen2ForSequenceClassification",
            (Self::Qwen3, true) => "Qwen3ForCausalLM",
            (Self::Qwen3, false) => "Qwen3ForSequenceClassification",
            (Self::Gemma, true) => "GemmaForCausalLM",
            (Self::Gemma, false) => "GemmaForSequenceClassification",
            (Self::Gemma2, true) => "Gemma2ForCausalLM",
            (Self::Gemma2, false) => "Gemma2ForSequenceClassification",
            (Self::MiniCpm, true) => "LayerWiseMiniCPMForCausalLM",
            (Self::MiniCpm, false) => "MiniCPMForSequenceClassification",
            (Self::CostWiseMistral, true) => "CostWiseMistralForCausalLM",
            (Self::CostWiseMistral, false) => "CostWiseMistralForSequenceClassification",
            (Self::CostWiseGemma, true) => "CostWiseGemmaForCausalLM",
            (Self::CostWiseGemma, false) => "CostWiseGemmaForSequenceClassification",
        }
    }

    pub(super) fn shape(self, keys: &DecoderKeys) -> Result<DecoderShape, String> {
        match self {
            Self::Llama => llama::shape(keys),
            Self::Mistral | Self::CostWiseMistral => mistral::shape(keys),
            Self::Qwen2 => qwen::shape_2(keys),
            Self::Qwen3 => qwen::shape_3(keys),
            Self::Gemma => gemma::shape_1(keys),
            Self::Gemma2 | Self::CostWiseGemma => gemma::shape_2(keys),
            Self::MiniCpm => minicpm::shape(keys),
        }
    }

    /// Whether the word vectors are the rows of the language-model head where the file does not say.
    pub(super) fn ties_words(self) -> bool {
        matches!(self, Self::Gemma | Self::Gemma2 | Self::CostWiseGemma)
    }
}
