//! Rows of numbers into bytes and back: `f32`, `f16`, `bf16`, or `int8` with a scale for each row.

use std::fmt;
use std::str::FromStr;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The type in which values are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// Four bytes: exact.
    F32,
    /// Two bytes: eleven bits of a value's size.
    #[default]
    F16,
    /// Two bytes: eight bits of a value's size.
    Bf16,
    /// One byte, and four for each token: the largest size of a token's values, divided by 127.
    Int8,
}

impl Element {
    /// Bytes of a token with `width` values.
    #[must_use]
    pub fn row_bytes(self, width: usize) -> usize {
        match self {
            Self::F32 => 4 * width,
            Self::F16 | Self::Bf16 => 2 * width,
            Self::Int8 => 4 + width,
        }
    }

    /// Appends the bytes of rows of `width` values.
    pub(super) fn encode(self, values: &[f32], width: usize, out: &mut Vec<u8>) {
        match self {
            Self::F32 => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Self::F16 => out.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
            Self::Bf16 => out.extend(values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes())),
            Self::Int8 => {
                for row in values.chunks_exact(width) {
                    let largest = row.iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
                    let scale = largest / 127.0;
                    out.extend(scale.to_le_bytes());
                    let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                    // The cast saturates, and no product is beyond 127 by more than its rounding.
                    out.extend(row.iter().map(|v| (v * factor).round() as i8 as u8));
                }
            }
        }
    }

    /// Appends the values of rows of `width` values.
    pub(super) fn decode(self, bytes: &[u8], width: usize, out: &mut Vec<f32>) {
        match self {
            Self::F32 => {
                let (chunks, _) = bytes.as_chunks::<4>();
                out.extend(chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)));
            }
            Self::F16 => {
                // Eight at a time where the machine has instructions for it.
                let (chunks, _) = bytes.as_chunks::<2>();
                let mut halves = [f16::ZERO; 256];
                for chunks in chunks.chunks(256) {
                    let halves = &mut halves[..chunks.len()];
                    for (half, &chunk) in halves.iter_mut().zip(chunks) {
                        *half = f16::from_le_bytes(chunk);
                    }
                    let start = out.len();
                    out.resize(start + chunks.len(), 0.0);
                    halves.convert_to_f32_slice(&mut out[start..]);
                }
            }
            Self::Bf16 => {
                let (chunks, _) = bytes.as_chunks::<2>();
                out.extend(chunks.iter().map(|&chunk| bf16::from_le_bytes(chunk).to_f32()));
            }
            Self::Int8 => {
                for row in bytes.chunks_exact(4 + width) {
                    let scale = f32::from_le_bytes([row[0], row[1], row[2], row[3]]);
                    out.extend(row[4..].iter().map(|&b| f32::from(b.cast_signed()) * scale));
                }
            }
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Element {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::F32, Self::F16, Self::Bf16, Self::Int8]
            .into_iter()
            .find(|element| element.to_string() == text)
            .ok_or_else(|| {
                let expected = "`f32`, `f16`, `bf16` or `int8`";
                ErrorKind::Value { field: "type", expected, found: text.to_owned() }.into()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_back_within_the_types_own_error(
            rows in prop::collection::vec(prop::collection::vec(-30.0_f32..30.0, 6), 0..5),
        ) {
            let values = rows.concat();
            for element in [Element::F32, Element::F16, Element::Bf16, Element::Int8] {
                prop_assert_eq!(element.to_string().parse::<Element>().unwrap(), element);
                let (mut bytes, mut back) = (Vec::new(), Vec::new());
                element.encode(&values, 6, &mut bytes);
                prop_assert_eq!(bytes.len(), rows.len() * element.row_bytes(6));
                element.decode(&bytes, 6, &mut back);
                prop_assert_eq!(back.len(), values.len());
                for (row, back) in rows.iter().zip(back.chunks(6)) {
                    let largest = row.iter().fold(0.0_f32, |a, v| a.max(v.abs()));
                    for (value, found) in row.iter().zip(back) {
                        let bound = match element {
                            Element::F32 => 0.0,
                            Element::F16 => value.abs() / 2048.0 + 1e-7,
                            Element::Bf16 => value.abs() / 256.0,
                            Element::Int8 => largest / 254.0 * 1.001,
                        };
                        prop_assert!((value - found).abs() <= bound, "{element}: {value} {found}");
                    }
                }
            }
        }
    }
}
