//! A prepared dataset into the micro-batches of every step: a pure function of seed and step.

use tamis_data::{
    Batch, Dataset, GroupSampler, PairEncoder, Positives, SampledGroup, Shortage, TokenStore,
    TruncationReport,
};
use tamis_loss::Objective;

use crate::error::{Error, Result};

/// Groups that go through the model together.
#[derive(Debug, Clone)]
pub struct MicroBatch {
    /// Their rows.
    pub batch: Batch,
    /// Labels: `[groups, candidates]`, row after row, 0 where a group is shorter.
    pub labels: Vec<f32>,
    /// Teacher scores in the same places, where training distils.
    pub teacher_scores: Option<Vec<f32>>,
}

impl MicroBatch {
    /// How many things every term of an objective is the mean of.
    pub(crate) fn counts(&self, objective: &Objective) -> Vec<f64> {
        let offsets = self.batch.group_offsets();
        let width = self.labels.len() / self.batch.n_groups().max(1);
        let mut counts = vec![0.0; objective.terms.len()];
        for (group, pair) in offsets.windows(2).enumerate() {
            let places = group * width..group * width + (pair[1] - pair[0]) as usize;
            let teacher = self.teacher_scores.as_ref().map(|scores| &scores[places.clone()]);
            for (sum, count) in
                counts.iter_mut().zip(objective.counts(&self.labels[places.clone()], teacher))
            {
                *sum += count;
            }
        }
        counts
    }
}

/// Hands out the micro-batches of any step.
pub struct Batches<'a> {
    dataset: &'a Dataset,
    tokens: &'a TokenStore,
    encoder: &'a PairEncoder,
    sampler: GroupSampler,
    /// Groups that can be sampled.
    usable: Vec<u32>,
    left_out: usize,
    groups_per_batch: usize,
    accumulation: usize,
    with_teacher: bool,
    in_batch_negatives: usize,
    /// The order of the epoch last asked for.
    order: Option<(u64, Vec<u32>)>,
}

impl<'a> Batches<'a> {
    /// Looks through the groups once for those that can be sampled.
    ///
    /// # Errors
    /// When not even one step can be filled, or teacher scores are needed and one is missing.
    pub fn new(
        dataset: &'a Dataset,
        tokens: &'a TokenStore,
        encoder: &'a PairEncoder,
        sampler: GroupSampler,
        (groups_per_batch, accumulation): (usize, usize),
        with_teacher: bool,
    ) -> Result<Self> {
        if with_teacher && sampler.shortage == Shortage::Fill {
            let problem = "the loss needs teacher scores, which documents that fill groups up lack";
            return Err(Error::Dataset {
                path: dataset.path().to_owned(),
                problem: problem.to_owned(),
            });
        }
        let mut usable = Vec::new();
        for (index, group) in dataset.groups().iter().enumerate() {
            let positives =
                group.candidates.iter().filter(|c| c.label.is_some_and(|l| l > 0.0)).count();
            let negatives = group.candidates.len() - positives;
            let wanted = match sampler.shortage {
                // Next to one positive, or of all candidates.
                Shortage::Skip if sampler.positives == Positives::Any => sampler.group_size,
                Shortage::Skip => sampler.group_size - 1,
                Shortage::Keep | Shortage::Repeat => usize::from(sampler.group_size > 1),
                Shortage::Fill => 0,
            };
            let is_usable = match sampler.positives {
                Positives::Any => group.candidates.len() >= wanted.max(1),
                Positives::One | Positives::All => positives > 0 && negatives >= wanted,
            };
            if is_usable {
                usable.push(u32::try_from(index).expect("groups are counted in u32"));
            }
            let lacks = with_teacher && group.candidates.iter().any(|c| c.teacher_score.is_none());
            if lacks {
                let query = dataset.queries().id(group.query);
                let problem = format!(
                    "the loss needs teacher scores, but query `{query}` has candidates without"
                );
                return Err(Error::Dataset { path: dataset.path().to_owned(), problem });
            }
        }
        let per_step = groups_per_batch * accumulation;
        if usable.len() < per_step {
            let problem = format!(
                "a step takes {per_step} groups with a positive and a negative, found {}",
                usable.len()
            );
            return Err(Error::Dataset { path: dataset.path().to_owned(), problem });
        }
        let left_out = dataset.groups().len() - usable.len();
        Ok(Self {
            dataset,
            tokens,
            encoder,
            sampler,
            usable,
            left_out,
            groups_per_batch,
            accumulation,
            with_teacher,
            in_batch_negatives: 0,
            order: None,
        })
    }

    /// The same with documents of other queries of the batch as negatives of every group.
    #[must_use]
    pub fn with_in_batch_negatives(mut self, n: usize) -> Self {
        self.in_batch_negatives = n;
        self
    }

    /// Groups that training draws from.
    #[must_use]
    pub fn n_groups(&self) -> usize {
        self.usable.len()
    }

    /// Groups without a positive or without enough negatives.
    #[must_use]
    pub fn n_left_out(&self) -> usize {
        self.left_out
    }

