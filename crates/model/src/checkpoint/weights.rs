//! Weight files, memory-mapped: tensors by the names that transformers gives them today.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Metadata, SafeTensors, TensorInfo};
use safetensors::{Dtype, SafeTensorError};
use serde::Deserialize;

use crate::error::{Error, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The safetensors files of a checkpoint directory.
pub(super) struct Weights {
    /// The single file, or the index of several.
    path: PathBuf,
    files: Vec<MappedFile>,
    /// Each tensor's name and the place of its file.
    tensors: BTreeMap<String, usize>,
}

struct MappedFile {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes start.
    data_start: usize,
    metadata: Metadata,
}

/// `model.safetensors.index.json`
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Maps `model.safetensors` of a directory, or the files that its index lists.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let (single, index) = (directory.join(SINGLE), directory.join(INDEX));
        if single.exists() || !index.exists() {
            return Self::open_single(directory, single);
        }
        let text = std::fs::read_to_string(&index).map_err(|error| Error::io(&index, error))?;
        let Index { weight_map } = serde_json::from_str(&text)
            .map_err(|error| Error::weights(&index, error.to_string()))?;
        let mut files: Vec<MappedFile> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut tensors = BTreeMap::new();
        for (tensor, name) in &weight_map {
            let place = match places.get(name.as_str()) {
                Some(&place) => place,
                None => {
                    let plain = Path::new(name).components().collect::<Vec<_>>();
                    if !matches!(plain.as_slice(), [Component::Normal(_)]) {
                        let problem = format!("expected the name of a file, found `{name}`");
                        return Err(Error::weights(&index, problem));
                    }
                    files.push(MappedFile::open(directory.join(name))?);
                    places.insert(name, files.len() - 1);
                    files.len() - 1
                }
            };
            if files[place].metadata.info(tensor).is_none() {
                let problem = format!("tensor `{tensor}` is not in {name}");
                return Err(Error::weights(&index, problem));
            }
            tensors.insert(tensor.clone(), place);
        }
        // What a file holds beyond its index is a tensor that nothing uses.
        for (place, file) in files.iter().enumerate() {
            for name in file.metadata.tensors().into_keys() {
                tensors.entry(name).or_insert(place);
            }
        }
        Ok(Self { path: index, files, tensors })
    }

    fn open_single(directory: &Path, path: PathBuf) -> Result<Self> {
        let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
        if !path.exists() && pickled.iter().any(|name| directory.join(name).exists()) {
            return Err(Error::weights(
                &path,
                "not found, and pytorch_model.bin is not read because unpickling runs code; \
                 save the model with transformers' save_pretrained(.., safe_serialization=True)",
            ));
        }
        let file = MappedFile::open(path.clone())?;
        let tensors = file.metadata.tensors().into_keys().map(|name| (name, 0)).collect();
        Ok(Self { path, files: vec![file], tensors })
    }

    /// Adds the weights of a module in a folder of its own; a slash stands between the two names.
    pub(super) fn add_module(&mut self, directory: &Path, folder: &str) -> Result<()> {
        let file = MappedFile::open(directory.join(folder).join(SINGLE))?;
        let place = self.files.len();
        let names = file.metadata.tensors().into_keys();
        self.tensors.extend(names.map(|name| (format!("{folder}/{name}"), place)));
        self.files.push(file);
        Ok(())
    }

    /// The single file, or the index of several.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The names in the files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The name in the files of what transformers calls `name` today. Old checkpoints call a norm's
    /// parameters gamma and beta; bare encoders leave out the name of the encoder.
    pub(super) fn find(&self, name: &str, prefix: &str) -> Option<&str> {
        let bare = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
        let old = |name: &str| match name.rsplit_once('.') {
            Some((base, "weight")) => Some(format!("{base}.gamma")),
            Some((base, "bias")) => Some(format!("{base}.beta")),
            _ => None,
        };
        // The encoder of a modular model has bare names and may have been saved with them all.
        let whole = format!("{prefix}.{name}");
        let candidates = [Some(name.to_owned()), old(name), bare.map(str::to_owned)]
            .into_iter()
            .chain([bare.and_then(old), old(&whole), Some(whole)]);
        candidates
            .flatten()
            .find_map(|name| self.tensors.get_key_value(&name))
            .map(|(name, _)| name.as_str())
    }

    /// The shape of the tensor of that name in the files.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        let file = &self.files[*self.tensors.get(name)?];
        Some(&file.metadata.info(in_file(name))?.shape)
    }

    /// The values of the tensor of that name in the files as `f32`, row after row.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f32>> {
        let (file, info, bytes) = self.bytes(name)?;
        file.floats(name, info.dtype, bytes)
    }

    /// The same for some rows of a matrix.
    pub(super) fn rows(&self, name: &str, rows: &[usize]) -> Result<Vec<f32>> {
        let (file, info, bytes) = self.bytes(name)?;
        let n_rows = info.shape.first().copied().unwrap_or(0);
        let mut all = Vec::new();
        for &row in rows {
            if row >= n_rows {
                let problem = format!("tensor `{name}` has {n_rows} rows, and none for id {row}");
                return Err(Error::weights(&file.path, problem));
            }
            let size = bytes.len() / n_rows;
            all.extend(file.floats(name, info.dtype, &bytes[row * size..][..size])?);
        }
        Ok(all)
    }

    /// Appends the values of a range of a matrix's rows.
    pub(super) fn append_rows(
        &self,
        name: &str,
        rows: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let (file, info, bytes) = self.bytes(name)?;
        let size = bytes.len() / info.shape.first().copied().unwrap_or(1).max(1);
        file.append(name, info.dtype, &bytes[rows.start * size..rows.end * size], out)
    }

    /// The values of a tensor in bfloat16, rounded where the file has others.
    pub(super) fn bf16(&self, name: &str) -> Result<Vec<bf16>> {
        let (file, info, bytes) = self.bytes(name)?;
        if info.dtype == Dtype::BF16 {
            return Ok(chunks(bytes, bf16::from_le_bytes));
        }
        // Row by row, so that no second copy is held.
        let n_rows = info.shape.first().copied().unwrap_or(1).max(1);
        let mut all = Vec::with_capacity(info.shape.iter().product());
        let mut row = Vec::new();
        for bytes in bytes.chunks_exact((bytes.len() / n_rows).max(1)) {
            row.clear();
            file.append(name, info.dtype, bytes, &mut row)?;
            all.extend(row.iter().map(|&value| bf16::from_f32(value)));
        }
        Ok(all)
    }

    fn bytes(&self, name: &str) -> Result<(&MappedFile, &TensorInfo, &[u8])> {
        let file = self.tensors.get(name).map(|&place| &self.files[place]);
        let Some((file, info)) =
            file.and_then(|file| Some((file, file.metadata.info(in_file(name))?)))
        else {
            return Err(Error::weights(&self.path, format!("there is no tensor `{name}`")));
        };
        let (start, end) = info.data_offsets;
        Ok((file, info, &file.map[file.data_start + start..file.data_start + end]))
    }
}

