//! Groups into training groups of one size: which negatives, drawn by seed, epoch and position alone.

mod curriculum;
pub(crate) mod draw;

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::group::{Candidate, Group};
pub use curriculum::Curriculum;
use draw::Draw;

/// What happens when a group has fewer negatives than are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortage {
    /// Negatives are drawn with replacement, so that every group has the same size.
    #[default]
    Repeat,
    /// The group stays smaller; the model's mask says so.
    Keep,
    /// The group is left out.
    Skip,
    /// All negatives are taken, and documents of the whole corpus make up the rest: drawn uniformly
    /// without replacement, never a positive of the group nor one of its negatives.
    ///
    /// They have no teacher score. Needs the corpus: [`GroupSampler::sample_from`].
    Fill,
}

/// Which positives a sampled group has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positives {
    /// One, drawn uniformly.
    #[default]
    One,
    /// All of them; of more than `group_size - 1` as many, drawn uniformly.
    All,
}

/// Draws training groups; every draw is a pure function of seed, epoch and position.
///
/// Nothing is remembered between calls, so that any number of workers in any order sees the same stream.
///
/// ```
/// use tamis_data::{Candidate, Group, GroupSampler};
///
/// let candidate = |document, label| Candidate { document, label, teacher_score: None, first_stage: None };
/// let candidates = vec![candidate(7, Some(1.0)), candidate(8, None), candidate(9, Some(0.0))];
/// let group = Group { query: 0, candidates };
/// let sampler = GroupSampler { group_size: 3, ..GroupSampler::new(42) };
/// let sampled = sampler.sample(&group, 0, 0)?.expect("groups are only left out by `Shortage::Skip`");
/// assert_eq!((sampled.documents[0], sampled.documents.len()), (7, 3));
/// # Ok::<(), tamis_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSampler {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Documents of a sampled group, positives included; at least 1.
    pub group_size: usize,
    /// Only this many negatives, those that the first stage ranks highest, are drawn from; `None`: all.
    ///
    /// Negatives without a first-stage score come after the others, in the group's order.
    pub negatives_depth: Option<usize>,
    /// Which positives are taken.
    pub positives: Positives,
    /// What to do with too few negatives.
    pub shortage: Shortage,
}

/// A group as it goes into a training step: positives first, then negatives in the order drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledGroup {
    /// Row of the query.
    pub query: u32,
    /// Rows of the documents.
    pub documents: Vec<u32>,
    /// A label per document: those of positives as given, unjudged negatives 0.
    pub labels: Vec<f32>,
    /// A teacher score per document, where there is one.
    pub teacher_scores: Vec<Option<f32>>,
}

