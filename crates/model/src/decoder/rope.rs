//! The frequencies of rotary positions, with the scalings that configurations name.

use serde_json::{Map, Value};

/// One frequency per pair of a head's numbers, and a factor of cosines and sines.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frequencies {
    pub(crate) values: Vec<f32>,
    pub(crate) factor: f32,
}

/// Where positions come from: what a configuration says, whole or in part.
#[derive(Debug, Clone, Copy)]
pub(super) struct RopeKeys<'a> {
    /// Width of a head.
    pub(super) width: usize,
    pub(super) theta: f64,
    /// `rope_scaling`, or `rope_parameters` in the layout of transformers 5.
    pub(super) scaling: Option<&'a Map<String, Value>>,
    pub(super) max_positions: usize,
}

impl RopeKeys<'_> {
    /// The frequencies.
    ///
    /// # Errors
    /// When the scaling is unknown or lacks a number.
    ///
    /// # Source
    /// `modeling_rope_utils.py` of transformers: Chen et al. 2023 (linear), Peng et al. 2023 (YaRN),
    /// and the rule of Llama 3.1. The dynamic rule changes nothing up to the model's own length, and
    /// longer rows are refused.
    pub(super) fn frequencies(&self) -> Result<Frequencies, String> {
        let kind = self.scaling.and_then(|map| map.get("rope_type").or_else(|| map.get("type")));
        let kind = kind.and_then(Value::as_str).unwrap_or("default");
        if self.scaling.is_some_and(|map| map.get("partial_rotary_factor").is_some_and(partial)) {
            return Err("partial_rotary_factor: expected `1`".to_owned());
        }
        let plain = |values| Ok(Frequencies { values, factor: 1.0 });
        match kind {
            "default" | "dynamic" => plain(self.unscaled()),
            "linear" => {
                let factor = self.number("factor")? as f32;
                plain(self.unscaled().into_iter().map(|frequency| frequency / factor).collect())
            }
            "llama3" => plain(self.llama3()?),
            "yarn" => self.yarn(),
            other => Err(format!(
                "rope_type: expected `default`, `linear`, `dynamic`, `llama3` or `yarn`, found \
                 `{other}`"
            )),
        }
    }

    /// Rounded where transformers rounds, so that angles agree to the last bit.
    fn unscaled(&self) -> Vec<f32> {
        (0..self.width)
            .step_by(2)
            .map(|i| 1.0 / self.theta.powf(f64::from(i as f32 / self.width as f32)) as f32)
            .collect()
    }

    fn llama3(&self) -> Result<Vec<f32>, String> {
        let factor = self.number("factor")? as f32;
        let low = self.number("low_freq_factor")? as f32;
        let high = self.number("high_freq_factor")? as f32;
        let original = self.number("original_max_position_embeddings")? as f32;
        let scaled = |frequency: f32| {
            let wavelength = 2.0 * std::f32::consts::PI / frequency;
            if wavelength > original / low {
                return frequency / factor;
            }
            if wavelength < original / high {
                return frequency;
            }
            let smooth = (original / wavelength - low) / (high - low);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        };
        Ok(self.unscaled().into_iter().map(scaled).collect())
    }

    fn yarn(&self) -> Result<Frequencies, String> {
        let original = self.number("original_max_position_embeddings");
        let original = original.unwrap_or(self.max_positions as f64);
        let factor = self.number("factor").unwrap_or(self.max_positions as f64 / original);
        let optional = |key: &str| self.number(key).ok().filter(|&number| number != 0.0);
        let magnitude = |times: f64| {
            if factor <= 1.0 { 1.0 } else { 0.1 * times * factor.ln() + 1.0 }
        };
        let attention = match (optional("mscale"), optional("mscale_all_dim")) {
            (Some(own), Some(all)) => magnitude(own) / magnitude(all),
            _ => magnitude(1.0),
        };
        let attention = self.number("attention_factor").unwrap_or(attention);
        // The pair whose number of turns over the original length is given.
        let width = self.width as f64;
        let pair = |turns: f64| {
            width * (original / (turns * 2.0 * std::f64::consts::PI)).ln() / (2.0 * self.theta.ln())
        };
        let (low, high) = (
            pair(optional("beta_fast").unwrap_or(32.0)),
            pair(optional("beta_slow").unwrap_or(1.0)),
        );
        let truncate = self.scaling.and_then(|map| map.get("truncate")).and_then(Value::as_bool);
        let (low, high) =
            if truncate.unwrap_or(true) { (low.floor(), high.ceil()) } else { (low, high) };
        let (low, mut high) = (low.max(0.0), high.min(width - 1.0));
        if low == high {
            high += 0.001;
        }
        let values = self.unscaled().into_iter().enumerate().map(|(i, frequency)| {
            let ramp = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
            frequency / factor as f32 * ramp + frequency * (1.0 - ramp)
        });
        Ok(Frequencies { values: values.collect(), factor: attention as f32 })
    }

    fn number(&self, key: &str) -> Result<f64, String> {
        let found = self.scaling.and_then(|map| map.get(key)).and_then(Value::as_f64);
        found.ok_or_else(|| format!("rope_scaling.{key}: expected a number"))
    }
}

fn partial(value: &Value) -> bool {
    value.as_f64().is_none_or(|number| number != 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frequencies(scaling: &Value) -> Result<Frequencies, String> {
        let scaling = scaling.as_object();
        RopeKeys { width: 8, theta: 10_000.0, scaling, max_positions: 512 }.frequencies()
    }

    /// transformers 5.23: `ROPE_INIT_FUNCTIONS` of a `LlamaConfig` with hidden 32, 4 heads.
    #[test]
    fn scalings_are_those_of_transformers() {
        let close = |found: Frequencies, values: [f32; 4], factor: f32| {
            for (a, b) in found.values.iter().zip(values) {
                assert!((a - b).abs() <= 1e-6 * b, "{:?}, expected {values:?}", found.values);
            }
            assert!((found.factor - factor).abs() < 1e-6, "{}", found.factor);
        };
        close(frequencies(&Value::Null).unwrap(), [1.0, 0.1, 0.01, 0.001], 1.0);
        close(
            frequencies(&json!({"type": "linear", "factor": 4.0})).unwrap(),
            [0.25, 0.025, 0.0025, 0.00025],
            1.0,
        );
        let llama3 = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        });
        close(frequencies(&llama3).unwrap(), LLAMA3, 1.0);
        let yarn = json!({
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128,
        });
        close(frequencies(&yarn).unwrap(), YARN, 1.138_629_4);
        let error = frequencies(&json!({"rope_type": "longrope"})).unwrap_err();
        assert!(error.ends_with("found `longrope`"), "{error}");
        let error = frequencies(&json!({"rope_type": "linear"})).unwrap_err();
        assert_eq!(error, "rope_scaling.factor: expected a number");
    }

    const LLAMA3: [f32; 4] = [1.0, 0.013_042_256, 0.001_25, 0.000_125];
    const YARN: [f32; 4] = [1.0, 0.0625, 0.0025, 0.000_25];
}
