//! Several adapters on one model: those for every request added to its weights, the others switched by effort.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::manifest::{Manifest, Sample};
use super::{merge, peft};
use crate::config::Config;
use crate::cross_encoder::CrossEncoder;
use crate::effort::Effort;
use crate::error::{Error, Result};
use crate::layer::Switches;
use crate::settings::Settings;

/// An adapter, and which requests it is for.
///
/// On a command line: `PATH`, `PATH@ratio=2`, `PATH@exit=4`, or `PATH@exit=4,exit=6,ratio=2`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterUse {
    /// A directory as PEFT writes it; in `tamis.json` a relative one is beside that file.
    pub path: PathBuf,
    /// The ratios that it is for; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ratios: Vec<usize>,
    /// The exits that it is for; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<usize>,
}

impl AdapterUse {
    /// For every request.
    #[must_use]
    pub fn always(path: &FilePath) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    fn is_always(&self) -> bool {
        self.ratios.is_empty() && self.exits.is_empty()
    }
}

impl fmt::Display for AdapterUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        let conditions = [("exit", &self.exits), ("ratio", &self.ratios)];
        let conditions = conditions.iter().flat_map(|(key, all)| all.iter().map(move |n| (key, n)));
        for (index, (key, value)) in conditions.enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { '@' } else { ',' })?;
        }
        Ok(())
    }
}

impl FromStr for AdapterUse {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let Some((path, conditions)) = text.rsplit_once('@') else {
            return Ok(Self::always(FilePath::new(text)));
        };
        let mut adapter = Self::always(FilePath::new(path));
        for condition in conditions.split(',') {
            let problem = || format!("expected PATH@ratio=N,exit=N, found `{condition}`");
            let (key, value) = condition.split_once('=').ok_or_else(problem)?;
            let value = value.parse().map_err(|_| problem())?;
            match key {
                "ratio" => adapter.ratios.push(value),
                "exit" => adapter.exits.push(value),
                _ => return Err(problem()),
            }
        }
        Ok(adapter)
    }
}

/// Puts adapters on a model in their order. What is for every request is added to the weights; the others
/// stay beside them, and each request uses those that are for its exit and ratio.
///
/// An adapter that says which weights it was trained on must meet them: those of the model, or of the model
/// with the adapters before it.
///
/// # Errors
/// As [`load`](super::load), when an adapter was trained on other weights, or at ratios that it is not used
/// for, or names an exit that the model has not.
pub fn stack(
    mut model: CrossEncoder,
    config: &Config,
    adapters: &[AdapterUse],
) -> Result<CrossEncoder> {
    let depths = model.depths();
    let mut states = Vec::new();
    let mut switches = Switches::default();
    for adapter in adapters {
        let path = &adapter.path;
        let bad = |problem: String| Error::config(path, problem);
        if let Some(exit) = adapter.exits.iter().find(|exit| !depths.contains(exit)) {
            return Err(bad(format!("exit {exit} was not trained; there are {depths:?}")));
        }
        if adapter.ratios.contains(&0) {
            return Err(bad("ratio: expected 1 or more, found `0`".to_owned()));
        }
        if let Some(manifest) = Manifest::read(path)? {
            states.push(Sample::of(&mut model));
            manifest.check(config, &states, &adapter.ratios).map_err(bad)?;
        }
        let switch = match adapter.is_always() {
            true => None,
            false => match switches.add(adapter.ratios.clone(), adapter.exits.clone()) {
                Some(switch) => Some(switch),
                None => {
                    return Err(bad("expected at most 64 adapters with conditions".to_owned()));
                }
            },
        };
        model = peft::load_switched(model, config, path, switch)?;
        if switch.is_none() {
            model = merge(model);
        }
    }
    Ok(model.with_switches(switches))
}

/// The adapters that `tamis.json` of a checkpoint names, and others after them.
pub(crate) fn of_checkpoint(
    directory: &FilePath,
    others: Vec<AdapterUse>,
) -> Result<Vec<AdapterUse>> {
    let own = Settings::of_file(directory)?.map(|settings| settings.adapters).unwrap_or_default();
    let beside = |adapter: AdapterUse| AdapterUse { path: directory.join(adapter.path), ..adapter };
    Ok(own.into_iter().map(beside).chain(others).collect())
}

impl Switches {
    /// The adapters that an effort uses.
    ///
    /// # Errors
    /// When one is for some of the exits that are asked for and not for others.
    pub(crate) fn of_effort(&self, effort: &Effort, exits: &[usize]) -> Result<u64> {
        let ratio = if effort.compresses() { effort.ratio } else { 1 };
        let mut active = 0;
        for (bit, (ratios, of_exits)) in self.all().iter().enumerate() {
            if !ratios.is_empty() && !ratios.contains(&ratio) {
                continue;
            }
            let n = exits.iter().filter(|exit| of_exits.contains(exit)).count();
            if of_exits.is_empty() || n == exits.len() {
                active |= 1 << bit;
            } else if n > 0 {
                let problem = format!(
                    "exits {exits:?} in one pass: an adapter is for {of_exits:?} alone; ask for them apart"
                );
                return Err(Error::Effort { problem });
            }
        }
        Ok(active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_written() {
        for (text, ratios, exits) in [
            ("a/b", vec![], vec![]),
            ("a@ratio=2", vec![2], vec![]),
            ("a@exit=4,exit=6,ratio=2", vec![2], vec![4, 6]),
        ] {
            let adapter: AdapterUse = text.parse().unwrap();
            assert_eq!((&adapter.ratios, &adapter.exits), (&ratios, &exits));
            assert_eq!(adapter.to_string(), text);
        }
        for bad in ["a@", "a@2", "a@ratio=x", "a@depth=2"] {
            let error = bad.parse::<AdapterUse>().unwrap_err();
            assert!(error.starts_with("expected PATH@ratio=N,exit=N, found `"), "{error}");
        }
    }

    #[test]
    fn an_effort_uses_the_adapters_that_are_for_it() {
        let mut switches = Switches::default();
        for (ratios, exits) in [(vec![2], vec![]), (vec![4, 8], vec![]), (vec![], vec![6])] {
            switches.add(ratios, exits);
        }
        let of = |ratio: usize, exits: &[usize]| {
            let effort = Effort { exits: exits.to_vec(), ratio, compress_layers: vec![2] };
            switches.of_effort(&effort, exits).map_err(|error| error.to_string())
        };
        assert_eq!(of(1, &[4]), Ok(0b000));
        assert_eq!(of(2, &[4]), Ok(0b001));
        assert_eq!(of(8, &[6]), Ok(0b110));
        let error = of(1, &[4, 6]).unwrap_err();
        assert!(error.contains("for [6] alone; ask for them apart"), "{error}");
        // Nothing is shortened without a layer to do it at.
        let effort = Effort { ratio: 2, ..Effort::default() };
        assert_eq!(switches.of_effort(&effort, &[4]).unwrap(), 0);
    }
}
