//! The linear maps of a decoder, packed straight from the memory-mapped files: no weight is ever held in another form.

use std::collections::BTreeSet;
use std::ops::Range;

use burn::module::ParamId;
use burn::tensor::{DType, Device, Tensor, TensorData};
use tamis_ops::Precision;

use super::load::Fill;
use super::parameters::fields_of_parameters;
use crate::cross_encoder::CrossEncoder;
use crate::encoder::Encoder;

/// A part of a map's outputs: which, and the tensor that has them as rows.
type Part = (Range<usize>, String);

/// Which parameters are left to [`pack`]: the weights of a decoder's layers and, in bfloat16, its word
/// vectors. Of other encoders none.
pub(super) fn left_out(model: &mut CrossEncoder, precision: Precision) -> BTreeSet<ParamId> {
    let Encoder::Decoder(decoder) = model.encoder_mut() else { return BTreeSet::new() };
    let words = decoder.words_mut().weight_shape().0;
    let linears = decoder.linears_mut();
    let mut ids: BTreeSet<ParamId> = linears.iter().map(|linear| linear.weight_shape().0).collect();
    if precision == Precision::Bf16 {
        ids.insert(words);
    }
    ids
}

/// Packs what was left out, tensor by tensor. What is missing or has another shape is noted in `fill`, and
/// stays zero.
pub(super) fn pack(
    model: &mut CrossEncoder,
    fill: &mut Fill<'_>,
    precision: Precision,
    device: &Device,
) {
    let fields = fields_of_parameters(model);
    let Encoder::Decoder(decoder) = model.encoder_mut() else { return };
    let (id, dims) = decoder.words_mut().weight_shape();
    if precision == Precision::Bf16
        && let Some(parts) = fill.parts(&fields[&id], dims[0], dims[1])
    {
        let [(_, name)] = &parts[..] else { unreachable!("a table of words is one tensor") };
        match fill.weights.bf16(name) {
            Ok(values) => {
                // Without its type the table would become one of singles.
                let options = (device, DType::BF16);
                let table = Tensor::<2>::from_data(TensorData::new(values, dims), options);
                decoder.words_mut().fill_narrow(table);
            }
            Err(error) => fill.failure = Some(error),
        }
    }
    for linear in decoder.linears_mut() {
        let (id, [n_in, n_out]) = linear.weight_shape();
        let Some(parts) = fill.parts(&fields[&id], n_out, n_in) else { continue };
        let mut failure = None;
        linear.pack_rows(precision, |outputs, out| {
            let whole = out.len() + outputs.len() * n_in;
            for (part, name) in &parts {
                let (start, end) = (outputs.start.max(part.start), outputs.end.min(part.end));
                if start < end {
                    let rows = start - part.start..end - part.start;
                    if let Err(error) = fill.weights.append_rows(name, rows, out) {
                        failure = Some(error);
                    }
                }
            }
            out.resize(whole, 0.0);
        });
        fill.failure = failure.or(fill.failure.take());
    }
}

impl Fill<'_> {
    /// The tensors that have the rows of a matrix, or nothing after noting what is wrong with them.
    fn parts(&mut self, path: &[String], n_rows: usize, width: usize) -> Option<Vec<Part>> {
        let fields: Vec<&str> = path.iter().map(String::as_str).collect();
        let (mut parts, mut start) = (Vec::new(), 0);
        for (name, n) in self.config.tensor_parts(&fields, n_rows) {
            let prefix = self.config.architecture().prefix();
            let Some(found) = self.weights.find(&name, prefix) else {
                self.lacks(name, &path.join("."));
                continue;
            };
            let shape = self.weights.shape(found).unwrap_or_default();
            if shape == [n, width] {
                parts.push((start..start + n, found.to_owned()));
            } else {
                let problem = format!("found {shape:?}, expected {:?}", [n, width]);
                self.is_misshapen(name, &path.join("."), problem);
            }
            self.used.insert(found.to_owned());
            start += n;
        }
        let is_whole = parts.iter().map(|(rows, _)| rows.len()).sum::<usize>() == n_rows;
        is_whole.then_some(parts)
    }
}