impl GroupSampler {
    /// Groups of eight, one positive, negatives of any depth, repeated where they are too few.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            group_size: 8,
            negatives_depth: None,
            positives: Positives::One,
            shortage: Shortage::Repeat,
        }
    }

    /// The order in which an epoch visits its groups: a permutation of `0..n_groups`.
    #[must_use]
    pub fn epoch_order(&self, n_groups: usize, epoch: u64) -> Vec<u32> {
        let n_groups = u32::try_from(n_groups).expect("groups are numbered by u32");
        let mut order: Vec<u32> = (0..n_groups).collect();
        let n = order.len();
        Draw::new("order", self.seed, epoch, 0).shuffle(&mut order, n);
        order
    }

    /// Draws the documents of one group; `position` is its place in the epoch's order.
    ///
    /// A candidate is positive when its label is above 0. A document that occurs twice counts once, and
    /// as positive if it is that anywhere. `None`: the group is left out ([`Shortage::Skip`]).
    ///
    /// # Errors
    /// When the group has no positive, or no negative where one is needed, or `group_size` is 0.
    pub fn sample(&self, group: &Group, epoch: u64, position: u64) -> Result<Option<SampledGroup>> {
        self.draw(group, None, epoch, position)
    }

    /// The same from a corpus of so many documents, which [`Shortage::Fill`] draws from.
    ///
    /// # Errors
    /// As [`sample`](Self::sample), and when the corpus is too small to fill the group.
    pub fn sample_from(
        &self,
        group: &Group,
        n_documents: u32,
        epoch: u64,
        position: u64,
    ) -> Result<Option<SampledGroup>> {
        self.draw(group, Some(n_documents), epoch, position)
    }

    fn draw(
        &self,
        group: &Group,
        n_documents: Option<u32>,
        epoch: u64,
        position: u64,
    ) -> Result<Option<SampledGroup>> {
        if self.group_size == 0 {
            return Err(invalid("group_size must be at least 1, found `0`".to_owned()));
        }
        let (mut positives, mut negatives) = self.partition(group);
        if positives.is_empty() {
            let message = format!("the group of query row `{}` has no positive", group.query);
            return Err(invalid(message));
        }
        let mut draw = Draw::new("group", self.seed, epoch, position);
        let n_positives = match self.positives {
            Positives::One => 1,
            Positives::All => positives.len().min(self.group_size.saturating_sub(1).max(1)),
        };
        if n_positives < positives.len() {
            draw.shuffle(&mut positives, n_positives);
        }
        let mut chosen = positives[..n_positives].to_vec();
        let mut filler = Vec::new();

        let wanted = self.group_size - n_positives;
        if negatives.len() >= wanted {
            draw.shuffle(&mut negatives, wanted);
            chosen.extend_from_slice(&negatives[..wanted]);
        } else {
            match self.shortage {
                Shortage::Skip => return Ok(None),
                Shortage::Keep => {
                    let n_negatives = negatives.len();
                    draw.shuffle(&mut negatives, n_negatives);
                    chosen.extend_from_slice(&negatives);
                }
                Shortage::Fill => {
                    let n_negatives = negatives.len();
                    draw.shuffle(&mut negatives, n_negatives);
                    chosen.extend_from_slice(&negatives);
                    let Some(n_documents) = n_documents else {
                        return Err(invalid("filling groups up needs the corpus".to_owned()));
                    };
                    // Every candidate is barred, also those below the depth: a document that was
                    // proposed is no random one.
                    let barred = group.candidates.iter().map(|c| c.document).collect();
                    let filled = fill(&mut draw, wanted - n_negatives, n_documents, barred)?;
                    filler.extend(filled.into_iter().map(random));
                    chosen.extend(&filler);
                }
                Shortage::Repeat if negatives.is_empty() => {
                    let message = format!(
                        "the group of query row `{}` has no negative, expected at least one for group_size `{}`",
                        group.query, self.group_size,
                    );
                    return Err(invalid(message));
                }
                Shortage::Repeat => {
                    chosen.extend((0..wanted).map(|_| negatives[draw.below(negatives.len())]));
                }
            }
        }
        Ok(Some(SampledGroup {
            query: group.query,
            documents: chosen.iter().map(|candidate| candidate.document).collect(),
            labels: chosen.iter().map(|candidate| candidate.label.unwrap_or(0.0)).collect(),
            teacher_scores: chosen.iter().map(|candidate| candidate.teacher_score).collect(),
        }))
    }

    /// Positives in the group's order; negatives by first stage, cut at the depth. No document twice.
    fn partition<'a>(&self, group: &'a Group) -> (Vec<&'a Candidate>, Vec<&'a Candidate>) {
        let mut positives: Vec<&Candidate> = Vec::new();
        for candidate in group.candidates.iter().filter(|candidate| is_positive(candidate)) {
            if !positives.iter().any(|positive| positive.document == candidate.document) {
                positives.push(candidate);
            }
        }
        let taken = positives.iter().map(|positive| positive.document);
        let mut seen: HashSet<u32> = taken.collect();
        let mut negatives: Vec<&Candidate> = group
            .candidates
            .iter()
            .filter(|candidate| !is_positive(candidate) && seen.insert(candidate.document))
            .collect();
        if let Some(depth) = self.negatives_depth {
            let rank = |c: &&Candidate| c.first_stage.unwrap_or(f32::NEG_INFINITY);
            negatives.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
            negatives.truncate(depth);
        }
        (positives, negatives)
    }
}

/// Draws documents of the corpus that are not barred, none twice.
fn fill(draw: &mut Draw, n: usize, n_documents: u32, mut barred: HashSet<u32>) -> Result<Vec<u32>> {
    let n_free = (n_documents as usize).saturating_sub(barred.len());
    if n_free < n {
        let problem = format!("the corpus has {n_free} other documents, expected at least {n}");
        return Err(invalid(problem));
    }
    // Drawing again after a miss is quick while most documents are free; else they are listed.
    if n_free >= 2 * n && n_free >= n_documents as usize / 2 {
        let mut drawn = Vec::with_capacity(n);
        while drawn.len() < n {
            let document = draw.below(n_documents as usize) as u32;
            if barred.insert(document) {
                drawn.push(document);
            }
        }
        return Ok(drawn);
    }
    let mut free: Vec<u32> = (0..n_documents).filter(|row| !barred.contains(row)).collect();
    draw.shuffle(&mut free, n);
    free.truncate(n);
    Ok(free)
}

/// A candidate that nobody proposed.
fn random(document: u32) -> Candidate {
    Candidate { document, label: None, teacher_score: None, first_stage: None }
}

fn is_positive(candidate: &Candidate) -> bool {
    candidate.label.is_some_and(|label| label > 0.0)
}

fn invalid(message: String) -> Error {
    ErrorKind::Invalid(message).into()
}
