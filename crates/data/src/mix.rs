//! Several datasets into one stream of groups: in turns, by their size, or in between.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::sample::draw::Draw;

/// How datasets share an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mixing {
    /// Every group of every dataset once, in one shuffled order.
    #[default]
    Proportional,
    /// One group of each dataset in turn, until one of them is exhausted.
    RoundRobin,
    /// As many groups as there are in all; each dataset is drawn with a probability proportional to
    /// its size to the power of `1 / temperature`. At 1 that is its size, and the higher, the more
    /// evenly small datasets come; those start again when they are exhausted.
    Temperature(f64),
}

/// A group of one of several datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MixedGroup {
    /// Which dataset, from 0.
    pub dataset: u32,
    /// Which of its groups, from 0.
    pub group: u32,
}

/// The order in which an epoch visits the groups of datasets of the given sizes: a pure function of
/// seed and epoch.
///
/// ```
/// use tamis_data::{MixedGroup, Mixing, mix};
///
/// let order = mix(&[2, 100], Mixing::RoundRobin, 7, 0)?;
/// assert_eq!(order.iter().map(|place| place.dataset).collect::<Vec<_>>(), [0, 1, 0, 1]);
/// # Ok::<(), tamis_data::Error>(())
/// ```
///
/// # Errors
/// When a dataset is empty, there is none, or the temperature is not above 0.
///
/// # Source
/// Temperature: Arivazhagan et al. 2019, "Massively Multilingual Neural Machine Translation in the
/// Wild", section 4.2.
pub fn mix(sizes: &[usize], mixing: Mixing, seed: u64, epoch: u64) -> Result<Vec<MixedGroup>> {
    let invalid =
        |problem: String| Err::<Vec<MixedGroup>, Error>(ErrorKind::Invalid(problem).into());
    if sizes.is_empty() {
        return invalid("expected at least one dataset to mix, found none".to_owned());
    }
    if let Some(empty) = sizes.iter().position(|&size| size == 0) {
        return invalid(format!("dataset {empty} of the mixture has no groups"));
    }
    let mut sources: Vec<Source> =
        (0..).zip(sizes).map(|(dataset, &size)| Source::new(dataset, size, seed, epoch)).collect();
    match mixing {
        Mixing::Proportional => {
            let mut all: Vec<MixedGroup> = (0..)
                .zip(sizes)
                .flat_map(|(dataset, &size)| {
                    (0..as_u32(size)).map(move |group| MixedGroup { dataset, group })
                })
                .collect();
            let n = all.len();
            Draw::new("mixture", seed, epoch, 0).shuffle(&mut all, n);
            Ok(all)
        }
        Mixing::RoundRobin => {
            let n_turns = sizes.iter().copied().min().unwrap_or(0);
            Ok((0..n_turns)
                .flat_map(|_| sources.iter_mut().map(Source::next).collect::<Vec<_>>())
                .collect())
        }
        Mixing::Temperature(temperature) => {
            if !(temperature.is_finite() && temperature > 0.0) {
                return invalid(format!(
                    "temperature: expected a number above 0, found `{temperature}`"
                ));
            }
            // Relative to the largest, so that no power overflows.
            let largest = sizes.iter().copied().max().unwrap_or(1) as f64;
            let weights = sizes.iter().map(|&size| (size as f64 / largest).powf(1.0 / temperature));
            let ends: Vec<f64> = weights
                .scan(0.0, |end, weight| {
                    *end += weight;
                    Some(*end)
                })
                .collect();
            let total = ends[ends.len() - 1];
            let mut draw = Draw::new("mixture", seed, epoch, 0);
            let n: usize = sizes.iter().sum();
            Ok((0..n)
                .map(|_| {
                    let place = draw.unit() * total;
                    let source = ends.partition_point(|&end| end <= place).min(sizes.len() - 1);
                    sources[source].next()
                })
                .collect())
        }
    }
}

/// One dataset, visited in a shuffled order; after the last group comes a new order.
struct Source {
    dataset: u32,
    order: Vec<u32>,
    place: usize,
    pass: u64,
    seed: u64,
    epoch: u64,
}