impl MappedFile {
    fn floats(&self, name: &str, dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        self.append(name, dtype, bytes, &mut all)?;
        Ok(all)
    }

    fn append(&self, name: &str, dtype: Dtype, bytes: &[u8], out: &mut Vec<f32>) -> Result<()> {
        match dtype {
            Dtype::F32 => out.extend(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
            Dtype::F16 => {
                out.extend(bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()));
            }
            Dtype::BF16 => {
                out.extend(bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()));
            }
            other => {
                return Err(Error::weights(
                    &self.path,
                    format!("tensor `{name}`: expected F32, F16 or BF16, found {other:?}"),
                ));
            }
        }
        Ok(())
    }

    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(|error| Error::io(&path, error))?;
        // SAFETY: the file is only read. Should another process cut it short meanwhile, reads
        // fault, as with any memory-mapped model; checkpoints are replaced by renaming, never
        // rewritten in place.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::io(&path, error))?;
        let bad = |error: SafeTensorError| Error::weights(&path, error.to_string());
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(bad)?;
        let data_start = header + 8;
        // The header alone does not say whether the file is whole.
        let end = metadata.tensors().values().map(|info| info.data_offsets.1).max().unwrap_or(0);
        if data_start + end > map.len() {
            let problem = format!("expected {} bytes, found {}", data_start + end, map.len());
            return Err(Error::weights(&path, problem));
        }
        Ok(Self { data_start, path, map, metadata })
    }
}

/// The name of a tensor in the file of its module.
fn in_file(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, name)| name)
}

fn chunks<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| value(chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_bare_names_are_found() {
        let weights = |names: &[&str]| Weights {
            path: PathBuf::new(),
            files: Vec::new(),
            tensors: names.iter().map(|name| ((*name).to_owned(), 0)).collect(),
        };
        let bare = weights(&["embeddings.LayerNorm.gamma", "pooler.dense.bias", "classifier.bias"]);
        let find = |name| bare.find(name, "bert");
        assert_eq!(find("bert.embeddings.LayerNorm.weight"), Some("embeddings.LayerNorm.gamma"));
        assert_eq!(find("bert.pooler.dense.bias"), Some("pooler.dense.bias"));
        assert_eq!(find("classifier.bias"), Some("classifier.bias"));
        assert_eq!(find("bert.pooler.dense.weight"), None);
        let old = weights(&["bert.pooler.LayerNorm.beta"]);
        assert_eq!(
            old.find("bert.pooler.LayerNorm.bias", "bert"),
            Some("bert.pooler.LayerNorm.beta")
        );
    }
}