    /// Whole steps in one pass; groups that do not fill a step wait for another epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        (self.usable.len() / (self.groups_per_batch * self.accumulation)) as u64
    }

    /// The epoch of a step, both counted from 0.
    #[must_use]
    pub fn epoch(&self, step: u64) -> u64 {
        step / self.steps_per_epoch()
    }

    /// The groups of a step as they were drawn.
    ///
    /// # Errors
    /// When a group cannot be sampled.
    pub fn groups(&mut self, step: u64) -> Result<Vec<SampledGroup>> {
        let epoch = self.epoch(step);
        if self.order.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.order = Some((epoch, self.sampler.epoch_order(self.usable.len(), epoch)));
        }
        let (_, order) = self.order.as_ref().expect("the order was just drawn");
        let per_step = (self.groups_per_batch * self.accumulation) as u64;
        let first = (step % self.steps_per_epoch()) * per_step;
        let mut groups = Vec::with_capacity(per_step as usize);
        let mut positives = Vec::with_capacity(per_step as usize);
        for position in first..first + per_step {
            let group_idx = self.usable[order[position as usize] as usize];
            let group = self.dataset.groups().get(group_idx as usize);
            let n_documents = self.dataset.corpus().len() as u32;
            let sampled = self.sampler.sample_from(&group, n_documents, epoch, position)?;
            groups.push(sampled.expect("groups that would be skipped are not usable"));
            let relevant = group.candidates.iter().filter(|c| c.label.is_some_and(|l| l > 0.0));
            positives.push(relevant.map(|c| c.document).collect::<Vec<_>>());
        }
        if self.in_batch_negatives > 0 {
            let size = self.groups_per_batch;
            for (batch, positives) in groups.chunks_mut(size).zip(positives.chunks(size)) {
                add_in_batch_negatives(batch, positives, self.in_batch_negatives);
            }
        }
        Ok(groups)
    }

    /// The micro-batches of a step, counted from 0, and what was cut to make them.
    ///
    /// # Errors
    /// When a group cannot be sampled.
    pub fn step(&mut self, step: u64) -> Result<(Vec<MicroBatch>, TruncationReport)> {
        let groups = self.groups(step)?;
        let mut report = TruncationReport::default();
        let micro_batches = groups
            .chunks(self.groups_per_batch)
            .map(|groups| self.encode(groups, &mut report))
            .collect();
        Ok((micro_batches, report))
    }

    fn encode(&self, groups: &[SampledGroup], report: &mut TruncationReport) -> MicroBatch {
        let width = groups.iter().map(|group| group.documents.len()).max().unwrap_or(0);
        let mut batch = Batch::new();
        let mut labels = Vec::with_capacity(groups.len() * width);
        let mut teacher_scores = Vec::with_capacity(groups.len() * width);
        for group in groups {
            let query = self.tokens.query(group.query);
            for &document in &group.documents {
                let document = self.tokens.document(document);
                self.encoder.encode_ids(query, document, &mut batch, report);
            }
            batch.end_group();
            labels.extend_from_slice(&group.labels);
            labels.resize(labels.len() + width - group.labels.len(), 0.0);
            teacher_scores.extend(group.teacher_scores.iter().map(|s| s.unwrap_or(0.0)));
            teacher_scores.resize(labels.len(), 0.0);
        }
        self.encoder.align(&mut batch);
        let teacher_scores = self.with_teacher.then_some(teacher_scores);
        MicroBatch { batch, labels, teacher_scores }
    }
}

/// Adds up to `n` documents of the other groups of a batch to each group, with label 0: first those
/// that the next groups have in their first place, then those in their second, and so on. A document
/// that is in the group already, or a positive of its query, is passed over.
fn add_in_batch_negatives(groups: &mut [SampledGroup], positives: &[Vec<u32>], n: usize) {
    let own: Vec<Vec<u32>> = groups.iter().map(|group| group.documents.clone()).collect();
    let widest = own.iter().map(Vec::len).max().unwrap_or(0);
    for (index, group) in groups.iter_mut().enumerate() {
        let others = |place: usize| {
            let n_groups = own.len();
            (1..n_groups).map(move |distance| ((index + distance) % n_groups, place))
        };
        let mut n_left = n;
        for (other, place) in (0..widest).flat_map(others) {
            let Some(&document) = own[other].get(place) else { continue };
            if n_left == 0 {
                break;
            }
            if group.documents.contains(&document) || positives[index].contains(&document) {
                continue;
            }
            group.documents.push(document);
            group.labels.push(0.0);
            group.teacher_scores.push(None);
            n_left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_in_the_batch_are_never_positives_of_the_query() {
        let group = |query: u32, documents: &[u32]| SampledGroup {
            query,
            documents: documents.to_vec(),
            labels: (0..documents.len()).map(|i| if i == 0 { 1.0 } else { 0.0 }).collect(),
            teacher_scores: vec![None; documents.len()],
        };
        let mut groups = vec![group(0, &[1, 2]), group(1, &[3, 4]), group(2, &[5, 2])];
        // Query 0 has 3 for a positive too, query 1 has 5.
        add_in_batch_negatives(&mut groups, &[vec![1, 3], vec![3, 5], vec![5]], 3);
        assert_eq!(groups[0].documents, [1, 2, 5, 4]);
        assert_eq!(groups[1].documents, [3, 4, 1, 2]);
        assert_eq!(groups[2].documents, [5, 2, 1, 3, 4]);
        assert_eq!(groups[2].labels, [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(groups[2].teacher_scores.len(), 5);
    }
}