impl Source {
    fn new(dataset: u32, size: usize, seed: u64, epoch: u64) -> Self {
        let order = (0..as_u32(size)).collect();
        let mut source = Self { dataset, order, place: 0, pass: 0, seed, epoch };
        source.shuffle();
        source
    }

    fn shuffle(&mut self) {
        let purpose = format!("mixture {} pass {}", self.dataset, self.pass);
        let n = self.order.len();
        self.order.sort_unstable();
        Draw::new(&purpose, self.seed, self.epoch, 0).shuffle(&mut self.order, n);
    }

    fn next(&mut self) -> MixedGroup {
        if self.place == self.order.len() {
            self.place = 0;
            self.pass += 1;
            self.shuffle();
        }
        self.place += 1;
        MixedGroup { dataset: self.dataset, group: self.order[self.place - 1] }
    }
}

fn as_u32(size: usize) -> u32 {
    u32::try_from(size).expect("groups are numbered by u32")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn counts(order: &[MixedGroup]) -> Vec<usize> {
        let mut counts = BTreeMap::new();
        order.iter().for_each(|place| *counts.entry(place.dataset).or_insert(0) += 1);
        counts.into_values().collect()
    }

    #[test]
    fn proportional_visits_everything_once() {
        let order = mix(&[3, 50, 7], Mixing::Proportional, 1, 2).unwrap();
        assert_eq!(counts(&order), [3, 50, 7]);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 60);
        assert_eq!(order, mix(&[3, 50, 7], Mixing::Proportional, 1, 2).unwrap());
        assert_ne!(order, mix(&[3, 50, 7], Mixing::Proportional, 1, 3).unwrap());
        assert_ne!(order, sorted);
    }

    #[test]
    fn turns_end_with_the_smallest() {
        let order = mix(&[5, 9, 4], Mixing::RoundRobin, 1, 0).unwrap();
        assert_eq!(counts(&order), [4, 4, 4]);
        let datasets: Vec<u32> = order.iter().map(|place| place.dataset).collect();
        assert_eq!(datasets, [0, 1, 2].repeat(4));
        let mut distinct = order.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), order.len(), "no group comes twice");
    }

    #[test]
    fn temperature_evens_out_the_sizes() {
        let sizes = [100, 10_000];
        let share = |temperature| {
            let order = mix(&sizes, Mixing::Temperature(temperature), 3, 0).unwrap();
            assert_eq!(order.len(), 10_100);
            counts(&order)[0] as f64 / order.len() as f64
        };
        // By hand: 100^(1/t) / (100^(1/t) + 10000^(1/t)).
        for (temperature, expected) in [(1.0, 1.0 / 101.0), (2.0, 1.0 / 11.0), (1e6, 0.5)] {
            let found = share(temperature);
            let deviation = (expected * (1.0 - expected) / 10_100.0_f64).sqrt();
            assert!((found - expected).abs() < 4.0 * deviation, "{temperature}: {found}");
        }
        // The small one starts again, and no group comes more than once more often than another.
        let order = mix(&sizes, Mixing::Temperature(1e6), 3, 0).unwrap();
        let mut visits = [0_usize; 100];
        order.iter().filter(|p| p.dataset == 0).for_each(|p| visits[p.group as usize] += 1);
        let (least, most) = (visits.iter().min().unwrap(), visits.iter().max().unwrap());
        assert!(most - least <= 1, "{least} to {most}");
    }

    #[test]
    fn what_cannot_be_mixed_is_refused() {
        let error = |sizes: &[usize], mixing| mix(sizes, mixing, 0, 0).unwrap_err().to_string();
        assert!(error(&[], Mixing::RoundRobin).contains("at least one dataset"));
        assert!(error(&[3, 0], Mixing::Proportional).contains("dataset 1 of the mixture"));
        assert!(error(&[3], Mixing::Temperature(0.0)).contains("above 0, found `0`"));
    }
}
