//! Mistral: every layer may see a window only.

use crate::decoder::keys::{DecoderKeys, Missing};
use crate::decoder::shape::DecoderShape;

/// # Source
/// `MistralConfig` and `modeling_mistral.py` of transformers. A file without `sliding_window` has none:
/// the class's default is for files of its first release, which all name it.
pub(super) fn shape(keys: &DecoderKeys) -> Result<DecoderShape, String> {
    let missing = Missing { n_kv_heads: Some(8), width: None };
    Ok(DecoderShape {
        windows: vec![keys.sliding_window; keys.num_hidden_layers],
        ..keys.shape(&missing)?
    })
}
