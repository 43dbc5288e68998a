//! A prepared dataset into the micro-batches of every step: a pure function of seed and step.

use tamis_data::{
    Batch, Dataset, GroupSampler, PairEncoder, SampledGroup, Shortage, TokenStore, TruncationReport,
};

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
                Shortage::Skip => sampler.group_size - 1,
                Shortage::Keep | Shortage::Repeat => usize::from(sampler.group_size > 1),
                Shortage::Fill => 0,
            };
            if positives > 0 && negatives >= wanted {
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
            order: None,
        })
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
        for position in first..first + per_step {
            let group_idx = self.usable[order[position as usize] as usize];
            let group = self.dataset.groups().get(group_idx as usize);
            let n_documents = self.dataset.corpus().len() as u32;
            let sampled = self.sampler.sample_from(&group, n_documents, epoch, position)?;
            groups.push(sampled.expect("groups that would be skipped are not usable"));
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
        let teacher_scores = self.with_teacher.then_some(teacher_scores);
        MicroBatch { batch, labels, teacher_scores }
    }
}
