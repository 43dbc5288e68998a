//! What the documents of a store were computed with, compared with what will read them.

use serde::{Deserialize, Serialize};

/// Everything on which a stored document depends, beside its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermIdentity {
    /// SHA-256 of the weights below the split, in hexadecimal. What is above may be trained again.
    pub model: String,
    /// SHA-256 of the tokenizer, in hexadecimal.
    pub tokenizer: String,
    /// Layers below the split.
    pub join_layer: usize,
    /// The position of a document's first token.
    pub position: usize,
    /// Tokens of a document that are kept, without its special tokens.
    pub max_document_tokens: usize,
    /// Values of a token.
    pub width: usize,
    /// Whether they are a hidden state that went through a compressor.
    pub is_compressed: bool,
}

impl TermIdentity {
    /// What differs from the identity of a store, if anything does.
    #[must_use]
    pub fn difference(&self, stored: &Self) -> Option<String> {
        let short = |hash: &String| format!("sha256 {}..", &hash[..hash.len().min(12)]);
        let all = [
            ("the model below the split", short(&stored.model), short(&self.model)),
            ("the tokenizer", short(&stored.tokenizer), short(&self.tokenizer)),
            ("the join layer", stored.join_layer.to_string(), self.join_layer.to_string()),
            ("the position of documents", stored.position.to_string(), self.position.to_string()),
            (
                "the longest document in tokens",
                stored.max_document_tokens.to_string(),
                self.max_document_tokens.to_string(),
            ),
            ("values of a token", stored.width.to_string(), self.width.to_string()),
            ("compression", stored.is_compressed.to_string(), self.is_compressed.to_string()),
        ];
        let (what, stored, own) = all.into_iter().find(|(_, stored, own)| stored != own)?;
        Some(format!("{what}: the store was made with {stored}, the model has {own}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let stored = TermIdentity {
            model: "a".repeat(64),
            tokenizer: "b".repeat(64),
            join_layer: 3,
            position: 38,
            max_document_tokens: 198,
            width: 768,
            is_compressed: false,
        };
        assert_eq!(stored.difference(&stored), None);
        let other = TermIdentity { join_layer: 4, width: 64, ..stored.clone() };
        let expected = "the join layer: the store was made with 3, the model has 4";
        assert_eq!(other.difference(&stored).unwrap(), expected);
        let other = TermIdentity { model: "c".repeat(64), ..stored.clone() };
        assert!(other.difference(&stored).unwrap().contains("sha256 aaaaaaaaaaaa.."));
    }
}
