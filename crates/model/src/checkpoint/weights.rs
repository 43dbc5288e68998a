//! Weight files, memory-mapped: tensors by their canonical names.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Metadata, SafeTensors};
use safetensors::{Dtype, SafeTensorError};

use crate::error::{Error, Result};

/// A safetensors file of a checkpoint directory.
pub(super) struct Weights {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes start.
    data_start: usize,
    metadata: Metadata,
    /// Canonical name to the name in the file.
    names: BTreeMap<String, String>,
}

impl Weights {
    /// Maps `model.safetensors` of a directory.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("model.safetensors");
        let file = File::open(&path).map_err(|error| {
            if directory.join("pytorch_model.bin").exists() {
                return Error::weights(
                    &path,
                    "not found, and pytorch_model.bin is not read because unpickling runs code; \
                     save the model with transformers' save_pretrained(.., safe_serialization=True)",
                );
            }
            Error::io(&path, error)
        })?;
        // SAFETY: the file is only read. Should another process cut it short meanwhile, reads
        // fault, as with any memory-mapped model; checkpoints are replaced by renaming, never
        // rewritten in place.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::io(&path, error))?;
        let bad = |error: SafeTensorError| Error::weights(&path, error.to_string());
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(bad)?;
        let names = canonical_names(metadata.tensors().keys().map(String::as_str));
        Ok(Self { data_start: header + 8, path, map, metadata, names })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The canonical names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The name in the file of a canonical name.
    pub(super) fn original(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// The shape of a tensor.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        let info = self.metadata.info(self.original(name)?)?;
        Some(&info.shape)
    }

    /// The values of a tensor as `f32`, row after row.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f32>> {
        let info = self
            .original(name)
            .and_then(|name| self.metadata.info(name))
            .ok_or_else(|| Error::weights(&self.path, format!("there is no tensor `{name}`")))?;
        let (start, end) = info.data_offsets;
        let bytes = &self.map[self.data_start + start..self.data_start + end];
        match info.dtype {
            Dtype::F32 => Ok(chunks(bytes, f32::from_le_bytes)),
            Dtype::F16 => Ok(chunks(bytes, |b| f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => Ok(chunks(bytes, |b| bf16::from_le_bytes(b).to_f32())),
            other => Err(Error::weights(
                &self.path,
                format!("tensor `{name}`: expected F32, F16 or BF16, found {other:?}"),
            )),
        }
    }
}

fn chunks<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| value(chunk)).collect()
}

/// Old checkpoints call a norm's parameters gamma and beta; bare encoders leave out the prefix.
fn canonical_names<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let names: Vec<&str> = names.collect();
    let prefixed = names.iter().any(|name| name.starts_with("bert."));
    let canonical = |name: &str| {
        let name = match name.rsplit_once('.') {
            Some((base, "gamma")) => format!("{base}.weight"),
            Some((base, "beta")) => format!("{base}.bias"),
            _ => name.to_owned(),
        };
        let bare = ["embeddings.", "encoder.", "pooler."].iter().any(|part| name.starts_with(part));
        if !prefixed && bare { format!("bert.{name}") } else { name }
    };
    names.iter().map(|name| (canonical(name), (*name).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_bare_names_become_canonical() {
        let names = ["embeddings.LayerNorm.gamma", "pooler.dense.bias", "classifier.weight"];
        let canonical: Vec<String> = canonical_names(names.into_iter()).into_keys().collect();
        let expected =
            ["bert.embeddings.LayerNorm.weight", "bert.pooler.dense.bias", "classifier.weight"];
        assert_eq!(canonical, expected);
        let prefixed = canonical_names(["bert.pooler.dense.beta", "classifier.bias"].into_iter());
        let canonical: Vec<String> = prefixed.into_keys().collect();
        assert_eq!(canonical, ["bert.pooler.dense.bias", "classifier.bias"]);
    }
}
