//! `tamis_adapter.json`: what PEFT's files do not say of an adapter, to refuse it where it does not belong.

use std::path::Path as FilePath;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::values;
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;
use crate::error::{Error, Result};
use crate::json;

const FILE: &str = "tamis_adapter.json";

/// Numbers of a sample.
const N_VALUES: usize = 64;

/// How far two samples of the same weights may be from each other, as a part of the largest number: sums are
/// rounded in another order on other devices.
const TOLERANCE: f32 = 1e-5;

/// What an adapter was trained on, and at which widths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    base: Sample,
    /// The keys of `config.json` that place exits.
    start_layer: Option<Value>,
    layer_sep: Option<Value>,
    /// The ratios that it was trained at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ratios: Vec<usize>,
}

/// Some numbers of the weights, from all over the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample(Vec<f32>);

impl Sample {
    /// Those of a model, without its adapters.
    pub(super) fn of(model: &mut CrossEncoder) -> Self {
        let linears = model.linears_mut();
        let n = linears.len().max(1);
        let mut sample = Vec::with_capacity(N_VALUES);
        for index in 0..N_VALUES {
            let Some(linear) = linears.get(index * n / N_VALUES) else { continue };
            let weight = linear.weight();
            let [n_in, n_out] = weight.dims();
            if n_in * n_out == 0 {
                continue;
            }
            // Steps that share no factor with the usual widths.
            let (row, column) = (index * 7919 % n_in, index * 104_729 % n_out);
            sample.extend(values(weight.slice([row..row + 1, column..column + 1])));
        }
        Self(sample)
    }

    fn is_like(&self, other: &Self) -> bool {
        let largest = self.0.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(a, b)| (a - b).abs() <= TOLERANCE * largest)
    }
}

impl Manifest {
    /// That of an adapter which is about to be trained on a model, at some ratios.
    #[must_use]
    pub fn of(model: &CrossEncoder, config: &Config, ratios: &[usize]) -> Self {
        let key = |name: &str| config.key(name).cloned();
        Self {
            base: Sample::of(&mut model.clone()),
            start_layer: key("start_layer"),
            layer_sep: key("layer_sep"),
            ratios: ratios.to_vec(),
        }
    }

    /// That of a directory; adapters from elsewhere have none.
    pub(super) fn read(directory: &FilePath) -> Result<Option<Self>> {
        json::read_if_there(&directory.join(FILE))
    }

    pub(super) fn write(&self, directory: &FilePath) -> Result<()> {
        let path = directory.join(FILE);
        let text = serde_json::to_string(self).expect("a manifest serialises");
        std::fs::write(&path, text + "\n").map_err(|error| Error::io(&path, error))
    }

    /// Whether the adapter belongs on a model that has been in these states, at some ratios.
    pub(super) fn check(
        &self,
        config: &Config,
        states: &[Sample],
        ratios: &[usize],
    ) -> std::result::Result<(), String> {
        for (name, expected) in [("start_layer", &self.start_layer), ("layer_sep", &self.layer_sep)]
        {
            let (found, expected) = (config.key(name), expected.as_ref());
            if found != expected {
                let say = |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
                return Err(format!(
                    "the adapter is for {name} {}, the model has {}",
                    say(expected),
                    say(found)
                ));
            }
        }
        if !states.iter().any(|state| state.is_like(&self.base)) {
            return Err("the adapter was trained on other weights than these; adapters that it was trained \
                        on must come before it"
                .to_owned());
        }
        let is_for_all = self.ratios.is_empty() || self.ratios.contains(&1);
        let is_trained = |ratio: &usize| is_for_all || self.ratios.contains(ratio);
        if (ratios.is_empty() && !is_for_all) || !ratios.iter().all(is_trained) {
            return Err(format!(
                "the adapter was trained at ratios {:?}; use it for them: PATH@ratio={}",
                self.ratios, self.ratios[0]
            ));
        }
        Ok(())
    }
}
