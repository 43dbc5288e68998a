//! A Hugging Face directory into a model and back: `config.json`, `model.safetensors`, the tokenizer's
//! files, and `tamis.json`.

mod initialise;
mod load;
mod lower_hash;
mod parameters;
mod save;
mod streamed;
mod weights;

use std::path::Path as FilePath;

pub use initialise::initialise;
pub(crate) use load::load_packed;
pub use load::{Loaded, NewHead, load, load_split};
pub use lower_hash::lower_hash;
pub(crate) use save::write_tensors;
pub use save::{Contents, save};

pub(crate) use parameters::{Path, fields_of_parameters, transpose, values};

use crate::error::{Error, Result};

/// The sha256 of a checkpoint's `tokenizer.json`, in hexadecimal: the tokenizer's identity.
///
/// # Errors
/// When the file cannot be read.
pub fn tokenizer_hash(directory: &FilePath) -> Result<String> {
    let path = directory.join("tokenizer.json");
    let bytes = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
    Ok(hash(&bytes))
}

/// The sha256 of some bytes, in hexadecimal.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}
